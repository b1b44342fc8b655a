//! Clocks that are set while it records.

use super::super::*;
use super::rig::*;

#[test]
fn clock_steps_lose_no_picture() {
    for step in [3600 * S, DAY_US, -3600 * S, -DAY_US] {
        let mut rig = Rig::new();
        rig.film(22);
        rig.step(step);
        rig.film(23);
        rig.stop();
        let frames: u32 = rig.segments().iter().map(|segment| segment.frames).sum();
        assert_eq!(frames, 450, "{step}");
        let steps: Vec<i64> = rig
            .statements()
            .into_iter()
            .filter_map(|s| {
                if let Kind::Clock(step) = s.kind {
                    Some(step.offset_us / S)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(steps, [step / S]);
        rig.open_all();
        if step > 0 {
            assert!(
                rig.gaps().iter().all(|gap| gap.2 == GapCause::ClockStep),
                "{step}: {:?}",
                rig.gaps()
            );
            rig.assert_no_hole();
        }
        // And so after a restart with the clock as it now is.
        rig.pass(20 * S);
        rig.start();
        rig.film(12);
        rig.stop();
        let causes: Vec<GapCause> = rig
            .gaps()
            .into_iter()
            .map(|gap| gap.2)
            .filter(|c| *c != GapCause::ClockStep)
            .collect();
        assert_eq!(causes, [GapCause::Stopped], "{step}");
    }
}

#[test]
fn a_clock_stepped_back_never_revives_a_past_days_key() {
    let mut rig = Rig::new();
    rig.keeper().time.server_said(UtcMicros::new(NOON));
    rig.film(12);
    rig.step(-2 * DAY_US);
    rig.film(25);
    rig.stop();
    assert!(
        rig.segments()
            .iter()
            .all(|segment| segment.preamble.header.key_id == day_key(20_700))
    );
}

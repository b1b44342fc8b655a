//! What is filmed is kept bit for bit, under the right key, and what is not filmed has its cause.

use super::super::*;
use super::rig::*;

#[test]
fn what_was_filmed_comes_back_bit_for_bit() {
    let mut rig = Rig::new();
    rig.film(35);
    rig.stop();
    let segments = rig.segments();
    assert_eq!(segments.len(), 4);
    assert_eq!(
        segments.iter().map(|s| s.preamble.header.seq).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert!(
        segments
            .iter()
            .all(|s| !s.truncated && s.preamble.header.key_id == day_key(20_700))
    );
    assert_eq!(segments.iter().map(|s| s.frames).sum::<u32>(), 350);
    assert!(rig.open_all() >= 16);
    rig.assert_no_hole();
    assert!(rig.gaps().is_empty());
    // Each header names the newest statement when its segment began, so a file cannot be moved to another place of the chain.
    let hashes: Vec<Sha256Hash> = {
        let mut reader = LogReader::new(&rig.place().statements());
        let all = reader.read(0, u64::MAX, |_| true).expect("read");
        all.statements.iter().map(|bytes| Sha256Hash::of(bytes)).collect()
    };
    assert!(
        segments
            .iter()
            .all(|s| hashes.contains(&s.preamble.header.prev_statement))
    );
}

#[test]
fn padding_costs_at_most_three_percent_and_ends_large_fragments_on_a_chunk() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(12);
    rig.stop();
    let given: usize = rig.given.values().flatten().map(Vec::len).sum();
    let sealed: u64 = rig.segments().iter().map(|segment| segment.file_len).sum();
    assert!(sealed as f64 <= given as f64 * 1.03, "{sealed} for {given}");
    assert!(rig.open_all() >= 6);
}

#[test]
fn a_camera_away_for_two_minutes_is_one_gap_exact_to_a_second() {
    let mut rig = Rig::new();
    rig.film(25);
    rig.lose_camera(GapCause::CameraUnreachable, 120);
    rig.film(15);
    rig.stop();
    let gaps = rig.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, until, cause) = gaps[0];
    assert_eq!(cause, GapCause::CameraUnreachable);
    assert!((from - 250).abs() <= 10 && (until - 1450).abs() <= 10, "{gaps:?}");
    rig.assert_no_hole();
    rig.open_all();
}

#[test]
fn a_camera_that_is_away_at_the_start_is_told_from_the_outage_before() {
    let mut rig = Rig::new();
    rig.film(12);
    rig.stop();
    rig.pass(60 * S);
    rig.start();
    rig.lose_camera(GapCause::CameraRefused, 30);
    rig.film(12);
    rig.stop();
    let causes: Vec<GapCause> = rig.gaps().into_iter().map(|(_, _, cause)| cause).collect();
    assert_eq!(causes, [GapCause::Stopped, GapCause::CameraRefused]);
    rig.assert_no_hole();
}

#[test]
fn each_day_has_its_key_and_its_use_is_stated_before() {
    let mut rig = Rig::new();
    rig.pass(DAY_US / 2 - 15 * S);
    rig.film(40);
    rig.stop();
    let mut in_use = None;
    let mut days = Vec::new();
    for statement in rig.statements() {
        match statement.kind {
            Kind::KeyInUse { key_id } => in_use = Some(key_id),
            Kind::Segment(segment) => {
                let header = segment.preamble.header;
                let day = header.t_start.day();
                assert_eq!(header.key_id, day_key(day));
                days.push(day);
            }
            _ => {}
        }
    }
    assert_eq!(in_use, Some(day_key(20_701)));
    assert!(days.contains(&20_700) && days.contains(&20_701));
}

#[test]
fn lost_pictures_are_on_record_and_weigh_less_than_a_missing_key() {
    let mut rig = Rig::new();
    rig.film(3);
    rig.lose_packets();
    rig.film(3);
    rig.stop();
    assert_eq!(rig.gaps()[0], (30, 33, GapCause::PacketLoss));
    rig.open_all();

    let mut rig = Rig::without_keys();
    rig.film(12);
    rig.lose_packets();
    rig.film(12);
    let mut rig = rig.with_keys(1, 30_000, 2);
    rig.film(12);
    rig.stop();
    let causes: Vec<_> = rig.gaps().into_iter().map(|(_, _, cause)| cause).collect();
    assert!(
        causes.contains(&GapCause::NoKey) && !causes.contains(&GapCause::PacketLoss),
        "{causes:?}"
    );
}

#[test]
fn without_any_key_nothing_is_recorded_and_the_reserve_takes_over_when_there_is_one() {
    let mut rig = Rig::without_keys();
    rig.film(12);
    rig.lose_camera(GapCause::CameraUnreachable, 1);
    rig.film(12);
    assert!(rig.segments().is_empty());
    let mut rig = rig.with_keys(1, 30_000, 2);
    rig.film(25);
    rig.stop();
    assert!(!rig.segments().is_empty());
    assert!(
        rig.gaps().iter().any(|gap| gap.2 == GapCause::NoKey),
        "{:?}",
        rig.gaps()
    );
    assert!(rig.pulse.faults().contains(Faults::RESERVE_KEY));
    rig.open_all();
}

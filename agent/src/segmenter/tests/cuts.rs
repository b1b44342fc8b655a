//! Where segments, fragments and gaps begin and end.

use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::samples;
use custody_shared::statement::GapCause;
use custody_shared::time::UtcMicros;

use super::super::Action;
use super::bench::{Bench, HOUR_MS, NOON, check};

#[test]
fn segments_are_cut_at_keyframes_and_leave_no_seam() {
    check(
        |bench| bench.seconds(25),
        "segment 0.0–10.0 10+10+10+10+10+10+10+10+10+10
         segment 10.0–20.0 10+10+10+10+10+10+10+10+10+10
         segment 20.0–25.0 10+10+10+10+10",
    );
}

#[test]
fn a_lost_camera_is_one_gap_with_the_best_known_cause() {
    check(
        |bench| {
            bench.seconds(2);
            bench.pass(10_000);
            bench.interrupt(GapCause::CameraStalled);
            bench.pass(1_000);
            bench.interrupt(GapCause::CameraUnreachable);
            bench.pass(107_000);
            bench.tick();
            bench.session(64);
            bench.seconds(1);
        },
        "segment 0.0–2.0 10+10
         gap 2.0–120.0 CameraUnreachable
         segment 120.0–121.0 10",
    );
}

#[test]
fn a_camera_that_never_answered_is_a_gap_too() {
    check(
        |bench| {
            bench.interrupt(GapCause::CameraRefused);
            bench.pass(5_000);
            bench.session(64);
            bench.seconds(1);
        },
        "gap 0.0–5.0 CameraRefused
         segment 5.0–6.0 10",
    );
}

#[test]
fn stopping_does_not_replace_the_cause_of_an_outage() {
    check(
        |bench| {
            bench.interrupt(GapCause::CameraRefused);
            bench.pass(5_000);
            bench.interrupt(GapCause::Stopped);
        },
        "gap 0.0–5.0 CameraRefused",
    );
}

#[test]
fn a_long_outage_is_stated_piecewise() {
    check(
        |bench| {
            bench.interrupt(GapCause::CameraUnreachable);
            bench.pass(HOUR_MS);
            bench.tick();
            bench.pass(60_000);
            bench.session(64);
            bench.seconds(1);
        },
        "gap 0.0–3600.0 CameraUnreachable
         gap 3600.0–3660.0 CameraUnreachable
         segment 3660.0–3661.0 10",
    );
}

#[test]
fn a_restart_continues_the_record() {
    check(
        |bench| {
            bench
                .segmenter
                .resume_after(UtcMicros::new(NOON - 7_000_000), GapCause::PowerLoss);
            bench.seconds(1);
        },
        "gap -7.0–0.0 PowerLoss
         segment 0.0–1.0 10",
    );
}

#[test]
fn keyframes_that_do_not_come_cut_fragments_not_segments() {
    check(
        |bench| {
            bench.seconds(1);
            bench.frame(RandomAccess::Closed);
            bench.frames(49);
        },
        "segment 0.0–6.0 10+20+20+10",
    );
}

#[test]
fn large_groups_are_cut_by_bytes() {
    check(
        |bench| {
            for index in 0..10 {
                let access = if index == 0 {
                    RandomAccess::Closed
                } else {
                    RandomAccess::None
                };
                bench.unit(Some(bench.camera_ms), access, 1 << 20);
                bench.pass(100);
            }
        },
        "segment 0.0–1.0 4+4+2",
    );
}

#[test]
fn no_keyframe_at_the_start_becomes_its_own_gap() {
    check(
        |bench| {
            bench.interrupt(GapCause::CameraUnreachable);
            bench.pass(3_000);
            bench.session(64);
            bench.frames(120);
            bench.seconds(1);
        },
        "gap 0.0–3.0 CameraUnreachable
         gap 3.0–15.0 NoKeyframe
         segment 15.0–16.0 10",
    );
}

#[test]
fn a_camera_that_stops_sending_keyframes_ends_its_segment() {
    check(
        |bench| {
            bench.frame(RandomAccess::Closed);
            bench.frames(1299);
            bench.seconds(1);
        },
        &format!(
            "segment 0.0–120.0 20{}
             gap 120.0–130.0 NoKeyframe
             segment 130.0–131.0 10",
            "+20".repeat(59)
        ),
    );
}

/// Pictures as `display position:access` in decode order, 100 ms apart.
fn reordered(bench: &mut Bench, order: &[(i64, RandomAccess)]) {
    let base = bench.camera_ms;
    for (position, access) in order {
        bench.unit(Some(base + position * 100), *access, 100);
        bench.true_ms += 100;
    }
    bench.camera_ms += 100 * order.len() as i64;
}

#[test]
fn reordered_pictures_get_signed_offsets() {
    use RandomAccess::*;
    let mut bench = Bench::new();
    for _ in 0..3 {
        reordered(
            &mut bench,
            &[
                (0, Closed),
                (3, None),
                (1, None),
                (2, None),
                (6, None),
                (4, None),
                (5, None),
            ],
        );
    }
    bench.interrupt(GapCause::Stopped);
    let mut next = std::option::Option::None;
    for action in &bench.actions {
        let Action::Fragment { data, .. } = action else {
            continue;
        };
        let found = samples(&data.pieces().collect::<Vec<_>>().concat()).expect("a fragment");
        let start = found[0].decode_time;
        assert!(next.is_none_or(|next| next == start), "the fragments join");
        let shown: Vec<_> = found
            .iter()
            .map(|sample| (sample.presentation_time - start as i64) / 9000)
            .collect();
        let decoded: Vec<_> = found.iter().map(|sample| (sample.decode_time - start) / 9000).collect();
        assert_eq!((shown, decoded), (vec![0, 3, 1, 2, 6, 4, 5], vec![0, 1, 2, 3, 4, 5, 6]));
        next = Some(found.iter().map(|sample| u64::from(sample.duration)).sum::<u64>() + start);
    }
    assert!(bench.text().ends_with("–2.1 7+7+7 b\n"));
}

#[test]
fn an_open_group_begins_with_the_pictures_shown_before_its_keyframe() {
    use RandomAccess::*;
    let mut bench = Bench::new();
    reordered(&mut bench, &[(0, Closed), (2, None), (1, None)]);
    // Shown: 3 and 4 before the keyframe at 5, which is decoded first.
    reordered(&mut bench, &[(2, Open), (0, None), (1, None), (4, None), (3, None)]);
    reordered(&mut bench, &[(2, Open), (0, None), (1, None), (3, None)]);
    bench.interrupt(GapCause::Stopped);
    let starts = bench.actions.iter().filter_map(|action| match action {
        Action::Fragment { t_start, t_end, .. } => Some(((t_start.get() - NOON) / 1000, (t_end.get() - NOON) / 1000)),
        _ => Option::None,
    });
    assert_eq!(starts.collect::<Vec<_>>(), [(0, 300), (300, 800), (800, 1200)]);
    assert!(bench.text().ends_with("–1.2 3+5+4 open b\n"));
}

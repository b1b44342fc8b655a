//! What the clocks do to the record: the camera's, the wall's, and none.

use bytes::Bytes;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::samples;
use custody_shared::statement::GapCause;
use custody_shared::time::UtcMicros;
use proptest::prelude::*;

use super::super::{Action, Segmenter, SegmenterConfig};
use super::bench::{Bench, HOUR_MS, NOON, check, parameters};
use crate::source::{AccessUnit, Moment, SourceEvent};

#[test]
fn timestamps_that_jump_do_not_move_the_record() {
    for jump in [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -500_000] {
        check(
            |bench| {
                bench.seconds(2);
                bench.frame(RandomAccess::Closed);
                bench.frames(4);
                bench.camera_ms += jump;
                bench.frames(5);
                bench.seconds(1);
            },
            "segment 0.0–4.0 10+10+10+10",
        );
    }
}

#[test]
fn a_hole_between_pictures_is_a_gap_and_frames_after_it_stay() {
    check(
        |bench| {
            bench.seconds(1);
            bench.pass(5_000);
            bench.push(SourceEvent::Loss { packets: 3 });
            bench.frames(10);
            bench.seconds(1);
        },
        "segment 0.0gap 1.0–6.0 PacketLoss
         –8.0 10+10+10",
    );
}

#[test]
fn lost_pictures_are_gaps_however_short() {
    // Within a group: five pictures of a second, one, then one again.
    check(
        |bench| {
            bench.seconds(1);
            bench.frame(RandomAccess::Closed);
            bench.frames(2);
            bench.pass(100);
            bench.push(SourceEvent::Loss { packets: 2 });
            bench.frames(3);
            bench.pass(200);
            bench.push(SourceEvent::Loss { packets: 1 });
            bench.frames(1);
            bench.seconds(1);
        },
        "segment 0.0gap 1.3–1.4 PacketLoss
         gap 1.7–1.9 PacketLoss
         –3.0 10+7+10",
    );
    // Between two groups: the last pictures of one, and the keyframe of the next is there.
    check(
        |bench| {
            bench.seconds(1);
            bench.frame(RandomAccess::Closed);
            bench.frames(7);
            bench.pass(200);
            bench.push(SourceEvent::Loss { packets: 1 });
            bench.seconds(1);
        },
        "segment 0.0gap 1.8–2.0 PacketLoss
         –3.0 10+8+10",
    );
    // Packets, but no picture: nothing is missing.
    check(
        |bench| {
            bench.seconds(1);
            bench.push(SourceEvent::Loss { packets: 1 });
            bench.seconds(1);
        },
        "segment 0.0–2.0 10+10",
    );
    // The same holes without a loss are a camera that skips pictures, as many do at night.
    check(
        |bench| {
            bench.seconds(1);
            bench.frame(RandomAccess::Closed);
            bench.frames(2);
            bench.pass(300);
            bench.frames(4);
        },
        "segment 0.0–2.0 10+7",
    );
}

#[test]
fn lost_pictures_among_reordered_ones_are_found_in_the_order_they_are_shown() {
    check(
        |bench| {
            bench.seconds(1);
            let start = bench.camera_ms;
            // Decoded 0 3 1 2 6 4 5 9 7 8; the fifth is lost.
            for (index, shown) in [0, 3, 1, 2, 6, 4, 5, 9, 7, 8].into_iter().enumerate() {
                let access = if index == 0 {
                    RandomAccess::Closed
                } else {
                    RandomAccess::None
                };
                if shown == 5 {
                    bench.push(SourceEvent::Loss { packets: 1 });
                } else {
                    bench.unit(Some(start + shown * 100), access, 100);
                }
                bench.pass(100);
            }
            bench.seconds(1);
        },
        "segment 0.0gap 1.5–1.6 PacketLoss
         –3.0 10+9+10 b",
    );
}

#[test]
fn heavy_loss_is_stated_in_few_words() {
    let mut bench = Bench::new();
    bench.seconds(1);
    bench.frame(RandomAccess::Closed);
    for _ in 0..6 {
        bench.frames(2);
        bench.pass(100);
        bench.push(SourceEvent::Loss { packets: 1 });
    }
    bench.frames(1);
    bench.interrupt(GapCause::Stopped);
    let second = |time: UtcMicros| (time.get() - NOON) / 100_000;
    let gaps: Vec<_> = bench
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Gap { range, .. } => Some((second(range.start()), second(range.end()))),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [(13, 14), (16, 17), (19, 20), (22, 29)]);
}

#[test]
fn missing_and_repeated_timestamps_become_arrival_times() {
    let scenario = |pts: fn(i64) -> Option<i64>| {
        move |bench: &mut Bench| {
            for index in 0..40 {
                let access = if index % 10 == 0 {
                    RandomAccess::Closed
                } else {
                    RandomAccess::None
                };
                bench.unit(pts(index), access, 100);
                bench.pass(100);
            }
        }
    };
    check(scenario(|_| None), "segment 0.0–4.0 10+10+10+10 arrival");
    check(scenario(|_| Some(5)), "segment 0.0–4.0 10+10+10+10 arrival");
    check(scenario(|_| Some(i64::MAX / 90)), "segment 0.0–4.0 10+10+10+10 arrival");
    // A camera that loses its clock half-way: what it stamped itself stays apart.
    check(
        scenario(|index| (index < 20).then_some(index * 100)),
        "segment 0.0–2.0 10+10
         segment 2.0–4.0 10+10 arrival",
    );
}

#[test]
fn timestamps_are_believed_again_after_a_while() {
    check(
        |bench| {
            for _ in 0..10 {
                bench.unit(None, RandomAccess::Closed, 100);
                bench.pass(100);
            }
            bench.seconds(8);
        },
        "segment 0.0–6.0 1+1+1+1+1+1+1+1+1+1+10+10+10+10+10 arrival
         segment 6.0–9.0 10+10+10",
    );
}

#[test]
fn pictures_that_arrive_at_once_still_follow_each_other() {
    let mut bench = Bench::new();
    for index in 0..20 {
        let access = if index % 10 == 0 {
            RandomAccess::Closed
        } else {
            RandomAccess::None
        };
        bench.unit(None, access, 100);
    }
    assert_eq!(bench.text(), "segment 0.0–0.0 10+10 arrival\n");
}

#[test]
fn another_codec_begins_another_segment() {
    check(
        |bench| {
            bench.seconds(2);
            bench.session(128);
            bench.frames(3);
            bench.seconds(1);
            bench.session(128);
            bench.seconds(1);
        },
        "segment 0.0–2.0 10+10
         gap 2.0–2.3 NoKeyframe
         segment 2.3 width 128–4.3 10+10",
    );
}

#[test]
fn a_boundary_cuts_at_the_next_keyframe() {
    check(
        |bench| {
            bench.segmenter.cut_at(Some(UtcMicros::new(NOON + 3_500_000)));
            bench.seconds(6);
        },
        "segment 0.0–4.0 10+10+10+10
         segment 4.0–6.0 10+10",
    );
}

#[test]
fn clock_steps_while_recording_lose_no_picture() {
    let check = |step_ms: i64, expected: &str| {
        check(
            |bench| {
                bench.seconds(2);
                bench.frame(RandomAccess::Closed);
                bench.frames(4);
                bench.wall_off_ms += step_ms;
                bench.frames(5);
                bench.seconds(2);
            },
            expected,
        );
    };
    check(
        HOUR_MS,
        "segment 0.0–3.0 10+10+10
         clock +3600.0 3.0→3603.0
         gap 3.0–3603.0 ClockStep
         segment 3603.0–3605.0 10+10",
    );
    check(
        -HOUR_MS,
        "segment 0.0–3.0 10+10+10
         clock -3600.0 3.0→-3597.0
         segment -3597.0–-3595.0 10+10",
    );
    check(
        24 * HOUR_MS,
        "segment 0.0–3.0 10+10+10
         clock +86400.0 3.0→86403.0
         gap 3.0–86403.0 ClockStep
         segment 86403.0–86405.0 10+10",
    );
    check(
        -24 * HOUR_MS,
        "segment 0.0–3.0 10+10+10
         clock -86400.0 3.0→-86397.0
         segment -86397.0–-86395.0 10+10",
    );
    // Slewing and small corrections are followed, not stated.
    check(300, "segment 0.0–5.0 10+10+10+10+10");
}

#[test]
fn clock_steps_during_an_outage_split_the_gap() {
    let check = |step_ms: i64, expected: &str| {
        check(
            |bench| {
                bench.seconds(1);
                bench.interrupt(GapCause::CameraUnreachable);
                bench.pass(9_000);
                bench.wall_off_ms += step_ms;
                bench.tick();
                bench.pass(10_000);
                bench.session(64);
                bench.seconds(1);
            },
            expected,
        );
    };
    check(
        HOUR_MS,
        "segment 0.0–1.0 10
         gap 1.0–10.0 CameraUnreachable
         clock +3600.0 10.0→3610.0
         gap 10.0–3610.0 ClockStep
         gap 3610.0–3620.0 CameraUnreachable
         segment 3620.0–3621.0 10",
    );
    check(
        -HOUR_MS,
        "segment 0.0–1.0 10
         gap 1.0–10.0 CameraUnreachable
         clock -3600.0 10.0→-3590.0
         gap -3590.0–-3580.0 CameraUnreachable
         segment -3580.0–-3579.0 10",
    );
}

#[test]
fn a_camera_clock_that_drifts_is_followed_without_a_seam() {
    // 200 ppm fast and slow for two hours: 1.4 s if nothing followed.
    for (camera_us, arrival_us) in [(100_020, 100_000), (99_980, 100_000)] {
        let mut segmenter = Segmenter::new(SegmenterConfig::default());
        segmenter.push(SourceEvent::Parameters(parameters(64)));
        let (mut last_end, mut worst) = (None, 0);
        for index in 0..72_000i64 {
            let access = if index % 10 == 0 {
                RandomAccess::Closed
            } else {
                RandomAccess::None
            };
            let arrival_us = index * arrival_us;
            let arrival = Moment {
                utc: UtcMicros::new(NOON + arrival_us),
                monotonic_us: arrival_us,
            };
            let pts_90k = Some(index * camera_us * 9 / 100);
            let unit = AccessUnit {
                pts_90k,
                arrival,
                access,
                data: Bytes::from_static(&[1; 8]),
            };
            for action in segmenter.push(SourceEvent::AccessUnit(unit)) {
                if let Action::Fragment { t_start, t_end, .. } = action {
                    assert!(last_end.is_none_or(|last| last == t_start), "a seam at {t_start}");
                    last_end = Some(t_end);
                    worst = worst.max((NOON + arrival_us - t_end.get()).abs());
                }
                assert!(!matches!(action, Action::Gap { .. }));
            }
        }
        assert!(worst < 300_000, "{worst} µs off");
    }
}

proptest! {
    #[test]
    fn hostile_streams_never_panic_and_never_overlap(
        units in proptest::collection::vec(
            (proptest::option::of(any::<i64>()), -3i64..3_000, 0u8..12, 0usize..64, 0u8..40), 0..200)
    ) {
        let mut bench = Bench::new();
        for (pts, pass, access, size, other) in units {
            bench.true_ms += pass.max(0);
            match other {
                0 => bench.interrupt(GapCause::CameraStalled),
                1 => bench.tick(),
                2 => bench.session(64 + u16::from(access)),
                3 => bench.push(SourceEvent::Loss { packets: 1 }),
                _ => {
                    let access = match access { 0 => RandomAccess::Closed, 1 => RandomAccess::Open, _ => RandomAccess::None };
                    let unit = AccessUnit { pts_90k: pts, arrival: bench.now(), access, data: Bytes::from(vec![0; size]) };
                    bench.push(SourceEvent::AccessUnit(unit));
                }
            }
        }
        bench.interrupt(GapCause::Stopped);
        let (mut covered, mut fragment) = (i64::MIN, i64::MAX);
        let mut open = false;
        for action in &bench.actions {
            match action {
                Action::Begin { .. } => { prop_assert!(!open); open = true; }
                Action::End { .. } => { prop_assert!(open); open = false; }
                Action::Fragment { t_start, t_end, data, .. } => {
                    prop_assert!(open && t_start.get() >= covered && t_end > t_start);
                    prop_assert!(samples(&data.pieces().collect::<Vec<_>>().concat()).is_ok());
                    (fragment, covered) = (t_start.get(), t_end.get());
                }
                Action::Gap { range, cause } if range.start().get() < covered => {
                    prop_assert!(open && *cause == GapCause::PacketLoss);
                    prop_assert!(range.start().get() >= fragment && range.end().get() <= covered);
                    fragment = range.end().get();
                }
                Action::Gap { range, .. } => {
                    prop_assert!(range.start().get() >= covered);
                    covered = range.end().get();
                }
                Action::ClockStep { .. } => prop_assert!(false, "the clock was not set"),
            }
        }
        prop_assert!(!open);
    }
}

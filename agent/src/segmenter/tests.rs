//! The segmenter's behaviour as tables: what goes in, and the actions that come out, as text.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::{Codec, ParameterSets, VideoParameters, samples};
use custody_shared::statement::GapCause;
use custody_shared::time::UtcMicros;
use proptest::prelude::*;

use super::{Action, Segmenter, SegmenterConfig};
use crate::source::{AccessUnit, Moment, SourceEvent};

/// All tests begin at this moment; texts count seconds from it.
const NOON: i64 = 1_790_000_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn parameters(width: u16) -> Arc<VideoParameters> {
    let mut sets = ParameterSets::new(Codec::H264);
    assert!(sets.offer(&[0x67, 66, 0, 10, 0x80]) && sets.offer(&[0x68, 0x80]));
    Arc::new(VideoParameters::from_parameter_sets(&sets, width, 48).expect("valid sets"))
}

/// A segmenter with a camera whose clock starts anywhere, at 10 pictures a second and a keyframe every second.
struct Bench {
    segmenter: Segmenter,
    actions: Vec<Action>,
    /// Milliseconds of the camera's clock, of true time, and by which the wall clock is off.
    camera_ms: i64,
    true_ms: i64,
    wall_off_ms: i64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            segmenter: Segmenter::new(SegmenterConfig::default()),
            actions: Vec::new(),
            camera_ms: 777_000,
            true_ms: 0,
            wall_off_ms: 0,
        };
        bench.session(64);
        bench
    }

    fn now(&self) -> Moment {
        Moment {
            utc: UtcMicros::new(NOON + (self.true_ms + self.wall_off_ms) * 1000),
            monotonic_us: 5_000_000 + self.true_ms * 1000,
        }
    }

    fn push(&mut self, event: SourceEvent) {
        self.actions.extend(self.segmenter.push(event));
    }

    fn session(&mut self, width: u16) {
        self.push(SourceEvent::Parameters(parameters(width)));
    }

    fn unit(&mut self, pts_ms: Option<i64>, access: RandomAccess, size: usize) {
        let unit = AccessUnit {
            pts_90k: pts_ms.map(|ms| ms * 90),
            arrival: self.now(),
            access,
            data: Bytes::from(vec![1; size]),
        };
        self.push(SourceEvent::AccessUnit(unit));
    }

    /// One picture in display order, 100 ms after the one before.
    fn frame(&mut self, access: RandomAccess) {
        self.unit(Some(self.camera_ms), access, 100);
        self.pass(100);
    }

    fn pass(&mut self, ms: i64) {
        self.camera_ms += ms;
        self.true_ms += ms;
    }

    /// Whole seconds of closed groups.
    fn seconds(&mut self, count: usize) {
        for _ in 0..count {
            self.frame(RandomAccess::Closed);
            self.frames(9);
        }
    }

    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.frame(RandomAccess::None);
        }
    }

    fn interrupt(&mut self, cause: GapCause) {
        let now = self.now();
        self.actions.extend(self.segmenter.interrupt(cause, now));
    }

    fn tick(&mut self) {
        let now = self.now();
        self.actions.extend(self.segmenter.tick(now));
    }

    /// Ends recording and writes the actions down, fragments of a segment summed up.
    fn text(mut self) -> String {
        self.interrupt(GapCause::Stopped);
        let mut text = String::new();
        let second = |time: UtcMicros| (time.get() - NOON) as f64 / 1e6;
        let mut sizes = Vec::new();
        for action in &self.actions {
            let _ = match action {
                Action::Begin {
                    t_start, parameters, ..
                } => {
                    sizes.clear();
                    write!(text, "segment {:.1}", second(*t_start)).and_then(|()| match parameters.width() {
                        64 => Ok(()),
                        width => write!(text, " width {width}"),
                    })
                }
                Action::Fragment { frames, .. } => {
                    sizes.push(*frames);
                    Ok(())
                }
                Action::End {
                    t_end,
                    frames,
                    closed_gop,
                    b_frames,
                    timing,
                    fragments,
                } => {
                    assert_eq!((*fragments as usize, *frames), (sizes.len(), sizes.iter().sum()));
                    let open = if *closed_gop { "" } else { " open" };
                    let b = if *b_frames { " b" } else { "" };
                    let arrival = if *timing == custody_shared::statement::Timing::Arrival {
                        " arrival"
                    } else {
                        ""
                    };
                    let sizes = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("+");
                    writeln!(text, "–{:.1} {sizes}{open}{b}{arrival}", second(*t_end))
                }
                Action::Gap { range, cause } => {
                    writeln!(
                        text,
                        "gap {:.1}–{:.1} {cause:?}",
                        second(range.start()),
                        second(range.end())
                    )
                }
                Action::ClockStep {
                    offset_us,
                    before,
                    after,
                } => writeln!(
                    text,
                    "clock {:+.1} {:.1}→{:.1}",
                    *offset_us as f64 / 1e6,
                    second(*before),
                    second(*after)
                ),
            };
        }
        text
    }
}

fn check(scenario: impl FnOnce(&mut Bench), expected: &str) {
    let mut bench = Bench::new();
    scenario(&mut bench);
    let expected: String = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(bench.text(), expected);
}

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
        let mut covered = i64::MIN;
        let mut open = false;
        for action in &bench.actions {
            match action {
                Action::Begin { .. } => { prop_assert!(!open); open = true; }
                Action::End { .. } => { prop_assert!(open); open = false; }
                Action::Fragment { t_start, t_end, data, .. } => {
                    prop_assert!(open && t_start.get() >= covered && t_end > t_start);
                    prop_assert!(samples(&data.pieces().collect::<Vec<_>>().concat()).is_ok());
                    covered = t_end.get();
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

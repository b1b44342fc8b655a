//! A camera with a clock of its own, and the actions it causes, as text.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::{Codec, ParameterSets, VideoParameters};
use custody_shared::statement::GapCause;
use custody_shared::time::UtcMicros;

use super::super::{Action, Segmenter, SegmenterConfig};
use crate::source::{AccessUnit, Moment, SourceEvent};

/// All tests begin at this moment; texts count seconds from it.
pub(super) const NOON: i64 = 1_790_000_000_000_000;
pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) fn parameters(width: u16) -> Arc<VideoParameters> {
    let mut sets = ParameterSets::new(Codec::H264);
    assert!(sets.offer(&[0x67, 66, 0, 10, 0x80]) && sets.offer(&[0x68, 0x80]));
    Arc::new(VideoParameters::from_parameter_sets(&sets, width, 48).expect("valid sets"))
}

/// A segmenter with a camera whose clock starts anywhere, at 10 pictures a second and a keyframe every second.
pub(super) struct Bench {
    pub(super) segmenter: Segmenter,
    pub(super) actions: Vec<Action>,
    /// Milliseconds of the camera's clock, of true time, and by which the wall clock is off.
    pub(super) camera_ms: i64,
    pub(super) true_ms: i64,
    pub(super) wall_off_ms: i64,
}

impl Bench {
    pub(super) fn new() -> Self {
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

    pub(super) fn now(&self) -> Moment {
        Moment {
            utc: UtcMicros::new(NOON + (self.true_ms + self.wall_off_ms) * 1000),
            monotonic_us: 5_000_000 + self.true_ms * 1000,
        }
    }

    pub(super) fn push(&mut self, event: SourceEvent) {
        self.actions.extend(self.segmenter.push(event));
    }

    pub(super) fn session(&mut self, width: u16) {
        self.push(SourceEvent::Parameters(parameters(width)));
    }

    pub(super) fn unit(&mut self, pts_ms: Option<i64>, access: RandomAccess, size: usize) {
        let unit = AccessUnit {
            pts_90k: pts_ms.map(|ms| ms * 90),
            arrival: self.now(),
            access,
            data: Bytes::from(vec![1; size]),
        };
        self.push(SourceEvent::AccessUnit(unit));
    }

    /// One picture in display order, 100 ms after the one before.
    pub(super) fn frame(&mut self, access: RandomAccess) {
        self.unit(Some(self.camera_ms), access, 100);
        self.pass(100);
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.camera_ms += ms;
        self.true_ms += ms;
    }

    /// Whole seconds of closed groups.
    pub(super) fn seconds(&mut self, count: usize) {
        for _ in 0..count {
            self.frame(RandomAccess::Closed);
            self.frames(9);
        }
    }

    pub(super) fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.frame(RandomAccess::None);
        }
    }

    pub(super) fn interrupt(&mut self, cause: GapCause) {
        let now = self.now();
        self.actions.extend(self.segmenter.interrupt(cause, now));
    }

    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.actions.extend(self.segmenter.tick(now));
    }

    /// Ends recording and writes the actions down, fragments of a segment summed up.
    pub(super) fn text(mut self) -> String {
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

pub(super) fn check(scenario: impl FnOnce(&mut Bench), expected: &str) {
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

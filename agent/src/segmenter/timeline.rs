//! Places pictures on UTC: the camera's timestamps anchored at the session's start, drift followed slowly.

use custody_shared::statement::Timing;

/// Ticks per second.
const SECOND: i64 = 90_000;
/// Ticks per millisecond.
const MILLISECOND: i64 = 90;
/// A timestamp that runs ahead of its arrival by more than this within one picture has jumped.
const JUMP_AHEAD: i64 = 2 * SECOND;
/// A timestamp that falls back by more than this has jumped; reordering stays far below.
const JUMP_BACK: i64 = 2 * SECOND;
/// Drift is judged by the least delay seen in this long, so that a slow keyframe does not count.
const WINDOW: i64 = 30 * SECOND;
/// Drift below this is jitter.
const DEAD_BAND: i64 = 20 * MILLISECOND;
/// A camera clock that has fallen behind by this much is anchored anew instead of being followed.
const REANCHOR: i64 = 2 * SECOND;
/// Timestamps are believed again after this long without a fault.
const PROBATION: i64 = 5 * SECOND;
/// Timestamps beyond this cannot be meant.
const SANE: i64 = 1 << 55;

/// Where a picture was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Ticks since 1970.
    pub(super) time: i64,
    /// Whose time it is.
    pub(super) timing: Timing,
}

/// The state of one session with a camera.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Ticks to add to a timestamp of the camera.
    offset: Option<i64>,
    timing: Timing,
    /// Since when every picture has had a timestamp of its own, in ticks of arrival.
    good_since: Option<i64>,
    last_pts: i64,
    last_arrival: i64,
    greatest: i64,
    window_start: i64,
    window_least_delay: i64,
    /// Ticks still to be made up for.
    drift: i64,
    last_correction: i64,
}

impl Timeline {
    /// A session whose pictures must not lie before `floor`, in ticks since 1970.
    pub(super) fn new(floor: i64) -> Self {
        Self {
            offset: None,
            timing: Timing::Source,
            good_since: None,
            last_pts: 0,
            last_arrival: 0,
            greatest: floor,
            window_start: 0,
            window_least_delay: i64::MAX,
            drift: 0,
            last_correction: 0,
        }
    }

    /// Places the next picture in decode order; `arrival` is in ticks since 1970 on a clock without steps.
    pub(super) fn place(&mut self, pts: Option<i64>, arrival: i64) -> Placed {
        let pts = pts.filter(|pts| pts.abs() < SANE);
        let first = self.offset.is_none();
        match pts {
            Some(pts) if first || pts != self.last_pts => {
                self.good_since.get_or_insert(arrival);
            }
            // Missing or repeated: such timestamps mean nothing until they have been good for a while.
            _ => {
                self.timing = Timing::Arrival;
                self.good_since = None;
            }
        }
        let time = match (self.timing, pts) {
            (Timing::Source, Some(pts)) => {
                let step = pts - self.last_pts;
                let passed = arrival.saturating_sub(self.last_arrival);
                let jumped = !first && (step - passed > JUMP_AHEAD || step < -JUMP_BACK);
                if first || jumped {
                    self.anchor(pts, arrival);
                }
                pts + self.offset.unwrap_or_default()
            }
            _ => {
                self.offset.get_or_insert(0);
                arrival.max(self.greatest.saturating_add(MILLISECOND))
            }
        };
        self.last_pts = pts.unwrap_or(self.last_pts);
        self.last_arrival = arrival;
        self.greatest = self.greatest.max(time);
        if self.timing == Timing::Source {
            self.watch_drift(arrival, time);
        }
        Placed {
            time,
            timing: self.timing,
        }
    }

    fn anchor(&mut self, pts: i64, arrival: i64) {
        let time = arrival.max(self.greatest.saturating_add(MILLISECOND));
        self.offset = Some(time - pts);
        self.window_start = arrival;
        self.window_least_delay = i64::MAX;
        self.drift = 0;
        self.last_correction = arrival;
    }

    fn watch_drift(&mut self, arrival: i64, time: i64) {
        self.window_least_delay = self.window_least_delay.min(arrival - time);
        if arrival - self.window_start >= WINDOW {
            self.drift = self.window_least_delay;
            if self.drift.abs() < DEAD_BAND {
                self.drift = 0;
            }
            self.window_start = arrival;
            self.window_least_delay = i64::MAX;
        }
    }

    /// Called before the first picture of a group: makes up for a little drift, so little that no picture's order changes.
    ///
    /// 500 ppm exceeds every quartz; 5 000 ppm where the first pictures came in a burst and the anchor was seconds off.
    /// Returns whether the session was anchored anew, which leaves a gap and asks for a new segment.
    pub(super) fn correct(&mut self, arrival: i64, at_keyframe: bool) -> bool {
        if self.timing == Timing::Arrival
            && at_keyframe
            && self.good_since.is_some_and(|since| arrival - since >= PROBATION)
        {
            self.timing = Timing::Source;
            self.offset = None;
        }
        let Some(offset) = self.offset.filter(|_| self.timing == Timing::Source) else {
            return false;
        };
        let passed = (arrival - self.last_correction).clamp(0, 10 * SECOND);
        self.last_correction = arrival;
        if self.drift >= REANCHOR {
            if !at_keyframe {
                return false;
            }
            self.offset = Some(offset + self.drift);
            self.window_least_delay = i64::MAX;
            self.drift = 0;
            return true;
        }
        let most = if self.drift.abs() >= SECOND {
            passed / 200
        } else {
            passed / 2000
        };
        // Half a picture at 60 a second.
        let most = most.min(8 * MILLISECOND);
        let correction = self.drift.clamp(-most, most);
        self.drift -= correction;
        self.offset = Some(offset + correction);
        if self.window_least_delay != i64::MAX {
            self.window_least_delay -= correction;
        }
        false
    }

    /// Follows a step of the wall clock by `ticks`.
    pub(super) fn shift(&mut self, ticks: i64) {
        if let Some(offset) = &mut self.offset {
            *offset += ticks;
        }
        self.last_arrival += ticks;
        if let Some(since) = &mut self.good_since {
            *since += ticks;
        }
        self.greatest += ticks;
        self.window_start += ticks;
        self.last_correction += ticks;
    }
}

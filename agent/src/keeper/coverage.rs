//! Coverage: every stretch is kept or a stated gap, and nothing in between.
//!
//! `covered_until` is where the last segment or gap ended. What lies between there and the next one is stated with the cause that is
//! known for it; a cause that is the keeper's own, such as a full disk, is stated while it lasts.

use custody_shared::statement::{ClockStep, Gap, GapCause, Kind};
use custody_shared::time::{TimeRange, UtcMicros};

use super::{Keeper, clock_source};
use crate::failure::Failure;

/// Two stretches this close belong together, µs: the distance of two pictures is not a gap.
pub(super) const TOUCHING_US: i64 = 100_000;
/// A pause that goes on is stated after this long, so that it is on record before it ends, µs …
const FIRST_PIECE_US: i64 = 15_000_000;
/// … and then once in this long, µs.
const NEXT_PIECE_US: i64 = 600_000_000;

/// Recording waits for the disk or a key.
#[derive(Debug)]
pub(super) struct Pause {
    /// Whether a part of it has been stated already.
    stated: bool,
}

impl Keeper {
    /// Recording cannot go on at `at`; it is tried again with every new segment.
    pub(super) fn pause_at(&mut self, at: UtcMicros, cause: GapCause) {
        self.pulse.set_recording(false);
        let until = *self.covered_until.get_or_insert(at);
        let goes_on = cause == self.hole_cause;
        match &mut self.pause {
            Some(pause) if goes_on => {
                let patience = if pause.stated { NEXT_PIECE_US } else { FIRST_PIECE_US };
                if at.since(until) < patience {
                    return;
                }
                pause.stated = true;
            }
            _ => {
                let failure = Failure::new(
                    format!("disk of {}", self.folder.root().display()),
                    "record",
                    cause,
                    match cause {
                        GapCause::DiskFull => {
                            "free some space or use a larger disk; nothing is deleted early, and recording goes on by itself"
                        }
                        GapCause::NoKey => {
                            "check the link to the server, which sends the keys; recording goes on by itself"
                        }
                        _ => "check the disk and its cables; recording goes on by itself",
                    },
                );
                tracing::warn!("{failure}");
                self.pause = Some(Pause { stated: false });
            }
        }
        // With the cause known so far; what comes from here on has the new one.
        if self.cover_until(at).is_err() {
            tracing::debug!("the gap so far waits for the disk");
        }
        self.hole_cause = cause;
    }

    pub(super) fn gap(&mut self, range: TimeRange, cause: GapCause) {
        if self.recording.is_none() {
            // Nothing is being written for a reason that weighs more; that hole is stated when it ends.
            if cause == GapCause::PacketLoss && self.hole_cause != cause {
                return;
            }
            if self.cover_until(range.start()).is_err() {
                tracing::debug!("a gap waits for the disk");
            }
            self.covered_until = Some(range.end());
            // What follows without a word continues this.
            self.hole_cause = cause;
            self.pulse.set_recording(false);
        }
        let _ = self.state(Kind::Gap(Gap { range, cause }));
    }

    pub(super) fn clock_step(&mut self, offset_us: i64, before: UtcMicros, after: UtcMicros) {
        tracing::warn!(offset_s = offset_us / 1_000_000, "the wall clock was set");
        let source = clock_source();
        let _ = self.state(Kind::Clock(ClockStep {
            offset_us,
            source,
            before,
            after,
        }));
        if offset_us < 0 {
            // The same hour happens twice; what comes is not a hole before what was.
            self.covered_until = self.covered_until.map(|until| until.min(after));
        }
        self.hole_cause = GapCause::ClockStep;
    }

    /// States the hole between what is covered and `start`, if there is one.
    pub(super) fn cover_until(&mut self, start: UtcMicros) -> Result<(), GapCause> {
        if let Some(until) = self.covered_until
            && start.get().saturating_sub(until.get()) > TOUCHING_US
            && let Ok(range) = TimeRange::new(until, start)
        {
            self.covered_until = Some(start);
            self.state(Kind::Gap(Gap {
                range,
                cause: self.hole_cause,
            }))?;
        }
        Ok(())
    }
}

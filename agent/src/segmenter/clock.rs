//! Tells a step of the wall clock from the passing of time.

use crate::source::Moment;

/// Differences between two observations below this are taken as slewing, in µs.
const STEP_US: i64 = 500_000;

/// Watches the difference of both clocks.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    difference_us: Option<i64>,
    pending_us: i64,
}

impl ClockWatch {
    /// Takes a moment in; a step is remembered until it is taken.
    pub(super) fn observe(&mut self, now: Moment) {
        let difference = now.utc.get().saturating_sub(now.monotonic_us);
        if let Some(last) = self.difference_us.replace(difference) {
            let step = difference.saturating_sub(last);
            if step.saturating_abs() >= STEP_US {
                self.pending_us = self.pending_us.saturating_add(step);
            }
        }
    }

    /// The wall clock as it would be had it not been set since the last step was taken, in µs.
    pub(super) fn unstepped_us(&self, now: Moment) -> i64 {
        now.utc.get().saturating_sub(self.pending_us)
    }

    /// Whether a step waits; steps that cancelled each other do not.
    pub(super) fn pending(&self) -> bool {
        self.pending_us.abs() >= STEP_US
    }

    /// Takes the step, in µs.
    pub(super) fn take(&mut self) -> i64 {
        std::mem::take(&mut self.pending_us)
    }
}

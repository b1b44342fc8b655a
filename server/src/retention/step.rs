//! Whether the clock can be believed enough to destroy by it.

use std::time::Duration;

use custody_shared::time::UtcMicros;

/// A step forward up to this is explained by a clock being set right.
const TOLERATED: Duration = Duration::from_secs(5 * 60);
/// An unexplained step defers destruction by this much at most.
const DEFER_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// What the guard thinks of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTrust {
    /// It went on as time does, or backwards, which destroys nothing early.
    Trusted,
    /// It stepped forward without explanation.
    Stepped {
        /// By how much.
        by: Duration,
        /// Wall time at which it is believed after all.
        until: UtcMicros,
    },
}

/// Compares the wall clock with time that no setting moves. Pure: both are arguments.
#[derive(Debug, Default)]
pub struct StepGuard {
    /// Wall and monotonic time that belong together.
    anchor: Option<(UtcMicros, Duration)>,
    /// When the doubt began, in monotonic time.
    doubt_since: Option<Duration>,
}

impl StepGuard {
    /// Takes both clocks at one moment.
    pub fn observe(&mut self, wall: UtcMicros, monotonic: Duration) -> ClockTrust {
        let Some((anchor, since)) = self.anchor else {
            self.anchor = Some((wall, monotonic));
            return ClockTrust::Trusted;
        };
        let passed = monotonic.saturating_sub(since);
        let went = Duration::from_micros(u64::try_from(wall.get().saturating_sub(anchor.get())).unwrap_or(0));
        let ahead = went.saturating_sub(passed);
        if ahead <= TOLERATED {
            // Also where a wrong step was taken back. The anchor moves on, so that slow drift never adds up.
            self.anchor = Some((wall, monotonic));
            self.doubt_since = None;
            return ClockTrust::Trusted;
        }
        let began = *self.doubt_since.get_or_insert(monotonic);
        let doubted = monotonic.saturating_sub(began);
        if doubted >= DEFER_AT_MOST {
            self.anchor = Some((wall, monotonic));
            self.doubt_since = None;
            return ClockTrust::Trusted;
        }
        let left = i64::try_from((DEFER_AT_MOST - doubted).as_micros()).unwrap_or(i64::MAX);
        ClockTrust::Stepped {
            by: ahead,
            until: UtcMicros::new(wall.get().saturating_add(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn run(guard: &mut StepGuard, wall_s: u64, monotonic_s: u64) -> bool {
        let wall = UtcMicros::new(1_800_000_000_000_000 + i64::try_from(wall_s).unwrap() * 1_000_000);
        guard.observe(wall, Duration::from_secs(monotonic_s)) == ClockTrust::Trusted
    }

    #[test]
    fn time_that_passes_is_trusted() {
        let mut guard = StepGuard::default();
        for hour in 0..100 {
            // Four minutes fast in every hour: drift, not a step.
            assert!(run(&mut guard, hour * (HOUR + 240), hour * HOUR), "{hour}");
        }
    }

    #[test]
    fn a_step_forward_defers_for_a_day_and_no_longer() {
        for step in [301, HOUR, 24 * HOUR, 31 * 24 * HOUR] {
            let mut guard = StepGuard::default();
            assert!(run(&mut guard, 0, 0));
            assert!(!run(&mut guard, step + 60, 60), "{step}");
            assert!(!run(&mut guard, step + 24 * HOUR, 24 * HOUR), "{step}");
            assert!(run(&mut guard, step + 24 * HOUR + 60, 24 * HOUR + 60), "{step}");
            assert!(run(&mut guard, step + 24 * HOUR + 120, 24 * HOUR + 120), "{step}");
        }
    }

    #[test]
    fn a_step_taken_back_is_forgotten() {
        let mut guard = StepGuard::default();
        assert!(run(&mut guard, 0, 0));
        assert!(!run(&mut guard, 24 * HOUR, 60));
        assert!(run(&mut guard, 120, 120));
        assert!(run(&mut guard, 180, 180));
    }

    #[test]
    fn a_step_back_is_trusted_since_it_destroys_nothing_early() {
        let mut guard = StepGuard::default();
        assert!(run(&mut guard, 24 * HOUR, 0));
        assert!(run(&mut guard, 0, 60));
    }
}

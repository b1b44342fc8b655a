//! Which time to believe: for choosing a key and for destroying. Pure; both clocks are arguments.
//!
//! - The *mark* is the highest time the server has signed. A clock stepped back cannot bring a past day's key back into use,
//!   nor lengthen a life.
//! - A step forward of more than five minutes that no time service explains does not destroy anything for up to 24 hours: a wrong clock
//!   must not cost thirty days of footage. After that it does, because nothing may delay the end of retention for ever.

use custody_shared::time::UtcMicros;

/// A step forward beyond this needs an explanation, µs.
const UNEXPLAINED_US: i64 = 5 * 60 * 1_000_000;
/// For at most this long an unexplained step defers destruction, µs.
const DEFER_US: i64 = 24 * 3600 * 1_000_000;

/// What is known about time.
#[derive(Debug)]
pub struct TrustedTime {
    mark: UtcMicros,
    last: Option<(UtcMicros, i64)>,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// By how much the wall clock is ahead of what can be believed, µs.
    excess_us: i64,
    since_monotonic_us: i64,
}

impl TrustedTime {
    /// Starts from the stored mark and the last time this camera stated anything.
    pub fn new(mark: UtcMicros, last_stated: Option<UtcMicros>) -> Self {
        // No monotonic clock spans two runs: the first observation compares with the last statement as if no time had passed, so
        // a machine that comes back from a long outage with an unsynchronised clock waits for the server, a time service, or 24 h.
        Self {
            mark,
            last: last_stated.map(|at| (at, i64::MIN)),
            doubt: None,
        }
    }

    /// The highest time the server has signed, as far as known.
    pub fn mark(&self) -> UtcMicros {
        self.mark
    }

    /// The server signed this time. Returns whether the mark moved.
    pub fn server_said(&mut self, at: UtcMicros) -> bool {
        let moved = at > self.mark;
        self.mark = self.mark.max(at);
        moved
    }

    /// Looks at both clocks; to be called every few seconds.
    pub fn observe(&mut self, now: UtcMicros, monotonic_us: i64, synchronised: bool) {
        if let Some((last, last_monotonic)) = self.last {
            let passed = if last_monotonic == i64::MIN {
                0
            } else {
                monotonic_us.saturating_sub(last_monotonic)
            };
            let step = now.get().saturating_sub(last.get()).saturating_sub(passed);
            match &mut self.doubt {
                Some(doubt) => doubt.excess_us = doubt.excess_us.saturating_add(step),
                None if step > UNEXPLAINED_US => {
                    self.doubt = Some(Doubt {
                        excess_us: step,
                        since_monotonic_us: monotonic_us,
                    });
                }
                None => {}
            }
        }
        self.last = Some((now, monotonic_us));
        let vouched = synchronised || now.get().saturating_sub(self.mark.get()) <= UNEXPLAINED_US;
        if self.doubt.is_some_and(|doubt| {
            vouched
                || doubt.excess_us <= UNEXPLAINED_US
                || monotonic_us.saturating_sub(doubt.since_monotonic_us) >= DEFER_US
        }) {
            self.doubt = None;
        }
    }

    /// Whether destruction is deferred because the clock cannot be believed; worth an alarm.
    pub fn is_doubted(&self) -> bool {
        self.doubt.is_some()
    }

    /// The time to choose a key for, where filming begins at `t_start`.
    pub fn for_keys(&self, t_start: UtcMicros) -> UtcMicros {
        t_start.max(self.mark)
    }

    /// Everything with a `destroy_at` up to this is to be destroyed now.
    pub fn for_destruction(&self, now: UtcMicros) -> UtcMicros {
        let excess = self.doubt.map_or(0, |doubt| doubt.excess_us);
        UtcMicros::new(now.get().saturating_sub(excess)).max(self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    const HOUR: i64 = 3600 * S;
    const NOON: i64 = 1_800_000_000 * S;

    fn at(us: i64) -> UtcMicros {
        UtcMicros::new(us)
    }

    fn running() -> TrustedTime {
        let mut time = TrustedTime::new(at(0), Some(at(NOON)));
        time.observe(at(NOON), 0, false);
        time
    }

    #[test]
    fn a_clock_stepped_back_neither_revives_a_key_nor_lengthens_a_life() {
        let mut time = running();
        assert!(time.server_said(at(NOON)));
        assert!(!time.server_said(at(NOON - 1)));
        for back in [HOUR, 24 * HOUR] {
            time.observe(at(NOON - back), S, true);
            assert_eq!(time.for_keys(at(NOON - back)), at(NOON));
            assert_eq!(time.for_destruction(at(NOON - back)), at(NOON));
        }
    }

    #[test]
    fn an_unexplained_step_forward_defers_by_at_most_a_day() {
        let mut time = running();
        time.observe(at(NOON + 24 * HOUR), S, false);
        assert!(time.is_doubted());
        assert_eq!(time.for_destruction(at(NOON + 24 * HOUR)), at(NOON + S));
        time.observe(at(NOON + 47 * HOUR), S + 23 * HOUR, false);
        assert_eq!(time.for_destruction(at(NOON + 47 * HOUR)), at(NOON + 23 * HOUR + S));
        time.observe(at(NOON + 48 * HOUR), S + 24 * HOUR, false);
        assert!(!time.is_doubted());
        assert_eq!(time.for_destruction(at(NOON + 48 * HOUR)), at(NOON + 48 * HOUR));
    }

    #[test]
    fn what_explains_a_step() {
        for (name, synchronised, server, back) in [
            ("a time service", true, false, false),
            ("the server", false, true, false),
            ("the step undone", false, false, true),
        ] {
            let mut time = running();
            time.observe(at(NOON + HOUR), S, false);
            assert!(time.is_doubted(), "{name}");
            let now = at(if back { NOON + 2 * S } else { NOON + HOUR + S });
            if server {
                time.server_said(now);
            }
            time.observe(now, 2 * S, synchronised);
            assert!(!time.is_doubted(), "{name}");
            assert_eq!(time.for_destruction(now), now, "{name}");
        }
    }

    #[test]
    fn a_start_with_a_far_clock_waits_and_an_ordinary_one_does_not() {
        let mut far = TrustedTime::new(at(0), Some(at(NOON)));
        far.observe(at(NOON + 1000 * HOUR), 5, false);
        assert!(far.is_doubted());
        let mut near = TrustedTime::new(at(0), Some(at(NOON)));
        near.observe(at(NOON + 60 * S), 5, false);
        assert!(!near.is_doubted());
        let mut first = TrustedTime::new(at(0), None);
        first.observe(at(NOON), 5, false);
        assert!(!first.is_doubted());
    }
}

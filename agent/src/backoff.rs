//! How long to wait before trying again: doubling, bounded, with jitter so that a thousand cameras do not return at once.

use std::time::Duration;

/// Waits between attempts: `first`, doubling up to `most`, each drawn from its upper half.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// A fresh sequence.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// The wait before the next attempt; `random` supplies the jitter.
    pub fn wait_with(&mut self, random: u32) -> Duration {
        let ceiling = self.next;
        self.next = (self.next * 2).min(self.most);
        let half = ceiling / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let mut bytes = [0; 4];
        // Without randomness the wait is merely not spread.
        let _ = getrandom::fill(&mut bytes);
        self.wait_with(u32::from_le_bytes(bytes))
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
        let longest: Vec<u128> = (0..6).map(|_| backoff.wait_with(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 4000, 4000]);
        backoff.reset();
        assert_eq!(backoff.wait_with(0), Duration::from_millis(250));
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        let mut backoff = Backoff::new(Duration::from_secs(8), Duration::from_secs(8));
        for random in [0, 1, u32::MAX / 2, u32::MAX] {
            let wait = backoff.wait_with(random);
            assert!(
                (Duration::from_secs(4)..=Duration::from_secs(8)).contains(&wait),
                "{wait:?}"
            );
        }
    }
}

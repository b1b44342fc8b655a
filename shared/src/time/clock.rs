//! Clocks: the system's, and one that tests move.

use super::UtcMicros;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where the present instant comes from.
///
/// It may step, forwards and backwards; whoever measures a duration uses a monotonic clock.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> UtcMicros;
}

/// A clock that parts of a program hold together.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMicros {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        UtcMicros::new(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: UtcMicros) -> Self {
        Self(Arc::new(AtomicI64::new(now.get())))
    }

    /// Steps to `now`, forwards or backwards.
    pub fn set(&self, now: UtcMicros) {
        self.0.store(now.get(), Ordering::SeqCst);
    }

    /// Moves on by `micros`, back if negative.
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::new(self.0.load(Ordering::SeqCst))
    }
}

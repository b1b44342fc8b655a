//! What Custody promises, as checks with names: each runs in full by `make promises` and in a short form with the tests.

mod clone;
mod crash;
mod first_picture;
mod image;
mod plaintext;
mod record;
mod recording;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;

/// How long and how often a promise is tried.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    full: bool,
    duration: Option<Duration>,
}

impl Scale {
    /// The form that belongs to every test run.
    pub const SHORT: Self = Self {
        full: false,
        duration: None,
    };

    /// The whole check; `DURATION` (seconds) in the environment replaces the stretch of recording.
    pub fn full() -> Self {
        let seconds = std::env::var("DURATION").ok().and_then(|d| d.parse().ok());
        Self {
            full: true,
            duration: seconds.map(Duration::from_secs),
        }
    }

    /// A stretch of recording: `short` with the tests, `full` by itself.
    pub fn time(self, short: u64, full: u64) -> Duration {
        self.duration
            .unwrap_or(Duration::from_secs(if self.full { full } else { short }))
    }

    /// A number of repetitions.
    pub fn times(self, short: u32, full: u32) -> u32 {
        if self.full { full } else { short }
    }
}

/// The outcome: one line of evidence.
pub type Outcome = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

/// A promise with its check.
pub struct Promise {
    /// Name for `make promises ONLY=name`.
    pub name: &'static str,
    /// What is promised, in one sentence.
    pub says: &'static str,
    /// The check.
    pub check: fn(Scale) -> Outcome,
}

macro_rules! promises {
    ($($module:ident :: $check:ident, $name:literal, $says:literal;)*) => {
        /// All promises, quick ones first.
        pub const ALL: &[Promise] = &[$(Promise { name: $name, says: $says, check: |scale| Box::pin($module::$check(scale)) },)*];
    };
}

promises! {}

/// The promise of that name.
pub fn named(name: &str) -> Option<&'static Promise> {
    ALL.iter().find(|p| p.name == name)
}

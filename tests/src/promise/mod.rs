//! What Custody promises, as checks with names: each runs in full by `make promises` and in a short form with the tests.

mod clone;
mod crash;
pub(crate) mod first_picture;
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

promises! {
    clone::is_enough, "fresh-clone", "A fresh clone builds and passes its tests, and CI runs nothing else.";
    record::tampering_is_named, "record-tamper", "One byte changed in the record is noticed and its place is named.";
    record::unwritable_means_closed, "ledger-unwritable", "What cannot be recorded is not shown, not exported, not decided.";
    image::opens_nothing, "disk-image-opens-nothing", "Everything on an agent's disk, its keys included, opens no segment.";
    first_picture::demo, "demo-first-picture", "From the demonstration's start to a picture that a request and a decision released.";
    plaintext::nowhere_on_a_disk, "no-plaintext", "While recording, exporting and viewing, no plaintext video reaches a disk.";
    crash::server_away, "server-away-10min", "The server away: nothing lost, caught up, order kept.";
    recording::h264, "real-rtsp-h264", "H.264 with sound beside it: no gap, every frame bit for bit, no sound.";
    recording::h265, "real-rtsp-h265", "H.265 with sound beside it: no gap, every frame bit for bit, no sound.";
    crash::kill_agent, "kill-agent-30", "kill -9 of the agent at random moments loses nothing acknowledged.";
    crash::kill_server, "kill-server-30", "kill -9 of the server at random moments loses nothing acknowledged; the index can be rebuilt.";
}

/// The promise of that name.
pub fn named(name: &str) -> Option<&'static Promise> {
    ALL.iter().find(|p| p.name == name)
}

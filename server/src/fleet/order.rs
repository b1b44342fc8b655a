//! One segment on its way from an agent: what is expected, how far it is, who waits.

use std::fs::File;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use custody_shared::hash::{Hasher, Sha256Hash};
use tokio::sync::watch;

use super::lock;

/// An order that nothing has happened to for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(600);

/// What the camera has signed about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) seq: u64,
    pub(super) len: u64,
    pub(super) sha256: Sha256Hash,
}

/// How an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many bytes are here.
    Arriving(u64),
    Arrived,
    Damaged(u32),
    Failed(String),
}

/// The part that has arrived.
pub(super) struct Part {
    pub(super) file: File,
    pub(super) len: u64,
    pub(super) hasher: Hasher,
}

pub(super) struct Order {
    pub(super) expected: Expected,
    /// Held while bytes are being written: one upload at a time.
    pub(super) part: tokio::sync::Mutex<Option<Part>>,
    state: watch::Sender<Outcome>,
    moved: Mutex<Instant>,
    attempts: Mutex<u32>,
}

impl Order {
    pub(super) fn new(expected: Expected) -> Self {
        Self {
            expected,
            part: tokio::sync::Mutex::default(),
            state: watch::Sender::new(Outcome::Arriving(0)),
            moved: Mutex::new(Instant::now()),
            attempts: Mutex::new(0),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Outcome> {
        self.state.subscribe()
    }

    pub(super) fn set(&self, outcome: Outcome) {
        *lock(&self.moved) = Instant::now();
        self.state.send_replace(outcome);
    }

    /// Bytes that are here.
    pub(super) fn offset(&self) -> u64 {
        match *self.state.borrow() {
            Outcome::Arriving(len) => len,
            Outcome::Arrived => self.expected.len,
            Outcome::Damaged(_) | Outcome::Failed(_) => 0,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        let open = matches!(*self.state.borrow(), Outcome::Arriving(_));
        open && lock(&self.moved).elapsed() < GIVE_UP
    }

    /// Counts a damaged arrival; returns how many there have been.
    pub(super) fn damaged(&self) -> u32 {
        let mut attempts = lock(&self.attempts);
        *attempts += 1;
        *attempts
    }
}

//! What the rest of the agent may know about recording without asking the keeper's thread.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use custody_shared::message::Faults;
use custody_shared::time::UtcMicros;

/// Shared by all parts; every field stands for itself.
#[derive(Debug)]
pub struct Pulse {
    recording: AtomicBool,
    last_frame_us: AtomicI64,
    faults: AtomicU32,
    damaged: AtomicBool,
    written: AtomicU64,
    disk_days: AtomicU32,
    keys_days: AtomicU32,
    key_ends_us: AtomicI64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            recording: AtomicBool::new(false),
            last_frame_us: AtomicI64::new(i64::MIN),
            faults: AtomicU32::new(0),
            damaged: AtomicBool::new(false),
            written: AtomicU64::new(0),
            disk_days: AtomicU32::new(u32::from(u16::MAX)),
            keys_days: AtomicU32::new(0),
            key_ends_us: AtomicI64::new(i64::MAX),
        }
    }
}

impl Pulse {
    /// A fault has begun.
    pub fn raise(&self, fault: Faults) {
        self.faults.fetch_or(fault.0, Ordering::Relaxed);
    }

    /// A fault has ended.
    pub fn clear(&self, fault: Faults) {
        self.faults.fetch_and(!(fault.0), Ordering::Relaxed);
    }

    /// Raises or clears.
    pub fn set(&self, fault: Faults, is: bool) {
        if is { self.raise(fault) } else { self.clear(fault) }
    }

    /// All that is wrong now.
    pub fn faults(&self) -> Faults {
        let now = Faults(self.faults.load(Ordering::Relaxed));
        if self.damaged.load(Ordering::Relaxed) {
            now.with(Faults::DISK_ERROR)
        } else {
            now
        }
    }

    /// The disk has changed a sealed file. That does not pass while this process lives, however well the disk writes.
    pub fn segment_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_recording(&self, recording: bool) {
        self.recording.store(recording, Ordering::Relaxed);
    }

    /// Whether a segment is being written.
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    pub(super) fn frame_at(&self, at: UtcMicros) {
        self.last_frame_us.store(at.get(), Ordering::Relaxed);
    }

    /// Whole seconds since the last recorded picture; `u32::MAX` where there was none.
    pub fn last_frame_age_s(&self, now: UtcMicros) -> u32 {
        match self.last_frame_us.load(Ordering::Relaxed) {
            i64::MIN => u32::MAX,
            last => u32::try_from(now.get().saturating_sub(last).max(0) / 1_000_000).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Plaintext bytes sealed since the start.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Sets the days until the disk is full.
    pub fn set_disk_days(&self, days: u16) {
        self.disk_days.store(u32::from(days), Ordering::Relaxed);
    }

    /// Days until the disk is full; `u16::MAX` where it never is.
    pub fn disk_days(&self) -> u16 {
        self.disk_days.load(Ordering::Relaxed) as u16
    }

    pub(super) fn set_keys_days(&self, days: u16) {
        self.keys_days.store(u32::from(days), Ordering::Relaxed);
    }

    /// Days for which there are day keys.
    pub fn keys_days(&self) -> u16 {
        self.keys_days.load(Ordering::Relaxed) as u16
    }

    pub(super) fn set_key_ends(&self, at: UtcMicros) {
        self.key_ends_us.store(at.get(), Ordering::Relaxed);
    }

    /// When the key in use ends and a new segment is due; `None` before the first.
    pub fn key_ends(&self) -> Option<UtcMicros> {
        Some(self.key_ends_us.load(Ordering::Relaxed))
            .filter(|at| *at != i64::MAX)
            .map(UtcMicros::new)
    }
}

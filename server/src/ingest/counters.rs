//! What ingest counts, and what was wrong with whom.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use custody_shared::id::CameraId;
use custody_shared::time::UtcMicros;

/// Cameras whose trouble is remembered; far more than enrolled ones can be in trouble.
const MAX_TROUBLED: usize = 10_000;

/// Something about a camera's statements that a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// A statement that the camera's key did not sign.
    Forged,
    /// Two histories signed by one key: the agent was copied, or restored from a copy.
    Forked,
    /// A batch or statement that is malformed.
    Malformed,
    /// Statements sealed to another key, or on another camera's topic.
    Unopenable,
}

/// The last trouble with a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub kind: TroubleKind,
    /// When it was seen last.
    pub at: UtcMicros,
    /// How often, of any kind, since the start.
    pub count: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of ingest, from its start.
        #[derive(Debug, Default)]
        pub struct IngestCounters {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
            troubles: Mutex<HashMap<CameraId, Trouble>>,
        }

        /// One reading of ingest's counters.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct IngestSnapshot { $($(#[$doc])* pub $name: u64),* }

        impl IngestCounters {
            pub(super) fn snapshot(&self) -> IngestSnapshot {
                IngestSnapshot { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }

        impl IngestSnapshot {
            /// Name and value of each counter, for the metrics page.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Batches received.
    batches,
    /// Statements stored.
    statements,
    /// Segments among them.
    segments,
    /// Writes made durable; each is one fdatasync.
    commits,
    /// Statements that were here already.
    replayed,
    /// Batches that began beyond the next statement.
    out_of_order,
    /// Statements that the camera's key did not sign.
    forged,
    /// Statements of another history.
    forked,
    /// Batches and statements that are malformed or oversized.
    malformed,
    /// Batches that did not open.
    unopenable,
    /// Batches of cameras that are not enrolled.
    unknown_camera,
    /// Writes to the log or the index that failed; nothing of them was acknowledged.
    failed_writes,
    /// Receipts sent.
    receipts,
    /// Messages other than statements dropped because the fleet was busy.
    dropped,
    /// Connections to the broker.
    connections,
}

impl IngestCounters {
    pub(super) fn add(&self, counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn trouble(&self, camera: CameraId) -> Option<Trouble> {
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&camera)
            .copied()
    }

    /// Notes trouble with an enrolled camera and says so in the log.
    pub(super) fn note(&self, camera: CameraId, kind: TroubleKind, now: UtcMicros) {
        let counter = match kind {
            TroubleKind::Forged => &self.forged,
            TroubleKind::Forked => &self.forked,
            TroubleKind::Malformed => &self.malformed,
            TroubleKind::Unopenable => &self.unopenable,
        };
        self.add(counter, 1);
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let count = troubles.get(&camera).map_or(1, |trouble| trouble.count + 1);
        if troubles.len() < MAX_TROUBLED || count > 1 {
            troubles.insert(camera, Trouble { kind, at: now, count });
        }
        // A camera that keeps at it fills no disk with its log.
        if count.is_power_of_two() {
            tracing::error!(%camera, ?kind, count, "statements refused");
        }
    }
}

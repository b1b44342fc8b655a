//! The index: what is recorded, gone or missing, by camera and time. A projection of the statement log and nothing more.
//!
//! In scope: the boundary that every store implements, the embedded implementation on sled, coverage, rebuilding.
//! Out of scope: keys, grants, the record. Losing the index costs minutes of rebuilding, never evidence.

mod coverage;
mod replay;
mod row;
mod sled_index;

use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, KeyId};
use custody_shared::statement::{Codec, Destroyed, Gap, GapCause, Kind, Statement};
use custody_shared::time::TimeRange;

use crate::statements::{StatementRef, StoreError};

pub use coverage::{Stretch, StretchKind, coverage};
pub use replay::{ReplayReport, StatementKeys, rebuild, replay};
pub use sled_index::SledIndex;

/// What can go wrong with an index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store refused.
    #[error("index: {step} failed ({reason}); check the disk, then run `custody-server rebuild`")]
    Store {
        /// What was tried.
        step: &'static str,
        /// What the store said.
        reason: String,
    },
    /// A row is not what was written.
    #[error("index: a row of {0} is damaged; run `custody-server rebuild`")]
    Damaged(&'static str),
    /// The statement log, which the index is built from, cannot be read.
    #[error(transparent)]
    Statements(#[from] StoreError),
}

/// How far a camera's chain is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Public half of the key that signs the chain; a replaced agent begins a new chain with a new key.
    pub key: [u8; 32],
    /// Place of the next statement.
    pub next_index: u64,
    /// Digest of the last one.
    pub last_hash: Sha256Hash,
}

/// One segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRow {
    /// The camera's number for it.
    pub seq: u64,
    /// From the first frame to the end of the last.
    pub range: TimeRange,
    /// Length of the sealed file in bytes.
    pub file_len: u64,
    /// The footage key it is sealed to.
    pub key_id: KeyId,
    /// Where its statement lies.
    pub statement: StatementRef,
    /// A crash cut the file.
    pub truncated: bool,
    /// Every fragment can be decoded without the one before.
    pub closed_gop: bool,
    /// How the video is coded.
    pub codec: Codec,
}

/// What a statement adds to the index beside the camera's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A segment.
    Segment(SegmentRow),
    /// A stretch that was not recorded.
    Gap(Gap),
    /// Segments that are gone.
    Destroyed(Destroyed),
    /// Nothing.
    None,
}

/// One verified statement, as the index takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The camera.
    pub camera: CameraId,
    /// Where the statement lies in the log.
    pub at: StatementRef,
    /// The camera's position after it.
    pub position: Position,
    /// What it adds.
    pub fact: Fact,
}

impl IndexEntry {
    /// The entry of a verified statement. `key` signed it, `hash` is of its signed bytes, `at` is where it lies.
    pub fn new(statement: &Statement, key: [u8; 32], hash: Sha256Hash, at: StatementRef) -> Self {
        let fact = match &statement.kind {
            Kind::Segment(segment) => match segment.range() {
                Ok(range) => Fact::Segment(SegmentRow {
                    seq: segment.preamble.header.seq,
                    range,
                    file_len: segment.file_len,
                    key_id: segment.preamble.header.key_id,
                    statement: at,
                    truncated: segment.truncated,
                    closed_gop: segment.closed_gop,
                    codec: segment.codec.codec,
                }),
                // Reading a statement checks its range; were it not so, there is nothing to index.
                Err(_) => Fact::None,
            },
            Kind::Gap(gap) => Fact::Gap(*gap),
            Kind::Destroyed(destroyed) => Fact::Destroyed(*destroyed),
            Kind::Tamper(_) | Kind::Boot(_) | Kind::Clock(_) | Kind::KeyInUse { .. } => Fact::None,
        };
        let position = Position {
            key,
            next_index: statement.index.saturating_add(1),
            last_hash: hash,
        };
        Self {
            camera: statement.camera,
            at,
            position,
            fact,
        }
    }
}

/// Where the index is kept. Every implementation passes the one suite in `conformance`.
///
/// Duties: `put` is durable on return; putting an entry again changes nothing; a position never moves back in the
/// log; readers run beside the one writer. Calls block and belong on a thread that may.
pub trait IndexStore: Send + Sync {
    /// Takes entries in the log's order. `upto` is where the log goes on after them.
    fn put(&self, entries: &[IndexEntry], upto: StatementRef) -> Result<(), IndexError>;

    /// Up to which place of the log everything is indexed.
    fn upto(&self) -> Result<StatementRef, IndexError>;

    /// How far a camera's chain is indexed; `None` if nothing of it is.
    fn position(&self, camera: CameraId) -> Result<Option<Position>, IndexError>;

    /// A camera's segments that overlap `range`, by start and number, at most `limit`.
    fn segments(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentRow>, IndexError>;

    /// The segment with this number; the latest one, should a replaced agent have counted anew.
    fn segment(&self, camera: CameraId, seq: u64) -> Result<Option<SegmentRow>, IndexError>;

    /// A camera's stated gaps that overlap `range`, by start, at most `limit`.
    fn gaps(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Gap>, IndexError>;

    /// A camera's stated destructions that overlap `range`, by start, at most `limit`.
    fn destroyed(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Destroyed>, IndexError>;

    /// Where the statements lie whose segments, gaps or destructions overlap `range`, in the log's order, at most `limit`.
    fn statements(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<StatementRef>, IndexError>;

    /// Forgets everything, durably.
    fn clear(&self) -> Result<(), IndexError>;
}

/// The cause a stored number stands for.
fn gap_cause(number: u8) -> Result<GapCause, IndexError> {
    let known = GapCause::ALL.iter().copied().find(|cause| *cause as u8 == number);
    known.ok_or(IndexError::Damaged("gaps"))
}

#[cfg(test)]
pub(crate) mod conformance;

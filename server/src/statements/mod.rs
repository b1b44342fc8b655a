//! What the cameras have said, verified and kept: append-only files that the index can always be rebuilt from.
//!
//! One log for all cameras, a new file each UTC day of receipt and every 256 MiB: so one fdatasync makes many cameras'
//! batches durable. A file is a row of frames: length u32, CRC-32 of length and body u32 (both big-endian), body = the signed statement
//! as its camera sent it. Only statements whose signature and place in the chain have been checked come here.
//!
//! A crash leaves a torn last frame at most; opening cuts it off. What was cut was never acknowledged.

mod file;
mod scan;
mod store;

pub use scan::{Damage, Frame, Scan};
pub use store::{StatementStore, StoreError};

/// Largest statement kept, in bytes.
pub const MAX_STATEMENT: usize = 4 * 1024;
/// Size from which a new file is begun, in bytes.
pub(crate) const FILE_BYTES: u64 = 256 << 20;

/// Where a statement lies: number of the file, and offset of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StatementRef {
    /// Number of the file; they count up from 1.
    pub file: u32,
    /// Offset of the frame within it, in bytes.
    pub offset: u32,
}

impl StatementRef {
    /// Before the first statement.
    pub const START: Self = Self { file: 0, offset: 0 };
}

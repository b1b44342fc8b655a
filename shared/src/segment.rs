//! The sealed segment: one file with about ten seconds of video of one camera.
//!
//! Normative text: `shared/spec/segment.md`. A file is a [`Preamble`] (the [`Header`] in the clear,
//! the segment's key sealed to the day's public key, salt and commitment) followed by chunks. What
//! follows the salt is a C2SP `chunked-encryption` message with ChaCha20-Poly1305 and HKDF-SHA512.
//!
//! Writing is [`Sealer`], which forgets the key when it ends; reading is [`unseal_key`] and
//! [`Opener`], chunk by chunk and in any order.

mod chunk;
mod extent;
mod open;
mod preamble;
mod seal;

pub use extent::{
    CHUNK, Extent, ExtentError, MAX_CHUNKS, MAX_FILE_LEN, MAX_PLAIN_LEN, SEALED_CHUNK, TAG_LEN, sealed_len,
};
pub use open::{Opener, open_all, open_extent, unseal_key};
pub use preamble::{
    COMMITMENT_LEN, HEADER_LEN, Header, MAGIC, PREAMBLE_LEN, Preamble, PreambleError, SALT_LEN, SEALED_KEY_LEN, SUITE,
    VERSION,
};
pub use seal::{Finished, SealRandomness, Sealer};

use zeroize::Zeroizing;

/// Names the purpose in the HPKE seal of a segment's key.
pub const KEY_INFO: &[u8] = b"custody/segment-key/v1";

/// The key of one segment. Wiped when dropped.
pub struct SegmentKey(Zeroizing<[u8; 32]>);

impl SegmentKey {
    /// A key that was unsealed or unwrapped.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Why a segment cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The segment's key could not be made or sealed.
    #[error("cannot seal the segment's key: {0}")]
    Key(#[from] crate::hpke::HpkeError),
    /// The segment is as long as a segment may be; a new one is due.
    #[error("a segment holds at most {MAX_PLAIN_LEN} bytes")]
    TooLong,
}

/// Why a segment cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What stands before the chunks is malformed.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// The file's length is none that a segment can have.
    #[error(transparent)]
    Extent(#[from] ExtentError),
    /// The day's key does not open this segment's key: another key, or a changed preamble.
    #[error("the segment's key does not open with this day key")]
    Key,
    /// The key is not the one that this file was sealed with.
    #[error("the key does not match the segment's commitment")]
    Commitment,
    /// There is no chunk with this number.
    #[error("the segment has no chunk {0}")]
    NoSuchChunk(u64),
    /// The chunk has another length than its place in the file says.
    #[error("chunk {0} has the wrong length")]
    ChunkLen(u64),
    /// The chunk was changed, moved, or belongs to another segment.
    #[error("chunk {0} is not authentic")]
    Chunk(u64),
}

//! Reading a segment.

use super::chunk::Chunks;
use super::{Extent, KEY_INFO, OpenError, Preamble, SegmentKey};
use crate::hpke::{self, RecipientSecret};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Opens the segment's key with the secret half of the key that the header names.
///
/// # Errors
/// If the secret is another one or the preamble was changed.
pub fn unseal_key(secret: &RecipientSecret, preamble: &Preamble) -> Result<SegmentKey, OpenError> {
    let key = hpke::open(
        secret,
        &preamble.enc,
        KEY_INFO,
        &preamble.key_aad(),
        &preamble.sealed_key,
    )
    .map_err(|_| OpenError::Key)?;
    let key = SegmentKey::from_bytes(key.as_slice().try_into().map_err(|_| OpenError::Key)?);
    derive(&key, preamble)?;
    Ok(key)
}

/// Derives the chunks' key, and checks the commitment before anything is opened with it.
fn derive(key: &SegmentKey, preamble: &Preamble) -> Result<Chunks, OpenError> {
    let (chunks, commitment) = Chunks::derive(key.as_bytes(), &preamble.salt, &preamble.header.to_bytes());
    if bool::from(commitment.ct_eq(&preamble.commitment)) {
        Ok(chunks)
    } else {
        Err(OpenError::Commitment)
    }
}

/// Opens chunks of one segment, in any order.
pub struct Opener {
    chunks: Chunks,
    extent: Extent,
}

impl Opener {
    /// An opener for the file with this preamble and length.
    ///
    /// # Errors
    /// If the key is not the one that the preamble commits to.
    pub fn new(key: &SegmentKey, preamble: &Preamble, extent: Extent) -> Result<Self, OpenError> {
        Ok(Self {
            chunks: derive(key, preamble)?,
            extent,
        })
    }

    /// The file's length and what follows from it.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Appends the video of chunk `index` to `out`; `sealed` are its bytes in the file.
    ///
    /// # Errors
    /// If there is no such chunk, its length is not the one its place asks for, or it was changed,
    /// moved or taken from another segment. `out` is then as before.
    pub fn open_chunk(&self, index: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        if index >= self.extent.chunks() {
            return Err(OpenError::NoSuchChunk(index));
        }
        if sealed.len() as u64 != self.extent.sealed_chunk_len(index) {
            return Err(OpenError::ChunkLen(index));
        }
        if self.chunks.open(index, sealed, out) {
            Ok(())
        } else {
            Err(OpenError::Chunk(index))
        }
    }
}

/// The whole video of a finished segment's file, for tests and small files.
///
/// # Errors
/// If anything of the file was changed, cut or appended, or the key is another's.
pub fn open_all(key: &SegmentKey, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open_extent(key, file, Extent::complete(file.len() as u64)?)
}

/// The whole video of a file with a known extent.
///
/// # Errors
/// As [`open_all`], and if the file has another length than its extent.
pub fn open_extent(key: &SegmentKey, file: &[u8], extent: Extent) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let preamble = Preamble::parse(file)?;
    let opener = Opener::new(key, &preamble, extent)?;
    // Reserved at once: a vector that grows leaves copies of what it held.
    let mut video = Zeroizing::new(Vec::with_capacity(
        usize::try_from(extent.plain_len()).unwrap_or(0).min(file.len()),
    ));
    for index in 0..extent.chunks() {
        let range = extent.sealed_range(index).ok_or(OpenError::NoSuchChunk(index))?;
        let sealed = file
            .get(range.start as usize..range.end as usize)
            .ok_or(OpenError::ChunkLen(index))?;
        opener.open_chunk(index, sealed, &mut video)?;
    }
    if file.len() as u64 == extent.file_len() {
        Ok(video)
    } else {
        Err(super::ExtentError::Cut.into())
    }
}

//! Lengths and places: which bytes of a file are which chunk, and which of the video.

use super::PREAMBLE_LEN;
use std::ops::Range;

/// Plaintext bytes in every chunk but the last.
pub const CHUNK: usize = 16_384;
/// Bytes that authenticate a chunk.
pub const TAG_LEN: usize = 16;
/// Bytes in the file of every chunk but the last.
pub const SEALED_CHUNK: usize = CHUNK + TAG_LEN;
/// A segment has at most this many chunks: 1 GiB.
pub const MAX_CHUNKS: u64 = 65_536;
/// Plaintext bytes that a segment holds at most; the last chunk must stay short.
pub const MAX_PLAIN_LEN: u64 = MAX_CHUNKS * CHUNK as u64 - 1;
/// Length in bytes of the longest segment file.
pub const MAX_FILE_LEN: u64 = PREAMBLE_LEN as u64 + MAX_CHUNKS * SEALED_CHUNK as u64 - 1;

/// Length of the file of a finished segment with `plain_len` bytes of video.
pub const fn sealed_len(plain_len: u64) -> u64 {
    PREAMBLE_LEN as u64 + plain_len + (plain_len / CHUNK as u64 + 1) * TAG_LEN as u64
}

/// A length that no segment file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtentError {
    /// The end mark, a short last chunk, is missing: the file was cut.
    #[error("the segment is cut: its end mark is missing")]
    Cut,
    /// A signed cut lies at the end of a whole chunk; this length does not.
    #[error("the segment's length is not that of whole chunks")]
    NotWholeChunks,
    /// Longer than a segment may be.
    #[error("the segment is longer than {MAX_FILE_LEN} bytes")]
    TooLong,
}

/// The length of one segment file and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    file_len: u64,
    chunks: u64,
    last_sealed: u64,
    truncated: bool,
}

impl Extent {
    /// A finished segment's file of this length, with its end mark.
    ///
    /// # Errors
    /// If a file of this length has no end mark, or is too long.
    pub fn complete(file_len: u64) -> Result<Self, ExtentError> {
        let sealed = file_len.checked_sub(PREAMBLE_LEN as u64).ok_or(ExtentError::Cut)?;
        let last_sealed = sealed % SEALED_CHUNK as u64;
        if last_sealed < TAG_LEN as u64 {
            return Err(ExtentError::Cut);
        }
        Self::new(file_len, sealed / SEALED_CHUNK as u64 + 1, last_sealed, false)
    }

    /// A file without its end mark, which only a signed statement of exactly this length excuses.
    ///
    /// # Errors
    /// If the length is not that of the preamble and one or more whole chunks.
    pub(crate) fn truncated(file_len: u64) -> Result<Self, ExtentError> {
        let sealed = file_len.checked_sub(PREAMBLE_LEN as u64).ok_or(ExtentError::Cut)?;
        if sealed == 0 || !sealed.is_multiple_of(SEALED_CHUNK as u64) {
            return Err(ExtentError::NotWholeChunks);
        }
        Self::new(file_len, sealed / SEALED_CHUNK as u64, SEALED_CHUNK as u64, true)
    }

    fn new(file_len: u64, chunks: u64, last_sealed: u64, truncated: bool) -> Result<Self, ExtentError> {
        if chunks > MAX_CHUNKS {
            return Err(ExtentError::TooLong);
        }
        Ok(Self {
            file_len,
            chunks,
            last_sealed,
            truncated,
        })
    }

    /// How much of a file that a crash left can be kept: preamble and whole chunks.
    ///
    /// None if not even one chunk is whole; such a file holds nothing and is deleted.
    pub fn recoverable_len(file_len: u64) -> Option<u64> {
        let chunks = file_len.checked_sub(PREAMBLE_LEN as u64)? / SEALED_CHUNK as u64;
        (1..=MAX_CHUNKS)
            .contains(&chunks)
            .then_some(PREAMBLE_LEN as u64 + chunks * SEALED_CHUNK as u64)
    }

    /// Length of the file.
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Number of chunks, at least 1.
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Whether the file lacks its end mark.
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes of video in the file.
    pub const fn plain_len(&self) -> u64 {
        self.file_len - PREAMBLE_LEN as u64 - self.chunks * TAG_LEN as u64
    }

    /// The chunk that holds the byte at `offset` of the video, if there is one.
    pub const fn chunk_of(&self, offset: u64) -> Option<u64> {
        if offset < self.plain_len() {
            Some(offset / CHUNK as u64)
        } else {
            None
        }
    }

    /// The chunks that hold a range of the video, as far as the video reaches.
    pub fn chunks_of(&self, plain: Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.plain_len());
        if plain.start >= end {
            0..0
        } else {
            plain.start / CHUNK as u64..(end - 1) / CHUNK as u64 + 1
        }
    }

    /// Where in the video chunk `index` starts.
    pub const fn plain_start(&self, index: u64) -> u64 {
        index * CHUNK as u64
    }

    /// The bytes of the file that are chunk `index`, if there is one.
    pub fn sealed_range(&self, index: u64) -> Option<Range<u64>> {
        let start = PREAMBLE_LEN as u64 + index.checked_mul(SEALED_CHUNK as u64)?;
        (index < self.chunks).then(|| start..start + self.sealed_chunk_len(index))
    }

    pub(super) const fn sealed_chunk_len(&self, index: u64) -> u64 {
        if index + 1 == self.chunks {
            self.last_sealed
        } else {
            SEALED_CHUNK as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_video_has_one_length_of_file() {
        let chunk = CHUNK as u64;
        for (plain, chunks) in [
            (0, 1),
            (1, 1),
            (chunk - 1, 1),
            (chunk, 2),
            (chunk + 1, 2),
            (5 * chunk, 6),
            (MAX_PLAIN_LEN, MAX_CHUNKS),
        ] {
            let extent = Extent::complete(sealed_len(plain)).unwrap();
            assert_eq!((extent.plain_len(), extent.chunks()), (plain, chunks));
            assert_eq!(extent.sealed_range(chunks - 1).unwrap().end, extent.file_len());
            assert_eq!(extent.sealed_range(chunks), None);
        }
    }

    #[test]
    fn lengths_of_no_segment_are_refused() {
        let (preamble, sealed) = (PREAMBLE_LEN as u64, SEALED_CHUNK as u64);
        for (flaw, len, error) in [
            ("empty", 0, ExtentError::Cut),
            ("inside the preamble", preamble - 1, ExtentError::Cut),
            ("no chunk", preamble, ExtentError::Cut),
            ("part of a tag", preamble + 15, ExtentError::Cut),
            ("whole chunks only", preamble + 2 * sealed, ExtentError::Cut),
            ("part of the second tag", preamble + sealed + 15, ExtentError::Cut),
            ("a byte over the limit", MAX_FILE_LEN + 17, ExtentError::TooLong),
        ] {
            assert_eq!(Extent::complete(len), Err(error), "{flaw}");
        }
        assert!(Extent::truncated(preamble + 2 * sealed).is_ok());
        for len in [0, preamble, preamble + sealed - 1, preamble + sealed + 1] {
            assert!(Extent::truncated(len).is_err(), "{len}");
        }
    }

    #[test]
    fn a_crash_keeps_whole_chunks() {
        let (preamble, sealed) = (PREAMBLE_LEN as u64, SEALED_CHUNK as u64);
        assert_eq!(Extent::recoverable_len(preamble + sealed - 1), None);
        assert_eq!(Extent::recoverable_len(preamble + sealed), Some(preamble + sealed));
        assert_eq!(
            Extent::recoverable_len(preamble + 3 * sealed + 700),
            Some(preamble + 3 * sealed)
        );
        assert_eq!(Extent::recoverable_len(10), None);
    }

    #[test]
    fn ranges_of_video_find_their_chunks() {
        let extent = Extent::complete(sealed_len(3 * CHUNK as u64 + 5)).unwrap();
        assert_eq!(extent.chunks_of(0..1), 0..1);
        assert_eq!(extent.chunks_of(CHUNK as u64 - 1..CHUNK as u64 + 1), 0..2);
        assert_eq!(extent.chunks_of(0..u64::MAX), 0..4);
        assert_eq!(extent.chunks_of(4 * CHUNK as u64..u64::MAX), 0..0);
        assert_eq!(extent.chunk_of(3 * CHUNK as u64 + 5), None);
        assert_eq!(extent.chunk_of(3 * CHUNK as u64 + 4), Some(3));
    }
}

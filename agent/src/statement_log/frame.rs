//! One entry of the statement log on disk, and finding the next whole one behind a damaged one.
//!
//! ```text
//! file  = "CSL1" 0 0 0 0 | frame*
//! frame = length u32 | index u64 | seq u64 | check [8] | bytes [length]       (big endian)
//! ```
//! `seq` is the segment's number for a segment statement and `u64::MAX` for every other, so that a segment is found
//! without parsing. `check` is the start of SHA-256 over index, seq and bytes: it tells torn from whole. What proves
//! authorship is the signature inside `bytes`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use custody_shared::hash::Hasher;

/// First bytes of every log file; the digit is the version.
pub(super) const MAGIC: [u8; 8] = *b"CSL1\0\0\0\0";
/// Bytes before a statement.
pub(super) const FRAME_HEAD: u64 = 28;
/// The longest statement that may be logged, in bytes.
pub const MAX_STATEMENT: usize = 4096;
/// In the place of `seq` for statements that are not about a segment.
pub const NOT_A_SEGMENT: u64 = u64::MAX;

/// One whole entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Place in the camera's chain.
    pub index: u64,
    /// The segment's number, or [`NOT_A_SEGMENT`].
    pub seq: u64,
    /// The signed statement.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The entry as it lies on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FRAME_HEAD as usize + self.bytes.len());
        out.extend_from_slice(&(self.bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&check(self.index, self.seq, &self.bytes));
        out.extend_from_slice(&self.bytes);
        out
    }
}

/// The part before the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Length of the statement.
    pub length: usize,
    /// Place in the chain.
    pub index: u64,
    /// The segment's number, or [`NOT_A_SEGMENT`].
    pub seq: u64,
    check: [u8; 8],
}

fn check(index: u64, seq: u64, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = Hasher::new();
    hasher.update(&index.to_be_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(bytes);
    let hash = hasher.finish();
    let mut start = [0; 8];
    start.copy_from_slice(&hash.as_bytes()[..8]);
    start
}

/// What lies at a place of the file.
#[derive(Debug)]
pub(super) enum At {
    /// A whole entry, ending at `next`.
    Frame {
        /// The entry.
        frame: Frame,
        /// Offset of the byte after it.
        next: u64,
    },
    /// Damaged or missing bytes; the next whole entry is at `next`.
    Damage {
        /// Where whole entries go on.
        next: u64,
    },
    /// No whole entry from `from` to the end of the file: a torn tail, unless it is long.
    Torn {
        /// Where the last whole entry ended.
        from: u64,
    },
    /// The end of the file, exactly.
    End,
}

/// Reads the head at `offset`; `None` where it does not fit or cannot be one.
pub(super) fn head_at(file: &File, offset: u64, end: u64) -> io::Result<Option<Head>> {
    if end.saturating_sub(offset) < FRAME_HEAD {
        return Ok(None);
    }
    let mut raw = [0; FRAME_HEAD as usize];
    file.read_exact_at(&mut raw, offset)?;
    Ok(parse_head(&raw).filter(|head| head.length as u64 <= end - offset - FRAME_HEAD))
}

fn parse_head(raw: &[u8]) -> Option<Head> {
    let number = |at: usize| Some(u64::from_be_bytes(raw.get(at..at + 8)?.try_into().ok()?));
    let length = u32::from_be_bytes(raw.get(..4)?.try_into().ok()?) as usize;
    let check = raw.get(20..28)?.try_into().ok()?;
    (1..=MAX_STATEMENT).contains(&length).then_some(Head {
        length,
        index: number(4)?,
        seq: number(12)?,
        check,
    })
}

/// Reads what lies at `offset` of a file that is `end` bytes long.
pub(super) fn read_at(file: &File, offset: u64, end: u64) -> io::Result<At> {
    if offset == end {
        return Ok(At::End);
    }
    if let Some(frame) = whole_at(file, offset, end)? {
        let next = offset + FRAME_HEAD + frame.bytes.len() as u64;
        return Ok(At::Frame { frame, next });
    }
    resync(file, offset, end)
}

fn whole_at(file: &File, offset: u64, end: u64) -> io::Result<Option<Frame>> {
    let Some(head) = head_at(file, offset, end)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; head.length];
    file.read_exact_at(&mut bytes, offset + FRAME_HEAD)?;
    let whole = check(head.index, head.seq, &bytes) == head.check;
    Ok(whole.then_some(Frame {
        index: head.index,
        seq: head.seq,
        bytes,
    }))
}

/// Looks for the next whole entry within the reach of two damaged ones. Rot in the middle must never cost what follows it.
fn resync(file: &File, from: u64, end: u64) -> io::Result<At> {
    const REACH: usize = 2 * (MAX_STATEMENT + FRAME_HEAD as usize);
    let available = usize::try_from(end - from)
        .unwrap_or(usize::MAX)
        .min(REACH + FRAME_HEAD as usize);
    let mut window = vec![0; available];
    file.read_exact_at(&mut window, from)?;
    for start in 1..available {
        let Some(raw) = window.get(start..start + FRAME_HEAD as usize) else {
            break;
        };
        // The cheap look at the head spares nearly every hash.
        if parse_head(raw).is_some() && whole_at(file, from + start as u64, end)?.is_some() {
            return Ok(At::Damage {
                next: from + start as u64,
            });
        }
    }
    Ok(At::Torn { from })
}

//! The kinds of statement and their fields.

mod encoding;

use super::words::{ClockSource, Codec, DestroyReason, GapCause, TamperKind, Timing};
use crate::hash::Sha256Hash;
use crate::id::KeyId;
use crate::segment::{Extent, ExtentError, Preamble};
use crate::time::{SECOND_US, TimeRange, UtcMicros};

/// A software version is at most this long, in bytes.
pub const MAX_SOFTWARE_LEN: usize = 64;
/// A codec string is at most this long, in bytes.
pub const MAX_RFC6381_LEN: usize = 64;
/// No segment is longer than this, in microseconds of its own time: five minutes. One that began
/// this long before an instant may still contain it, and none that began earlier does.
pub const MAX_SEGMENT_US: i64 = 300 * SECOND_US;

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A segment was recorded.
    Segment(Box<SegmentStatement>),
    /// A stretch was not recorded.
    Gap(Gap),
    /// Somebody did something to the camera.
    Tamper(Tamper),
    /// The agent started.
    Boot(Boot),
    /// The clock was set.
    Clock(ClockStep),
    /// From now on, segments are sealed to this key.
    KeyInUse {
        /// The key.
        key_id: KeyId,
    },
    /// Files were destroyed.
    Destroyed(Destroyed),
}

/// A segment: everything about the file that can be said without opening it, and its preamble, so
/// that the key can be resealed without the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStatement {
    /// What stands before the chunks.
    pub preamble: Preamble,
    /// Digest of the whole file.
    pub file_sha256: Sha256Hash,
    /// Length of the whole file in bytes.
    pub file_len: u64,
    /// End of the last frame.
    pub t_end: UtcMicros,
    /// Number of frames; 0 only where `truncated` and nobody could count.
    pub frames: u32,
    /// Number of fragments; 0 only where `truncated` and nobody could count.
    pub fragments: u32,
    /// How the video is coded.
    pub codec: CodecParameters,
    /// A crash cut the file; it has no end mark and exactly `file_len` bytes.
    pub truncated: bool,
    /// What kept the clock right while recording.
    pub clock: ClockSource,
    /// Where frame times come from.
    pub timing: Timing,
    /// Every fragment that starts with a keyframe can be decoded without the one before.
    pub closed_gop: bool,
    /// Some frames are shown in another order than they are decoded.
    pub b_frames: bool,
}

impl SegmentStatement {
    /// From the first frame to the end of the last.
    ///
    /// # Errors
    /// If the statement was not read from signed bytes and is invalid.
    pub fn range(&self) -> Result<TimeRange, crate::time::TimeRangeError> {
        TimeRange::new(self.preamble.header.t_start, self.t_end)
    }

    /// Length and chunks of the file. This is the only way to read a file without its end mark.
    ///
    /// # Errors
    /// If no file of that length exists.
    pub fn extent(&self) -> Result<Extent, ExtentError> {
        if self.truncated {
            Extent::truncated(self.file_len)
        } else {
            Extent::complete(self.file_len)
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let len = self.t_end.since(self.preamble.header.t_start);
        let counted = 0 < self.fragments && self.fragments <= self.frames;
        let uncounted = self.truncated && self.frames == 0 && self.fragments == 0;
        if self.extent().is_err() {
            Err("file length")
        } else if !(1..=MAX_SEGMENT_US).contains(&len) || !self.t_end.is_plausible() {
            Err("segment end")
        } else if !counted && !uncounted {
            Err("frame or fragment count")
        } else {
            self.codec.check()
        }
    }
}

/// How a segment's video is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecParameters {
    /// H.264 or H.265.
    pub codec: Codec,
    /// The codec string of RFC 6381, such as `avc1.640028`; printable ASCII.
    pub rfc6381: String,
    /// Width in pixels, 1 to 16 384.
    pub width: u16,
    /// Height in pixels, 1 to 16 384.
    pub height: u16,
}

impl CodecParameters {
    fn check(&self) -> Result<(), &'static str> {
        let pixels = 1..=16_384;
        if !(1..=MAX_RFC6381_LEN).contains(&self.rfc6381.len()) || !self.rfc6381.bytes().all(|b| b.is_ascii_graphic()) {
            Err("codec string")
        } else if !pixels.contains(&self.width) || !pixels.contains(&self.height) {
            Err("picture size")
        } else {
            Ok(())
        }
    }
}

/// A stretch that was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From the end of the last frame to the first frame after, or to now.
    pub range: TimeRange,
    /// Why.
    pub cause: GapCause,
}

/// Somebody did something to the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tamper {
    /// When it was seen first.
    pub since: UtcMicros,
    /// What.
    pub kind: TamperKind,
}

/// The agent started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Name and version of the software; printable ASCII, at most [`MAX_SOFTWARE_LEN`] bytes.
    pub software: String,
    /// What keeps the clock right.
    pub clock: ClockSource,
}

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// By how much, in microseconds; negative is backwards.
    pub offset_us: i64,
    /// What keeps the clock right after it.
    pub source: ClockSource,
    /// The clock just before.
    pub before: UtcMicros,
    /// The clock just after.
    pub after: UtcMicros,
}

/// Segment files were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// The key they were sealed to.
    pub key_id: KeyId,
    /// From the first frame of the first to the end of the last.
    pub range: TimeRange,
    /// Number of the first segment deleted.
    pub first_seq: u64,
    /// Number of the last segment deleted; those between that belong to another key remain.
    pub last_seq: u64,
    /// Why.
    pub reason: DestroyReason,
}

impl Kind {
    /// What of it no reader would accept, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Segment(s) => s.check(),
            Self::Gap(g) if !(g.range.start().is_plausible() && g.range.end().is_plausible()) => Err("gap range"),
            Self::Tamper(t) if !t.since.is_plausible() => Err("tamper instant"),
            Self::Boot(b)
                if b.software.len() > MAX_SOFTWARE_LEN || !b.software.bytes().all(|b| matches!(b, b' '..=b'~')) =>
            {
                Err("software version")
            }
            Self::Clock(c) if !c.before.is_plausible() || !c.after.is_plausible() || c.offset_us == 0 => {
                Err("clock step")
            }
            Self::Destroyed(d) if d.first_seq > d.last_seq => Err("segment numbers"),
            Self::Destroyed(d) if !(d.range.start().is_plausible() && d.range.end().is_plausible()) => {
                Err("destroyed range")
            }
            _ => Ok(()),
        }
    }

    const fn number(&self) -> u64 {
        match self {
            Self::Segment(_) => 0,
            Self::Gap(_) => 1,
            Self::Tamper(_) => 2,
            Self::Boot(_) => 3,
            Self::Clock(_) => 4,
            Self::KeyInUse { .. } => 5,
            Self::Destroyed(_) => 6,
        }
    }

    /// The kind in texts and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Segment(_) => "segment",
            Self::Gap(_) => "gap",
            Self::Tamper(_) => "tamper",
            Self::Boot(_) => "boot",
            Self::Clock(_) => "clock",
            Self::KeyInUse { .. } => "key-in-use",
            Self::Destroyed(_) => "destroyed",
        }
    }
}

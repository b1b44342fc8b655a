//! The kinds of statement and their fields.

use super::words::{ClockSource, Codec, DestroyReason, GapCause, TamperKind, Timing};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::hash::Sha256Hash;
use crate::id::KeyId;
use crate::segment::{Extent, ExtentError, Preamble};
use crate::time::{SECOND_US, TimeRange, UtcMicros};

/// A software version is at most this long, in bytes.
pub const MAX_SOFTWARE_LEN: usize = 64;
/// A codec string is at most this long, in bytes.
pub const MAX_RFC6381_LEN: usize = 64;
/// No segment is longer than this, in microseconds of its own time: an hour.
pub const MAX_SEGMENT_US: i64 = 3600 * SECOND_US;

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

impl Cbor for Kind {
    /// A list of the kind's number and its fields.
    fn write(&self, e: &mut Encoder) {
        e.array(2).uint(self.number());
        match self {
            Self::Segment(s) => {
                e.map(12)
                    .key(0)
                    .value(&s.preamble)
                    .key(1)
                    .value(&s.file_sha256)
                    .key(2)
                    .uint(s.file_len);
                e.key(3)
                    .value(&s.t_end)
                    .key(4)
                    .uint(s.frames.into())
                    .key(5)
                    .uint(s.fragments.into());
                e.key(6).value(&s.codec).key(7).bool(s.truncated).key(8).value(&s.clock);
                e.key(9)
                    .value(&s.timing)
                    .key(10)
                    .bool(s.closed_gop)
                    .key(11)
                    .bool(s.b_frames);
            }
            Self::Gap(g) => {
                e.map(2).key(0).value(&g.range).key(1).value(&g.cause);
            }
            Self::Tamper(t) => {
                e.map(2).key(0).value(&t.since).key(1).value(&t.kind);
            }
            Self::Boot(b) => {
                e.map(2).key(0).text(&b.software).key(1).value(&b.clock);
            }
            Self::Clock(c) => {
                e.map(4)
                    .key(0)
                    .int(c.offset_us)
                    .key(1)
                    .value(&c.source)
                    .key(2)
                    .value(&c.before)
                    .key(3)
                    .value(&c.after);
            }
            Self::KeyInUse { key_id } => {
                e.map(1).key(0).value(key_id);
            }
            Self::Destroyed(d) => {
                e.map(5).key(0).value(&d.key_id).key(1).value(&d.range);
                e.key(2)
                    .uint(d.first_seq)
                    .key(3)
                    .uint(d.last_seq)
                    .key(4)
                    .value(&d.reason);
            }
        }
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        if d.array(2)? != 2 {
            return Err(CborError::Limit);
        }
        let kind = match d.uint()? {
            0 => Self::Segment(Box::new(read_segment(d)?)),
            1 => {
                d.map(2)?;
                Self::Gap(Gap {
                    range: d.key(0)?.value()?,
                    cause: d.key(1)?.value()?,
                })
            }
            2 => {
                d.map(2)?;
                Self::Tamper(Tamper {
                    since: d.key(0)?.value()?,
                    kind: d.key(1)?.value()?,
                })
            }
            3 => {
                d.map(2)?;
                Self::Boot(Boot {
                    software: d.key(0)?.text(MAX_SOFTWARE_LEN)?.to_owned(),
                    clock: d.key(1)?.value()?,
                })
            }
            4 => {
                d.map(4)?;
                Self::Clock(ClockStep {
                    offset_us: d.key(0)?.int()?,
                    source: d.key(1)?.value()?,
                    before: d.key(2)?.value()?,
                    after: d.key(3)?.value()?,
                })
            }
            5 => {
                d.map(1)?;
                Self::KeyInUse {
                    key_id: d.key(0)?.value()?,
                }
            }
            6 => {
                d.map(5)?;
                Self::Destroyed(Destroyed {
                    key_id: d.key(0)?.value()?,
                    range: d.key(1)?.value()?,
                    first_seq: d.key(2)?.uint()?,
                    last_seq: d.key(3)?.uint()?,
                    reason: d.key(4)?.value()?,
                })
            }
            _ => return Err(CborError::Value("kind of statement")),
        };
        kind.check().map_err(CborError::Value)?;
        Ok(kind)
    }
}

fn read_segment(d: &mut Decoder<'_>) -> Result<SegmentStatement, CborError> {
    d.map(12)?;
    Ok(SegmentStatement {
        preamble: d.key(0)?.value()?,
        file_sha256: d.key(1)?.value()?,
        file_len: d.key(2)?.uint()?,
        t_end: d.key(3)?.value()?,
        frames: d.key(4)?.small()?,
        fragments: d.key(5)?.small()?,
        codec: d.key(6)?.value()?,
        truncated: d.key(7)?.bool()?,
        clock: d.key(8)?.value()?,
        timing: d.key(9)?.value()?,
        closed_gop: d.key(10)?.bool()?,
        b_frames: d.key(11)?.bool()?,
    })
}

impl Cbor for CodecParameters {
    fn write(&self, e: &mut Encoder) {
        e.array(4)
            .value(&self.codec)
            .text(&self.rfc6381)
            .uint(self.width.into())
            .uint(self.height.into());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        if d.array(4)? != 4 {
            return Err(CborError::Limit);
        }
        Ok(Self {
            codec: d.value()?,
            rfc6381: d.text(MAX_RFC6381_LEN)?.to_owned(),
            width: d.small()?,
            height: d.small()?,
        })
    }
}

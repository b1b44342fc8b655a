//! What the recorder and its capture child say to each other over pipes.
//!
//! Recorder to child, standard input: length u32 big-endian and one [`Job`] as JSON, at most [`MAX_JOB`] bytes; then the
//! pipe stays open, and its end tells the child to end. Child to recorder, standard output: frames of
//!
//! ```text
//! kind u8 | length u32 big-endian | body
//! 1 parameters    body = `avc1` or `hvc1` box
//! 2 access unit   body = has_pts u8 (0 | 1) | pts i64 big-endian, ticks of 1/90 000 s | NAL units with four-byte lengths
//! 3 loss          body = packets u32 big-endian
//! 4 unfenced      body = u8, what the kernel could not do: 1 confine files, 2 confine system calls; at most once
//! ```
//!
//! The child's exit code is an [`Ending`]; its last line on standard error says it in words, without secrets.
//! The child parses hostile video, so the recorder believes none of it: every length has a limit before it allocates.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The largest job in bytes.
pub const MAX_JOB: usize = 16 * 1024;
/// The largest access unit in bytes.
pub const MAX_ACCESS_UNIT: usize = 8 * 1024 * 1024;
/// Bytes before a frame's body.
pub const HEAD: usize = 5;
/// Bytes of an access unit's body before its NAL units.
pub const ACCESS_UNIT_HEAD: usize = 9;

/// What the child is to do.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Where the video comes from.
    pub input: Input,
    /// Seconds to connect.
    pub connect_s: u32,
    /// Seconds without a picture after which the source counts as stalled.
    pub stall_s: u32,
}

/// A source that needs FFmpeg, or a picture made up.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Input {
    /// A camera at this machine.
    V4l2 {
        /// Such as `/dev/video0`.
        device: String,
        /// Raw pictures or MJPEG; `None` lets the driver choose.
        format: Option<String>,
        /// The picture asked for.
        picture: Picture,
    },
    /// A file with H.264 or H.265, copied; anything else in it is re-encoded.
    File {
        /// Its path.
        path: String,
        /// Start again at the end.
        repeat: bool,
    },
    /// An MJPEG stream over HTTP.
    HttpMjpeg {
        /// With user name and password where needed.
        url: String,
        /// The rate to record at.
        picture: Picture,
    },
    /// RTSP over TCP through FFmpeg, copied.
    Rtsp {
        /// With user name and password where needed.
        url: String,
    },
    /// A picture made up: wall clock, moving figures, the camera's name.
    TestPicture {
        /// Shown in the picture.
        name: String,
        /// The picture wanted.
        picture: Picture,
    },
}

/// Size and rate of a picture that is encoded here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Pictures a second.
    pub rate: u16,
    /// Aimed at, in kbit/s.
    pub kbit_s: u32,
}

impl Job {
    /// As JSON.
    ///
    /// # Errors
    /// A job over [`MAX_JOB`] bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CaptureError> {
        let bytes = serde_json::to_vec(self).map_err(|_| CaptureError::Job)?;
        if bytes.len() > MAX_JOB {
            Err(CaptureError::Job)
        } else {
            Ok(bytes)
        }
    }

    /// From JSON.
    ///
    /// # Errors
    /// Anything but a job, or one over [`MAX_JOB`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CaptureError> {
        if bytes.len() > MAX_JOB {
            return Err(CaptureError::Job);
        }
        serde_json::from_slice(bytes).map_err(|_| CaptureError::Job)
    }
}

/// What does not follow this protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CaptureError {
    /// A job that is none.
    #[error("not a capture job of at most {MAX_JOB} bytes")]
    Job,
    /// A frame of an unknown kind.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A frame whose length its kind does not allow.
    #[error("a frame of {length} bytes where its kind allows {limit}")]
    Length {
        /// Claimed.
        length: u32,
        /// Allowed.
        limit: usize,
    },
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A sample entry.
    Parameters,
    /// A picture.
    AccessUnit,
    /// Packets lost.
    Loss,
    /// The child runs with less confinement than it should.
    Unfenced,
}

/// In the body of [`FrameKind::Unfenced`]: every file this user may open, the child may open.
pub const UNFENCED_FILES: u8 = 1;
/// In the body of [`FrameKind::Unfenced`]: the child may make every system call.
pub const UNFENCED_CALLS: u8 = 2;

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            Self::Parameters => 1,
            Self::AccessUnit => 2,
            Self::Loss => 3,
            Self::Unfenced => 4,
        }
    }
}

/// Reads a frame's head: its kind and the length of its body, checked against the kind's limits.
///
/// # Errors
/// An unknown kind, or a length the kind does not allow.
pub fn parse_head(head: [u8; HEAD]) -> Result<(FrameKind, usize), CaptureError> {
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length);
    let (kind, least, limit) = match kind {
        1 => (FrameKind::Parameters, 8, crate::fmp4::MAX_SAMPLE_ENTRY),
        2 => (
            FrameKind::AccessUnit,
            ACCESS_UNIT_HEAD + 5,
            ACCESS_UNIT_HEAD + MAX_ACCESS_UNIT,
        ),
        3 => (FrameKind::Loss, 4, 4),
        4 => (FrameKind::Unfenced, 1, 1),
        other => return Err(CaptureError::Kind(other)),
    };
    match usize::try_from(length) {
        Ok(bytes) if (least..=limit).contains(&bytes) => Ok((kind, bytes)),
        _ => Err(CaptureError::Length { length, limit }),
    }
}

/// Makes a frame's head.
///
/// # Errors
/// A body longer than its kind allows.
pub fn head(kind: FrameKind, body: usize) -> Result<[u8; HEAD], CaptureError> {
    let mut head = [0; HEAD];
    head[0] = kind.code();
    head[1..].copy_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes());
    parse_head(head).map(|_| head)
}

/// The first bytes of an access unit's body.
pub fn access_unit_head(pts: Option<i64>) -> [u8; ACCESS_UNIT_HEAD] {
    let mut bytes = [0; ACCESS_UNIT_HEAD];
    bytes[0] = pts.is_some().into();
    bytes[1..].copy_from_slice(&pts.unwrap_or_default().to_be_bytes());
    bytes
}

/// The presentation time in an access unit's body.
pub fn access_unit_pts(body: &[u8]) -> Option<i64> {
    let (flag, rest) = body.split_first()?;
    (*flag == 1).then_some(i64::from_be_bytes(*rest.first_chunk()?))
}

/// Why the child ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The file is over, or the recorder asked for the end.
    Ended,
    /// No connection, no such device or file.
    Unreachable,
    /// A connection, but a refusal.
    Refused,
    /// No picture for too long.
    Stalled,
    /// Neither H.264 nor H.265 nor anything that can be encoded here.
    Unsupported,
    /// The job cannot be read, or nothing here can encode.
    Unable,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ended,
        Self::Unreachable,
        Self::Refused,
        Self::Stalled,
        Self::Unsupported,
        Self::Unable,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Ended => 0,
            Self::Unreachable => 10,
            Self::Refused => 11,
            Self::Stalled => 12,
            Self::Unsupported => 13,
            Self::Unable => 14,
        }
    }

    /// From an exit code; `None` for a crash or anything else.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| i32::from(ending.code()) == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_bounded() {
        let check = |kind, body, good: bool| assert_eq!(head(kind, body).is_ok(), good, "{kind:?} {body}");
        check(FrameKind::AccessUnit, ACCESS_UNIT_HEAD + MAX_ACCESS_UNIT, true);
        check(FrameKind::AccessUnit, ACCESS_UNIT_HEAD + MAX_ACCESS_UNIT + 1, false);
        check(FrameKind::AccessUnit, ACCESS_UNIT_HEAD, false);
        check(FrameKind::Parameters, crate::fmp4::MAX_SAMPLE_ENTRY + 1, false);
        check(FrameKind::Loss, 5, false);
        check(FrameKind::Unfenced, 1, true);
        check(FrameKind::Unfenced, 2, false);
        check(FrameKind::AccessUnit, usize::MAX, false);
        assert_eq!(parse_head([9, 0, 0, 0, 1]), Err(CaptureError::Kind(9)));
    }

    #[test]
    fn jobs_survive_the_pipe_and_strangers_do_not() {
        let picture = Picture {
            width: 640,
            height: 360,
            rate: 10,
            kbit_s: 500,
        };
        let job = Job {
            input: Input::TestPicture {
                name: "gate".into(),
                picture,
            },
            connect_s: 10,
            stall_s: 10,
        };
        let bytes = job.to_bytes().expect("a job");
        assert!(Job::from_bytes(&bytes).is_ok_and(|read| read == job));
        assert!(Job::from_bytes(b"{}").is_err());
        assert!(Job::from_bytes(&[b' '; MAX_JOB + 1]).is_err());
        let long = Job {
            input: Input::Rtsp {
                url: "x".repeat(MAX_JOB),
            },
            connect_s: 1,
            stall_s: 1,
        };
        assert_eq!(long.to_bytes(), Err(CaptureError::Job));
    }

    #[test]
    fn endings_survive_the_exit_code() {
        for ending in Ending::ALL {
            assert_eq!(Ending::from_code(ending.code().into()), Some(ending));
        }
        assert_eq!(Ending::from_code(101), None);
    }

    proptest! {
        #[test]
        fn arbitrary_heads_never_panic(bytes: [u8; HEAD], body in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Ok((kind, length)) = parse_head(bytes) {
                prop_assert_eq!(head(kind, length), Ok(bytes));
            }
            access_unit_pts(&body);
            let _ = Job::from_bytes(&body);
        }

        #[test]
        fn times_survive(pts: Option<i64>) {
            prop_assert_eq!(access_unit_pts(&access_unit_head(pts)), pts);
        }
    }
}

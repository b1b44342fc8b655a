//! Fragmented MP4 as Custody writes and reads it: one video track, CMAF fragments, nothing else.
//!
//! In scope: the init section, fragment heads, `free` padding, walking and cutting finished segments, and the NAL units
//! inside samples. Out of scope: audio, edit lists, samples tables, encryption (see `segment`).
//!
//! Decode times are ticks of 1/90 000 s since 1970-01-01 UTC on the camera's continuous media timeline, so
//! `baseMediaDecodeTime / 90 000` is the wall clock and segments concatenate without a seam.

mod codec;
mod mend;
pub mod nal;
mod parameter_sets;
mod walker;
mod writer;

pub use crate::statement::Codec;
pub use codec::VideoParameters;
pub use mend::mend;
pub use parameter_sets::ParameterSets;
pub use walker::{
    BoxHeader, FragmentRef, Layout, SampleInfo, box_header, boxes, decode_time, layout, patch_decode_time, samples,
    video_parameters,
};
pub use writer::{Sample, fragment_head, free_box, init_section};

use thiserror::Error;

/// Ticks per second of the only track.
pub const TIMESCALE: u32 = 90_000;
/// The only track's number.
pub const TRACK: u32 = 1;
/// The largest sample entry that is accepted, in bytes: parameter sets are a few hundred at most.
pub const MAX_SAMPLE_ENTRY: usize = 16 * 1024;
/// The most samples one fragment holds: 4 s at 1 000 frames a second.
pub const MAX_FRAGMENT_SAMPLES: usize = 4096;
/// The largest fragment a reader accepts, in bytes.
pub const MAX_FRAGMENT: usize = 64 * 1024 * 1024;

/// Why a piece of MP4 was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Fmp4Error {
    /// A box claims more bytes than there are, or fewer than its own header.
    #[error("box at byte {at} has an impossible length")]
    BoxLength {
        /// Offset of the box in the walked bytes.
        at: usize,
    },
    /// A box that must be there is not.
    #[error("no `{0}` box where one is required")]
    Missing(&'static str),
    /// A box stands where it must not.
    #[error("a `{0}` box stands where it must not")]
    Misplaced(String),
    /// A limit of this module was exceeded.
    #[error("{0} exceeds its limit")]
    TooLarge(&'static str),
    /// A codec other than H.264 or H.265.
    #[error("the codec is neither H.264 nor H.265")]
    UnsupportedCodec,
    /// The parameter sets do not parse.
    #[error("the {0} does not parse")]
    ParameterSet(&'static str),
    /// A box's content is malformed, or cannot be expressed.
    #[error("malformed box: {0}")]
    Malformed(String),
}

impl From<mp4_atom::Error> for Fmp4Error {
    fn from(error: mp4_atom::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

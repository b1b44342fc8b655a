//! What a camera says, signed: segments, gaps, boots, steps of the clock, keys, destructions.
//!
//! Normative text: `shared/spec/statement.md`. Each statement carries the digest of the one before,
//! so that a camera's statements are one chain and a missing link is visible.

mod chain;
mod kind;
mod signed;
mod words;

pub use chain::{Chain, ChainError};
pub use kind::{
    Boot, ClockStep, CodecParameters, Destroyed, Gap, Kind, MAX_RFC6381_LEN, MAX_SEGMENT_US, MAX_SOFTWARE_LEN,
    SegmentStatement, Tamper,
};
pub use signed::{DOMAIN, MAX_SIGNED_LEN, SignedStatement, Statement, StatementError};
pub use words::{ClockSource, Codec, DestroyReason, GapCause, TamperKind, Timing};

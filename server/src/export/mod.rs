//! Copies: one playable file per camera and one archive, opened as they are fetched. Nothing is staged, not even sealed.
//!
//! A copy is prepared first: every segment is opened and checked once, which gives each file's exact length, CRC and SHA-256
//! and finds where codec settings change. Fetching it opens the segments again, under intents of its own. Memory holds two
//! segments at a time, whatever the length.

mod bundle;
mod job;
pub mod mp4;
mod plan;
mod stream;
pub mod zip;

pub use job::{Exports, Progress};
pub use plan::{Document, Part, Plan};

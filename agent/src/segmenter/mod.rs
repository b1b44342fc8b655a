//! Turns access units into segments: a pure state machine that knows no socket, disk or clock.
//!
//! One fragment per group of pictures, cut at 2 s or 4 MiB where no keyframe comes; a segment of about 10 s begins at a
//! keyframe. Presentation times come from the camera and are anchored to UTC; decode times are the group's sorted
//! presentation times, so that reordered pictures get signed composition offsets and nothing has to be guessed.
//! Every stretch that is not recorded becomes a gap with its cause.

mod action;
mod clock;
mod group;
mod machine;
#[cfg(test)]
mod tests;
mod timeline;

pub use action::{Action, FragmentData, SegmenterConfig};
pub use machine::Segmenter;

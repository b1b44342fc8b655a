//! The recorder of one camera.
#![forbid(unsafe_code)]

pub mod segmenter;
pub mod source;

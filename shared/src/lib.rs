//! Formats and rules.
pub mod fmp4;

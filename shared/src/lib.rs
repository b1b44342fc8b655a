//! Formats and rules.
pub mod fmp4;
pub mod tlog;

//! Formats and rules.

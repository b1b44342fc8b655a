//! Half-open ranges.

use super::UtcMicros;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use std::fmt;

/// A range that would be empty or run backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time range ends after it starts")]
pub struct TimeRangeError;

/// From `start`, included, to `end`, excluded; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "RawRange")]
pub struct TimeRange {
    start: UtcMicros,
    end: UtcMicros,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRange {
    start: UtcMicros,
    end: UtcMicros,
}

impl TryFrom<RawRange> for TimeRange {
    type Error = TimeRangeError;
    fn try_from(raw: RawRange) -> Result<Self, TimeRangeError> {
        Self::new(raw.start, raw.end)
    }
}

impl TimeRange {
    /// The range from `start` to `end`.
    ///
    /// # Errors
    /// If `end` is not after `start`.
    pub fn new(start: UtcMicros, end: UtcMicros) -> Result<Self, TimeRangeError> {
        if start < end {
            Ok(Self { start, end })
        } else {
            Err(TimeRangeError)
        }
    }

    /// The first instant of the range.
    pub const fn start(&self) -> UtcMicros {
        self.start
    }

    /// The first instant after the range.
    pub const fn end(&self) -> UtcMicros {
        self.end
    }

    /// Its length in microseconds, at least 1.
    pub const fn len_us(&self) -> i64 {
        self.end.since(self.start)
    }

    /// Whether `instant` lies in the range.
    pub fn contains(&self, instant: UtcMicros) -> bool {
        self.start <= instant && instant < self.end
    }

    /// Whether the whole of `other` lies in the range.
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two share an instant.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What the two share.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }
}

impl fmt::Display for TimeRange {
    /// An ISO 8601 interval: `start/end`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}

impl Cbor for TimeRange {
    fn write(&self, e: &mut Encoder) {
        e.array(2).value(&self.start).value(&self.end);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        if d.array(2)? != 2 {
            return Err(CborError::Limit);
        }
        let (start, end) = (d.value()?, d.value()?);
        Self::new(start, end).map_err(|_| CborError::Value("time range"))
    }
}

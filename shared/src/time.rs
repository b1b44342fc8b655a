//! Instants, half-open ranges and clocks.
//!
//! Every instant in Custody's formats is a count of microseconds since 1970-01-01 UTC, without
//! leap seconds. Local days and time zones belong to the server, which knows the site's.

mod civil;
mod clock;
mod range;

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use civil::{Civil, InstantTextError};
pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use range::{TimeRange, TimeRangeError};

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in 24 hours.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// An instant: microseconds since 1970-01-01 UTC.
///
/// Shown and read as RFC 3339 in UTC with as many digits of a second as it needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UtcMicros(i64);

impl UtcMicros {
    /// The earliest instant that formats carry: 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// The latest instant that formats carry: 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant `micros` after 1970-01-01 UTC, or before it if negative.
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whole days since 1970-01-01 UTC.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_US)
    }

    /// The first instant of a UTC day counted from 1970-01-01; saturates at the ends of 64 bits.
    pub const fn from_day(day: i64) -> Self {
        Self(day.saturating_mul(DAY_US))
    }

    /// Date and time of day in UTC.
    pub fn civil(self) -> Civil {
        Civil::of(self.0)
    }

    /// The UTC date as eight digits, `20261122`: the name of a day's folder.
    pub fn yyyymmdd(self) -> String {
        let c = self.civil();
        format!("{:04}{:02}{:02}", c.year, c.month, c.day)
    }

    /// The instant `micros` later, unless 64 bits do not hold it.
    pub const fn checked_add(self, micros: i64) -> Option<Self> {
        match self.0.checked_add(micros) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The instant `micros` later, or the last one that 64 bits hold.
    pub const fn saturating_add(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The instant `micros` earlier, or the first one that 64 bits hold.
    pub const fn saturating_sub(self, micros: i64) -> Self {
        Self(self.0.saturating_sub(micros))
    }

    /// Microseconds from `earlier` to this instant; negative if it is later. Saturates.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether formats may carry it: a date from 1970 to 9999.
    pub const fn is_plausible(self) -> bool {
        0 <= self.0 && self.0 <= Self::MAX.0
    }
}

impl std::ops::Add<Duration> for UtcMicros {
    type Output = Self;
    /// Saturates.
    fn add(self, duration: Duration) -> Self {
        self.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl std::ops::Sub<Duration> for UtcMicros {
    type Output = Self;
    /// Saturates.
    fn sub(self, duration: Duration) -> Self {
        self.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UtcMicros({self})")
    }
}

impl serde::Serialize for UtcMicros {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for UtcMicros {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::id::text_visitor(d)
    }
}

impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.civil().fmt(f)
    }
}

impl FromStr for UtcMicros {
    type Err = InstantTextError;
    fn from_str(text: &str) -> Result<Self, InstantTextError> {
        civil::parse(text).map(Self)
    }
}

impl Cbor for UtcMicros {
    fn write(&self, e: &mut Encoder) {
        e.int(self.0);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        let instant = Self(d.int()?);
        if instant.is_plausible() {
            Ok(instant)
        } else {
            Err(CborError::Value("instant"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(UtcMicros(start), UtcMicros(end)).unwrap()
    }

    #[test]
    fn ranges_are_half_open() {
        let r = range(10, 20);
        assert!(r.contains(UtcMicros(10)) && !r.contains(UtcMicros(20)));
        assert!(!r.overlaps(&range(20, 30)) && r.overlaps(&range(19, 30)));
        assert_eq!(r.intersect(&range(15, 30)), Some(range(15, 20)));
        assert_eq!(r.intersect(&range(20, 30)), None);
        assert!(TimeRange::new(UtcMicros(5), UtcMicros(5)).is_err());
        assert!(TimeRange::new(UtcMicros(6), UtcMicros(5)).is_err());
    }

    #[test]
    fn json_cannot_make_an_empty_range() {
        let good = "{\"start\":\"2026-11-22T00:00:00Z\",\"end\":\"2026-11-22T00:00:10Z\"}";
        assert_eq!(
            serde_json::from_str::<TimeRange>(good).unwrap().len_us(),
            10 * SECOND_US
        );
        let empty = "{\"start\":\"2026-11-22T00:00:00Z\",\"end\":\"2026-11-22T00:00:00Z\"}";
        assert!(serde_json::from_str::<TimeRange>(empty).is_err());
    }

    #[test]
    fn formats_carry_1970_to_9999_only() {
        for (micros, carried) in [
            (0, true),
            (-1, false),
            (UtcMicros::MAX.0, true),
            (UtcMicros::MAX.0 + 1, false),
        ] {
            let bytes = UtcMicros(micros).to_cbor();
            assert_eq!(UtcMicros::from_cbor(&bytes).is_ok(), carried, "{micros}");
        }
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(UtcMicros(5));
        let other = clock.clone();
        clock.advance(7);
        assert_eq!(other.now(), UtcMicros(12));
        clock.set(UtcMicros(3));
        assert_eq!(other.now(), UtcMicros(3));
    }
}

//! Dates of the proleptic Gregorian calendar, and RFC 3339 text.

use super::{DAY_US, SECOND_US};
use std::fmt;

/// Date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Microseconds of the second, 0 to 999 999.
    pub micros: u32,
}

impl Civil {
    /// Date and time of `micros` after 1970-01-01 UTC.
    pub(super) fn of(micros: i64) -> Self {
        let (year, month, day) = date_of_day(micros.div_euclid(DAY_US));
        let of_day = micros.rem_euclid(DAY_US);
        let seconds = of_day / SECOND_US;
        Self {
            year,
            month,
            day,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            micros: (of_day % SECOND_US) as u32,
        }
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match micros {
            0 => f.write_str("Z"),
            micros if micros % 1000 == 0 => write!(f, ".{:03}Z", micros / 1000),
            micros => write!(f, ".{micros:06}Z"),
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Years are counted from 1 March, so that the leap day is a year's last and month lengths
/// follow one line; 146 097 days are 400 years.
fn date_of_day(day: i64) -> (i64, u8, u8) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day_of_month as u8)
}

/// The day, counted from 1970-01-01, of a date.
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// A text that is not an instant of RFC 3339 from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instant is written like 2026-11-22T17:29:00Z or 2026-11-23T02:29:00.5+09:00, from 1970 to 9999")]
pub struct InstantTextError;

/// Microseconds since 1970-01-01 UTC of an RFC 3339 text. Digits beyond the microsecond are cut.
pub(super) fn parse(text: &str) -> Result<i64, InstantTextError> {
    parse_fields(text.as_bytes())
        .filter(|micros| super::UtcMicros(*micros).is_plausible())
        .ok_or(InstantTextError)
}

fn number(bytes: &[u8], from: usize, len: usize) -> Option<i64> {
    let digits = bytes.get(from..from + len)?;
    digits
        .iter()
        .try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn parse_fields(b: &[u8]) -> Option<i64> {
    let (year, month, day) = (number(b, 0, 4)?, number(b, 5, 2)?, number(b, 8, 2)?);
    let (hour, minute, second) = (number(b, 11, 2)?, number(b, 14, 2)?, number(b, 17, 2)?);
    let separators =
        b[4] == b'-' && b[7] == b'-' && matches!(b[10], b'T' | b't' | b' ') && b[13] == b':' && b[16] == b':';
    if !separators || hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
        return None;
    }
    let day_number = day_of_date(year, month, day);
    // 30 February and the like name a day of another month.
    if day == 0 || date_of_day(day_number) != (year, month as u8, day as u8) {
        return None;
    }
    let (micros, rest) = parse_fraction(&b[19..])?;
    let offset_minutes = parse_offset(rest)?;
    let seconds = hour * 3600 + (minute - offset_minutes) * 60 + second;
    Some(day_number * DAY_US + seconds * SECOND_US + micros)
}

fn parse_fraction(b: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = b.strip_prefix(b".") else {
        return Some((0, b));
    };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=12).contains(&len) {
        return None;
    }
    let micros = (0..6).fold(0, |n, i| n * 10 + if i < len { i64::from(digits[i] - b'0') } else { 0 });
    Some((micros, &digits[len..]))
}

fn parse_offset(b: &[u8]) -> Option<i64> {
    let sign = match b.first()? {
        b'Z' | b'z' if b.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (number(b, 1, 2)?, number(b, 4, 2)?);
    let well_formed = b.len() == 6 && b[3] == b':' && hours <= 23 && minutes <= 59;
    well_formed.then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UtcMicros;

    #[test]
    fn instants_and_texts_agree() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_795_368_540_000_000, "2026-11-22T17:29:00Z"),
            (1_795_368_540_250_000, "2026-11-22T17:29:00.250Z"),
            (1_795_368_540_000_001, "2026-11-22T17:29:00.000001Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00Z"),
            (UtcMicros::MAX.get(), "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(UtcMicros::new(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(UtcMicros::new(micros)), "{text}");
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let same = "2026-11-22T17:29:00.5Z".parse::<UtcMicros>().unwrap();
        for text in [
            "2026-11-23T02:29:00.5+09:00",
            "2026-11-22t12:59:00.500-04:30",
            "2026-11-22 17:29:00.5000009z",
        ] {
            assert_eq!(text.parse(), Ok(same), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T17:29:00",
            "2026-11-22T17:29:00.Z",
            "2026-11-22T17:29:00Zjunk",
            "2026-11-22T24:00:00Z",
            "2026-11-22T17:60:00Z",
            "2026-11-22T17:29:60Z",
            "2026-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-22T17:29:00+9:00",
            "2026-11-22T17:29:00+09:0é",
        ] {
            assert_eq!(text.parse::<UtcMicros>(), Err(InstantTextError), "{text:?}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_counts_on() {
        let (mut expected, mut day) = ((1970, 1, 1), 0);
        while expected.0 < 2770 {
            assert_eq!(date_of_day(day), expected);
            assert_eq!(day_of_date(expected.0, expected.1.into(), expected.2.into()), day);
            let (y, m, d) = expected;
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][usize::from(m) - 1];
            expected = if d < last {
                (y, m, d + 1)
            } else if m < 12 {
                (y, m + 1, 1)
            } else {
                (y + 1, 1, 1)
            };
            day += 1;
        }
    }
}

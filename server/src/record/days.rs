//! Calendar days in the site's zone: where a filming day begins and ends, and when its footage ends.

use custody_shared::time::UtcMicros;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The local day an instant falls on. Instants outside jiff's years clamp to its first or last day.
#[must_use]
pub fn local_day(at: UtcMicros, zone: &TimeZone) -> Date {
    let timestamp =
        Timestamp::from_microsecond(at.get()).unwrap_or(if at.get() < 0 { Timestamp::MIN } else { Timestamp::MAX });
    zone.to_datetime(timestamp).date()
}

/// The first instant of a local day. Where midnight does not exist, the first instant that does.
#[must_use]
pub fn start_of(day: Date, zone: &TimeZone) -> UtcMicros {
    let timestamp = day
        .to_zoned(zone.clone())
        .and_then(|zoned| zoned.start_of_day())
        .map(|zoned| zoned.timestamp())
        .unwrap_or(Timestamp::MAX);
    UtcMicros::new(timestamp.as_microsecond())
}

/// The day `count` days after `day`.
#[must_use]
pub fn after(day: Date, count: u32) -> Date {
    day.saturating_add(Span::new().days(count))
}

/// End (exclusive) of the local day that lies `days` days after `day`.
#[must_use]
pub fn end_after(day: Date, days: u32, zone: &TimeZone) -> UtcMicros {
    start_of(after(day, days.saturating_add(1)), zone)
}

/// Days since 1970-01-01; 0 for earlier days.
#[must_use]
pub fn number(day: Date) -> u32 {
    let days = day.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    u32::try_from(days).unwrap_or(0)
}

/// A zone by its IANA name.
///
/// # Errors
/// The name, when the bundled database does not know it.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("time zone {name:?} is unknown; use an IANA name such as Asia/Seoul"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn days_have_their_true_length() {
        let cases = [
            ("Asia/Seoul", date(2026, 11, 22), 24),
            ("Europe/Berlin", date(2026, 3, 29), 23),
            ("Europe/Berlin", date(2026, 10, 25), 25),
            // Midnight does not exist: the day begins at 01:00.
            ("America/Sao_Paulo", date(2018, 11, 4), 23),
            ("Asia/Beirut", date(2022, 3, 27), 23),
            // The whole day was skipped when the islands crossed the date line.
            ("Pacific/Apia", date(2011, 12, 30), 0),
        ];
        for (name, day, hours) in cases {
            let zone = zone(name).unwrap();
            let length = start_of(after(day, 1), &zone).get() - start_of(day, &zone).get();
            assert_eq!(length, hours * HOUR, "{name} {day}");
        }
    }

    #[test]
    fn an_instant_lies_in_its_own_day() {
        for name in [
            "Asia/Seoul",
            "Europe/Berlin",
            "America/Sao_Paulo",
            "Pacific/Apia",
            "Asia/Kathmandu",
        ] {
            let zone = zone(name).unwrap();
            let mut at = 1_520_000_000_000_000_i64;
            while at < 1_560_000_000_000_000 {
                let day = local_day(UtcMicros::new(at), &zone);
                assert!(start_of(day, &zone).get() <= at, "{name} {at}");
                assert!(start_of(after(day, 1), &zone).get() > at, "{name} {at}");
                at += 7 * HOUR + 1;
            }
        }
    }

    #[test]
    fn thirty_days_end_with_the_thirtieth_day() {
        let seoul = zone("Asia/Seoul").unwrap();
        let end = end_after(date(2026, 11, 22), 30, &seoul);
        assert_eq!(local_day(UtcMicros::new(end.get() - 1), &seoul), date(2026, 12, 22));
        assert_eq!(local_day(end, &seoul), date(2026, 12, 23));
    }

    #[test]
    fn day_numbers_count_from_1970() {
        assert_eq!(number(date(1970, 1, 1)), 0);
        assert_eq!(number(date(1970, 1, 2)), 1);
        assert_eq!(number(date(2026, 11, 22)), 20_779);
        assert_eq!(number(date(1969, 12, 31)), 0);
    }
}

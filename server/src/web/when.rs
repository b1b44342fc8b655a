//! Instants as people read them, in the site's zone.

use custody_shared::time::UtcMicros;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::problem::Problem;

/// An instant in the site's zone.
pub(super) fn zoned(at: UtcMicros, zone: &TimeZone) -> jiff::Zoned {
    Timestamp::from_microsecond(at.get())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(zone.clone())
}

/// `2026-11-22 14:03`
pub(super) fn minute(at: UtcMicros, zone: &TimeZone) -> String {
    zoned(at, zone).strftime("%Y-%m-%d %H:%M").to_string()
}

/// `2026-11-22 14:03:05`
pub(super) fn second(at: UtcMicros, zone: &TimeZone) -> String {
    zoned(at, zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `14:03:05`
pub(super) fn clock(at: UtcMicros, zone: &TimeZone) -> String {
    zoned(at, zone).strftime("%H:%M:%S").to_string()
}

/// `2026-11-22 14:03 – 14:30`, with the second day where it differs, with seconds where there are any.
pub(super) fn window(from: UtcMicros, to: UtcMicros, zone: &TimeZone) -> String {
    let (start, end) = (zoned(from, zone), zoned(to, zone));
    let time = if start.second() == 0 && end.second() == 0 {
        "%H:%M"
    } else {
        "%H:%M:%S"
    };
    let end_form = if start.date() == end.date() {
        time.to_owned()
    } else {
        format!("%Y-%m-%d {time}")
    };
    format!(
        "{} – {}",
        start.strftime(&format!("%Y-%m-%d {time}")),
        end.strftime(&end_form)
    )
}

/// An instant from an API's text: RFC 3339, `Z` or with an offset.
pub(super) fn parse(field: &str, text: &str) -> Result<UtcMicros, Problem> {
    let at: Timestamp = text.parse().map_err(|_| {
        Problem::malformed(format!(
            "{field}: {:?} is no RFC 3339 instant, such as 2026-11-22T05:03:00Z",
            text.chars().take(40).collect::<String>()
        ))
    })?;
    Ok(UtcMicros::new(at.as_microsecond()))
}

/// Whole calendar days from now until `due`, negative when it passed.
pub(super) fn days_left(now: UtcMicros, due: UtcMicros, zone: &TimeZone) -> i32 {
    // Due instants are ends of days: the instant itself already belongs to the next one.
    let (today, last) = (
        zoned(now, zone).date(),
        zoned(UtcMicros::new(due.get() - 1), zone).date(),
    );
    last.since((jiff::Unit::Day, today)).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_left_count_calendar_days_of_the_site() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let at = |text: &str| parse("t", text).unwrap();
        let due = at("2026-12-02T15:00:00Z"); // end of 2 December in Seoul
        for (now, expected) in [
            ("2026-11-22T15:30:00Z", 9),
            ("2026-11-22T14:30:00Z", 10),
            ("2026-12-02T14:59:59Z", 0),
            ("2026-12-02T15:00:00Z", -1),
        ] {
            assert_eq!(days_left(at(now), due, &zone), expected, "{now}");
        }
    }

    #[test]
    fn a_window_says_the_second_day_only_where_it_differs() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let at = |text: &str| parse("t", text).unwrap();
        assert_eq!(
            window(at("2026-11-22T05:00:00Z"), at("2026-11-22T05:30:00Z"), &zone),
            "2026-11-22 14:00 – 14:30"
        );
        assert_eq!(
            window(at("2026-11-22T14:50:00Z"), at("2026-11-22T15:00:07Z"), &zone),
            "2026-11-22 23:50:00 – 2026-11-23 00:00:07"
        );
    }
}

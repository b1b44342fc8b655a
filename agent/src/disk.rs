//! Disk forecast: does what is promised fit, and if not, on which day does it stop fitting.
//!
//! Pure arithmetic. Nothing here ever suggests deleting early: a disk too small is a person's decision.

use custody_shared::time::UtcMicros;

use crate::paths::DAY_US;

/// How far ahead a forecast looks; beyond it the answer is "fits".
pub const HORIZON_DAYS: u16 = 400;

/// Bytes that come free at a known time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// When they are destroyed.
    pub at: UtcMicros,
    /// How many.
    pub bytes: u64,
}

/// What the forecast says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// Too little was recorded yet to say.
    Unknown,
    /// Everything promised fits.
    Fits,
    /// The disk is full at about this time.
    FullAt(UtcMicros),
}

impl Forecast {
    /// Whole days until the disk is full; `u16::MAX` where it never is or nothing is known.
    pub fn days_left(self, now: UtcMicros) -> u16 {
        match self {
            Self::Unknown | Self::Fits => u16::MAX,
            Self::FullAt(at) => {
                let days = at.get().saturating_sub(now.get()).max(0) / DAY_US;
                u16::try_from(days).unwrap_or(u16::MAX)
            }
        }
    }
}

/// Steps through the coming days: `free` bytes now, `bytes_per_day` written, `releases` coming free,
/// and what is written from now on coming free `kept_days` after its day.
pub fn forecast(now: UtcMicros, free: u64, bytes_per_day: u64, releases: &[Release], kept_days: u16) -> Forecast {
    if bytes_per_day == 0 {
        return Forecast::Unknown;
    }
    let mut free = i128::from(free);
    for day in 0..i64::from(HORIZON_DAYS) {
        let from = now.get().saturating_add(day * DAY_US);
        let until = from.saturating_add(DAY_US);
        let freed: i128 = releases
            .iter()
            .filter(|release| (from..until).contains(&release.at.get()) || (day == 0 && release.at.get() < from))
            .map(|release| i128::from(release.bytes))
            .sum();
        let own = if day >= i64::from(kept_days) {
            i128::from(bytes_per_day)
        } else {
            0
        };
        // Within a day, writing comes before freeing: the forecast errs on the side of warning early.
        if free < i128::from(bytes_per_day) {
            let fraction = free.max(0) * i128::from(DAY_US) / i128::from(bytes_per_day);
            let at = from.saturating_add(i64::try_from(fraction).unwrap_or(DAY_US));
            return Forecast::FullAt(UtcMicros::new(at));
        }
        free += freed + own - i128::from(bytes_per_day);
    }
    Forecast::Fits
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn day(number: i64) -> UtcMicros {
        UtcMicros::new(number * DAY_US)
    }

    #[test]
    fn forecasts() {
        let steady: Vec<Release> = (0..31)
            .map(|n| Release {
                at: day(n),
                bytes: 32 * GB,
            })
            .collect();
        for (name, free, rate, releases, wanted) in [
            ("nothing recorded yet", 5 * GB, 0, &[][..], Forecast::Unknown),
            (
                "31 days and a spare fit",
                33 * 32 * GB,
                32 * GB,
                &[][..],
                Forecast::Fits,
            ),
            (
                "half a day is left",
                16 * GB,
                32 * GB,
                &[][..],
                Forecast::FullAt(UtcMicros::new(DAY_US / 2)),
            ),
            (
                "ten days are left",
                320 * GB,
                32 * GB,
                &[][..],
                Forecast::FullAt(day(10)),
            ),
            (
                "what is destroyed makes room",
                40 * GB,
                32 * GB,
                &steady[..],
                Forecast::Fits,
            ),
            ("full already", 0, 32 * GB, &[][..], Forecast::FullAt(day(0))),
        ] {
            assert_eq!(forecast(day(0), free, rate, releases, 31), wanted, "{name}");
        }
    }

    #[test]
    fn days_left_never_wrap() {
        assert_eq!(Forecast::FullAt(day(-3)).days_left(day(0)), 0);
        assert_eq!(Forecast::FullAt(day(12)).days_left(day(0)), 12);
        assert_eq!(Forecast::Fits.days_left(day(0)), u16::MAX);
    }
}

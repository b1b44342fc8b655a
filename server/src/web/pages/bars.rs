//! Coverage as a bar: shapes in thousandths of the window, and the same in words.

use custody_shared::id::CameraId;
use custody_shared::time::{TimeRange, UtcMicros};
use jiff::tz::TimeZone;

use super::super::api::cameras_stretches;
use super::super::app::App;
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use crate::retrieval::footage::{Stretch, StretchKind};

/// Gaps listed in words on a page.
const MOST_GAPS: usize = 50;

/// A bar.
pub(super) struct Bar {
    pub(super) pieces: Vec<PieceShape>,
    pub(super) scale: Vec<String>,
    pub(super) gaps: Vec<GapWords>,
    pub(super) gap_count: i64,
    pub(super) words: String,
    kept_us: i64,
    destroyed_us: i64,
    whole_us: i64,
}

/// A stretch of a bar.
pub(super) struct PieceShape {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) title: String,
}

/// A gap in words.
pub(super) struct GapWords {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cause: String,
}

/// What is known of `range` as a bar.
pub(super) fn bar(app: &App, t: Text, camera: CameraId, range: TimeRange, zone: &TimeZone) -> Result<Bar, Problem> {
    let stretches = cameras_stretches(app, camera, range)?;
    Ok(draw(t, &stretches, range, zone))
}

fn draw(t: Text, stretches: &[Stretch], range: TimeRange, zone: &TimeZone) -> Bar {
    let whole = range.len_us();
    // Seconds only where the marks would repeat without them.
    let form = if whole < 20 * 60 * 1_000_000 {
        "%H:%M:%S"
    } else {
        "%H:%M"
    };
    let mark = |at| when::zoned(at, zone).strftime(form).to_string();
    let at = |instant: UtcMicros| (instant.get() - range.start().get()) as f64 / whole as f64 * 1000.0;
    let mut bar = Bar {
        pieces: Vec::new(),
        scale: (0..=4)
            .map(|part| mark(UtcMicros::new(range.start().get() + whole / 4 * part)))
            .collect(),
        gaps: Vec::new(),
        gap_count: 0,
        words: String::new(),
        kept_us: 0,
        destroyed_us: 0,
        whole_us: whole,
    };
    for stretch in stretches {
        let Some(range) = stretch.range.intersect(&range) else {
            continue;
        };
        let length = range.len_us();
        let (class, label) = match &stretch.kind {
            StretchKind::Kept => {
                bar.kept_us += length;
                ("kept", t.get("coverage-kept"))
            }
            StretchKind::Gap(cause) => {
                bar.gap_count += 1;
                let id = format!("cause-{cause}");
                let words = if t.has(&id) { t.get(&id) } else { cause.clone() };
                if bar.gaps.len() < MOST_GAPS {
                    bar.gaps.push(GapWords {
                        from: when::second(range.start(), zone),
                        to: when::clock(range.end(), zone),
                        cause: words.clone(),
                    });
                }
                ("gap", words)
            }
            StretchKind::Destroyed => {
                bar.destroyed_us += length;
                ("destroyed", t.get("coverage-destroyed"))
            }
            StretchKind::Unknown => ("unknown", t.get("coverage-unknown")),
        };
        // A gap of a second in a day is still one to be seen.
        let least = if class == "gap" { 2.0 } else { 0.0 };
        let (x, width) = (at(range.start()), (at(range.end()) - at(range.start())).max(least));
        bar.pieces.push(PieceShape {
            class,
            x: format!("{x:.2}"),
            width: format!("{width:.2}"),
            title: format!(
                "{} – {} {label}",
                when::clock(range.start(), zone),
                when::clock(range.end(), zone)
            ),
        });
    }
    let percent = bar.kept_us * 100 / whole.max(1);
    bar.words = t.with2("coverage-words", ("kept", percent), ("gaps", bar.gap_count));
    bar
}

impl Bar {
    /// One word for a window: message id and badge class.
    pub(super) fn verdict(&self) -> (&'static str, &'static str) {
        if self.kept_us == 0 && self.destroyed_us > 0 {
            ("verdict-destroyed", "bad")
        } else if self.kept_us == 0 {
            ("verdict-none", "bad")
        } else if self.gap_count > 0 || self.destroyed_us > 0 || self.kept_us * 50 < self.whole_us * 49 {
            // The last two hundredths may still be on their way from the camera.
            ("verdict-partly", "warn")
        } else {
            ("verdict-kept", "good")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::text::Language;
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn drawn(stretches: &[(i64, i64, StretchKind)]) -> Bar {
        let range =
            |from: i64, to: i64| TimeRange::new(UtcMicros::new(from * MINUTE), UtcMicros::new(to * MINUTE)).unwrap();
        let stretches: Vec<Stretch> = stretches
            .iter()
            .map(|(from, to, kind)| Stretch {
                range: range(*from, *to),
                kind: kind.clone(),
            })
            .collect();
        draw(Text::of(Language::En), &stretches, range(0, 100), &TimeZone::UTC)
    }

    #[test]
    fn a_window_in_one_word() {
        for (name, stretches, expected) in [
            ("all there", &[(0, 100, StretchKind::Kept)][..], "verdict-kept"),
            (
                "a gap",
                &[
                    (0, 50, StretchKind::Kept),
                    (50, 51, StretchKind::Gap("disk-full".into())),
                    (51, 100, StretchKind::Kept),
                ],
                "verdict-partly",
            ),
            (
                "the end is on its way",
                &[(0, 99, StretchKind::Kept), (99, 100, StretchKind::Unknown)],
                "verdict-kept",
            ),
            ("gone", &[(0, 100, StretchKind::Destroyed)], "verdict-destroyed"),
            ("never", &[(0, 100, StretchKind::Unknown)], "verdict-none"),
        ] {
            assert_eq!(drawn(stretches).verdict().0, expected, "{name}");
        }
    }

    #[test]
    fn shapes_are_thousandths_and_short_gaps_stay_visible() {
        let bar = drawn(&[
            (0, 50, StretchKind::Kept),
            (50, 51, StretchKind::Gap("power-loss".into())),
        ]);
        assert_eq!(
            (bar.pieces[0].x.as_str(), bar.pieces[0].width.as_str()),
            ("0.00", "500.00")
        );
        assert_eq!((bar.pieces[1].class, bar.pieces[1].width.as_str()), ("gap", "10.00"));
        assert_eq!(bar.gaps[0].cause, "power was lost");
        assert_eq!(bar.words, "50 % kept, one gap");
    }
}

//! HLS media playlists (RFC 8216bis), pure text.
//!
//! One finished playlist per grant and camera. Its clock is the wall clock: the pieces' durations add up to the time between
//! their starts, and missing footage is a piece marked `EXT-X-GAP`, so that a position in the player is a time of day.

use std::fmt::Write;

use custody_shared::time::UtcMicros;

/// One line of the playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub start: UtcMicros,
    /// Where it ends; pieces are in order and touch.
    pub end: UtcMicros,
    /// What it is.
    pub content: Content,
}

/// What a piece holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A segment; `settings` numbers its codec settings, a change of which needs another init section.
    Segment {
        /// The camera's segment number.
        seq: u64,
        /// Codec settings: equal numbers share an init section.
        settings: u32,
    },
    /// Nothing to play.
    Missing,
}

/// Stretches without footage shorter than this are jitter between segments, not a gap to show.
const SEAM_US: i64 = 250_000;

/// Puts missing pieces between segments, cuts overlaps, and makes the pieces touch. `segments` are in order of time.
pub fn pieces(segments: impl IntoIterator<Item = Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for mut next in segments {
        if let Some(last) = out.last_mut() {
            let gap = next.start.get() - last.end.get();
            if gap >= SEAM_US {
                let missing = Piece {
                    start: last.end,
                    end: next.start,
                    content: Content::Missing,
                };
                out.push(missing);
            } else if next.start > last.start {
                last.end = next.start;
            } else {
                // Two segments that claim the same start: the later one counts from where the earlier one ended.
                next.start = last.end;
            }
        }
        if next.end > next.start {
            out.push(next);
        }
    }
    out
}

/// The playlist of `pieces`. Addresses are relative to the playlist: `init/{seq}.mp4` and `segment/{seq}.m4s`.
pub fn media_playlist(pieces: &[Piece]) -> String {
    let longest = pieces
        .iter()
        .map(|piece| piece.end.get() - piece.start.get())
        .max()
        .unwrap_or(0);
    let mut out = String::with_capacity(256 + pieces.len() * 96);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    // Writing into a String cannot fail.
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{}", (longest + 999_999) / 1_000_000);
    out.push_str("#EXT-X-MEDIA-SEQUENCE:0\n");
    let mut current: Option<u32> = None;
    let mut after_gap = false;
    for piece in pieces {
        let duration = piece.end.get() - piece.start.get();
        match piece.content {
            Content::Segment { seq, settings } => {
                let changed = current.is_some_and(|known| known != settings);
                if changed {
                    out.push_str("#EXT-X-DISCONTINUITY\n");
                }
                if current != Some(settings) {
                    let _ = writeln!(out, "#EXT-X-MAP:URI=\"init/{seq}.mp4\"");
                    current = Some(settings);
                }
                if changed || after_gap || seq_is_first(pieces, piece) {
                    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", milliseconds(piece.start));
                }
                let _ = writeln!(
                    out,
                    "#EXTINF:{}.{:06},\nsegment/{seq}.m4s",
                    duration / 1_000_000,
                    duration % 1_000_000
                );
                after_gap = false;
            }
            Content::Missing => {
                let _ = writeln!(
                    out,
                    "#EXT-X-GAP\n#EXTINF:{}.{:06},\nmissing/{}.m4s",
                    duration / 1_000_000,
                    duration % 1_000_000,
                    piece.start.get()
                );
                after_gap = true;
            }
        }
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

fn seq_is_first(pieces: &[Piece], piece: &Piece) -> bool {
    pieces.first().is_some_and(|first| std::ptr::eq(first, piece))
}

/// RFC 3339 with milliseconds: what browsers' `Date` reads.
fn milliseconds(at: UtcMicros) -> String {
    let text = UtcMicros::new(at.get().div_euclid(1000) * 1000).to_string();
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{}Z", &fraction.trim_end_matches('Z')[..3]),
        None => text.replace('Z', ".000Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    /// 2026-11-22T00:00:00Z
    const DAY: i64 = 1_795_305_600 * SECOND;

    fn segment(seq: u64, settings: u32, start: i64, end: i64) -> Piece {
        let at = |us| UtcMicros::new(DAY + us);
        Piece {
            start: at(start),
            end: at(end),
            content: Content::Segment { seq, settings },
        }
    }

    fn lines(segments: Vec<Piece>) -> Vec<String> {
        media_playlist(&pieces(segments))
            .lines()
            .skip(6)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn neighbours_touch_and_share_an_init_section() {
        assert_eq!(
            lines(vec![
                segment(4, 0, 0, 10 * SECOND - 7),
                segment(5, 0, 10 * SECOND, 20 * SECOND)
            ]),
            [
                "#EXT-X-MAP:URI=\"init/4.mp4\"",
                "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T00:00:00.000Z",
                "#EXTINF:10.000000,",
                "segment/4.m4s",
                "#EXTINF:10.000000,",
                "segment/5.m4s",
                "#EXT-X-ENDLIST"
            ]
        );
    }

    #[test]
    fn a_gap_is_a_piece_and_time_goes_on_behind_it() {
        assert_eq!(
            lines(vec![
                segment(4, 0, 0, 10 * SECOND),
                segment(5, 0, 70 * SECOND + 123_456, 80 * SECOND)
            ])[4..],
            [
                "#EXT-X-GAP",
                "#EXTINF:60.123456,",
                &format!("missing/{}.m4s", DAY + 10 * SECOND),
                "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T00:01:10.123Z",
                "#EXTINF:9.876544,",
                "segment/5.m4s",
                "#EXT-X-ENDLIST"
            ]
        );
    }

    #[test]
    fn new_codec_settings_are_a_discontinuity_with_their_own_init_section() {
        let text = lines(vec![segment(4, 0, 0, SECOND), segment(5, 1, SECOND, 2 * SECOND)]).join(" ");
        assert!(
            text.contains("#EXT-X-DISCONTINUITY #EXT-X-MAP:URI=\"init/5.mp4\" #EXT-X-PROGRAM-DATE-TIME"),
            "{text}"
        );
    }

    #[test]
    fn overlaps_after_a_clock_step_back_do_not_run_backwards() {
        for (name, given) in [
            (
                "overlap",
                vec![segment(1, 0, 0, 10 * SECOND), segment(2, 0, 5 * SECOND, 15 * SECOND)],
            ),
            (
                "same start",
                vec![segment(1, 0, 0, 10 * SECOND), segment(2, 0, 0, 12 * SECOND)],
            ),
            (
                "swallowed",
                vec![
                    segment(1, 0, 0, 10 * SECOND),
                    segment(2, 0, 0, 4 * SECOND),
                    segment(3, 0, 10 * SECOND, 11 * SECOND),
                ],
            ),
        ] {
            let out = pieces(given);
            assert!(
                out.windows(2)
                    .all(|two| two[0].end == two[1].start && two[0].start < two[0].end),
                "{name}: {out:?}"
            );
        }
    }

    #[test]
    fn no_footage_is_an_empty_finished_playlist() {
        assert_eq!(lines(vec![]), ["#EXT-X-ENDLIST"]);
    }
}

//! Coverage: for every instant of a range, whether it is kept, gone, stated missing, or unknown.

use custody_shared::id::CameraId;
use custody_shared::statement::{Destroyed, GapCause};
use custody_shared::time::{TimeRange, UtcMicros};
use serde::Serialize;

use super::{IndexError, IndexStore, SegmentRow};

/// Rows read at a time.
const PAGE: usize = 8192;
/// Gaps and destructions looked at in one answer.
const MAX_EVENTS: usize = 100_000;
/// Two segments whose ends are closer than this are one stretch, in microseconds: less than any statement would call a gap.
const TOLERANCE_US: i64 = 250_000;

/// What is known of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "cause")]
pub enum StretchKind {
    /// Recorded, and not destroyed.
    Kept,
    /// Not recorded, as the camera has stated.
    Gap(GapCause),
    /// Recorded and destroyed since.
    Destroyed,
    /// No statement says anything: not received yet, or missing.
    Unknown,
}

/// A stretch of time and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The stretch.
    pub range: TimeRange,
    /// What is known of it.
    pub kind: StretchKind,
}

/// What is known of `camera` in `range`: adjacent stretches that fill it exactly, in order.
///
/// Where several say something, kept wins over destroyed, and both over a gap. But a gap within one segment, after its first and
/// before its last instant, is its camera's word that pictures are missing in it, and holds.
pub fn coverage(index: &dyn IndexStore, camera: CameraId, range: TimeRange) -> Result<Vec<Stretch>, IndexError> {
    let destroyed = index.destroyed(camera, range, MAX_EVENTS)?;
    let mut gaps = index.gaps(camera, range, MAX_EVENTS)?;
    gaps.sort_by_key(|gap| (gap.range.start(), gap.range.end()));
    let mut within = vec![false; gaps.len()];
    let (mut kept, mut gone) = (Merger::default(), Merger::default());
    each_segment(index, camera, range, |row| {
        let first = gaps.partition_point(|gap| gap.range.start() <= row.range.start());
        for (gap, within) in gaps.iter().zip(&mut within).skip(first) {
            if gap.range.start() >= row.range.end() {
                break;
            }
            *within |= gap.range.end() < row.range.end();
        }
        let Some(part) = row.range.intersect(&range) else {
            return;
        };
        let target = if destroyed.iter().any(|one| covers(one, row)) {
            &mut gone
        } else {
            &mut kept
        };
        target.add(part);
    })?;
    // Destroyed segments whose own statements never came are gone all the same.
    let stated = destroyed.iter().filter_map(|one| one.range.intersect(&range));
    let stated_where = |wanted: bool| -> Vec<_> {
        let chosen = gaps.iter().zip(&within).filter(|(_, within)| **within == wanted);
        chosen
            .filter_map(|(gap, _)| Some((gap.range.intersect(&range)?, StretchKind::Gap(gap.cause))))
            .collect()
    };
    let kept = kept.0.into_iter().map(|range| (range, StretchKind::Kept));
    let mut gone: Vec<_> = gone
        .0
        .into_iter()
        .chain(stated)
        .map(|range| (range, StretchKind::Destroyed))
        .collect();
    gone.sort_by_key(|(range, _)| range.start());

    let mut free = vec![range];
    let mut stretches = Vec::new();
    for layer in [stated_where(true), kept.collect(), gone, stated_where(false)] {
        free = fill(&free, layer, &mut stretches);
    }
    stretches.extend(free.into_iter().map(|range| Stretch {
        range,
        kind: StretchKind::Unknown,
    }));
    stretches.sort_by_key(|stretch| stretch.range.start());
    Ok(join(stretches))
}

/// Calls `each` for every segment that overlaps `range`, by start, a page at a time.
pub(super) fn each_segment(
    index: &dyn IndexStore,
    camera: CameraId,
    range: TimeRange,
    mut each: impl FnMut(&SegmentRow),
) -> Result<(), IndexError> {
    let mut last: Option<(UtcMicros, u64)> = None;
    let mut rest = range;
    loop {
        let page = index.segments(camera, rest, PAGE)?;
        let mut fresh = 0;
        for row in &page {
            let place = (row.range.start(), row.seq & 0xffff);
            if last.is_none_or(|last| place > last) {
                each(row);
                last = Some(place);
                fresh += 1;
            }
        }
        let Some((start, _)) = last.filter(|_| page.len() == PAGE && fresh > 0) else {
            return Ok(());
        };
        match TimeRange::new(start.max(range.start()), range.end()) {
            Ok(next) => rest = next,
            Err(_) => return Ok(()),
        }
    }
}

fn covers(destroyed: &Destroyed, row: &SegmentRow) -> bool {
    destroyed.key_id == row.key_id && (destroyed.first_seq..=destroyed.last_seq).contains(&row.seq)
}

/// Joins ranges that touch, or nearly, and come in order of their starts.
#[derive(Default)]
struct Merger(Vec<TimeRange>);

impl Merger {
    fn add(&mut self, range: TimeRange) {
        if let Some(last) = self.0.last_mut()
            && range.start().since(last.end()) <= TOLERANCE_US
        {
            let end = last.end().max(range.end());
            if let Ok(joined) = TimeRange::new(last.start(), end) {
                *last = joined;
            }
            return;
        }
        self.0.push(range);
    }
}

/// Puts a layer, ordered by start, into what is still free; returns what is free after it.
fn fill(free: &[TimeRange], layer: Vec<(TimeRange, StretchKind)>, out: &mut Vec<Stretch>) -> Vec<TimeRange> {
    let mut left = Vec::new();
    let mut items = layer.into_iter().peekable();
    for room in free {
        let mut from = room.start();
        // Items can reach over several rooms: those that end later are looked at again.
        let mut again = Vec::new();
        while let Some((range, kind)) = items.next_if(|(range, _)| range.start() < room.end()) {
            let (start, end) = (range.start().max(from), range.end().min(room.end()));
            if let Ok(taken) = TimeRange::new(start, end) {
                if let Ok(before) = TimeRange::new(from, start) {
                    left.push(before);
                }
                out.push(Stretch { range: taken, kind });
                from = end;
            }
            if range.end() > room.end() {
                again.push((range, kind));
            }
        }
        if let Ok(after) = TimeRange::new(from, room.end()) {
            left.push(after);
        }
        if !again.is_empty() {
            again.extend(items);
            items = again.into_iter().peekable();
            continue;
        }
    }
    left
}

/// Joins neighbours of one kind, and gives slivers that nothing states to the stretch before them.
fn join(stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let sliver = stretch.kind == StretchKind::Unknown && stretch.range.len_us() <= TOLERANCE_US;
        if let Some(last) = joined.last_mut()
            && (last.kind == stretch.kind || sliver)
            && let Ok(range) = TimeRange::new(last.range.start(), stretch.range.end())
        {
            last.range = range;
            continue;
        }
        joined.push(stretch);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::conformance::{camera, entry, range, segment};
    use crate::index::{Fact, SledIndex};
    use crate::statements::StatementRef;
    use custody_shared::id::KeyId;
    use custody_shared::statement::{DestroyReason, Gap};

    fn check(name: &str, facts: &[Fact], from: i64, to: i64, expected: &[(i64, i64, StretchKind)]) {
        let dir = tempfile::tempdir().unwrap();
        let index = SledIndex::open(dir.path()).unwrap();
        let entries: Vec<_> = facts
            .iter()
            .zip(1..)
            .map(|(fact, n)| entry(camera(1), n, *fact))
            .collect();
        index
            .put(
                &entries,
                StatementRef {
                    file: 1,
                    offset: 1 << 30,
                },
            )
            .unwrap();
        let found = coverage(&index, camera(1), range(from, to)).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(from, to, kind)| Stretch {
                range: range(*from, *to),
                kind: *kind,
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn every_instant_is_answered_once() {
        use StretchKind::{Destroyed as Gone, Gap as Missing, Kept, Unknown};
        let seg = |seq, from, to, key| Fact::Segment(segment(seq, from, to, key));
        let gap = |from, to, cause| {
            Fact::Gap(Gap {
                range: range(from, to),
                cause,
            })
        };
        let destroyed = |key, first_seq, last_seq, from, to| {
            Fact::Destroyed(Destroyed {
                key_id: KeyId::from_bytes([key; 16]),
                range: range(from, to),
                first_seq,
                last_seq,
                reason: DestroyReason::ALL[0],
            })
        };
        let cause = GapCause::CameraUnreachable;
        check("nothing", &[], 0, 100, &[(0, 100, Unknown)]);
        check(
            "one after another",
            &[seg(1, 0, 10, 1), seg(2, 10, 20, 1)],
            0,
            20,
            &[(0, 20, Kept)],
        );
        check("cut to the range", &[seg(1, 0, 100, 1)], 40, 60, &[(40, 60, Kept)]);
        check(
            "a stated gap between",
            &[seg(1, 0, 10, 1), gap(10, 130, cause), seg(2, 130, 140, 1)],
            0,
            150,
            &[
                (0, 10, Kept),
                (10, 130, Missing(cause)),
                (130, 140, Kept),
                (140, 150, Unknown),
            ],
        );
        check(
            "a hole nobody states",
            &[seg(1, 0, 10, 1), seg(3, 20, 30, 1)],
            0,
            30,
            &[(0, 10, Kept), (10, 20, Unknown), (20, 30, Kept)],
        );
        check(
            "a gap that footage contradicts",
            &[gap(0, 100, cause), seg(1, 20, 30, 1), seg(2, 50, 60, 1)],
            0,
            100,
            &[
                (0, 20, Missing(cause)),
                (20, 30, Kept),
                (30, 50, Missing(cause)),
                (50, 60, Kept),
                (60, 100, Missing(cause)),
            ],
        );
        let lost = GapCause::PacketLoss;
        check(
            "pictures lost within a segment, and at its edge",
            &[
                gap(3, 4, lost),
                seg(1, 0, 10, 1),
                seg(2, 10, 20, 1),
                gap(20, 21, lost),
                seg(3, 21, 30, 1),
            ],
            0,
            30,
            &[
                (0, 3, Kept),
                (3, 4, Missing(lost)),
                (4, 20, Kept),
                (20, 21, Missing(lost)),
                (21, 30, Kept),
            ],
        );
        check(
            "one key's day destroyed, the neighbour's kept",
            &[
                seg(1, 0, 10, 1),
                seg(2, 10, 20, 2),
                seg(3, 20, 30, 1),
                destroyed(1, 1, 3, 0, 30),
            ],
            0,
            40,
            &[(0, 10, Gone), (10, 20, Kept), (20, 30, Gone), (30, 40, Unknown)],
        );
        check(
            "the clock stepped back: overlapping segments",
            &[seg(1, 0, 30, 1), seg(2, 10, 20, 1), seg(3, 20, 40, 1)],
            0,
            50,
            &[(0, 40, Kept), (40, 50, Unknown)],
        );
    }

    #[test]
    fn many_pages_are_one_stretch() {
        let dir = tempfile::tempdir().unwrap();
        let index = SledIndex::open(dir.path()).unwrap();
        let count = i64::try_from(PAGE).unwrap() * 2 + 17;
        let entries: Vec<_> = (0..count)
            .map(|n| {
                entry(
                    camera(1),
                    u32::try_from(n).unwrap(),
                    Fact::Segment(segment(n.unsigned_abs(), n, n + 1, 1)),
                )
            })
            .collect();
        index.put(&entries, StatementRef { file: 2, offset: 0 }).unwrap();
        let found = coverage(&index, camera(1), range(0, count)).unwrap();
        assert_eq!(
            found,
            [Stretch {
                range: range(0, count),
                kind: StretchKind::Kept
            }]
        );
        let mut seen = 0;
        each_segment(&index, camera(1), range(0, count), |_| seen += 1).unwrap();
        assert_eq!(seen, count);
    }
}

//! The suite that every implementation of the index passes.

use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, KeyId};
use custody_shared::statement::{Codec, DestroyReason, Destroyed, Gap, GapCause};
use custody_shared::time::{SECOND_US, TimeRange, UtcMicros};

use super::{Fact, IndexEntry, IndexStore, Position, SegmentRow};
use crate::statements::StatementRef;

/// An arbitrary Monday.
pub(crate) const T0: i64 = 1_795_000_000 * SECOND_US;

pub(crate) fn range(from_s: i64, to_s: i64) -> TimeRange {
    TimeRange::new(
        UtcMicros::new(T0 + from_s * SECOND_US),
        UtcMicros::new(T0 + to_s * SECOND_US),
    )
    .unwrap()
}

pub(crate) fn camera(number: u8) -> CameraId {
    CameraId::from_bytes([number; 16])
}

/// The `n`th statement of the log, of `camera`.
pub(crate) fn entry(camera: CameraId, n: u32, fact: Fact) -> IndexEntry {
    let at = StatementRef {
        file: 1,
        offset: n * 1000,
    };
    let fact = match fact {
        Fact::Segment(row) => Fact::Segment(SegmentRow { statement: at, ..row }),
        other => other,
    };
    let position = Position {
        key: [7; 32],
        next_index: u64::from(n) + 1,
        last_hash: Sha256Hash::of(&n.to_be_bytes()),
    };
    IndexEntry {
        camera,
        at,
        position,
        fact,
    }
}

pub(crate) fn segment(seq: u64, from_s: i64, to_s: i64, key: u8) -> SegmentRow {
    SegmentRow {
        seq,
        range: range(from_s, to_s),
        file_len: 2_000_000 + seq,
        key_id: KeyId::from_bytes([key; 16]),
        statement: StatementRef::START,
        truncated: !seq.is_multiple_of(2),
        closed_gop: seq.is_multiple_of(3),
        codec: if seq.is_multiple_of(5) {
            Codec::H265
        } else {
            Codec::H264
        },
    }
}

fn upto(n: u32) -> StatementRef {
    StatementRef {
        file: 1,
        offset: n * 1000,
    }
}

fn seqs(index: &dyn IndexStore, camera: CameraId, from_s: i64, to_s: i64) -> Vec<u64> {
    index
        .segments(camera, range(from_s, to_s), usize::MAX)
        .unwrap()
        .iter()
        .map(|row| row.seq)
        .collect()
}

/// Runs everything. `open` opens the store of a name; a name opened again after its store was dropped holds what it held.
pub(crate) fn suite(open: impl Fn(&str) -> Box<dyn IndexStore>) {
    empty_answers(&*open("empty"));
    rows_come_back_as_they_were(&*open("rows"));
    ranges_are_half_open_and_limits_hold(&*open("ranges"));
    putting_again_changes_nothing(&*open("again"));
    a_new_key_begins_a_new_chain(&*open("chain"));
    what_is_put_survives_and_what_is_cleared_does_not(&open);
}

fn empty_answers(index: &dyn IndexStore) {
    assert_eq!(index.upto().unwrap(), StatementRef::START);
    assert_eq!(index.position(camera(1)).unwrap(), None);
    assert_eq!(index.segments(camera(1), range(0, 10), 10).unwrap(), []);
    assert_eq!(index.segment(camera(1), 0).unwrap(), None);
    assert_eq!(index.gaps(camera(1), range(0, 10), 10).unwrap(), []);
    assert_eq!(index.destroyed(camera(1), range(0, 10), 10).unwrap(), []);
    index.put(&[], StatementRef::START).unwrap();
}

fn rows_come_back_as_they_were(index: &dyn IndexStore) {
    let rows: Vec<_> = (0..600_u32)
        .map(|n| segment(u64::from(n), i64::from(n) * 10, i64::from(n) * 10 + 10, (n / 100) as u8))
        .collect();
    let gap = Gap {
        range: range(6000, 6100),
        cause: GapCause::CameraUnreachable,
    };
    let destroyed = Destroyed {
        key_id: KeyId::from_bytes([0; 16]),
        range: range(0, 1000),
        first_seq: 0,
        last_seq: 99,
        reason: DestroyReason::ALL[0],
    };
    let mut entries: Vec<_> = rows
        .iter()
        .zip(0..)
        .map(|(row, n)| entry(camera(1), n, Fact::Segment(*row)))
        .collect();
    entries.push(entry(camera(1), 600, Fact::Gap(gap)));
    entries.push(entry(camera(1), 601, Fact::Destroyed(destroyed)));
    entries.push(entry(camera(2), 602, Fact::None));
    for part in entries.chunks(250) {
        index.put(part, part.last().unwrap().at).unwrap();
    }
    let found = index.segments(camera(1), range(0, 6000), usize::MAX).unwrap();
    let expected: Vec<_> = entries[..600]
        .iter()
        .map(|entry| match entry.fact {
            Fact::Segment(row) => row,
            _ => unreachable!("the first 600 are segments"),
        })
        .collect();
    assert_eq!(found, expected);
    for seq in [0, 1, 255, 256, 511, 599] {
        assert_eq!(index.segment(camera(1), seq).unwrap(), Some(expected[seq as usize]));
    }
    assert_eq!(index.segment(camera(1), 600).unwrap(), None);
    assert_eq!(index.gaps(camera(1), range(6050, 6051), 10).unwrap(), [gap]);
    assert_eq!(index.destroyed(camera(1), range(999, 2000), 10).unwrap(), [destroyed]);
    let places = |from, to, limit| index.statements(camera(1), range(from, to), limit).unwrap();
    assert_eq!(
        places(5990, 6001, 100),
        [entries[599].at, entries[600].at],
        "the last segment and the gap"
    );
    assert_eq!(
        places(0, 1, 100),
        [entries[0].at, entries[601].at],
        "the first segment and its destruction"
    );
    assert_eq!(places(0, 100, 1), [entries[0].at]);
    assert_eq!(index.position(camera(1)).unwrap().unwrap().next_index, 602);
    assert_eq!(seqs(index, camera(2), 0, 6000), [0_u64; 0]);
    assert_eq!(index.upto().unwrap(), upto(602));
}

fn ranges_are_half_open_and_limits_hold(index: &dyn IndexStore) {
    // A long one that reaches over others, two that begin together, and a neighbour camera.
    let facts = [
        segment(1, 0, 100, 1),
        segment(2, 10, 20, 1),
        segment(3, 20, 30, 1),
        segment(4, 20, 40, 1),
    ];
    let mut entries: Vec<_> = facts
        .iter()
        .zip(0..)
        .map(|(row, n)| entry(camera(3), n, Fact::Segment(*row)))
        .collect();
    entries.push(entry(camera(4), 9, Fact::Segment(segment(9, 15, 25, 1))));
    entries.push(entry(
        camera(3),
        10,
        Fact::Gap(Gap {
            range: range(200, 300),
            cause: GapCause::Stopped,
        }),
    ));
    index.put(&entries, upto(11)).unwrap();
    for (from, to, expected) in [
        (0, 10, vec![1]),
        (10, 11, vec![1, 2]),
        (19, 20, vec![1, 2]),
        (20, 21, vec![1, 3, 4]),
        (40, 99, vec![1]),
        (99, 100, vec![1]),
        (100, 200, vec![]),
    ] {
        assert_eq!(seqs(index, camera(3), from, to), expected, "{from}..{to}");
    }
    assert_eq!(index.segments(camera(3), range(0, 100), 2).unwrap().len(), 2);
    assert_eq!(index.segments(camera(3), range(0, 100), 0).unwrap().len(), 0);
    for (from, to, expected) in [(0, 200, 0), (199, 201, 1), (299, 400, 1), (300, 400, 0)] {
        assert_eq!(
            index.gaps(camera(3), range(from, to), 10).unwrap().len(),
            expected,
            "{from}..{to}"
        );
    }
}

fn putting_again_changes_nothing(index: &dyn IndexStore) {
    let entries: Vec<_> = (0..50)
        .map(|n| {
            entry(
                camera(5),
                n,
                Fact::Segment(segment(u64::from(n), i64::from(n), i64::from(n) + 1, 1)),
            )
        })
        .collect();
    index.put(&entries, upto(50)).unwrap();
    let before = (
        index.segments(camera(5), range(0, 100), 100).unwrap(),
        index.position(camera(5)).unwrap(),
        index.upto().unwrap(),
    );
    index.put(&entries[..10], upto(10)).unwrap();
    index.put(&entries, upto(50)).unwrap();
    let after = (
        index.segments(camera(5), range(0, 100), 100).unwrap(),
        index.position(camera(5)).unwrap(),
        index.upto().unwrap(),
    );
    assert_eq!(before, after);
}

fn a_new_key_begins_a_new_chain(index: &dyn IndexStore) {
    let mut first = entry(camera(6), 0, Fact::Segment(segment(5, 0, 10, 1)));
    first.position.next_index = 900;
    let mut second = entry(camera(6), 1, Fact::Segment(segment(5, 50, 60, 2)));
    second.position = Position {
        key: [8; 32],
        next_index: 1,
        last_hash: Sha256Hash::of(b"new"),
    };
    index.put(&[first, second], upto(2)).unwrap();
    assert_eq!(index.position(camera(6)).unwrap(), Some(second.position));
    assert_eq!(seqs(index, camera(6), 0, 100), [5, 5]);
    let Fact::Segment(latest) = second.fact else {
        unreachable!("made so above")
    };
    assert_eq!(index.segment(camera(6), 5).unwrap(), Some(latest));
}

fn what_is_put_survives_and_what_is_cleared_does_not(open: &impl Fn(&str) -> Box<dyn IndexStore>) {
    let one = entry(camera(7), 3, Fact::Segment(segment(1, 0, 10, 1)));
    open("survive").put(&[one], upto(4)).unwrap();
    let index = open("survive");
    assert_eq!(index.position(camera(7)).unwrap(), Some(one.position));
    assert_eq!(
        (seqs(&*index, camera(7), 0, 100), index.upto().unwrap()),
        (vec![1], upto(4))
    );
    // After a restart numbers go on where they were: another camera does not take this one's place.
    index
        .put(&[entry(camera(8), 4, Fact::Segment(segment(2, 0, 10, 2)))], upto(5))
        .unwrap();
    assert_eq!(seqs(&*index, camera(7), 0, 100), [1]);
    index.clear().unwrap();
    assert_eq!(
        (seqs(&*index, camera(7), 0, 100), index.upto().unwrap()),
        (vec![], StatementRef::START)
    );
    drop(index);
    let index = open("survive");
    assert_eq!(
        (index.position(camera(7)).unwrap(), index.upto().unwrap()),
        (None, StatementRef::START)
    );
    index.put(&[one], upto(4)).unwrap();
    assert_eq!(seqs(&*index, camera(7), 0, 100), [1]);
}

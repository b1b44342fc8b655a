//! The journal: rows that are durable and have not reached their tiles yet.
//!
//! header = "CLJ1" ‖ previous base u64 ‖ base u64 ‖ note_len u16 ‖ note ‖ check[32]
//! batch  = "CLB1" ‖ first u64 ‖ rows u32 ‖ records_len u32 ‖ records ‖ note_len u16 ‖ note ‖ check[32]
//! check  = SHA-256 over everything before it in the same header or batch.
//!
//! A batch is written in one piece and synced before anybody hears of it: its signed checkpoint is the commit. The next
//! batch is written only after that, so at most the last one can be torn.

use sha2::{Digest, Sha256};

use super::body::{self, Record};

const HEADER_MAGIC: &[u8; 4] = b"CLJ1";
const BATCH_MAGIC: &[u8; 4] = b"CLB1";
const CHECK: usize = 32;

/// A parsed journal.
pub(super) struct Journal<'a> {
    pub(super) header: Header<'a>,
    pub(super) batches: Vec<Batch<'a>>,
    /// Bytes up to which everything is whole.
    pub(super) whole: usize,
    pub(super) tail: Tail,
}

/// What follows the last whole batch.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Tail {
    /// Nothing.
    None,
    /// Bytes that no later whole batch follows: the batch that a crash cut off.
    Torn,
    /// Bytes that a later whole batch follows: damage to what was durable.
    Damaged,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// The base before this one, whose partial tiles may still lie about.
    pub(super) previous_base: u64,
    /// Rows that are settled: everything before this index lies in its tiles.
    pub(super) base: u64,
    /// The signed checkpoint at the base.
    pub(super) note: &'a str,
}

pub(super) struct Batch<'a> {
    pub(super) first: u64,
    pub(super) records: Vec<Record<'a>>,
    /// The signed checkpoint after the batch.
    pub(super) note: &'a str,
}

fn finish(mut out: Vec<u8>, note: &str) -> Vec<u8> {
    out.extend_from_slice(&(note.len() as u16).to_be_bytes());
    out.extend_from_slice(note.as_bytes());
    let check = Sha256::digest(&out);
    out.extend_from_slice(&check);
    out
}

/// Writes a header.
pub(super) fn header(previous_base: u64, base: u64, note: &str) -> Vec<u8> {
    let mut out = HEADER_MAGIC.to_vec();
    out.extend_from_slice(&previous_base.to_be_bytes());
    out.extend_from_slice(&base.to_be_bytes());
    finish(out, note)
}

/// Writes a batch of records that follow each other.
pub(super) fn batch(first: u64, rows: usize, records: &[u8], note: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len() + note.len() + 64);
    out.extend_from_slice(BATCH_MAGIC);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&(rows as u32).to_be_bytes());
    out.extend_from_slice(&(records.len() as u32).to_be_bytes());
    out.extend_from_slice(records);
    finish(out, note)
}

/// Takes note and check from behind `fixed` bytes; gives the note and the whole length.
fn take_note(bytes: &[u8], fixed: usize) -> Option<(&str, usize)> {
    let rest = bytes.get(fixed..)?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (note, rest) = rest.split_at_checked(len)?;
    let check = rest.get(..CHECK)?;
    let content = fixed + 2 + len;
    (Sha256::digest(&bytes[..content])[..] == *check).then_some(())?;
    Some((std::str::from_utf8(note).ok()?, content + CHECK))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn parse_header(bytes: &[u8]) -> Option<(Header<'_>, usize)> {
    let fixed = 4 + 8 + 8;
    (bytes.get(..4)? == HEADER_MAGIC).then_some(())?;
    let (previous_base, base) = (u64_at(bytes, 4)?, u64_at(bytes, 12)?);
    let (note, len) = take_note(bytes, fixed)?;
    (previous_base <= base).then_some((
        Header {
            previous_base,
            base,
            note,
        },
        len,
    ))
}

fn parse_batch(bytes: &[u8], offset: usize) -> Option<(Batch<'_>, usize)> {
    let bytes = &bytes[offset..];
    let fixed = 4 + 8 + 4 + 4;
    (bytes.get(..4)? == BATCH_MAGIC).then_some(())?;
    let (first, rows, records_len) = (u64_at(bytes, 4)?, u32_at(bytes, 12)?, u32_at(bytes, 16)? as usize);
    let (note, len) = take_note(bytes, fixed + records_len)?;
    let mut rest = &bytes[fixed..fixed + records_len];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, after) = body::parse(rest).ok()?;
        if record.head.index != first + records.len() as u64 {
            return None;
        }
        records.push(record);
        rest = after;
    }
    (records.len() == rows as usize && rows > 0).then_some((Batch { first, records, note }, len))
}

/// Parses a journal; `None` where not even its header is whole.
pub(super) fn parse(bytes: &[u8]) -> Option<Journal<'_>> {
    let (header, mut whole) = parse_header(bytes)?;
    let mut batches: Vec<Batch<'_>> = Vec::new();
    let mut next = header.base;
    while let Some((batch, len)) = parse_batch(bytes, whole).filter(|(b, _)| b.first == next) {
        next += batch.records.len() as u64;
        batches.push(batch);
        whole += len;
    }
    let tail = match bytes.len() - whole {
        0 => Tail::None,
        _ if later_batch(bytes, whole + 1) => Tail::Damaged,
        _ => Tail::Torn,
    };
    Some(Journal {
        header,
        batches,
        whole,
        tail,
    })
}

/// Whether a whole batch starts anywhere from `from` on.
fn later_batch(bytes: &[u8], from: usize) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let starts = rest
        .windows(4)
        .enumerate()
        .filter(|(_, w)| w == BATCH_MAGIC)
        .map(|(at, _)| from + at);
    // Sealed bodies hold the magic by chance once in four billion bytes; each hit costs one hash at most.
    starts.take(64).any(|at| parse_batch(bytes, at).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::keyring::Bucket;
    use super::super::row::{NewRow, RowKind};
    use super::*;
    use zeroize::Zeroizing;

    fn records(first: u64, rows: u64) -> Vec<u8> {
        let bucket = Bucket::random(RowKind(1)).unwrap();
        let mut out = Vec::new();
        for index in first..first + rows {
            let row = NewRow {
                kind: RowKind(1),
                purge_on_day: 1,
                body: Zeroizing::new(vec![7; 20]),
            };
            body::seal(index, &row, &bucket, &mut out).unwrap();
        }
        out
    }

    fn sample() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = header(3, 10, "base\n");
        let mut ends = vec![bytes.len()];
        for (first, rows) in [(10, 2), (12, 1), (13, 3)] {
            bytes.extend(batch(first, rows as usize, &records(first, rows), "note\n"));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_journal_reads_back() {
        let (bytes, _) = sample();
        let journal = parse(&bytes).unwrap();
        assert_eq!(
            journal.header,
            Header {
                previous_base: 3,
                base: 10,
                note: "base\n"
            }
        );
        assert_eq!(
            journal
                .batches
                .iter()
                .map(|b| (b.first, b.records.len()))
                .collect::<Vec<_>>(),
            [(10, 2), (12, 1), (13, 3)]
        );
        assert_eq!((journal.whole, journal.tail), (bytes.len(), Tail::None));
    }

    #[test]
    fn a_cut_anywhere_leaves_the_batches_before_it() {
        let (bytes, ends) = sample();
        for len in ends[0]..bytes.len() {
            let journal = parse(&bytes[..len]).unwrap();
            let whole = ends.iter().rposition(|e| *e <= len).unwrap();
            assert_eq!(
                (journal.batches.len(), journal.whole),
                (whole, ends[whole]),
                "cut to {len}"
            );
            assert_eq!(journal.tail, if ends.contains(&len) { Tail::None } else { Tail::Torn });
        }
    }

    #[test]
    fn a_flip_before_the_last_batch_is_damage_and_not_a_torn_tail() {
        let (bytes, ends) = sample();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            match parse(&bent) {
                None => assert!(at < ends[0], "header lost to byte {at}"),
                Some(journal) => {
                    let last = at >= ends[ends.len() - 2];
                    assert_eq!(journal.tail, if last { Tail::Torn } else { Tail::Damaged }, "byte {at}");
                }
            }
        }
    }
}

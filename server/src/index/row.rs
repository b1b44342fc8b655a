//! How rows are written: big-endian keys that sort by time, values of variable-length numbers. Small, because there are millions.

use custody_shared::id::KeyId;
use custody_shared::statement::{Codec, DestroyReason, Destroyed, Gap};
use custody_shared::time::{TimeRange, UtcMicros};

use super::{IndexError, Position, SegmentRow, gap_cause};
use crate::statements::StatementRef;

/// A camera's number within the index: four bytes instead of sixteen in every row.
pub(super) type CameraNumber = u32;
/// A footage key's number within its camera.
pub(super) type KeyNumber = u16;

const TRUNCATED: u64 = 1;
const CLOSED_GOP: u64 = 1 << 1;
const H265: u64 = 1 << 2;

pub(super) fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes numbers off a value.
pub(super) struct Numbers<'a>(pub(super) &'a [u8], pub(super) &'static str);

impl Numbers<'_> {
    pub(super) fn next(&mut self) -> Result<u64, IndexError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(IndexError::Damaged(self.1))?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(IndexError::Damaged(self.1))
    }

    fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, IndexError> {
        T::try_from(self.next()?).map_err(|_| IndexError::Damaged(self.1))
    }
}

fn length(range: TimeRange) -> u64 {
    u64::try_from(range.len_us()).unwrap_or(0)
}

fn range(start: u64, length: u64, table: &'static str) -> Result<TimeRange, IndexError> {
    let damaged = || IndexError::Damaged(table);
    let start = i64::try_from(start).map_err(|_| damaged())?;
    let end = i64::try_from(length)
        .ok()
        .and_then(|length| start.checked_add(length))
        .ok_or_else(damaged)?;
    TimeRange::new(UtcMicros::new(start), UtcMicros::new(end)).map_err(|_| damaged())
}

/// First bytes of every key of a camera at or after an instant.
pub(super) fn from_instant(camera: CameraNumber, at: i64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&camera.to_be_bytes());
    key[4..].copy_from_slice(&u64::try_from(at).unwrap_or(0).to_be_bytes());
    key
}

fn instant(key: &[u8], table: &'static str) -> Result<u64, IndexError> {
    let bytes = key.get(4..12).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(IndexError::Damaged(table))
}

pub(super) fn segment_key(camera: CameraNumber, row: &SegmentRow) -> [u8; 14] {
    let mut key = [0; 14];
    key[..12].copy_from_slice(&from_instant(camera, row.range.start().get()));
    // Two segments can begin at one instant after a step of the clock; their numbers differ in the low bytes.
    key[12..].copy_from_slice(&(row.seq as u16).to_be_bytes());
    key
}

pub(super) fn segment_value(row: &SegmentRow, key: KeyNumber) -> Vec<u8> {
    let flags = if row.truncated { TRUNCATED } else { 0 }
        | if row.closed_gop { CLOSED_GOP } else { 0 }
        | if row.codec == Codec::H265 { H265 } else { 0 };
    let mut value = Vec::with_capacity(24);
    for number in [
        row.seq,
        length(row.range),
        row.file_len,
        u64::from(row.statement.file),
        u64::from(row.statement.offset),
        u64::from(key),
        flags,
    ] {
        push(&mut value, number);
    }
    value
}

/// A row, and the number of its footage key. The row's own `key_id` is for the caller to fill in.
pub(super) fn read_segment(key: &[u8], value: &[u8]) -> Result<(SegmentRow, KeyNumber), IndexError> {
    let start = instant(key, "segments")?;
    let mut numbers = Numbers(value, "segments");
    let seq = numbers.next()?;
    let range = range(start, numbers.next()?, "segments")?;
    let file_len = numbers.next()?;
    let statement = StatementRef {
        file: numbers.narrow()?,
        offset: numbers.narrow()?,
    };
    let key = numbers.narrow()?;
    let flags = numbers.next()?;
    let row = SegmentRow {
        seq,
        range,
        file_len,
        key_id: KeyId::from_bytes([0; 16]),
        statement,
        truncated: flags & TRUNCATED != 0,
        closed_gop: flags & CLOSED_GOP != 0,
        codec: if flags & H265 != 0 { Codec::H265 } else { Codec::H264 },
    };
    Ok((row, key))
}

/// Key of a gap or destruction: its start, then the statement that says it.
pub(super) fn event_key(camera: CameraNumber, start: UtcMicros, at: StatementRef) -> [u8; 20] {
    let mut key = [0; 20];
    key[..12].copy_from_slice(&from_instant(camera, start.get()));
    key[12..].copy_from_slice(&place(at));
    key
}

pub(super) fn gap_value(gap: &Gap) -> Vec<u8> {
    let mut value = Vec::with_capacity(8);
    push(&mut value, length(gap.range));
    push(&mut value, gap.cause as u64);
    value
}

pub(super) fn read_gap(key: &[u8], value: &[u8]) -> Result<Gap, IndexError> {
    let mut numbers = Numbers(value, "gaps");
    let range = range(instant(key, "gaps")?, numbers.next()?, "gaps")?;
    Ok(Gap {
        range,
        cause: gap_cause(numbers.narrow()?)?,
    })
}

pub(super) fn destroyed_value(destroyed: &Destroyed) -> Vec<u8> {
    let mut value = destroyed.key_id.as_bytes().to_vec();
    for number in [
        length(destroyed.range),
        destroyed.first_seq,
        destroyed.last_seq,
        destroyed.reason as u64,
    ] {
        push(&mut value, number);
    }
    value
}

pub(super) fn read_destroyed(key: &[u8], value: &[u8]) -> Result<Destroyed, IndexError> {
    let damaged = || IndexError::Damaged("destructions");
    let (key_id, rest) = value.split_first_chunk::<16>().ok_or_else(damaged)?;
    let mut numbers = Numbers(rest, "destructions");
    let range = range(instant(key, "destructions")?, numbers.next()?, "destructions")?;
    let (first_seq, last_seq) = (numbers.next()?, numbers.next()?);
    let number: u8 = numbers.narrow()?;
    let reason = DestroyReason::ALL
        .iter()
        .copied()
        .find(|reason| *reason as u8 == number);
    let reason = reason.ok_or_else(damaged)?;
    Ok(Destroyed {
        key_id: KeyId::from_bytes(*key_id),
        range,
        first_seq,
        last_seq,
        reason,
    })
}

pub(super) fn place(at: StatementRef) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&at.file.to_be_bytes());
    bytes[4..].copy_from_slice(&at.offset.to_be_bytes());
    bytes
}

pub(super) fn read_place(bytes: &[u8], table: &'static str) -> Result<StatementRef, IndexError> {
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| IndexError::Damaged(table))?;
    let number = u64::from_be_bytes(bytes);
    Ok(StatementRef {
        file: (number >> 32) as u32,
        offset: number as u32,
    })
}

/// What the index knows of a camera as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CameraState {
    pub(super) number: CameraNumber,
    pub(super) position: Position,
    /// The statement that `position` is after.
    pub(super) at: StatementRef,
    /// Longest segment, gap and destruction, in microseconds: how far before a range one can begin that reaches into it.
    pub(super) longest: [i64; 3],
    /// How many footage keys have numbers.
    pub(super) keys: KeyNumber,
}

impl CameraState {
    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(128);
        value.extend_from_slice(&self.position.key);
        value.extend_from_slice(self.position.last_hash.as_bytes());
        value.extend_from_slice(&place(self.at));
        push(&mut value, u64::from(self.number));
        push(&mut value, self.position.next_index);
        for longest in self.longest {
            push(&mut value, u64::try_from(longest).unwrap_or(0));
        }
        push(&mut value, u64::from(self.keys));
        value
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, IndexError> {
        let damaged = || IndexError::Damaged("cameras");
        let (key, rest) = value.split_first_chunk::<32>().ok_or_else(damaged)?;
        let (hash, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let (at, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let mut numbers = Numbers(rest, "cameras");
        Ok(Self {
            number: numbers.narrow()?,
            position: Position {
                key: *key,
                next_index: numbers.next()?,
                last_hash: custody_shared::hash::Sha256Hash::from_bytes(*hash),
            },
            at: read_place(at, "cameras")?,
            longest: [numbers.narrow()?, numbers.narrow()?, numbers.narrow()?],
            keys: numbers.narrow()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back_and_short_ones_are_damage() {
        for number in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            assert_eq!(Numbers(&bytes, "test").next().unwrap(), number);
            bytes.pop();
            assert!(Numbers(&bytes, "test").next().is_err());
        }
        assert!(Numbers(&[0xff; 11], "test").next().is_err());
    }
}

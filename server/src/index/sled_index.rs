//! The embedded index, on sled.
//!
//! sled's maintainers advise against it where reliability comes first, so nothing lies here that the statement log does not hold. Writes end
//! with one flush, and the place in the log up to which they go is written last: after a crash, what is missing is put again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, KeyId};
use custody_shared::statement::{Destroyed, Gap};
use custody_shared::time::TimeRange;
use sled::{Batch, Db, IVec, Tree};

use super::row::{self, CameraNumber, CameraState, KeyNumber};
use super::{Fact, IndexEntry, IndexError, IndexStore, Position, SegmentRow};
use crate::ca::files::private_dir;
use crate::statements::StatementRef;

mod batches;

use batches::Batches;

/// Version of the layout; another one is rebuilt.
const LAYOUT: &[u8] = &[1];
/// sled's page cache. Its bookkeeping comes on top.
const CACHE_BYTES: u64 = 32 << 20;
/// Segment numbers per row of the table that finds a segment by its number.
const SEQ_BLOCK: u64 = 256;

/// The index in a folder.
pub struct SledIndex {
    db: Db,
    meta: Tree,
    cameras: Tree,
    keys: Tree,
    segments: Tree,
    numbers: Tree,
    gaps: Tree,
    destroyed: Tree,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cameras: HashMap<CameraId, CameraState>,
    /// The footage key each camera used last, and its number.
    latest_key: HashMap<CameraNumber, (KeyId, KeyNumber)>,
    next_number: CameraNumber,
}

fn store(step: &'static str) -> impl Fn(sled::Error) -> IndexError {
    move |error| IndexError::Store {
        step,
        reason: error.to_string(),
    }
}

impl SledIndex {
    /// Opens the index in `dir`, making it if there is none. One of another layout, or one that sled cannot open any more, is
    /// deleted and begun anew: the log then fills it again.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        match Self::try_open(dir) {
            Ok(index) => Ok(index),
            Err(error) => {
                tracing::warn!(%error, "the index cannot be used and is built anew from the statement log");
                let failed = |error: std::io::Error| IndexError::Store {
                    step: "deleting",
                    reason: error.to_string(),
                };
                std::fs::remove_dir_all(dir).map_err(failed)?;
                Self::try_open(dir)
            }
        }
    }

    fn try_open(dir: &Path) -> Result<Self, IndexError> {
        private_dir(dir).map_err(|error| IndexError::Store {
            step: "making the folder",
            reason: error.to_string(),
        })?;
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .open()
            .map_err(store("opening"))?;
        let tree = |name: &str| db.open_tree(name).map_err(store("opening"));
        let index = Self {
            meta: tree("meta")?,
            cameras: tree("cameras")?,
            keys: tree("keys")?,
            segments: tree("segments")?,
            numbers: tree("numbers")?,
            gaps: tree("gaps")?,
            destroyed: tree("destroyed")?,
            state: Mutex::default(),
            db,
        };
        match index.meta.get("layout").map_err(store("reading"))? {
            Some(layout) if layout == LAYOUT => {}
            None if index.cameras.is_empty() => {
                index.meta.insert("layout", LAYOUT).map_err(store("writing"))?;
            }
            _ => return Err(IndexError::Damaged("the layout")),
        }
        index.load()?;
        Ok(index)
    }

    fn load(&self) -> Result<(), IndexError> {
        let mut state = self.lock();
        for row in self.cameras.iter() {
            let (camera, value) = row.map_err(store("reading"))?;
            let camera: [u8; 16] = camera.as_ref().try_into().map_err(|_| IndexError::Damaged("cameras"))?;
            let known = CameraState::read(&value)?;
            state.next_number = state.next_number.max(known.number.saturating_add(1));
            state.cameras.insert(CameraId::from_bytes(camera), known);
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn size_on_disk(&self) -> Result<u64, IndexError> {
        self.db.size_on_disk().map_err(store("measuring"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn camera(&self, camera: CameraId) -> Option<CameraState> {
        self.lock().cameras.get(&camera).copied()
    }

    fn key_row(number: CameraNumber, key: KeyNumber) -> [u8; 6] {
        let mut row = [0; 6];
        row[..4].copy_from_slice(&number.to_be_bytes());
        row[4..].copy_from_slice(&key.to_be_bytes());
        row
    }

    /// The number of a footage key within its camera, given out at first sight.
    fn key_number(
        &self,
        state: &mut State,
        camera: &mut CameraState,
        key_id: KeyId,
        batch: &mut Batch,
    ) -> Result<KeyNumber, IndexError> {
        if let Some((latest, number)) = state.latest_key.get(&camera.number)
            && *latest == key_id
        {
            return Ok(*number);
        }
        let mut known = None;
        for row in self.keys.scan_prefix(camera.number.to_be_bytes()) {
            let (key, value) = row.map_err(store("reading"))?;
            if value.as_ref() == key_id.as_bytes() {
                let number = key.get(4..6).and_then(|bytes| bytes.try_into().ok());
                known = Some(number.map(u16::from_be_bytes).ok_or(IndexError::Damaged("keys"))?);
                break;
            }
        }
        let number = match known {
            Some(number) => number,
            None => {
                let number = camera.keys;
                camera.keys = number.checked_add(1).ok_or(IndexError::Damaged("keys"))?;
                // Written at once, so that the next scan finds it; harmless without the rows that follow.
                self.keys
                    .insert(Self::key_row(camera.number, number), key_id.as_bytes())
                    .map_err(store("writing"))?;
                batch.insert(&Self::key_row(camera.number, number)[..], &key_id.as_bytes()[..]);
                number
            }
        };
        state.latest_key.insert(camera.number, (key_id, number));
        Ok(number)
    }

    fn scan<T>(
        &self,
        table: &Tree,
        number: CameraNumber,
        longest: i64,
        range: TimeRange,
        limit: usize,
        read: impl Fn(&IVec, &IVec) -> Result<(TimeRange, T), IndexError>,
    ) -> Result<Vec<T>, IndexError> {
        let first = row::from_instant(number, range.start().get().saturating_sub(longest));
        let end = row::from_instant(number, range.end().get());
        let mut found = Vec::new();
        for row in table.range(&first[..]..&end[..]) {
            let (key, value) = row.map_err(store("reading"))?;
            let (has, value) = read(&key, &value)?;
            if has.overlaps(&range) {
                if found.len() == limit {
                    break;
                }
                found.push(value);
            }
        }
        Ok(found)
    }

    fn with_keys(
        &self,
        number: CameraNumber,
        rows: Vec<(SegmentRow, KeyNumber)>,
    ) -> Result<Vec<SegmentRow>, IndexError> {
        let mut last: Option<(KeyNumber, KeyId)> = None;
        rows.into_iter()
            .map(|(mut row, key)| {
                let key_id = match last {
                    Some((known, key_id)) if known == key => key_id,
                    _ => {
                        let value = self.keys.get(Self::key_row(number, key)).map_err(store("reading"))?;
                        let value = value.ok_or(IndexError::Damaged("keys"))?;
                        let bytes = value.as_ref().try_into().map_err(|_| IndexError::Damaged("keys"))?;
                        KeyId::from_bytes(bytes)
                    }
                };
                last = Some((key, key_id));
                row.key_id = key_id;
                Ok(row)
            })
            .collect()
    }

    fn number_row(number: CameraNumber, seq: u64) -> [u8; 12] {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key[4..].copy_from_slice(&(seq / SEQ_BLOCK).to_be_bytes());
        key
    }

    fn number_span(value: &[u8]) -> Result<(i64, i64), IndexError> {
        let mut numbers = row::Numbers(value, "segment numbers");
        let damaged = |_| IndexError::Damaged("segment numbers");
        let first = i64::try_from(numbers.next()?).map_err(damaged)?;
        let length = i64::try_from(numbers.next()?).map_err(damaged)?;
        Ok((first, first.saturating_add(length)))
    }
}

impl IndexStore for SledIndex {
    fn put(&self, entries: &[IndexEntry], upto: StatementRef) -> Result<(), IndexError> {
        let mut state = self.lock();
        let mut batches = Batches::default();
        for entry in entries {
            self.add(&mut state, &mut batches, entry)?;
        }
        let upto = upto.max(self.upto()?);
        self.apply(batches, upto)
    }

    fn upto(&self) -> Result<StatementRef, IndexError> {
        match self.meta.get("upto").map_err(store("reading"))? {
            Some(value) => row::read_place(&value, "meta"),
            None => Ok(StatementRef::START),
        }
    }

    fn position(&self, camera: CameraId) -> Result<Option<Position>, IndexError> {
        Ok(self.camera(camera).map(|state| state.position))
    }

    fn segments(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentRow>, IndexError> {
        let Some(state) = self.camera(camera) else {
            return Ok(Vec::new());
        };
        let rows = self.scan(
            &self.segments,
            state.number,
            state.longest[0],
            range,
            limit,
            |key, value| row::read_segment(key, value).map(|(row, key)| (row.range, (row, key))),
        )?;
        self.with_keys(state.number, rows)
    }

    fn segment(&self, camera: CameraId, seq: u64) -> Result<Option<SegmentRow>, IndexError> {
        let Some(state) = self.camera(camera) else {
            return Ok(None);
        };
        let Some(value) = self
            .numbers
            .get(Self::number_row(state.number, seq))
            .map_err(store("reading"))?
        else {
            return Ok(None);
        };
        let (first, last) = Self::number_span(&value)?;
        let (first, end) = (
            row::from_instant(state.number, first),
            row::from_instant(state.number, last.saturating_add(1)),
        );
        for found in self.segments.range(&first[..]..&end[..]).rev() {
            let (key, value) = found.map_err(store("reading"))?;
            let (row, key) = row::read_segment(&key, &value)?;
            if row.seq == seq {
                return Ok(self.with_keys(state.number, vec![(row, key)])?.pop());
            }
        }
        Ok(None)
    }

    fn gaps(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Gap>, IndexError> {
        let Some(state) = self.camera(camera) else {
            return Ok(Vec::new());
        };
        self.scan(
            &self.gaps,
            state.number,
            state.longest[1],
            range,
            limit,
            |key, value| row::read_gap(key, value).map(|gap| (gap.range, gap)),
        )
    }

    fn destroyed(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Destroyed>, IndexError> {
        let Some(state) = self.camera(camera) else {
            return Ok(Vec::new());
        };
        self.scan(
            &self.destroyed,
            state.number,
            state.longest[2],
            range,
            limit,
            |key, value| row::read_destroyed(key, value).map(|destroyed| (destroyed.range, destroyed)),
        )
    }

    fn statements(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<StatementRef>, IndexError> {
        let Some(state) = self.camera(camera) else {
            return Ok(Vec::new());
        };
        let said_by = |key: &IVec, table| row::read_place(key.get(12..).unwrap_or_default(), table);
        let mut places = self.scan(
            &self.segments,
            state.number,
            state.longest[0],
            range,
            limit,
            |key, value| row::read_segment(key, value).map(|(row, _)| (row.range, row.statement)),
        )?;
        places.extend(self.scan(
            &self.gaps,
            state.number,
            state.longest[1],
            range,
            limit,
            |key, value| Ok((row::read_gap(key, value)?.range, said_by(key, "gaps")?)),
        )?);
        places.extend(self.scan(
            &self.destroyed,
            state.number,
            state.longest[2],
            range,
            limit,
            |key, value| Ok((row::read_destroyed(key, value)?.range, said_by(key, "destructions")?)),
        )?);
        places.sort_unstable();
        places.truncate(limit);
        Ok(places)
    }

    fn clear(&self) -> Result<(), IndexError> {
        let mut state = self.lock();
        // The place in the log goes first: a crash in between leaves an index that is filled again from the start.
        for table in [
            &self.cameras,
            &self.segments,
            &self.numbers,
            &self.gaps,
            &self.destroyed,
            &self.keys,
        ] {
            self.meta.remove("upto").map_err(store("clearing"))?;
            table.clear().map_err(store("clearing"))?;
        }
        self.db.flush().map_err(store("clearing"))?;
        *state = State::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The record keyring: the keys of the bodies, one bucket per kind and day of purging.
//!
//! One file per day: "CRK1" ‖ day u32 ‖ state u8 ‖ count u16 ‖ { bucket[16] ‖ kind u16 ‖ key[32] } ‖ check[32].
//! Destroying a day's keys destroys every body that falls due on it; a tombstone (state 0, no keys) stays in their
//! place, so that "purged" and "lost" differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::error::LedgerError;
use super::files::{self, Files};
use super::layout;
use super::row::RowKind;

/// Names a bucket in the records that it opens.
pub(super) type BucketId = [u8; 16];

const MAGIC: &[u8; 4] = b"CRK1";
const HEAD: usize = 4 + 4 + 1 + 2;
const ENTRY: usize = 16 + 2 + 32;
/// Buckets of one day at most.
const MAX_BUCKETS: usize = 4096;
/// Days whose keys are kept in memory at most.
const MAX_CACHED_DAYS: usize = 4096;

/// The key of the bodies of one kind that are purged on one day.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Bucket {
    id: BucketId,
    kind: u16,
    key: [u8; 32],
}

impl Bucket {
    pub(super) fn random(kind: RowKind) -> Result<Self, getrandom::Error> {
        let mut bucket = Bucket {
            id: [0; 16],
            kind: kind.0,
            key: [0; 32],
        };
        getrandom::fill(&mut bucket.id)?;
        getrandom::fill(&mut bucket.key)?;
        Ok(bucket)
    }

    pub(super) fn id(&self) -> &BucketId {
        &self.id
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// A day's keys, or what is left of them.
#[derive(Clone)]
pub(super) enum Day {
    /// The keys, oldest first: the last of a kind seals new rows.
    Live(Vec<Arc<Bucket>>),
    /// Destroyed.
    Purged,
}

fn encode(day: u32, state: &Day) -> Zeroizing<Vec<u8>> {
    let (live, buckets) = match state {
        Day::Live(buckets) => (1, buckets.as_slice()),
        Day::Purged => (0, &[][..]),
    };
    let mut out = Zeroizing::new(Vec::with_capacity(HEAD + buckets.len() * ENTRY + 32));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&day.to_be_bytes());
    out.push(live);
    out.extend_from_slice(&(buckets.len() as u16).to_be_bytes());
    for bucket in buckets {
        out.extend_from_slice(&bucket.id);
        out.extend_from_slice(&bucket.kind.to_be_bytes());
        out.extend_from_slice(&bucket.key);
    }
    let check = Sha256::digest(&*out);
    out.extend_from_slice(&check);
    out
}

/// Parses a day's file; `None` if a single byte is not as written.
pub(super) fn parse(day: u32, bytes: &[u8]) -> Option<Day> {
    let (content, check) = bytes.split_last_chunk::<32>()?;
    let (head, entries) = content.split_at_checked(HEAD)?;
    let count = usize::from(u16::from_be_bytes([head[9], head[10]]));
    let sound = Sha256::digest(content)[..] == check[..]
        && head[..4] == MAGIC[..]
        && head[4..8] == day.to_be_bytes()
        && entries.len() == count * ENTRY;
    match (sound, head[8], count) {
        (true, 0, 0) => Some(Day::Purged),
        (true, 1, 1..=MAX_BUCKETS) => {
            let bucket = |e: &[u8; ENTRY]| {
                let mut bucket = Bucket {
                    id: [0; 16],
                    kind: u16::from_be_bytes([e[16], e[17]]),
                    key: [0; 32],
                };
                bucket.id.copy_from_slice(&e[..16]);
                bucket.key.copy_from_slice(&e[18..]);
                Arc::new(bucket)
            };
            Some(Day::Live(entries.as_chunks::<ENTRY>().0.iter().map(bucket).collect()))
        }
        _ => None,
    }
}

/// The keys of all bodies. Shared by the writer, who adds, and the readers.
pub(super) struct Keyring {
    files: Arc<dyn Files>,
    days: Mutex<Days>,
}

/// Days in memory.
#[derive(Default)]
struct Days {
    known: BTreeMap<u32, Day>,
    /// Days whose file this process has made durable. One that was merely found may be in the page cache only.
    durable: BTreeSet<u32>,
}

impl Keyring {
    /// The keyring in the ledger's directory. Finishes a destruction that a crash interrupted.
    pub(super) fn open(files: Arc<dyn Files>) -> Result<Self, LedgerError> {
        let names = files
            .list(layout::KEYRING)
            .map_err(|e| LedgerError::unreadable(layout::KEYRING, e))?;
        for day in names.iter().filter_map(|n| n.strip_suffix(".tomb")?.parse().ok()) {
            finish(&*files, day).map_err(|e| LedgerError::unwritable("destroy", &layout::keys(day), e))?;
        }
        let names = files
            .list(layout::KEYRING)
            .map_err(|e| LedgerError::unreadable(layout::KEYRING, e))?;
        for name in names.iter().filter(|n| n.ends_with(".dead")) {
            let path = format!("{}/{name}", layout::KEYRING);
            erase(&*files, &path).map_err(|e| LedgerError::unwritable("erase", &path, e))?;
        }
        Ok(Keyring {
            files,
            days: Mutex::default(),
        })
    }

    fn days(&self) -> MutexGuard<'_, Days> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, days: &mut Days, day: u32) -> Result<Option<Day>, LedgerError> {
        if let Some(known) = days.known.get(&day) {
            return Ok(Some(known.clone()));
        }
        let path = layout::keys(day);
        let bytes = files::read_optional(&*self.files, &path).map_err(|e| LedgerError::unreadable(&path, e))?;
        let Some(bytes) = bytes.map(Zeroizing::new) else {
            return Ok(None);
        };
        let state = parse(day, &bytes).ok_or_else(|| LedgerError::damaged(&path, "not as it was written"))?;
        if days.known.len() >= MAX_CACHED_DAYS
            && let Some((oldest, _)) = days.known.pop_first()
        {
            days.durable.remove(&oldest);
        }
        days.known.insert(day, state.clone());
        Ok(Some(state))
    }

    fn make_durable(&self, days: &mut Days, day: u32) -> io::Result<()> {
        if !days.durable.contains(&day) {
            self.files.sync(&layout::keys(day))?;
            self.files.sync_dir(layout::KEYRING)?;
            days.durable.insert(day);
        }
        Ok(())
    }

    /// The bucket that opens a record; `None` if its day has been purged.
    pub(super) fn find(&self, day: u32, id: &BucketId) -> Result<Option<Arc<Bucket>>, LedgerError> {
        let lost = || LedgerError::damaged(&layout::keys(day), "it lacks a key that a row needs");
        match self.load(&mut self.days(), day)?.ok_or_else(lost)? {
            Day::Purged => Ok(None),
            Day::Live(buckets) => Ok(Some(buckets.iter().find(|b| b.id == *id).cloned().ok_or_else(lost)?)),
        }
    }

    /// The bucket that seals new rows of a kind and day, made durable before it is given out.
    pub(super) fn bucket(&self, kind: RowKind, day: u32) -> Result<Arc<Bucket>, LedgerError> {
        let mut days = self.days();
        let mut buckets = match self.load(&mut days, day)? {
            Some(Day::Purged) => return Err(LedgerError::InvalidRows("the day of purging has passed")),
            Some(Day::Live(buckets)) => buckets,
            None => Vec::new(),
        };
        let path = layout::keys(day);
        if let Some(bucket) = buckets.iter().rev().find(|b| b.kind == kind.0).cloned() {
            self.make_durable(&mut days, day)
                .map_err(|e| LedgerError::unwritable("sync", &path, e))?;
            return Ok(bucket);
        }
        if buckets.len() >= MAX_BUCKETS {
            return Err(LedgerError::InvalidRows("too many kinds of rows fall due on one day"));
        }
        let random = |e: getrandom::Error| LedgerError::unwritable("draw a key for", &path, io::Error::other(e));
        let bucket = Arc::new(Bucket::random(kind).map_err(random)?);
        buckets.push(bucket.clone());
        let state = Day::Live(buckets);
        // A crash here leaves a key that no row uses: harmless. So does a failure: the day is read again then.
        days.known.remove(&day);
        days.durable.remove(&day);
        files::replace(&*self.files, &path, &encode(day, &state))
            .map_err(|e| LedgerError::unwritable("write", &path, e))?;
        days.known.insert(day, state);
        days.durable.insert(day);
        Ok(bucket)
    }

    /// Destroys the keys of all days up to `today` (days since 1970) and gives the days.
    pub(super) fn purge(&self, today: u32) -> Result<Vec<u32>, LedgerError> {
        let mut days = self.days();
        let names = self
            .files
            .list(layout::KEYRING)
            .map_err(|e| LedgerError::unreadable(layout::KEYRING, e))?;
        let mut due: Vec<u32> = names
            .iter()
            .filter_map(|n| n.parse().ok())
            .filter(|d| *d <= today)
            .collect();
        due.sort_unstable();
        let mut purged = Vec::new();
        for day in due {
            let path = layout::keys(day);
            let bytes = self
                .files
                .read(&path)
                .map(Zeroizing::new)
                .map_err(|e| LedgerError::unreadable(&path, e))?;
            // A damaged file that is due is destroyed like any other.
            if !matches!(parse(day, &bytes), Some(Day::Purged)) {
                bury(&*self.files, day).map_err(|e| LedgerError::unwritable("destroy", &path, e))?;
                purged.push(day);
            }
            days.known.insert(day, Day::Purged);
        }
        Ok(purged)
    }
}

/// Puts the tombstone in place, then overwrites and removes the file that held the keys.
fn bury(files: &dyn Files, day: u32) -> io::Result<()> {
    let path = layout::keys(day);
    let (tomb, dead) = (format!("{path}.tomb"), format!("{path}.dead"));
    let bytes = encode(day, &Day::Purged);
    files.write_at(&tomb, 0, &bytes, true)?;
    files.truncate(&tomb, bytes.len() as u64)?;
    files.sync(&tomb)?;
    // A crash from here on leaves a tombstone beside the keys, or neither in its place: opening ends what was begun.
    files.rename(&path, &dead)?;
    files.rename(&tomb, &path)?;
    files.sync_dir(layout::KEYRING)?;
    erase(files, &dead)
}

/// Ends a destruction whose tombstone is written; forgets one whose tombstone is torn, as its keys are untouched.
fn finish(files: &dyn Files, day: u32) -> io::Result<()> {
    let path = layout::keys(day);
    let tomb = format!("{path}.tomb");
    if !matches!(parse(day, &files.read(&tomb)?), Some(Day::Purged)) {
        files.remove(&tomb)?;
        return files.sync_dir(layout::KEYRING);
    }
    if files::read_optional(files, &path)?.is_some() {
        files.rename(&path, &format!("{path}.dead"))?;
    }
    files.rename(&tomb, &path)?;
    files.sync_dir(layout::KEYRING)
}

/// Overwrites a file with zeros, durably, and removes it: the best that can be done on a disk that may copy on write.
fn erase(files: &dyn Files, path: &str) -> io::Result<()> {
    let len = files.len(path)?;
    files.write_at(path, 0, &vec![0; len as usize], false)?;
    files.sync(path)?;
    files.remove(path)?;
    files.sync_dir(layout::KEYRING)
}

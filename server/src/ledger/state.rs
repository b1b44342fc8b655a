//! What the writer and the readers share: the head, what is not settled yet, and where everything else is found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use custody_shared::tlog::commitment::LEAF_LEN;
use custody_shared::tlog::tile::{EntryBundle, TILE_WIDTH, Tile};
use custody_shared::tlog::{Leaf, LogVerifier};

use super::body::{self, Head as RecordHead, Opened};
use super::edge::Edge;
use super::error::LedgerError;
use super::files::Files;
use super::keyring::Keyring;
use super::layout;
use super::row::Row;

/// What a reader sees: the head of the last commit.
pub(super) struct Head {
    pub(super) edge: Edge,
    pub(super) note: Arc<str>,
}

/// Rows and full tiles that are not settled yet.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Index of the first unsettled row.
    pub(super) base: u64,
    /// Their records, in order.
    pub(super) records: VecDeque<Arc<[u8]>>,
    /// Full tiles.
    pub(super) tiles: BTreeMap<Tile, Arc<[u8]>>,
}

/// What the writer and all readers share.
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) keyring: Keyring,
    pub(super) verifier: LogVerifier,
    pub(super) head: RwLock<Arc<Head>>,
    pub(super) unsettled: RwLock<Unsettled>,
}

/// A record's bytes, wherever they were found, from which records are parsed again.
pub(super) struct Found {
    pub(super) bytes: Arc<[u8]>,
}

impl Shared {
    pub(super) fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn unsettled(&self) -> std::sync::RwLockReadGuard<'_, Unsettled> {
        self.unsettled.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, LedgerError> {
        self.files.read(path).map_err(|e| LedgerError::unreadable(path, e))
    }

    /// The record of a row that exists.
    pub(super) fn record(&self, index: u64) -> Result<Found, LedgerError> {
        {
            let unsettled = self.unsettled();
            if let Some(at) = index.checked_sub(unsettled.base) {
                let bytes = unsettled.records.get(at as usize).cloned();
                return bytes.map(|bytes| Found { bytes }).ok_or(LedgerError::NoSuchRow(index));
            }
        }
        let path = layout::bodies(index / 256);
        let file = self.read(&path)?;
        let mut rest = &file[..];
        while let Ok((record, after)) = body::parse(rest) {
            if record.head.index == index {
                return Ok(Found {
                    bytes: record.bytes().into(),
                });
            }
            rest = after;
        }
        // A damaged body hides the ones behind it from a reader that goes from one to the next, not from a search.
        if let Ok((record, _)) = body::parse(body::seek(rest, index)) {
            return Ok(Found {
                bytes: record.bytes().into(),
            });
        }
        Err(LedgerError::damaged(
            &path,
            format!("the body of row {index} is not as it was written"),
        ))
    }

    fn parse<'a>(&self, found: &'a Found) -> Result<body::Record<'a>, LedgerError> {
        let whole =
            body::parse(&found.bytes).map_err(|_| LedgerError::damaged(layout::BODIES, "a record changed in memory"));
        Ok(whole?.0)
    }

    /// A record's readable part, and what it says unless that was purged.
    pub(super) fn open(&self, index: u64, found: &Found) -> Result<(RecordHead, Option<Opened>), LedgerError> {
        let record = self.parse(found)?;
        let Some(bucket) = self.keyring.find(record.head.day, &record.head.bucket)? else {
            return Ok((record.head, None));
        };
        let opened = record.open(&bucket).ok_or_else(|| {
            LedgerError::damaged(
                &layout::bodies(index / 256),
                format!("row {index} is not what the log committed to"),
            )
        })?;
        Ok((record.head, Some(opened)))
    }

    pub(super) fn row(&self, index: u64, found: &Found) -> Result<Row, LedgerError> {
        let (head, opened) = self.open(index, found)?;
        Ok(Row {
            index,
            kind: head.kind,
            purge_on_day: head.day,
            body: opened.map(|o| o.body),
        })
    }

    /// The leaves of the rows `[first, first + count)`, all of one bundle.
    pub(super) fn leaves(&self, first: u64, count: u16) -> Result<Vec<[u8; LEAF_LEN]>, LedgerError> {
        let mut leaves = Vec::with_capacity(usize::from(count));
        // Settling moves rows from memory to the disk and never back; a second look finds what the first missed.
        for _ in 0..8 {
            let base = self.unsettled().base;
            leaves.clear();
            if first < base {
                let bundle = EntryBundle::in_tree(first / 256, base).ok_or(LedgerError::NoSuchRow(first))?;
                let path = bundle.path();
                let bytes = match self.files.read(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.unsettled().base != base => continue,
                    other => other.map_err(|e| LedgerError::unreadable(&path, e))?,
                };
                let entries = bundle
                    .split(&bytes)
                    .ok_or_else(|| LedgerError::damaged(&path, "not whole"))?;
                for entry in entries.into_iter().take(usize::from(count)) {
                    let leaf = Leaf::parse(entry).ok_or_else(|| LedgerError::damaged(&path, "not a leaf"))?;
                    leaves.push(*leaf.as_bytes());
                }
            }
            let next = first + leaves.len() as u64;
            for index in next..first + u64::from(count) {
                leaves.push(*self.parse(&self.record(index)?)?.head.leaf.as_bytes());
            }
            return Ok(leaves);
        }
        Err(LedgerError::unreadable(
            layout::TILES,
            std::io::ErrorKind::NotFound.into(),
        ))
    }

    pub(super) fn full_tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        if let Some(bytes) = self.unsettled().tiles.get(&tile) {
            return Ok(bytes.to_vec());
        }
        let bytes = self.read(&tile.path())?;
        if bytes.len() != usize::from(TILE_WIDTH) * 32 {
            return Err(LedgerError::damaged(&tile.path(), "not 8192 bytes"));
        }
        Ok(bytes)
    }
}

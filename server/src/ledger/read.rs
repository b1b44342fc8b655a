//! Reading: rows, tiles, proofs. Never waits for the writer's disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use custody_shared::tlog::commitment::LEAF_LEN;
use custody_shared::tlog::tile::{EntryBundle, TILE_WIDTH, Tile, TileError, TileHashes, TilePath, TileReader};
use custody_shared::tlog::tree::{self, NodeHash, TreeError};
use custody_shared::tlog::{Leaf, LogVerifier, RowEvidence};

use sha2::{Digest as _, Sha256};

use super::body::{self, Head as RecordHead, Opened};
use super::edge::Edge;
use super::error::LedgerError;
use super::files::Files;
use super::keyring::Keyring;
use super::row::{Row, RowKind};
use super::{Ledger, layout};

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

/// A tile's bytes, ready to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileBytes {
    /// The bytes, to be served as `application/octet-stream`.
    pub bytes: Vec<u8>,
    /// What it is; a resource never changes once it exists, so a cache may keep it for ever.
    pub path: TilePath,
}

impl TileBytes {
    /// What a cache may do with it. Private, because whoever reads the tree has signed in; for ever, because what the
    /// path names never changes.
    pub fn cache_control(&self) -> &'static str {
        "private, max-age=31536000, immutable"
    }

    /// A strong entity tag.
    pub fn etag(&self) -> String {
        format!("\"{}\"", hex::encode(&Sha256::digest(&self.bytes)[..16]))
    }
}

/// A record's bytes, wherever they were found, from which records are parsed again.
struct Found {
    bytes: Arc<[u8]>,
}

impl Shared {
    pub(super) fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unsettled(&self) -> std::sync::RwLockReadGuard<'_, Unsettled> {
        self.unsettled.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, LedgerError> {
        self.files.read(path).map_err(|e| LedgerError::unreadable(path, e))
    }

    /// The record of a row that exists.
    fn record(&self, index: u64) -> Result<Found, LedgerError> {
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
        for _ in 0..256 {
            let Ok((record, after)) = body::parse(rest) else { break };
            if record.head.index == index {
                return Ok(Found {
                    bytes: record.bytes().into(),
                });
            }
            rest = after;
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
    fn open(&self, index: u64, found: &Found) -> Result<(RecordHead, Option<Opened>), LedgerError> {
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

    fn row(&self, index: u64, found: &Found) -> Result<Row, LedgerError> {
        let (head, opened) = self.open(index, found)?;
        Ok(Row {
            index,
            kind: head.kind,
            purge_on_day: head.day,
            body: opened.map(|o| o.body),
        })
    }

    /// The leaves of the rows `[first, first + count)`, all of one bundle.
    fn leaves(&self, first: u64, count: u16) -> Result<Vec<[u8; LEAF_LEN]>, LedgerError> {
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

    fn full_tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
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

/// The tiles of the tree as it was at one commit.
struct Snapshot<'a> {
    shared: &'a Shared,
    head: &'a Head,
}

impl TileReader for Snapshot<'_> {
    type Error = LedgerError;
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        if tile.is_full() {
            self.shared.full_tile(tile)
        } else {
            self.head.edge.tile(tile).map_err(|e| match e {})
        }
    }
}

fn proof_error(error: TreeError<TileError<LedgerError>>) -> LedgerError {
    match error {
        TreeError::OutOfTree { asked, .. } => LedgerError::NoSuchRow(asked),
        TreeError::Read(TileError::Read(error)) => error,
        TreeError::Read(short @ TileError::Short { .. }) => LedgerError::damaged(layout::TILES, short.to_string()),
    }
}

impl Ledger {
    /// Number of rows.
    pub fn len(&self) -> u64 {
        self.shared.head().edge.size()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The signed checkpoint that covers every row: a C2SP note.
    pub fn checkpoint(&self) -> String {
        self.shared.head().note.to_string()
    }

    /// The log's public key.
    pub fn verifier(&self) -> &LogVerifier {
        &self.shared.verifier
    }

    /// A row's kind and body; `None` where there is no such row or its body has been purged.
    pub fn read(&self, index: u64) -> Result<Option<(RowKind, zeroize::Zeroizing<Vec<u8>>)>, LedgerError> {
        if index >= self.len() {
            return Ok(None);
        }
        let row = self.shared.row(index, &self.shared.record(index)?)?;
        Ok(row.body.map(|body| (row.kind, body)))
    }

    /// The rows from `from` on, up to those that are there when the iteration gets to its end.
    pub fn iter(&self, from: u64) -> Rows<'_> {
        Rows {
            ledger: self,
            next: from,
            ready: VecDeque::new(),
        }
    }

    /// A row with the proof of its place under the latest checkpoint.
    pub fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError> {
        let head = self.shared.head();
        let size = head.edge.size();
        if index >= size {
            return Err(LedgerError::NoSuchRow(index));
        }
        let (record, opened) = self.shared.open(index, &self.shared.record(index)?)?;
        let snapshot = Snapshot {
            shared: &self.shared,
            head: &head,
        };
        let path = tree::inclusion_proof(&TileHashes::new(&snapshot, size), index, size).map_err(proof_error)?;
        let (salt, body) = opened.map(|o| (o.salt, o.body)).unzip();
        Ok(RowEvidence {
            index,
            leaf: record.leaf,
            salt,
            body,
            path,
            checkpoint: head.note.to_string(),
        })
    }

    /// The proof that the log of `old_size` rows is a prefix of the one under the checkpoint that comes with it.
    pub fn consistency(&self, old_size: u64) -> Result<(Vec<NodeHash>, String), LedgerError> {
        let head = self.shared.head();
        let snapshot = Snapshot {
            shared: &self.shared,
            head: &head,
        };
        let size = head.edge.size();
        let proof = tree::consistency_proof(&TileHashes::new(&snapshot, size), old_size, size).map_err(proof_error)?;
        Ok((proof, head.note.to_string()))
    }

    /// The bytes at a path below the log's prefix, `tile/0/x001/234.p/5` or `tile/entries/000`; `None` where the path
    /// names nothing, or nothing yet. Every width up to the present one is there, so no checkpoint is without its
    /// tiles. What a path names never changes.
    pub fn tile(&self, path: &str) -> Result<Option<TileBytes>, LedgerError> {
        let Some(path) = TilePath::parse(path) else {
            return Ok(None);
        };
        let head = self.shared.head();
        let size = head.edge.size();
        let (there, wanted) = match path {
            TilePath::Hashes(t) => (Tile::in_tree(t.level(), t.index(), size), t.width()),
            TilePath::Entries(b) => (Tile::in_tree(0, b.index(), size), b.width()),
        };
        let Some(there) = there.filter(|t| t.width() >= wanted) else {
            return Ok(None);
        };
        let bytes = match path {
            TilePath::Hashes(_) => {
                let mut bytes = Snapshot {
                    shared: &self.shared,
                    head: &head,
                }
                .tile(there)?;
                bytes.truncate(usize::from(wanted) * 32);
                bytes
            }
            TilePath::Entries(bundle) => {
                let leaves = self.shared.leaves(bundle.index() * 256, wanted)?;
                EntryBundle::encode(leaves.iter().map(|l| &l[..]))
            }
        };
        Ok(Some(TileBytes { bytes, path }))
    }

    /// Destroys the keys of all bodies that fall due up to `today` (days since 1970, UTC); gives the days that were
    /// destroyed by this call. Their rows stay proven and say nothing any more.
    pub fn purge(&self, today: u32) -> Result<Vec<u32>, LedgerError> {
        self.shared.keyring.purge(today)
    }
}

/// Rows in their order; see [`Ledger::iter`].
pub struct Rows<'a> {
    ledger: &'a Ledger,
    next: u64,
    ready: VecDeque<Found>,
}

impl Rows<'_> {
    /// Reads the records from `next` to the end of its bundle.
    fn fill(&mut self) -> Result<(), LedgerError> {
        let shared = &self.ledger.shared;
        let size = self.ledger.len();
        let end = (self.next / 256 + 1).saturating_mul(256).min(size);
        if self.next >= end {
            return Ok(());
        }
        let base = shared.unsettled().base;
        if self.next >= base {
            for index in self.next..end {
                self.ready.push_back(shared.record(index)?);
            }
            return Ok(());
        }
        let file = shared.read(&layout::bodies(self.next / 256))?;
        let mut rest = &file[..];
        while let Ok((record, after)) = body::parse(rest) {
            if record.head.index == self.next + self.ready.len() as u64 && record.head.index < end.min(base) {
                self.ready.push_back(Found {
                    bytes: record.bytes().into(),
                });
            }
            rest = after;
        }
        if self.ready.is_empty() {
            // Names the damaged row in the error.
            self.ready.push_back(shared.record(self.next)?);
        }
        Ok(())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, LedgerError>;

    /// The next row. After an error the iteration goes on behind the row that could not be read.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Err(error) = self.fill()
        {
            self.ready.clear();
            self.next += 1;
            return Some(Err(error));
        }
        let found = self.ready.pop_front()?;
        let index = self.next;
        self.next += 1;
        Some(self.ledger.shared.row(index, &found))
    }
}

//! Reading: rows, tiles, proofs. Never waits for the writer's disk.

use custody_shared::tlog::tile::{EntryBundle, Tile, TileError, TileHashes, TilePath, TileReader};
use custody_shared::tlog::tree::{self, NodeHash, TreeError};
use custody_shared::tlog::{LogVerifier, RowEvidence};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::error::LedgerError;
use super::row::RowKind;
use super::rows::Rows;
use super::state::{Head, Shared};
use super::{Ledger, layout};

/// A row's kind and what it says.
type KindAndBody = (RowKind, Zeroizing<Vec<u8>>);

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
    pub fn read(&self, index: u64) -> Result<Option<KindAndBody>, LedgerError> {
        if index >= self.len() {
            return Ok(None);
        }
        let row = self.shared.row(index, &self.shared.record(index)?)?;
        Ok(row.body.map(|body| (row.kind, body)))
    }

    /// The rows from `from` on, up to those that are there when the iteration gets to its end.
    pub fn iter(&self, from: u64) -> Rows<'_> {
        Rows::new(self, from)
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

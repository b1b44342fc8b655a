//! Verification of tiles, leaves and bodies.
//!
//! Every leaf stands in three places: in its entry bundle, as a hash in its tile, and beside its body. Where one of
//! them differs from the other two, it is the damaged one.

use std::collections::BTreeMap;

use custody_shared::tlog::Leaf;
use custody_shared::tlog::commitment::LEAF_LEN;
use custody_shared::tlog::tile::{EntryBundle, MAX_LEVEL, Tile};
use custody_shared::tlog::tree::{self, NodeHash};

use super::body::{self, Record};
use super::edge::Edge;
use super::keyring::Day;
use super::layout;
use super::verify::Subject;
use super::verify_head::Pass;

impl Pass<'_> {
    /// Checks everything before `base`; gives the tree that most copies of the leaves agree on.
    pub(super) fn settled(&mut self, base: u64, nothing_follows: bool) -> Option<Edge> {
        let mut level: Vec<NodeHash> = Vec::new();
        let mut last: Vec<NodeHash> = Vec::new();
        for bundle in 0..base.div_ceil(256) {
            let hashes = self.bundle(EntryBundle::in_tree(bundle, base)?, nothing_follows);
            match hashes.len() {
                256 => level.push(tree::perfect(hashes)),
                _ => last = hashes,
            }
        }
        // Level by level: what the level below leads to, against the tiles as they lie.
        let mut partial = BTreeMap::from([(0, last)]);
        for height in 1..=MAX_LEVEL {
            for (index, want) in level.chunks(256).enumerate() {
                let tile = Tile::in_tree(height, index as u64, base)?;
                self.tile(tile, want);
            }
            let full = level.len() / 256 * 256;
            partial.insert(height, level[full..].to_vec());
            level = level[..full].chunks(256).map(|c| tree::perfect(c.to_vec())).collect();
        }
        Edge::from_tiles(base, |tile| Some(partial[&tile.level()].concat()))
    }

    /// Checks a tile above the leaves.
    fn tile(&mut self, tile: Tile, want: &[NodeHash]) {
        let path = tile.path();
        let bytes = match self.files.read(&path) {
            Ok(bytes) => bytes,
            Err(e) => return self.report.add(Subject::Tile, &path, e.to_string()),
        };
        if bytes.len() != want.len() * 32 {
            return self.report.add(
                Subject::Tile,
                &path,
                format!("{} bytes instead of {}", bytes.len(), want.len() * 32),
            );
        }
        for (at, (have, want)) in bytes.as_chunks::<32>().0.iter().zip(want).enumerate() {
            if have != want {
                self.report.add(
                    Subject::Tile,
                    &path,
                    format!("hash {at} is not that of the tile below it"),
                );
            }
        }
    }

    /// Checks the three copies of up to 256 leaves and their bodies; gives the leaf hashes.
    fn bundle(&mut self, bundle: EntryBundle, nothing_follows: bool) -> Vec<NodeHash> {
        let (first, width) = (bundle.index() * 256, usize::from(bundle.width()));
        let leaves = self.leaves(bundle);
        let tile = Tile::new(0, bundle.index(), bundle.width()).expect("a bundle has the bounds of a tile");
        let tile_path = tile.path();
        let tile_bytes = self.files.read(&tile_path).unwrap_or_default();
        if tile_bytes.len() != width * 32 {
            let what = format!("{} bytes instead of {}", tile_bytes.len(), width * 32);
            self.report.add(Subject::Tile, &tile_path, what);
        }
        let hashes = tile_bytes.as_chunks::<32>().0;
        let body_path = layout::bodies(bundle.index());
        let bodies = self.files.read(&body_path).unwrap_or_default();
        let records = self.records(&body_path, &bodies, first, width, nothing_follows || bundle.is_full());

        let mut agreed = Vec::with_capacity(width);
        for at in 0..width {
            let index = first + at as u64;
            let (leaf, hash) = (leaves[at].map(|l| l.hash()), hashes.get(at).copied());
            let beside = records[at].as_ref().map(|r| r.head.leaf.hash());
            if let Some(record) = &records[at] {
                self.body(record, &body_path);
            }
            let truth = match (leaf, hash, beside) {
                (Some(l), Some(h), _) if l == h => l,
                (Some(l), _, Some(b)) if l == b => l,
                (_, Some(h), Some(b)) if h == b => h,
                (l, h, b) => h.or(l).or(b).unwrap_or_default(),
            };
            agreed.push(truth);
            if leaf.is_some_and(|l| l != truth) {
                self.report.add(
                    Subject::Leaf(index),
                    &bundle.path(),
                    "not the leaf that the tree was built on",
                );
            }
            if hash.is_some_and(|h| h != truth) {
                self.report.add(
                    Subject::Tile,
                    &tile_path,
                    format!("hash {at} is not that of leaf {index}"),
                );
            }
            if beside.is_some_and(|b| b != truth) {
                self.report.add(
                    Subject::Body(index),
                    &body_path,
                    "it belongs to another leaf than the tree's",
                );
            }
        }
        agreed
    }

    fn leaves(&mut self, bundle: EntryBundle) -> Vec<Option<Leaf>> {
        const ENTRY: usize = 2 + LEAF_LEN;
        let (first, width, path) = (bundle.index() * 256, usize::from(bundle.width()), bundle.path());
        let bytes = self.files.read(&path).unwrap_or_default();
        if bytes.len() != width * ENTRY {
            let what = format!("{} bytes instead of {}", bytes.len(), width * ENTRY);
            self.report.add(Subject::Tile, &path, what);
        }
        let mut leaves: Vec<Option<Leaf>> = Vec::with_capacity(width);
        for (at, entry) in bytes.as_chunks::<ENTRY>().0.iter().take(width).enumerate() {
            let leaf = (entry[..2] == (LEAF_LEN as u16).to_be_bytes())
                .then(|| Leaf::parse(&entry[2..]))
                .flatten();
            if leaf.is_none() {
                self.report.add(Subject::Leaf(first + at as u64), &path, "not a leaf");
            }
            leaves.push(leaf);
        }
        leaves.resize(width, None);
        leaves
    }

    /// The records of a bundle, as far as they are whole. After a damaged one the next is searched by its index.
    fn records<'b>(
        &mut self,
        path: &str,
        bytes: &'b [u8],
        first: u64,
        width: usize,
        exact: bool,
    ) -> Vec<Option<Record<'b>>> {
        let mut records = Vec::with_capacity(width);
        let mut rest = bytes;
        for index in first..first + width as u64 {
            match body::parse(rest) {
                Ok((record, after)) if record.head.index == index => {
                    rest = after;
                    records.push(Some(record));
                }
                _ => {
                    self.report.add(Subject::Body(index), path, "not as it was written");
                    rest = body::seek(rest, index + 1);
                    records.push(None);
                }
            }
        }
        if exact && !rest.is_empty() && records.last().is_some_and(Option::is_some) {
            let what = format!("{} bytes follow the last row", rest.len());
            self.report.add(Subject::Body(first + width as u64 - 1), path, what);
        }
        records
    }

    /// Opens a body where its key still exists and compares it with its leaf.
    pub(super) fn body(&mut self, record: &Record<'_>, path: &str) {
        let (index, day) = (record.head.index, record.head.day);
        if !self.with_keys {
            return;
        }
        match self.days.get(&day) {
            Some(Some(Day::Purged)) => self.report.purged += 1,
            Some(Some(Day::Live(buckets))) => {
                match buckets
                    .iter()
                    .find(|b| *b.id() == record.head.bucket)
                    .map(|b| record.open(b).is_some())
                {
                    Some(true) => self.report.bodies += 1,
                    Some(false) => self
                        .report
                        .add(Subject::Body(index), path, "not what the log committed to"),
                    None => self.report.add(
                        Subject::RecordKeys(day),
                        &layout::keys(day),
                        "it lacks a key that a row needs",
                    ),
                }
            }
            // Damage of the day's file has been reported once, for all its rows.
            Some(None) => {}
            None => self
                .report
                .add(Subject::RecordKeys(day), &layout::keys(day), "it is gone"),
        }
    }
}

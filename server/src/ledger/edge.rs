//! The right edge of the growing tree: at every level the hashes of the tile that is not full yet.

use custody_shared::tlog::tile::{MAX_LEVEL, TILE_WIDTH, Tile, TileHashes, TileReader};
use custody_shared::tlog::tree::{self, NodeHash};

/// Enough of a tree of `size` leaves to append to it and to know its root.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    size: u64,
    levels: Vec<Vec<NodeHash>>,
}

/// A tile that has just become full, and its bytes.
pub(super) type FullTile = (Tile, Vec<u8>);

impl Edge {
    /// The edge of a tree of `size` leaves from the hashes of its partial tiles. `None` if one is missing or has
    /// another width than the size says.
    pub(super) fn from_tiles(size: u64, mut tile: impl FnMut(Tile) -> Option<Vec<u8>>) -> Option<Self> {
        let mut levels = vec![Vec::new(); usize::from(MAX_LEVEL) + 1];
        for wanted in tree_partials(size) {
            let bytes = tile(wanted)?;
            let (hashes, rest) = bytes.as_chunks::<32>();
            if !rest.is_empty() || hashes.len() != usize::from(wanted.width()) {
                return None;
            }
            levels[usize::from(wanted.level())] = hashes.to_vec();
        }
        Some(Edge { size, levels })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the partial tile at a level; empty where the level ends in a full tile.
    pub(super) fn hashes(&self, level: u8) -> &[NodeHash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Appends a leaf; gives the tiles that became full by it to `full`.
    pub(super) fn push(&mut self, leaf: NodeHash, full: &mut Vec<FullTile>) {
        self.levels.resize(usize::from(MAX_LEVEL) + 1, Vec::new());
        self.size += 1;
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let hashes = &mut self.levels[usize::from(level)];
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            let tile = Tile::new(level, index, TILE_WIDTH).expect("the tree is within its limits");
            full.push((tile, hashes.concat()));
            hash = tree::perfect(std::mem::take(hashes));
        }
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> NodeHash {
        // The largest complete subtrees that make up a tree all end in its partial tiles.
        tree::root(&TileHashes::new(self, self.size), self.size).expect("an edge holds every hash its root needs")
    }
}

impl TileReader for Edge {
    type Error = std::convert::Infallible;
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error> {
        Ok(self.hashes(tile.level()).concat())
    }
}

pub(super) use custody_shared::tlog::tile::partial_tiles as tree_partials;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_edge_knows_the_root_at_every_size_and_gives_every_full_tile_once() {
        let hashes: Vec<NodeHash> = (0..66_000u32).map(|i| tree::leaf_hash(&i.to_be_bytes())).collect();
        let mut edge = Edge::default();
        let mut full = Vec::new();
        assert_eq!(edge.root(), tree::empty_root());
        for (i, hash) in hashes.iter().enumerate() {
            edge.push(*hash, &mut full);
            let size = i as u64 + 1;
            if size < 600 || size.is_multiple_of(4099) || (65_530..65_545).contains(&size) {
                assert_eq!(edge.root(), tree::root(&hashes, size).unwrap(), "{size}");
                let again = Edge::from_tiles(size, |t| Some(edge.hashes(t.level()).concat()));
                assert_eq!(again.unwrap().root(), edge.root());
            }
        }
        let count = full.len();
        let tiles: HashMap<Tile, Vec<u8>> = full.into_iter().collect();
        assert_eq!((count, tiles.len()), (257 + 1, 257 + 1));
        assert_eq!(tiles[&Tile::new(0, 3, 256).unwrap()], hashes[768..1024].concat());
        assert_eq!(
            tiles[&Tile::new(1, 0, 256).unwrap()][..32],
            tree::perfect(hashes[..256].to_vec())
        );
    }

    #[test]
    fn a_short_tile_makes_no_edge() {
        assert!(Edge::from_tiles(5, |_| Some(vec![0; 4 * 32])).is_none());
        assert!(Edge::from_tiles(5, |_| Some(vec![0; 5 * 32 + 1])).is_none());
        assert!(Edge::from_tiles(5, |_| None).is_none());
    }
}

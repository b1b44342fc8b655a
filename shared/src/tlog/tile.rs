//! Tile coordinates, paths and contents (C2SP `tlog-tiles`).

use super::decimal;
use super::tree::{HashReader, NodeHash, perfect};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Bytes in a full tile.
pub const TILE_BYTES: usize = TILE_WIDTH as usize * 32;
/// The highest tile level that a tree within [`super::tree::MAX_SIZE`] can have.
pub const MAX_LEVEL: u8 = 7;
const MAX_INDEX: u64 = super::tree::MAX_SIZE;

/// One tile of hashes: `width` hashes of subtrees of height `8 * level`, the first over subtree `256 * index`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// A tile within the limits: level ≤ 7, width 1..=256.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        let fits = level <= MAX_LEVEL && index <= MAX_INDEX && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Tile { level, index, width })
    }

    /// The tile at this level and index as a tree of `size` leaves has it; `None` where it would be empty.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        if level > MAX_LEVEL {
            return None;
        }
        let hashes = size >> (8 * u32::from(level));
        let width = hashes.checked_sub(index.checked_mul(256)?)?.min(256);
        Tile::new(level, index, width as u16)
    }

    /// The level: 0 holds leaf hashes.
    pub fn level(&self) -> u8 {
        self.level
    }
    /// The index within the level.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// The number of hashes, 256 when full.
    pub fn width(&self) -> u16 {
        self.width
    }
    /// Whether the tile can never change again.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }
    /// The full tile at the same place.
    pub fn full(&self) -> Tile {
        Tile {
            width: TILE_WIDTH,
            ..*self
        }
    }

    /// `tile/0/x001/234.p/5`
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, place(self.index, self.width))
    }
}

/// One bundle of leaf data: `width` entries from entry `256 * index` on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct EntryBundle {
    index: u64,
    width: u16,
}

impl EntryBundle {
    /// A bundle within the limits: width 1..=256.
    pub fn new(index: u64, width: u16) -> Option<Self> {
        (index <= MAX_INDEX && (1..=TILE_WIDTH).contains(&width)).then_some(EntryBundle { index, width })
    }

    /// The bundle at this index as a log of `size` entries has it; `None` where it would be empty.
    pub fn in_tree(index: u64, size: u64) -> Option<Self> {
        Tile::in_tree(0, index, size).map(|t| EntryBundle { index, width: t.width })
    }

    /// The index of the bundle.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// The number of entries, 256 when full.
    pub fn width(&self) -> u16 {
        self.width
    }
    /// Whether the bundle can never change again.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// `tile/entries/x001/234.p/5`
    pub fn path(&self) -> String {
        format!("tile/entries/{}", place(self.index, self.width))
    }

    /// Writes entries as C2SP does: each behind its length, 16 bits, big-endian.
    pub fn encode<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            debug_assert!(entry.len() <= usize::from(u16::MAX), "an entry is at most 65535 bytes");
            out.extend_from_slice(&(entry.len() as u16).to_be_bytes());
            out.extend_from_slice(entry);
        }
        out
    }

    /// Splits a bundle of exactly this width; `None` if it holds fewer, more or torn entries.
    pub fn split<'a>(&self, mut bytes: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let mut entries = Vec::with_capacity(usize::from(self.width));
        while !bytes.is_empty() {
            let (len, rest) = bytes.split_first_chunk::<2>()?;
            let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            entries.push(entry);
            bytes = rest;
        }
        (entries.len() == usize::from(self.width)).then_some(entries)
    }
}

/// What a path below `tile/` names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TilePath {
    /// Hashes.
    Hashes(Tile),
    /// Leaf data.
    Entries(EntryBundle),
}

impl TilePath {
    /// Parses `tile/…` as C2SP writes it and in no other spelling: one resource, one path.
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > 128 {
            return None;
        }
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = parse_place(place)?;
        match level {
            "entries" => EntryBundle::new(index, width).map(TilePath::Entries),
            level => Tile::new(decimal(level, u64::from(MAX_LEVEL))? as u8, index, width).map(TilePath::Hashes),
        }
    }

    /// Whether the resource can never change again.
    pub fn is_full(&self) -> bool {
        match self {
            TilePath::Hashes(t) => t.is_full(),
            TilePath::Entries(b) => b.is_full(),
        }
    }

    /// The one spelling of this resource.
    pub fn path(&self) -> String {
        match self {
            TilePath::Hashes(t) => t.path(),
            TilePath::Entries(b) => b.path(),
        }
    }
}

/// An index in path elements of three digits: 1234067 is `x001/x234/067`.
pub fn index_path(index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn place(index: u64, width: u16) -> String {
    match width {
        TILE_WIDTH => index_path(index),
        width => format!("{}.p/{width}", index_path(index)),
    }
}

fn parse_place(place: &str) -> Option<(u64, u16)> {
    let (path, width) = match place.split_once(".p/") {
        None => (place, TILE_WIDTH),
        Some((path, width)) => (path, decimal(width, 255).filter(|w| *w > 0)? as u16),
    };
    let mut index = 0u64;
    let mut elements = path.split('/').peekable();
    while let Some(element) = elements.next() {
        let digits = if elements.peek().is_some() {
            element.strip_prefix('x')?
        } else {
            element
        };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // Only the shortest spelling is the path: `x000/001` names nothing.
    (index_path(index) == path).then_some((index, width))
}

/// Every tile that a reader of a tree of `size` leaves may ask for and that is not full: at most one a level.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL).filter_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        Tile::in_tree(level, hashes / 256, size)
    })
}

/// Gives tiles.
pub trait TileReader {
    /// What can go wrong while fetching.
    type Error;
    /// At least the first `tile.width()` hashes at `tile`, 32 bytes each.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

/// A tile that came shorter than asked, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TileError<E> {
    /// The tile has fewer hashes than the tree's size says.
    #[error("{path} is shorter than its {width} hashes")]
    Short {
        /// The tile's path.
        path: String,
        /// The hashes it should have.
        width: u16,
    },
    /// The tile could not be read.
    #[error(transparent)]
    Read(E),
}

/// Reads the hashes of a tree of fixed size out of its tiles. Keeps the tiles it has seen: make one per proof.
pub struct TileHashes<'r, R> {
    reader: &'r R,
    size: u64,
    seen: std::cell::RefCell<Vec<(Tile, Vec<NodeHash>)>>,
}

impl<'r, R: TileReader> TileHashes<'r, R> {
    /// The tree of the first `size` leaves.
    pub fn new(reader: &'r R, size: u64) -> Self {
        TileHashes {
            reader,
            size,
            seen: Default::default(),
        }
    }

    fn slice(&self, tile: Tile, from: usize, count: usize) -> Result<Vec<NodeHash>, TileError<R::Error>> {
        let cut = |hashes: &[NodeHash]| hashes.get(from..from + count).map(<[NodeHash]>::to_vec);
        let short = || TileError::Short {
            path: tile.path(),
            width: tile.width,
        };
        if let Some((_, hashes)) = self.seen.borrow().iter().find(|(t, _)| *t == tile) {
            return cut(hashes).ok_or_else(short);
        }
        let bytes = self.reader.tile(tile).map_err(TileError::Read)?;
        let hashes: Vec<NodeHash> = bytes.as_chunks::<32>().0.to_vec();
        let part = cut(&hashes).ok_or_else(short)?;
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= 16 {
            seen.remove(0);
        }
        seen.push((tile, hashes));
        Ok(part)
    }
}

impl<R: TileReader> HashReader for TileHashes<'_, R> {
    type Error = TileError<R::Error>;
    fn complete(&self, height: u8, index: u64) -> Result<NodeHash, Self::Error> {
        // A subtree of height h is made of 2^(h mod 8) neighbouring hashes of the tile level h / 8.
        let (level, inner) = (height / 8, u32::from(height % 8));
        let first = index << inner;
        let (at, offset) = (first / 256, (first % 256) as usize);
        let tile = Tile::in_tree(level, at, self.size).ok_or_else(|| TileError::Short {
            path: format!("tile/{level}/{}", index_path(at)),
            width: 1,
        })?;
        Ok(perfect(self.slice(tile, offset, 1 << inner)?))
    }
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;

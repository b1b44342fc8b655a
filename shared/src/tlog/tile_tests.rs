use super::super::tree::{self, leaf_hash};
use super::*;
use std::collections::HashMap;

#[test]
fn paths_are_c2sps() {
    let check = |path: &str, level: u8, index: u64, width: u16| {
        let tile = Tile::new(level, index, width).unwrap();
        assert_eq!(tile.path(), path);
        assert_eq!(TilePath::parse(path), Some(TilePath::Hashes(tile)));
    };
    check("tile/0/000", 0, 0, 256);
    check("tile/0/000.p/5", 0, 0, 5);
    check("tile/0/x001/x234/067", 0, 1_234_067, 256);
    check("tile/0/x001/234.p/5", 0, 1234, 5);
    check("tile/2/x001/000.p/255", 2, 1000, 255);
    let bundle = EntryBundle::new(1_234_067, 8).unwrap();
    assert_eq!(bundle.path(), "tile/entries/x001/x234/067.p/8");
    assert_eq!(
        TilePath::parse("tile/entries/x001/x234/067.p/8"),
        Some(TilePath::Entries(bundle))
    );
}

#[test]
fn hostile_paths_name_nothing() {
    for (path, flaw) in [
        ("", "empty"),
        ("tile", "no level"),
        ("tile/0", "no index"),
        ("tile/0/", "empty index"),
        ("tile/0/0", "short element"),
        ("tile/0/0000", "long element"),
        ("tile/0/x000", "ends in x"),
        ("tile/0/000/000", "inner element without x"),
        ("tile/0/x000/001", "needless leading element"),
        ("tile/00/000", "leading zero in level"),
        ("tile/8/000", "level too high"),
        ("tile/-1/000", "negative level"),
        ("tile/0/+01", "sign"),
        ("tile/0/000.p/0", "width zero"),
        ("tile/0/000.p/256", "partial of full width"),
        ("tile/0/000.p/05", "leading zero in width"),
        ("tile/0/000.p/", "no width"),
        ("tile/0/000.p/5/", "trailing slash"),
        ("tile/0/000.p/5.p/5", "two widths"),
        ("tile/0/../log.key", "traversal"),
        ("/tile/0/000", "absolute"),
        ("tile/0/x999/x999/x999/x999/x999/x999/999", "index beyond 64 bits"),
        ("tile/data/000", "unknown kind"),
        ("tile/0/٠٠٠", "digits of another script"),
    ] {
        assert_eq!(TilePath::parse(path), None, "{flaw}");
    }
}

#[test]
fn the_tree_of_seventy_thousand() {
    // The example of tlog-tiles: 273 full level 0 tiles, a partial of 112, one full level 1, a partial of 17, and 1.
    let width = |level, index| Tile::in_tree(level, index, 70_000).map(|t| t.width());
    assert_eq!(width(0, 272), Some(256));
    assert_eq!(width(0, 273), Some(112));
    assert_eq!(width(0, 274), None);
    assert_eq!((width(1, 0), width(1, 1), width(1, 2)), (Some(256), Some(17), None));
    assert_eq!((width(2, 0), width(2, 1), width(3, 0)), (Some(1), None, None));
    let paths: Vec<String> = partial_tiles(70_000).map(|t| t.path()).collect();
    assert_eq!(paths, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let paths: Vec<String> = partial_tiles(256).map(|t| t.path()).collect();
    assert_eq!(paths, ["tile/1/000.p/1"]);
}

struct Map(HashMap<Tile, Vec<u8>>);
impl TileReader for Map {
    type Error = String;
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, String> {
        self.0.get(&tile).cloned().ok_or_else(|| format!("no {}", tile.path()))
    }
}

/// All tiles of a tree, straight from the definition.
fn tiles(hashes: &[NodeHash]) -> Map {
    let mut map = HashMap::new();
    let mut level = hashes.to_vec();
    for l in 0..=MAX_LEVEL {
        for (n, chunk) in level.chunks(256).enumerate() {
            map.insert(Tile::new(l, n as u64, chunk.len() as u16).unwrap(), chunk.concat());
        }
        level = level.chunks_exact(256).map(|c| perfect(c.to_vec())).collect();
    }
    Map(map)
}

#[test]
fn proofs_out_of_tiles_equal_proofs_out_of_leaves() {
    let hashes: Vec<NodeHash> = (0..70_000u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    for size in [1u64, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000] {
        let map = tiles(&hashes[..size as usize]);
        let reader = TileHashes::new(&map, size);
        assert_eq!(
            tree::root(&reader, size).unwrap(),
            tree::root(&hashes, size).unwrap(),
            "{size}"
        );
        for index in [0, size / 3, size / 2, size.saturating_sub(2), size - 1] {
            let got = tree::inclusion_proof(&reader, index, size).unwrap();
            assert_eq!(
                got,
                tree::inclusion_proof(&hashes, index, size).unwrap(),
                "{index} in {size}"
            );
            let got = tree::consistency_proof(&reader, index, size).unwrap();
            assert_eq!(
                got,
                tree::consistency_proof(&hashes, index, size).unwrap(),
                "{index} to {size}"
            );
        }
    }
}

#[test]
fn a_missing_or_short_tile_is_an_error_and_not_a_wrong_proof() {
    let hashes: Vec<NodeHash> = (0..300u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    let mut map = tiles(&hashes);
    let edge = Tile::new(0, 1, 44).unwrap();
    map.0.get_mut(&edge).unwrap().truncate(43 * 32);
    assert!(tree::root(&TileHashes::new(&map, 300), 300).is_err(), "short tile");
    map.0.remove(&edge);
    assert!(tree::root(&TileHashes::new(&map, 300), 300).is_err(), "missing tile");
}

#[test]
fn bundles_split_only_when_whole() {
    let bundle = EntryBundle::new(0, 3).unwrap();
    let bytes = EntryBundle::encode([&b"a"[..], b"", b"ccc"]);
    assert_eq!(bytes, b"\0\x01a\0\0\0\x03ccc");
    assert_eq!(bundle.split(&bytes), Some(vec![&b"a"[..], b"", b"ccc"]));
    assert_eq!(bundle.split(&bytes[..bytes.len() - 1]), None, "torn entry");
    assert_eq!(bundle.split(&bytes[..5]), None, "too few");
    assert_eq!(EntryBundle::new(0, 2).unwrap().split(&bytes), None, "too many");
}

//! `tests/vectors/ledger.json`, made by an implementation that shares no code with this one, and properties of the
//! parsers that hold for any input.

use custody_shared::tlog::commitment::commit;
use custody_shared::tlog::tree::{self, NodeHash};
use custody_shared::tlog::{
    Checkpoint, CosignatureSigner, CosignatureVerifier, EntryBundle, Leaf, LogSigner, LogVerifier, Note, Salt, Tile,
    TilePath, TlogProof,
};
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/ledger.json")).unwrap()
}

fn text<'a>(v: &'a Value, name: &str) -> &'a str {
    v[name].as_str().unwrap()
}

fn bytes(v: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(v, name)).unwrap()
}

fn array(v: &Value, name: &str) -> [u8; 32] {
    bytes(v, name).try_into().unwrap()
}

#[test]
fn leaves_tree_and_tiles() {
    let v = vectors();
    let (mut hashes, mut leaves) = (Vec::new(), Vec::new());
    for row in v["rows"].as_array().unwrap() {
        let leaf = commit(&Salt::from_bytes(array(row, "salt")), &bytes(row, "body"));
        assert_eq!(hex::encode(leaf.as_bytes()), text(row, "leaf"));
        assert_eq!(hex::encode(leaf.hash()), text(row, "leaf_hash"));
        hashes.push(leaf.hash());
        leaves.push(leaf);
    }
    assert_eq!(tree::root(&hashes, 3).unwrap(), array(&v, "root"));
    assert_eq!(hashes.concat(), bytes(&v, "tile_0_000_p_3"));
    let bundle = EntryBundle::encode(leaves.iter().map(|l: &Leaf| &l.as_bytes()[..]));
    assert_eq!(bundle, bytes(&v, "tile_entries_000_p_3"));
}

#[test]
fn checkpoint_proof_and_cosignature() {
    let v = vectors();
    let log = LogSigner::from_seed(text(&v, "origin"), &array(&v, "log_seed")).unwrap();
    assert_eq!(log.verifier().to_string(), text(&v, "log_vkey"));
    assert_eq!(log.sign(3, array(&v, "root")), text(&v, "checkpoint"));
    assert_eq!(log.sign(0, tree::empty_root()), text(&v, "empty_checkpoint"));

    let verifier = LogVerifier::parse(text(&v, "log_vkey")).unwrap();
    let proof = TlogProof::parse(text(&v, "proof_of_row_1")).unwrap();
    assert_eq!(proof.to_string(), text(&v, "proof_of_row_1"));
    assert_eq!(proof.verify(&bytes(&v["rows"][1], "leaf"), &verifier).unwrap().size, 3);
    assert!(proof.verify(&bytes(&v["rows"][0], "leaf"), &verifier).is_err());

    let mut note = Note::parse(text(&v, "checkpoint")).unwrap();
    let witness = CosignatureSigner::from_seed("custody/example/gate-2", &array(&v, "witness_seed")).unwrap();
    let line = witness.cosign(note.text(), v["cosignature_time"].as_u64().unwrap());
    assert_eq!(line.line(), text(&v, "cosignature"));
    note.add(line);
    let witness = CosignatureVerifier::parse(text(&v, "witness_vkey")).unwrap();
    assert_eq!(Some(witness.verify(&note).unwrap()), v["cosignature_time"].as_u64());
    assert!(
        verifier.open(&note.to_string()).is_ok(),
        "a cosigned checkpoint is still the log's"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_tile_has_one_path(level in 0u8..8, index in 0u64..=1 << 62, width in 1u16..=256) {
        let tile = Tile::new(level, index, width).unwrap();
        prop_assert_eq!(TilePath::parse(&tile.path()), Some(TilePath::Hashes(tile)));
        let bundle = EntryBundle::new(index, width).unwrap();
        prop_assert_eq!(TilePath::parse(&bundle.path()), Some(TilePath::Entries(bundle)));
    }

    #[test]
    fn what_parses_as_a_path_is_that_path(path in "tile/[0-9a-z]{1,7}/[x0-9/.p]{1,24}") {
        if let Some(parsed) = TilePath::parse(&path) {
            prop_assert_eq!(parsed.path(), path);
        }
    }

    #[test]
    fn parsers_survive_anything(text in "\\PC{0,200}", lines in "(old [0-9]{1,3}\n|[A-Za-z0-9+/=]{44}\n|\n|— [a-z]{1,5} [A-Za-z0-9+/=]{1,90}\n){0,12}") {
        for text in [&text, &lines] {
            if let Ok(note) = Note::parse(text) {
                prop_assert_eq!(&note.to_string(), text, "a note that parses writes itself");
            }
            if let Ok(checkpoint) = Checkpoint::parse_text(text) {
                prop_assert!(text.starts_with(&checkpoint.text()));
            }
            let _ = TlogProof::parse(text);
            if let Some(request) = custody_shared::tlog::cosignature::AddCheckpoint::parse(text) {
                prop_assert_eq!(&request.to_string(), text);
            }
            prop_assert!(LogVerifier::parse(text).is_err());
        }
    }

    #[test]
    fn every_pair_of_large_sizes_is_consistent(old in 1usize..1500, more in 0usize..1500, bend in any::<u16>()) {
        let hashes: Vec<NodeHash> = (0..old + more).map(|i| tree::leaf_hash(&i.to_be_bytes())).collect();
        let (old, new) = (old as u64, (old + more) as u64);
        let (old_root, new_root) = (tree::root(&hashes, old).unwrap(), tree::root(&hashes, new).unwrap());
        let mut proof = tree::consistency_proof(&hashes, old, new).unwrap();
        prop_assert_eq!(tree::verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        if !proof.is_empty() {
            let at = usize::from(bend) % proof.len();
            proof[at][usize::from(bend) % 32] ^= 1 << (bend % 8);
            prop_assert!(tree::verify_consistency(old, &old_root, new, &new_root, &proof).is_err());
        }
    }

    #[test]
    fn a_proof_holds_at_its_index_alone(size in 1u64..2000, index in any::<u64>(), other in any::<u64>()) {
        let hashes: Vec<NodeHash> = (0..size).map(|i| tree::leaf_hash(&i.to_be_bytes())).collect();
        let (index, other) = (index % size, other % size);
        let root = tree::root(&hashes, size).unwrap();
        let proof = tree::inclusion_proof(&hashes, index, size).unwrap();
        prop_assert_eq!(tree::verify_inclusion(&index.to_be_bytes(), index, size, &root, &proof), Ok(()));
        if other != index {
            prop_assert!(tree::verify_inclusion(&index.to_be_bytes(), other, size, &root, &proof).is_err());
            prop_assert!(tree::verify_inclusion(&other.to_be_bytes(), index, size, &root, &proof).is_err());
        }
    }
}

//! The embedded index against the suite of all of them.

use super::*;
use crate::index::conformance;

#[test]
fn passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    conformance::suite(|name| Box::new(SledIndex::open(&dir.path().join(name)).unwrap()));
}

#[test]
fn a_folder_that_sled_cannot_open_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("conf"), "not a database").unwrap();
    let index = SledIndex::open(&path).unwrap();
    assert_eq!(index.upto().unwrap(), StatementRef::START);
}

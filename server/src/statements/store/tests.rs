//! The log through crashes and damage.

use std::fs;
use std::path::PathBuf;

use super::*;

const DAY_ONE: UtcMicros = UtcMicros::new(1_790_000_000_000_000);
const DAY_TWO: UtcMicros = UtcMicros::new(1_790_000_000_000_000 + 86_400_000_000);

fn all(store: &StatementStore, from: StatementRef) -> Vec<Vec<u8>> {
    store.scan(from).unwrap().map(|frame| frame.unwrap().bytes).collect()
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = LogFile::list(dir).unwrap();
    assert_eq!(files.len(), 1);
    files.remove(0).path(dir)
}

#[test]
fn what_was_appended_is_read_in_order_over_files_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = StatementStore::open(dir.path()).unwrap();
    let (refs, end) = store.append(DAY_ONE, &[b"one", b"two"]).unwrap();
    let (more, _) = store.append(DAY_TWO, &[b"three"]).unwrap();
    assert_eq!((refs[0].file, more[0].file), (1, 2), "a file for each day");
    assert_eq!(store.read(refs[1]).unwrap(), b"two");
    drop(store);
    let (store, cut) = StatementStore::open(dir.path()).unwrap();
    assert_eq!(cut, 0);
    let (last, _) = store.append(DAY_TWO, &[b"four"]).unwrap();
    assert_eq!(last[0].file, 2, "the day's file goes on after a restart");
    assert_eq!(
        all(&store, StatementRef::START),
        [&b"one"[..], b"two", b"three", b"four"]
    );
    assert_eq!(all(&store, refs[1]), [&b"two"[..], b"three", b"four"]);
    assert_eq!(all(&store, end), [&b"three"[..], b"four"]);
    assert!(matches!(
        store.read(StatementRef { file: 9, offset: 0 }),
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        store.read(StatementRef { file: 1, offset: 3 }),
        Err(StoreError::Missing { .. })
    ));
}

#[test]
fn a_torn_tail_is_cut_at_every_length_and_the_log_goes_on() {
    for torn in 1..=HEAD + 4 {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = StatementStore::open(dir.path()).unwrap();
        store.append(DAY_ONE, &[b"kept"]).unwrap();
        drop(store);
        let path = only_file(dir.path());
        let whole = fs::read(&path).unwrap();
        let mut next = Vec::new();
        push_frame(&mut next, b"torn!");
        fs::write(&path, [&whole[..], &next[..torn]].concat()).unwrap();
        let (store, cut) = StatementStore::open(dir.path()).unwrap();
        assert_eq!(cut, torn as u64);
        store.append(DAY_ONE, &[b"after"]).unwrap();
        assert_eq!(all(&store, StatementRef::START), [&b"kept"[..], b"after"]);
    }
}

#[test]
fn one_flipped_bit_hides_one_statement_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = StatementStore::open(dir.path()).unwrap();
    let (refs, _) = store.append(DAY_ONE, &[b"first", b"second", b"third"]).unwrap();
    let path = only_file(dir.path());
    let good = fs::read(&path).unwrap();
    for at in refs[1].offset..refs[2].offset {
        let mut bytes = good.clone();
        bytes[at as usize] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let mut scan = store.scan(StatementRef::START).unwrap();
        let read: Vec<_> = scan.by_ref().map(|frame| frame.unwrap().bytes).collect();
        assert_eq!(read, [&b"first"[..], b"third"], "byte {at}");
        assert_eq!(scan.damage().len(), 1);
        assert_eq!(scan.damage()[0].offset, u64::from(refs[1].offset));
        assert!(matches!(store.read(refs[1]), Err(StoreError::Missing { .. })));
        assert_eq!(
            StatementStore::open(dir.path()).unwrap().1,
            0,
            "damage in the middle is not cut"
        );
    }
}

#[test]
fn bounds_and_a_folder_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = StatementStore::open(dir.path()).unwrap();
    store.append(DAY_ONE, &[&[7; MAX_STATEMENT]]).unwrap();
    assert!(matches!(
        store.append(DAY_ONE, &[&[7; MAX_STATEMENT + 1]]),
        Err(StoreError::TooLong(_))
    ));
    store.append(DAY_ONE, &[b"still works"]).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let error = store.append(DAY_TWO, &[b"nowhere"]).unwrap_err();
    assert!(error.to_string().contains("statement log: cannot begin"), "{error}");
    fs::create_dir(dir.path()).unwrap();
    store.append(DAY_TWO, &[b"again"]).unwrap();
    assert_eq!(all(&store, StatementRef::START), [b"again"]);
}

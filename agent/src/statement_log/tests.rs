use super::*;

fn statement(index: u64) -> Frame {
    let seq = if index.is_multiple_of(3) {
        NOT_A_SEGMENT
    } else {
        1000 + index
    };
    Frame {
        index,
        seq,
        bytes: vec![index as u8 ^ 0x5a; 200 + (index as usize * 37) % 900],
    }
}

fn day(text: &str) -> Day {
    Day::parse(text).expect("a day")
}

/// A log of `count` statements, a new file every ten.
fn filled(folder: &Path, count: u64) -> StatementLog {
    let (mut log, _) = StatementLog::open(folder).expect("open");
    for index in 0..count {
        let day = day(&format!("202611{:02}", 1 + index / 10));
        log.append(day, &statement(index)).expect("append");
    }
    log
}

fn read_all(folder: &Path) -> Vec<u64> {
    let mut reader = LogReader::new(folder);
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        let mut room = 5000;
        let out = reader
            .read(from, u64::MAX, |length| {
                let fits = length <= room;
                room = room.saturating_sub(length);
                fits
            })
            .expect("read");
        if out.statements.is_empty() {
            return seen;
        }
        for (place, bytes) in out.statements.iter().enumerate() {
            let index = out.first_index + place as u64;
            assert_eq!(*bytes, statement(index).bytes);
            seen.push(index);
        }
        from = out.first_index + out.statements.len() as u64;
    }
}

#[test]
fn what_was_appended_is_read_in_order_across_files() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 35);
    assert_eq!(read_all(folder.path()), (0..35).collect::<Vec<_>>());
    let mut reader = LogReader::new(folder.path());
    let out = reader.read(8, 13, |_| true).expect("read");
    assert_eq!((out.first_index, out.statements.len()), (8, 5));
}

#[test]
fn a_tail_torn_at_any_byte_costs_that_append_alone() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 6);
    let path = folder.path().join("20261101.log");
    let whole = fs::read(&path).expect("read");
    let last = statement(5).encode().len();
    for kept in 0..=last {
        fs::write(&path, &whole[..whole.len() - last + kept]).expect("tear");
        let (mut log, recovered) = StatementLog::open(folder.path()).expect("open");
        let survives = kept == last;
        assert_eq!(
            recovered.cut_bytes,
            if survives { 0 } else { kept as u64 },
            "torn after {kept} bytes"
        );
        assert_eq!(recovered.kept_copy, None);
        if !survives {
            log.append(day("20261101"), &statement(5)).expect("append again");
        }
        assert_eq!(
            read_all(folder.path()),
            (0..6).collect::<Vec<_>>(),
            "torn after {kept} bytes"
        );
    }
}

#[test]
fn a_tail_of_zeros_is_torn_too() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 4);
    let path = folder.path().join("20261101.log");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[0; 900]);
    fs::write(&path, &bytes).expect("zeros");
    let (_, recovered) = StatementLog::open(folder.path()).expect("open");
    assert_eq!(recovered.cut_bytes, 900);
    assert_eq!(read_all(folder.path()), [0, 1, 2, 3]);
}

#[test]
fn a_bit_flipped_in_the_middle_costs_one_statement_and_cuts_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 9);
    let path = folder.path().join("20261101.log");
    let whole = fs::read(&path).expect("read");
    let start = MAGIC.len() + (0..4).map(|i| statement(i).encode().len()).sum::<usize>();
    // In the length, the index, the check and the statement itself.
    for place in [0, 3, 7, 21, 28, 100] {
        let mut bytes = whole.clone();
        bytes[start + place] ^= 0x10;
        fs::write(&path, &bytes).expect("flip");
        let (_, recovered) = StatementLog::open(folder.path()).expect("open");
        assert_eq!((recovered.cut_bytes, recovered.damaged), (0, 1), "flipped at {place}");
        assert_eq!(read_all(folder.path()), [0, 1, 2, 3, 5, 6, 7, 8], "flipped at {place}");
    }
}

#[test]
fn more_than_one_torn_append_is_damage_and_a_copy_is_kept() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 3);
    let path = folder.path().join("20261101.log");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend(std::iter::repeat_n(0xee, 3 * MAX_STATEMENT));
    fs::write(&path, &bytes).expect("garbage");
    let (_, recovered) = StatementLog::open(folder.path()).expect("open");
    let copy = recovered.kept_copy.expect("a copy");
    assert_eq!(fs::read(copy).expect("copy"), bytes);
    assert_eq!(read_all(folder.path()), [0, 1, 2]);
}

#[test]
fn a_crash_before_the_first_entry_of_a_day_is_harmless() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 10);
    for content in [&b""[..], b"CSL", &MAGIC] {
        fs::write(folder.path().join("20261102.log"), content).expect("write");
        let (mut log, _) = StatementLog::open(folder.path()).expect("open");
        let stale = log.append(day("20261102"), &statement(9));
        assert_eq!(stale.expect_err("an index twice").kind(), io::ErrorKind::InvalidInput);
        log.append(day("20261102"), &statement(10)).expect("append");
        assert_eq!(read_all(folder.path()).len(), 11);
    }
}

#[test]
fn a_clock_stepped_back_goes_on_in_the_newest_file() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = filled(folder.path(), 12);
    log.append(day("20250101"), &statement(12)).expect("append");
    assert_eq!(log.newest_day(), Some(day("20261102")));
    assert_eq!(read_all(folder.path()).len(), 13);
}

#[test]
fn segments_are_found_and_others_are_not() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path(), 35);
    let reader = LogReader::new(folder.path());
    for index in 0..35 {
        let found = reader.find_segment(1000 + index).expect("find");
        assert_eq!(found, (index % 3 != 0).then(|| statement(index).bytes), "{index}");
    }
    assert_eq!(reader.find_segment(NOT_A_SEGMENT).expect("find"), None);
    assert_eq!(reader.find_segment(5).expect("find"), None);
}

#[test]
fn pruning_waits_for_the_receipt() {
    let folder = tempfile::tempdir().expect("folder");
    let log = filled(folder.path(), 35);
    assert_eq!(log.prune(day("20261103"), 9).expect("prune"), 0);
    assert_eq!(log.prune(day("20261103"), 35).expect("prune"), 2);
    assert_eq!(log.prune(day("20271103"), 35).expect("prune"), 1);
    assert_eq!(read_all(folder.path()), (30..35).collect::<Vec<_>>());
}

#[test]
fn statements_of_impossible_length_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut log, _) = StatementLog::open(folder.path()).expect("open");
    for length in [0, MAX_STATEMENT + 1] {
        let frame = Frame {
            index: 0,
            seq: 0,
            bytes: vec![1; length],
        };
        assert!(log.append(day("20261101"), &frame).is_err());
    }
}

//! One flipped bit at a time, in every byte of every file: verification names what was hit, and nothing else.

use std::collections::BTreeMap;

use super::files::Files as _;
use super::sim::{Fault, Sim};
use super::tests::{append, open, row};
use super::verify::verify_files;
use super::*;

/// Three kinds, two days, one of them purged, more than one tile where `rows` says so.
fn sample(rows: u64) -> Sim {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    for index in 0..rows {
        let kind = RowKind((index % 3) as u16);
        let purge_on_day = if index == 1 { 5 } else { 30_000 };
        ledger
            .append_blocking(vec![NewRow {
                kind,
                purge_on_day,
                ..row(format!("row {index}"))
            }])
            .unwrap();
    }
    ledger.purge(5).unwrap();
    drop(ledger);
    sim
}

/// What a flip of a byte of this file must be blamed on. The index is found by the file's own layout.
fn blame(path: &str, at: usize, bodies: &BTreeMap<String, Vec<(u64, std::ops::Range<usize>)>>) -> Vec<Subject> {
    if let Some(rows) = bodies.get(path) {
        return vec![Subject::Body(
            rows.iter().find(|(_, range)| range.contains(&at)).unwrap().0,
        )];
    }
    if path.starts_with("tile/entries/") {
        let bundle = if path.contains("/001") { 256 } else { 0 };
        return vec![Subject::Leaf(bundle + at as u64 / 35)];
    }
    match path {
        path if path.starts_with("tile/") => vec![Subject::Tile],
        layout::CHECKPOINT => vec![Subject::Checkpoint],
        layout::JOURNAL => vec![Subject::Journal],
        layout::KEY | layout::VERIFIER => vec![Subject::Key],
        path => vec![Subject::RecordKeys(
            path.strip_prefix("record-keyring/").unwrap().parse().unwrap(),
        )],
    }
}

fn body_ranges(sim: &Sim) -> BTreeMap<String, Vec<(u64, std::ops::Range<usize>)>> {
    let files = sim.all().into_iter().filter(|(p, _)| p.starts_with("bodies/"));
    let ranges = files.map(|(path, bytes)| {
        let (mut rest, mut rows) = (&bytes[..], Vec::new());
        while let Ok((record, after)) = body::parse(rest) {
            rows.push((record.head.index, bytes.len() - rest.len()..bytes.len() - after.len()));
            rest = after;
        }
        (path, rows)
    });
    ranges.collect()
}

fn flip_each(sim: &Sim, step: usize) {
    assert!(verify_files(sim).unwrap().is_clean(), "positive control");
    let ranges = body_ranges(sim);
    let mut flips = 0;
    for (path, bytes) in sim.all() {
        for at in (0..bytes.len()).step_by(step) {
            let mut bent = bytes.clone();
            bent[at] ^= 1 << (at % 8);
            sim.tamper(&path, bent);
            let report = verify_files(sim).unwrap();
            let named: Vec<(Subject, &str)> = report.findings.iter().map(|f| (f.subject, f.path.as_str())).collect();
            let want: Vec<(Subject, &str)> = blame(&path, at, &ranges)
                .into_iter()
                .map(|s| (s, path.as_str()))
                .collect();
            assert_eq!(named, want, "byte {at} of {path}: {report}");
            flips += 1;
        }
        sim.tamper(&path, bytes);
    }
    assert!(flips > 60, "{flips} flips test little");
    assert!(verify_files(sim).unwrap().is_clean(), "everything is back");
}

#[test]
fn every_byte_of_a_small_ledger() {
    flip_each(&sample(5), 1);
}

#[test]
fn bytes_of_a_ledger_with_full_tiles() {
    flip_each(&sample(260), 997);
}

#[test]
fn every_byte_of_a_journal_that_is_not_settled() {
    let sim = sample(3);
    let ledger = open(&sim).unwrap();
    append(&ledger, ["unsettled".to_owned()]).unwrap();
    append(&ledger, ["unsettled too".to_owned()]).unwrap();
    sim.set_fault(Some(Fault::PowerAt(sim.operations())));
    drop(ledger);
    let sim = sim.after_kill();
    let report = verify_files(&sim).unwrap();
    assert!(report.is_clean() && report.rows == 5, "positive control: {report}");
    let bytes = sim.read(layout::JOURNAL).unwrap();
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 0x10;
        sim.tamper(layout::JOURNAL, bent);
        let report = verify_files(&sim).unwrap();
        assert!(
            report.findings.iter().any(|f| f.subject == Subject::Journal),
            "byte {at}: {report}"
        );
    }
}

#[test]
fn files_that_are_gone_or_cut_are_named() {
    let sim = sample(260);
    for (path, bytes) in sim.all() {
        let named = |what: &str| {
            let report = verify_files(&sim).unwrap();
            assert!(
                report.findings.iter().any(|f| f.path == path),
                "{path} {what}: {report}"
            );
        };
        if !bytes.is_empty() {
            sim.tamper(&path, bytes[..bytes.len() - 1].to_vec());
            named("cut by a byte");
        }
        sim.tamper(&path, [&bytes[..], b"x"].concat());
        named("with a byte more");
        sim.tamper(&path, bytes);
    }
    for path in sim.all().into_keys() {
        if path == layout::KEY {
            // A copy without the private key is what an auditor holds.
            continue;
        }
        let fresh = sample(260);
        fresh.lose(&path);
        let report = verify_files(&fresh).unwrap();
        assert!(report.findings.iter().any(|f| f.path == path), "{path} gone: {report}");
    }
}

#[test]
fn a_row_rewritten_with_all_its_copies_does_not_lead_to_the_signed_root() {
    // Somebody with every file and every record key, and without the log's key.
    let sim = sample(5);
    let files = sim.all();
    let (mut hashes, mut entries, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let keys = keyring::parse(30_000, &files["record-keyring/030000"]).unwrap();
    let keyring::Day::Live(buckets) = keys else {
        panic!("the day is alive")
    };
    for (index, range) in &body_ranges(&sim)["bodies/000"] {
        let bytes = &files["bodies/000"][range.clone()];
        let (record, _) = body::parse(bytes).unwrap();
        let leaf = if *index == 2 {
            let bucket = buckets.iter().find(|b| *b.id() == record.head.bucket).unwrap();
            let forged = NewRow {
                kind: record.head.kind,
                purge_on_day: 30_000,
                ..row("nobody watched")
            };
            body::seal(2, &forged, bucket, &mut records).unwrap()
        } else {
            records.extend_from_slice(bytes);
            record.head.leaf
        };
        hashes.push(leaf.hash());
        entries.push(*leaf.as_bytes());
    }
    sim.tamper("bodies/000", records);
    sim.tamper("tile/0/000.p/5", hashes.concat());
    sim.tamper(
        "tile/entries/000.p/5",
        custody_shared::tlog::EntryBundle::encode(entries.iter().map(|e| &e[..])),
    );
    let report = verify_files(&sim).unwrap();
    assert!(
        report.findings.iter().all(|f| f.subject == Subject::Checkpoint),
        "{report}"
    );
    assert!(!report.is_clean());
    assert!(
        matches!(open(&sim), Err(LedgerError::Damaged { .. })),
        "and no server starts on it"
    );
}

#[test]
fn swapped_bodies_are_named() {
    let sim = sample(5);
    let files = sim.all();
    let ranges = body_ranges(&sim)["bodies/000"].clone();
    let order = [0, 3, 2, 1, 4];
    let swapped: Vec<u8> = order
        .iter()
        .flat_map(|i| files["bodies/000"][ranges[*i].1.clone()].to_vec())
        .collect();
    sim.tamper("bodies/000", swapped);
    let report = verify_files(&sim).unwrap();
    let named: Vec<Subject> = report.findings.iter().map(|f| f.subject).collect();
    assert!(
        named.contains(&Subject::Body(1)) && named.iter().all(|s| matches!(s, Subject::Body(_))),
        "{report}"
    );
}

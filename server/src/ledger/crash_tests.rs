//! Every point at which the disk can fail, one after the other: what was acknowledged is there, what was not is there
//! whole or not at all, and nothing that was ever shown is contradicted.

use custody_shared::tlog::tree::{self, NodeHash};
use custody_shared::tlog::{Checkpoint, Tile};

use super::sim::{Dice, Fault, Sim};
use super::tests::{append, bodies, open, options};
use super::*;

/// What the outside saw.
#[derive(Default)]
struct Seen {
    /// Appends in their order: bodies, and the index where they were acknowledged.
    appends: Vec<(Vec<String>, Option<u64>)>,
    /// Checkpoints that were shown.
    shown: Vec<String>,
    /// Keys under which the ledger was opened: never more than one.
    keys: Vec<String>,
}

/// Rows that are there before a life begins: none, or nearly a tile.
const STARTS: [u64; 2] = [0, 250];

/// A disk with so many settled rows.
fn start(rows: u64) -> Sim {
    let sim = Sim::default();
    if rows > 0 {
        append(&open(&sim).unwrap(), (0..rows).map(|n| format!("early row {n}"))).unwrap();
    }
    sim
}

/// Some of a ledger's life: creation where there is none yet, appends of different sizes, settling at restarts, a purge.
fn live(sim: &Sim, seen: &mut Seen) {
    let mut dice = Dice(7);
    let mut ledger = None;
    for step in 0..7 {
        if ledger.is_none() {
            ledger = open(sim).ok();
        }
        let Some(open) = &ledger else { continue };
        note(open, seen);
        let rows = [1, 3, 8, 1][step % 4];
        let names: Vec<String> = (0..rows)
            .map(|n| format!("step {step} row {n} {}", "x".repeat(dice.below(90) as usize)))
            .collect();
        let answer = append(open, names.clone());
        seen.appends.push((names, answer.ok().map(|i| i[0])));
        note(open, seen);
        if step == 4 {
            let _ = open.purge(10);
        }
        if step % 3 == 2 {
            // Dropping settles.
            ledger = None;
        }
    }
}

fn note(ledger: &Ledger, seen: &mut Seen) {
    seen.shown.push(ledger.checkpoint());
    seen.keys.push(ledger.verifier().to_string());
}

/// Opens what is left and compares it with what the outside saw.
fn judge(sim: &Sim, early: u64, seen: &Seen, what: &str) {
    let ledger = match open(sim) {
        Ok(ledger) => ledger,
        Err(e) => panic!("{what}: does not open: {e}"),
    };
    let there = bodies(&ledger, early);
    // Each append is there whole, at its index if it was acknowledged, or not at all; their order holds.
    // The rows before this life are compared with their commitments by the verification below.
    let mut at = 0;
    for (rows, index) in &seen.appends {
        let whole = there[at..].starts_with(rows);
        match index {
            Some(index) => {
                assert!(whole, "{what}: an acknowledged append is gone or changed");
                assert_eq!(*index, early + at as u64, "{what}: an acknowledged append has moved");
            }
            None if !whole => continue,
            None => {}
        }
        at += rows.len();
    }
    assert_eq!(at, there.len(), "{what}: rows that nobody appended");
    // Nothing that was shown is contradicted: every checkpoint is a prefix of the present tree.
    let hashes = leaf_hashes(&ledger);
    for note in &seen.shown {
        let Checkpoint { size, root, .. } = ledger.verifier().open(note).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(
            size <= ledger.len(),
            "{what}: a shown checkpoint of {size} rows is ahead of {}",
            ledger.len()
        );
        assert_eq!(
            tree::root(&hashes, size).unwrap(),
            root,
            "{what}: the log forked at {size}"
        );
    }
    assert!(
        seen.keys.iter().all(|k| *k == ledger.verifier().to_string()),
        "{what}: another key"
    );
    // It goes on as if nothing had been.
    let more = vec!["after".to_owned()];
    assert_eq!(
        append(&ledger, more).unwrap_or_else(|e| panic!("{what}: {e}")),
        [early + there.len() as u64]
    );
    drop(ledger);
    let report = verify::verify_files(sim).unwrap();
    assert!(report.is_clean(), "{what}: {report}");
}

/// The hashes of all leaves, out of the tiles.
fn leaf_hashes(ledger: &Ledger) -> Vec<NodeHash> {
    let tiles = (0..ledger.len().div_ceil(256)).map(|n| Tile::in_tree(0, n, ledger.len()).unwrap());
    let bytes: Vec<u8> = tiles
        .flat_map(|t| ledger.tile(&t.path()).unwrap().unwrap().bytes)
        .collect();
    bytes.as_chunks::<32>().0.to_vec()
}

/// Lives through every fault that `fault` makes, from the first operation of a life to its last.
fn at_every_point(fault: impl Fn(u64) -> Fault, check: impl Fn(&Sim, u64, &Seen, &str, u64)) {
    for early in STARTS {
        let fresh = start(early);
        let control = fresh.after_kill();
        let first = control.operations();
        let mut seen = Seen::default();
        live(&control, &mut seen);
        assert!(
            seen.appends.iter().all(|(_, index)| index.is_some()),
            "positive control"
        );
        judge(&control, early, &seen, "no fault");
        let last = control.operations();
        assert!(last - first > 90, "a life of {} operations tests little", last - first);
        for point in first..last {
            let sim = fresh.after_kill();
            let mut seen = Seen::default();
            sim.set_fault(Some(fault(point)));
            live(&sim, &mut seen);
            check(
                &sim,
                early,
                &seen,
                &format!("{:?} after {early} rows", fault(point)),
                point,
            );
        }
    }
}

#[test]
fn power_loss_at_every_point() {
    at_every_point(Fault::PowerAt, |sim, early, seen, what, point| {
        for seed in 0..2 {
            judge(
                &sim.after_power_loss(seed * 1000 + point),
                early,
                seen,
                &format!("{what}, seed {seed}"),
            );
        }
    });
}

#[test]
fn kill_at_every_point() {
    at_every_point(Fault::PowerAt, |sim, early, seen, what, _| {
        judge(&sim.after_kill(), early, seen, what)
    });
}

#[test]
fn one_failed_operation_at_every_point() {
    at_every_point(Fault::FailAt, |sim, early, seen, what, point| {
        let lost = seen.appends.iter().filter(|(_, index)| index.is_none()).count();
        assert!(lost <= 1, "{what}: one failure cost {lost} appends");
        judge(&sim.after_power_loss(point), early, seen, what);
    });
}

#[test]
fn a_disk_that_fails_for_a_while_at_every_point() {
    let fault = |point| Fault::FailBetween(point, point + 9);
    at_every_point(fault, |sim, early, seen, what, point| {
        judge(&sim.after_power_loss(point), early, seen, what)
    });
}

#[test]
fn one_operation_that_happens_and_is_reported_as_failed_at_every_point() {
    // A rename that lies may leave the writer refusing to go on until the next opening.
    at_every_point(Fault::LieAt, |sim, early, seen, what, point| {
        judge(&sim.after_power_loss(point), early, seen, what);
    });
}

#[test]
fn power_loss_while_recovering_at_every_point() {
    let sim = Sim::default();
    let mut seen = Seen::default();
    {
        let ledger = open(&sim).unwrap();
        note(&ledger, &mut seen);
        for step in 0..3 {
            let rows: Vec<String> = (0..100).map(|n| format!("{step} {n}")).collect();
            let index = append(&ledger, rows.clone()).unwrap()[0];
            seen.appends.push((rows, Some(index)));
        }
        note(&ledger, &mut seen);
        // Everything is in the journal; nothing is settled.
        sim.set_fault(Some(Fault::PowerAt(sim.operations())));
    }
    let crashed = sim.after_kill();
    let before = crashed.operations();
    for point in 0..80 {
        let again = crashed.after_kill();
        again.set_fault(Some(Fault::PowerAt(before + point)));
        drop(open(&again));
        judge(
            &again.after_power_loss(point),
            0,
            &seen,
            &format!("power lost at {point} of recovery"),
        );
    }
}

#[test]
fn a_purge_cut_off_at_every_point_keeps_or_kills_a_days_keys() {
    for point in 0..12 {
        let sim = Sim::default();
        let ledger = open(&sim).unwrap();
        let on = |day, body: &str| NewRow {
            purge_on_day: day,
            ..super::tests::row(body)
        };
        ledger.append_blocking(vec![on(5, "due"), on(6, "kept")]).unwrap();
        drop(ledger);
        let ledger = open(&sim).unwrap();
        sim.set_fault(Some(Fault::PowerAt(sim.operations() + point)));
        let done = ledger.purge(5).is_ok();
        drop(ledger);
        let after = if point % 2 == 0 {
            sim.after_kill()
        } else {
            sim.after_power_loss(point)
        };
        let ledger = open(&after).unwrap();
        let due = ledger.read(0).unwrap_or_else(|e| panic!("cut off at {point}: {e}"));
        assert!(!done || due.is_none(), "destroyed and back again at {point}");
        assert_eq!(&*ledger.read(1).unwrap().unwrap().1, b"kept");
        ledger.purge(5).unwrap();
        assert!(ledger.read(0).unwrap().is_none());
        drop(ledger);
        let left: Vec<String> = after
            .all()
            .into_keys()
            .filter(|p| p.starts_with("record-keyring/"))
            .collect();
        assert_eq!(
            left,
            ["record-keyring/000005", "record-keyring/000006"],
            "cut off at {point}"
        );
    }
}

#[test]
fn acknowledged_rows_that_are_gone_are_never_written_over() {
    // A journal that lost what the checkpoint already speaks of: bit rot or a restored backup, not a crash.
    let sim = Sim::default();
    drop(open(&sim).unwrap());
    let empty = sim.all();
    let ledger = open(&sim).unwrap();
    append(&ledger, (0..5).map(|n| format!("{n}"))).unwrap();
    drop(ledger);
    sim.tamper(layout::JOURNAL, empty[layout::JOURNAL].clone());
    assert!(
        matches!(open(&sim), Err(LedgerError::Damaged { .. })),
        "an older journal"
    );
    sim.lose(layout::JOURNAL);
    assert!(matches!(open(&sim), Err(LedgerError::Damaged { .. })), "no journal");

    // A flip in a batch that a later one follows.
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    append(&ledger, ["first".to_owned()]).unwrap();
    append(&ledger, ["second".to_owned()]).unwrap();
    sim.set_fault(Some(Fault::PowerAt(sim.operations())));
    drop(ledger);
    let killed = sim.after_kill();
    let mut journal = killed.all()[layout::JOURNAL].clone();
    let batch = journal.windows(4).position(|w| w == b"CLB1").unwrap();
    journal[batch + 30] ^= 1;
    killed.tamper(layout::JOURNAL, journal);
    assert!(
        matches!(open(&killed), Err(LedgerError::Damaged { .. })),
        "a flip before the last batch"
    );
    assert!(!verify::verify_files(&killed).unwrap().is_clean());
}

#[test]
fn a_creation_cut_off_goes_on_with_the_same_key() {
    let sim = Sim::default();
    sim.set_fault(Some(Fault::PowerAt(9)));
    assert!(open(&sim).is_err());
    let after = sim.after_kill();
    let key = after.all()[layout::KEY].clone();
    let ledger = open(&after).unwrap();
    assert_eq!(after.all()[layout::KEY], key);
    assert!(ledger.is_empty());
    drop(ledger);
    let keep = LedgerOptions {
        create: false,
        ..options()
    };
    assert!(Ledger::open_on(std::sync::Arc::new(after), keep).is_ok());
}

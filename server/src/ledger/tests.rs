//! The ledger as its users see it, on a real disk and on the simulated one.

use std::sync::Arc;

use custody_shared::tlog::tile::partial_tiles;
use custody_shared::tlog::tree::{self, NodeHash};
use custody_shared::tlog::{EntryBundle, TlogProof};
use zeroize::Zeroizing;

use super::files::Files as _;
use super::sim::{Fault, Sim};
use super::*;

pub(super) const ORIGIN: &str = "custody/clinic";

pub(super) fn options() -> LedgerOptions {
    LedgerOptions {
        origin: ORIGIN.into(),
        create: true,
    }
}

pub(super) fn row(body: impl AsRef<[u8]>) -> NewRow {
    NewRow {
        kind: RowKind(1),
        purge_on_day: 30_000,
        body: Zeroizing::new(body.as_ref().to_vec()),
    }
}

pub(super) fn open(sim: &Sim) -> Result<Ledger, LedgerError> {
    Ledger::open_on(Arc::new(sim.clone()), options())
}

pub(super) fn append(ledger: &Ledger, bodies: impl IntoIterator<Item = String>) -> Result<Vec<u64>, LedgerError> {
    ledger.append_blocking(bodies.into_iter().map(row).collect())
}

pub(super) fn bodies(ledger: &Ledger, from: u64) -> Vec<String> {
    let text = |r: Result<Row, _>| String::from_utf8(r.unwrap().body.unwrap().to_vec()).unwrap();
    ledger.iter(from).map(text).collect()
}

fn names(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|i| format!("row {i}")).collect()
}

#[test]
fn rows_come_back_after_a_restart_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let missing = LedgerOptions {
        create: false,
        ..options()
    };
    assert!(matches!(
        Ledger::open(&path, missing.clone()),
        Err(LedgerError::Missing)
    ));
    let ledger = Ledger::open(&path, options()).unwrap();
    assert!(matches!(Ledger::open(&path, options()), Err(LedgerError::Locked)));
    assert_eq!(append(&ledger, names(0..3)).unwrap(), [0, 1, 2]);
    assert_eq!(append(&ledger, names(3..700)).unwrap().last(), Some(&699));
    let checkpoint = ledger.checkpoint();
    drop(ledger);
    let ledger = Ledger::open(&path, missing).unwrap();
    assert_eq!((ledger.len(), ledger.checkpoint()), (700, checkpoint));
    assert_eq!(bodies(&ledger, 0), names(0..700));
    assert_eq!(append(&ledger, names(700..701)).unwrap(), [700]);
    assert!(verify(&path).unwrap().is_clean(), "while it is open");
    drop(ledger);
    let report = verify(&path).unwrap();
    assert_eq!(
        (report.to_string(), report.bodies),
        (
            "ledger custody/clinic: 701 rows, 701 bodies checked, 0 purged: intact".into(),
            701
        )
    );
    let other = LedgerOptions {
        origin: "custody/other".into(),
        create: true,
    };
    assert!(matches!(
        Ledger::open(&path, other),
        Err(LedgerError::OtherOrigin { .. })
    ));
}

#[test]
fn every_row_is_proven_under_the_checkpoint_whether_settled_or_not() {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    append(&ledger, names(0..600)).unwrap();
    drop(ledger);
    let ledger = open(&sim).unwrap();
    append(&ledger, names(600..1030)).unwrap();
    for index in [0, 255, 256, 511, 512, 599, 600, 767, 768, 1029] {
        let evidence = ledger.evidence(index).unwrap();
        let proven = evidence.verify(ledger.verifier()).unwrap();
        assert_eq!(proven.body(), format!("row {index}").as_bytes());
        assert_eq!(proven.checkpoint().size, 1030);
        let text = evidence.proof().to_string();
        assert!(
            TlogProof::parse(&text)
                .unwrap()
                .verify(evidence.leaf.as_bytes(), ledger.verifier())
                .is_ok()
        );
        let (proof, note) = ledger.consistency(index).unwrap();
        let now = ledger.verifier().open(&note).unwrap();
        let hashes: Vec<NodeHash> = (0..index).map(|i| ledger.evidence(i).unwrap().leaf.hash()).collect();
        let then = tree::root(&hashes, index).unwrap();
        assert_eq!(
            tree::verify_consistency(index, &then, now.size, &now.root, &proof),
            Ok(())
        );
    }
    assert!(matches!(ledger.evidence(1030), Err(LedgerError::NoSuchRow(1030))));
    assert!(ledger.read(1030).unwrap().is_none());
}

#[test]
fn every_size_that_had_a_checkpoint_keeps_its_tiles() {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    let mut seen = Vec::new();
    for size in 1..=520u64 {
        append(&ledger, names(size - 1..size)).unwrap();
        for tile in partial_tiles(size) {
            seen.push((tile.path(), ledger.tile(&tile.path()).unwrap().unwrap().bytes));
        }
        let bundle = EntryBundle::in_tree((size - 1) / 256, size).unwrap().path();
        seen.push((bundle.clone(), ledger.tile(&bundle).unwrap().unwrap().bytes));
    }
    let check = |ledger: &Ledger, when: &str| {
        for (path, bytes) in &seen {
            assert_eq!(&ledger.tile(path).unwrap().unwrap().bytes, bytes, "{path} {when}");
        }
        let leaves = ledger.tile("tile/entries/001").unwrap().unwrap().bytes;
        let leaves = EntryBundle::new(1, 256)
            .unwrap()
            .split(&leaves)
            .unwrap()
            .into_iter()
            .map(tree::leaf_hash);
        let hashes = ledger.tile("tile/0/001").unwrap().unwrap().bytes;
        assert_eq!(leaves.collect::<Vec<_>>().concat(), hashes, "{when}");
        for nothing in [
            "tile/0/002",
            "tile/0/002.p/9",
            "tile/0/003.p/1",
            "tile/1/000.p/3",
            "tile/2/000.p/1",
            "log.key",
        ] {
            assert_eq!(ledger.tile(nothing).unwrap(), None, "{nothing} {when}");
        }
    };
    check(&ledger, "before settling");
    drop(ledger);
    // What a plain file server would find is the last checkpoint's tiles, and nothing partial besides.
    let on_disk: Vec<String> = sim.all().into_keys().filter(|p| p.starts_with("tile/")).collect();
    let want = [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/8",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/8",
    ];
    assert_eq!(on_disk, want);
    check(&open(&sim).unwrap(), "after settling");
}

#[test]
fn concurrent_appends_keep_their_order_and_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    let ledger = open(&Sim::default()).unwrap();
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let ledger = ledger.clone();
            runtime.spawn(async move {
                let mut indices = Vec::new();
                for n in 0..40u64 {
                    let rows = (0..=n % 3).map(|part| row(format!("{task} {n} {part}"))).collect();
                    indices.push(ledger.append(rows).await.unwrap());
                }
                indices
            })
        })
        .collect();
    let mut all = Vec::new();
    for (task, handle) in tasks.into_iter().enumerate() {
        let indices = runtime.block_on(handle).unwrap();
        for (n, group) in indices.iter().enumerate() {
            for (part, index) in group.iter().enumerate() {
                assert_eq!(*index, group[0] + part as u64, "rows appended together stand together");
                all.push((*index, format!("{task} {n} {part}")));
            }
        }
        assert!(indices.is_sorted(), "one task's rows keep their order");
    }
    all.sort();
    assert_eq!(
        all.iter().map(|(i, _)| *i).collect::<Vec<_>>(),
        (0..ledger.len()).collect::<Vec<_>>()
    );
    assert_eq!(
        all.into_iter().map(|(_, body)| body).collect::<Vec<_>>(),
        bodies(&ledger, 0)
    );
}

#[test]
fn what_cannot_be_stored_is_refused_at_its_bound() {
    let ledger = open(&Sim::default()).unwrap();
    let refused = |rows: Vec<NewRow>| matches!(ledger.append_blocking(rows), Err(LedgerError::InvalidRows(_)));
    assert!(
        ledger.append_blocking(vec![row(vec![0; MAX_BODY])]).is_ok(),
        "the longest body"
    );
    assert!(refused(vec![row(vec![0; MAX_BODY + 1])]));
    assert!(
        ledger
            .append_blocking((0..MAX_APPEND_ROWS).map(|_| row("")).collect())
            .is_ok(),
        "the most rows"
    );
    assert!(refused((0..=MAX_APPEND_ROWS).map(|_| row("")).collect()));
    assert!(
        refused((0..17).map(|_| row(vec![0; MAX_BODY])).collect()),
        "too many bytes"
    );
    assert!(
        refused(vec![NewRow {
            purge_on_day: 1_000_000,
            ..row("")
        }]),
        "beyond the calendar"
    );
    assert_eq!(ledger.append_blocking(vec![]).unwrap(), [0u64; 0]);
    assert_eq!(ledger.len(), 1025);
    let spaced = LedgerOptions {
        origin: "custody clinic".into(),
        create: true,
    };
    assert!(
        Ledger::open_on(Arc::new(Sim::default()), spaced).is_err(),
        "space in the origin"
    );
}

#[test]
fn a_body_dies_on_its_day_and_its_row_stays_proven() {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    let on = |day, body: &str| NewRow {
        purge_on_day: day,
        ..row(body)
    };
    ledger
        .append_blocking(vec![
            on(100, "dies first"),
            on(101, "dies later"),
            on(100, "dies first too"),
        ])
        .unwrap();
    let before = ledger.evidence(0).unwrap();
    assert!(ledger.purge(99).unwrap().is_empty(), "not before its day");
    assert_eq!(ledger.purge(100).unwrap(), [100]);
    assert!(ledger.purge(100).unwrap().is_empty(), "once");
    let check = |ledger: &Ledger| {
        assert!(ledger.read(0).unwrap().is_none());
        assert!(ledger.read(2).unwrap().is_none());
        assert_eq!(&*ledger.read(1).unwrap().unwrap().1, b"dies later");
        let after = ledger.evidence(0).unwrap();
        assert!(after.body.is_none() && after.salt.is_none());
        assert!(
            after.proof().verify(before.leaf.as_bytes(), ledger.verifier()).is_ok(),
            "still proven"
        );
        let row = ledger.iter(0).next().unwrap().unwrap();
        assert_eq!((row.purge_on_day, row.body.is_none()), (100, true));
        assert!(matches!(
            ledger.append_blocking(vec![on(100, "too late")]),
            Err(LedgerError::InvalidRows(_))
        ));
    };
    check(&ledger);
    drop(ledger);
    check(&open(&sim).unwrap());
    let report = verify::verify_files(&sim).unwrap();
    assert_eq!((report.is_clean(), report.bodies, report.purged), (true, 1, 2));
}

#[test]
fn an_unwritable_disk_fails_closed_and_heals() {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    append(&ledger, names(0..2)).unwrap();
    let (now, checkpoint) = (sim.operations(), ledger.checkpoint());
    sim.set_fault(Some(Fault::FailBetween(now, u64::MAX)));
    for _ in 0..3 {
        assert!(matches!(
            append(&ledger, names(2..3)),
            Err(LedgerError::Unwritable { .. })
        ));
    }
    assert_eq!(
        (ledger.len(), ledger.checkpoint()),
        (2, checkpoint),
        "nothing of it is visible"
    );
    assert_eq!(
        ledger.evidence(1).unwrap().verify(ledger.verifier()).unwrap().body(),
        b"row 1",
        "reading goes on"
    );
    sim.set_fault(None);
    assert_eq!(append(&ledger, names(2..4)).unwrap(), [2, 3]);
    assert_eq!(bodies(&ledger, 0), names(0..4));
    drop(ledger);
    assert!(verify::verify_files(&sim).unwrap().is_clean());
}

#[test]
fn an_unwritable_directory_fails_closed_and_heals() {
    // Works for root too: the directory is moved away, and something else stands in its place.
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("ledger"), dir.path().join("aside"));
    let ledger = Ledger::open(&path, options()).unwrap();
    append(&ledger, names(0..1)).unwrap();
    std::fs::rename(&path, &aside).unwrap();
    let error = append(&ledger, names(1..2)).unwrap_err();
    assert!(matches!(error, LedgerError::Unwritable { .. }), "{error}");
    std::fs::write(&path, "not a directory").unwrap();
    assert!(append(&ledger, names(1..2)).is_err());
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(append(&ledger, names(1..2)).unwrap(), [1]);
    assert_eq!(bodies(&ledger, 0), names(0..2));
}

#[test]
fn a_head_that_somebody_else_moved_is_not_written_over() {
    let sim = Sim::default();
    let ledger = open(&sim).unwrap();
    append(&ledger, names(0..5)).unwrap();
    let journal = sim.read(layout::JOURNAL).unwrap();
    let foreign = [&journal[..], b"another writer's batch"].concat();
    sim.tamper(layout::JOURNAL, foreign.clone());
    assert!(matches!(
        append(&ledger, names(5..6)),
        Err(LedgerError::HeadMoved { .. })
    ));
    assert_eq!(sim.read(layout::JOURNAL).unwrap(), foreign, "left as it was found");
    sim.tamper(layout::JOURNAL, journal);
    assert_eq!(append(&ledger, names(5..6)).unwrap(), [5]);
    let checkpoint = sim.read(layout::CHECKPOINT).unwrap();
    sim.tamper(layout::CHECKPOINT, b"rolled back".to_vec());
    assert!(matches!(
        append(&ledger, names(6..7)),
        Err(LedgerError::HeadMoved { .. })
    ));
    sim.tamper(layout::CHECKPOINT, checkpoint);
    assert_eq!(append(&ledger, names(6..7)).unwrap(), [6]);
}

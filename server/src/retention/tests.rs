use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::keyholder::FileHolder;
use crate::record::Rules;
use crate::record::fake::{Clinic, DAY, Mode, clinic};

struct Bench {
    clinic: Clinic,
    holder: Arc<FileHolder>,
    retention: Retention,
    swept: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let clinic = clinic().await;
    let folder = tempfile::tempdir().unwrap();
    let holder = Arc::new(FileHolder::open(folder.path(), Arc::new(clinic.clock.clone())).unwrap());
    let (swept, passed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sweep: Sweep = {
        let swept = Arc::clone(&swept);
        Arc::new(move |_, _| {
            swept.fetch_add(1, Ordering::SeqCst);
            Ok(2)
        })
    };
    let monotonic: Monotonic = {
        let passed = Arc::clone(&passed);
        Arc::new(move || Duration::from_micros(passed.load(Ordering::SeqCst)))
    };
    let retention = Retention::new(clinic.record.clone(), holder.clone(), sweep, monotonic);
    Bench {
        clinic,
        holder,
        retention,
        swept,
        passed,
        _folder: folder,
    }
}

impl Bench {
    /// Time passes on every clock.
    fn pass(&self, micros: i64) {
        self.clinic.clock.advance(micros);
        self.passed.fetch_add(u64::try_from(micros).unwrap(), Ordering::SeqCst);
    }

    fn destroyed(&self) -> usize {
        let state = self.clinic.record.state();
        self.clinic
            .cameras
            .iter()
            .filter_map(|camera| state.keys(*camera))
            .map(|keys| keys.destroyed.len())
            .sum()
    }
}

#[tokio::test]
async fn keys_are_laid_ahead_once() {
    let bench = bench().await;
    let tick = bench.retention.tick().await;
    assert_eq!(tick.announced, bench.clinic.cameras);
    assert_eq!(tick.alarms, [""; 0]);
    let state = bench.clinic.record.state();
    assert_eq!(state.descriptors(bench.clinic.cameras[0]).len(), 47);
    assert_eq!(bench.holder.pairs(), 94);
    assert!(bench.retention.tick().await.announced.is_empty());
    bench.pass(DAY);
    assert_eq!(bench.retention.tick().await.announced, bench.clinic.cameras);
    assert_eq!(bench.holder.pairs(), 96);
}

#[tokio::test]
async fn each_day_dies_on_its_day_and_leaves_its_row() {
    let bench = bench().await;
    bench.retention.tick().await;
    for day in 1..=33 {
        bench.pass(DAY);
        let tick = bench.retention.tick().await;
        assert_eq!(tick.alarms, [""; 0]);
        // Noon of day 31 is the first noon after the end of the day 30 days after the first.
        let expected = if day < 31 { 0 } else { 2 * (day - 30) };
        assert_eq!(bench.destroyed(), expected, "{day}");
        assert_eq!(tick.files, if day < 31 { 0 } else { 4 });
    }
    let state = bench.clinic.record.state();
    let keys = state.keys(bench.clinic.cameras[0]).unwrap();
    for gone in &keys.destroyed {
        assert!(gone.done >= gone.due && gone.done.get() - gone.due.get() < DAY);
        assert!(!keys.live.contains_key(&gone.key));
    }
    let again = Record::open(
        bench.clinic.ledger.clone(),
        Rules::kr(),
        Arc::new(bench.clinic.clock.clone()),
    )
    .unwrap();
    assert_eq!(*again.state(), *state);
}

#[tokio::test]
async fn an_unwritable_ledger_holds_up_no_destruction() {
    let bench = bench().await;
    bench.retention.tick().await;
    bench.clinic.ledger.set(Mode::Lost);
    bench.pass(31 * DAY);
    let tick = bench.retention.tick().await;
    assert!(tick.destroyed.is_empty() && !tick.alarms.is_empty());
    let left = bench.holder.pairs();
    assert_eq!(bench.swept.load(Ordering::SeqCst), 2, "ciphertext goes too");
    assert_eq!(bench.destroyed(), 0, "no row yet");
    bench.clinic.ledger.set(Mode::WrittenButLost);
    assert!(bench.retention.tick().await.destroyed.is_empty());
    bench.clinic.ledger.set(Mode::Works);
    let tick = bench.retention.tick().await;
    assert_eq!(tick.destroyed.len(), 2, "the outcome is appended later");
    assert_eq!(bench.destroyed(), 2);
    assert_eq!(bench.clinic.ledger.of_kind(31), 2, "and not twice");
    assert!(bench.holder.pairs() >= left);
    assert!(bench.retention.tick().await.destroyed.is_empty());
}

#[tokio::test]
async fn a_clock_stepped_forward_destroys_nothing_for_a_day() {
    let bench = bench().await;
    bench.retention.tick().await;
    bench.clinic.clock.advance(31 * DAY);
    let tick = bench.retention.tick().await;
    assert!(tick.alarms[0].contains("stepped forward"), "{:?}", tick.alarms);
    assert_eq!(bench.destroyed(), 0);
    bench.clinic.clock.advance(-31 * DAY);
    bench.pass(60_000_000);
    assert!(bench.retention.tick().await.alarms.is_empty(), "put right, forgotten");
    bench.clinic.clock.advance(31 * DAY);
    bench.retention.tick().await;
    bench.pass(DAY);
    bench.retention.tick().await;
    assert!(bench.destroyed() > 0, "and not for longer than a day");
}

#[tokio::test]
async fn a_lost_keyring_is_noticed() {
    let bench = bench().await;
    bench.retention.tick().await;
    let folder = tempfile::tempdir().unwrap();
    let empty = FileHolder::open(folder.path(), Arc::new(bench.clinic.clock.clone())).unwrap();
    let nothing: Sweep = Arc::new(|_, _| Ok(0));
    let other = Retention::new(
        bench.clinic.record.clone(),
        Arc::new(empty),
        nothing,
        Retention::system_monotonic(),
    );
    let tick = other.tick().await;
    assert!(
        tick.alarms.iter().any(|alarm| alarm.contains("not in the keyring")),
        "{:?}",
        tick.alarms
    );
}

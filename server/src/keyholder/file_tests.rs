use custody_shared::id::{BootId, CameraId};
use custody_shared::segment::{Header, Sealer};
use custody_shared::time::{Clock as _, ManualClock, TimeRange};

use super::super::disk::HEAD;
use super::super::{ReleaseEvidence, verify_order, verify_release};
use super::*;
use crate::record::fake::{Clinic, DAY, MINUTE, NOON, clinic, window};
use crate::record::port::LedgerPort as _;
use crate::record::{Actor, RewrapReason, Row};

fn plan(camera: CameraId, from: i64, until: i64, destroy: i64) -> KeyPlan {
    KeyPlan {
        camera,
        valid_from: UtcMicros::new(NOON.get() + from),
        valid_until: UtcMicros::new(NOON.get() + until),
        destroy_at: UtcMicros::new(NOON.get() + destroy),
        reserve: false,
    }
}

fn sealed(descriptor: &KeyDescriptor, t_start: UtcMicros) -> Preamble {
    let header = Header {
        camera: descriptor.camera,
        key_id: descriptor.key_id,
        seq: 1,
        t_start,
        boot_id: BootId::from_bytes([5; 16]),
        prev_statement: Sha256Hash::ZERO,
    };
    let (_, preamble) = Sealer::new(header, &descriptor.public).unwrap();
    preamble
}

#[path = "crash_tests.rs"]
mod crash;

/// A holder with one key for the clinic's first camera, a segment sealed to it and a release of that segment.
struct Bench {
    clinic: Clinic,
    folder: tempfile::TempDir,
    clock: ManualClock,
    descriptor: KeyDescriptor,
    preamble: Preamble,
}

async fn bench() -> Bench {
    let clinic = clinic().await;
    let folder = tempfile::tempdir().unwrap();
    let clock = clinic.clock.clone();
    let holder = FileHolder::open(folder.path(), Arc::new(clock.clone())).unwrap();
    let descriptor = holder
        .announce(&[plan(clinic.cameras[0], -DAY, DAY, 30 * DAY)])
        .unwrap()
        .remove(0);
    let preamble = sealed(&descriptor, window(57, 56).start());
    Bench {
        clinic,
        folder,
        clock,
        descriptor,
        preamble,
    }
}

impl Bench {
    fn holder(&self) -> FileHolder {
        FileHolder::open(self.folder.path(), Arc::new(self.clock.clone())).unwrap()
    }

    async fn release(&self, range: TimeRange) -> VerifiedGrant {
        let grant = self.clinic.granted().await;
        self.release_under(grant, self.clinic.cameras[0], range).await
    }

    async fn release_under(&self, grant: GrantId, camera: CameraId, range: TimeRange) -> VerifiedGrant {
        let record = &self.clinic.record;
        let intended = record
            .intend_release(self.clinic.desk, grant, camera, range, ReleaseUse::View)
            .await
            .unwrap();
        let evidence = ReleaseEvidence {
            grant: record.evidence(intended.grant_row).unwrap(),
            intent: record.evidence(intended.intent_row).unwrap(),
        };
        verify_release(&evidence, &self.clinic.ledger.verifier(), record.clock().now()).unwrap()
    }
}

/// Everything in a folder, names and contents.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn opens_for_its_release_and_after_a_restart() {
    let bench = bench().await;
    let grant = bench.release(window(58, 55)).await;
    for _ in 0..2 {
        let holder = bench.holder();
        assert_eq!(holder.pairs(), 1);
        holder.open(&grant, &bench.preamble).unwrap();
    }
}

#[tokio::test]
async fn refuses_what_the_release_does_not_reach() {
    let bench = bench().await;
    let holder = bench.holder();
    let grant = bench.release(window(58, 55)).await;
    let at = |minutes: i64| UtcMicros::new(NOON.get() - minutes * MINUTE);
    let other = holder
        .announce(&[plan(bench.clinic.cameras[1], -DAY, DAY, 30 * DAY)])
        .unwrap()
        .remove(0);
    let mut relabelled = bench.preamble.clone();
    relabelled.header.t_start = at(56);
    let mut of_other_key = bench.preamble.clone();
    of_other_key.header.key_id = other.key_id;
    let mut unknown = bench.preamble.clone();
    unknown.header.key_id = KeyId::random();
    let cases = [
        ("another camera", sealed(&other, at(57)), "NotCovered"),
        ("after the window", sealed(&bench.descriptor, at(55)), "NotCovered"),
        (
            "long before the window",
            sealed(&bench.descriptor, at(63)),
            "NotCovered",
        ),
        ("another start than sealed", relabelled, "NotSealedToIt"),
        ("another camera's key", of_other_key, "NotCovered"),
        ("an unknown key", unknown, "NoKey"),
    ];
    for (flaw, preamble, kind) in cases {
        let error = holder
            .open(&grant, &preamble)
            .err()
            .unwrap_or_else(|| panic!("{flaw} opened"));
        assert!(format!("{error:?}").starts_with(kind), "{flaw}: {error:?}");
    }
    // A segment that began just before the window reaches into it.
    holder
        .open(
            &grant,
            &sealed(&bench.descriptor, UtcMicros::new(at(58).get() - 30_000_000)),
        )
        .unwrap();
    bench.clock.advance(10 * MINUTE);
    assert!(
        matches!(holder.open(&grant, &bench.preamble), Err(KeyholderError::NotNow(_))),
        "after the intent"
    );
}

#[tokio::test]
async fn the_holder_counts_the_minutes_itself() {
    let bench = bench().await;
    let holder = bench.holder();
    let id = bench.clinic.granted().await;
    let camera = bench.clinic.cameras[0];
    let first = bench.release_under(id, camera, window(58, 55)).await;
    holder.open(&first, &bench.preamble).unwrap();
    bench.clock.advance(121 * MINUTE);
    // A server that forgot the first play writes an intent all the same.
    let now = bench.clock.now();
    let until = UtcMicros::new(now.get() + 5 * MINUTE);
    let row = Row::ReleaseIntended {
        grant: id,
        camera,
        range: window(58, 55),
        purpose: ReleaseUse::View,
        until,
    };
    let intent = bench.clinic.ledger.force(now, Actor::Person(bench.clinic.desk), row);
    let evidence = ReleaseEvidence {
        grant: bench
            .clinic
            .ledger
            .evidence(bench.clinic.record.state().grant(id).unwrap().row)
            .unwrap(),
        intent: bench.clinic.ledger.evidence(intent).unwrap(),
    };
    let grant = verify_release(&evidence, &bench.clinic.ledger.verifier(), now).unwrap();
    assert!(matches!(
        holder.open(&grant, &bench.preamble),
        Err(KeyholderError::NotNow(_))
    ));
}

#[tokio::test]
async fn announcing_twice_gives_the_same_keys() {
    let bench = bench().await;
    let holder = bench.holder();
    let plans = [
        plan(bench.clinic.cameras[0], -DAY, DAY, 30 * DAY),
        plan(bench.clinic.cameras[0], DAY, 2 * DAY, 31 * DAY),
        plan(bench.clinic.cameras[0], DAY, 2 * DAY, 31 * DAY),
    ];
    let first = holder.announce(&plans).unwrap();
    assert_eq!(first[0], bench.descriptor);
    assert_eq!(first[1], first[2]);
    drop(holder);
    assert_eq!(bench.holder().announce(&plans).unwrap(), first);
    let due = plan(bench.clinic.cameras[0], -3 * DAY, -2 * DAY, -DAY);
    let empty = plan(bench.clinic.cameras[0], DAY, DAY, 3 * DAY);
    for bad in [due, empty] {
        assert!(matches!(bench.holder().announce(&[bad]), Err(KeyholderError::Plan(_))));
    }
}

#[tokio::test]
async fn two_holders_on_one_folder_are_refused() {
    let bench = bench().await;
    let _first = bench.holder();
    assert!(FileHolder::open(bench.folder.path(), Arc::new(bench.clock.clone())).is_err());
}

#[tokio::test]
async fn a_key_dies_at_its_time_and_not_before() {
    let bench = bench().await;
    let holder = bench.holder();
    bench.clock.set(UtcMicros::new(NOON.get() + 30 * DAY - 1));
    assert!(holder.destroy(bench.clock.now()).unwrap().is_empty());
    assert_eq!(holder.pairs(), 1);
    bench.clock.advance(1);
    let gone = holder.destroy(bench.clock.now()).unwrap();
    assert_eq!(
        (gone.len(), gone[0].key, gone[0].done),
        (1, bench.descriptor.key_id, bench.clock.now())
    );
    assert_eq!(holder.pairs(), 0);
    drop(holder);
    let holder = bench.holder();
    assert_eq!(
        holder.destroy(bench.clock.now()).unwrap(),
        gone,
        "unsettled outcomes survive a restart"
    );
    holder.settle(&[bench.descriptor.key_id]);
    assert!(holder.destroy(bench.clock.now()).unwrap().is_empty());
    assert_eq!(holder.lost(&[bench.descriptor.key_id]), [bench.descriptor.key_id]);
}

#[tokio::test]
async fn a_clock_stepped_back_lengthens_no_life() {
    let bench = bench().await;
    let holder = bench.holder();
    let second = holder
        .announce(&[plan(bench.clinic.cameras[1], -DAY, DAY, 31 * DAY)])
        .unwrap()
        .remove(0);
    holder.destroy(UtcMicros::new(NOON.get() + 30 * DAY)).unwrap();
    drop(holder);
    // The clock says noon again; a plan due before the high-water mark is over.
    let holder = bench.holder();
    assert!(
        holder
            .announce(&[plan(bench.clinic.cameras[0], -DAY, DAY, 30 * DAY)])
            .is_err()
    );
    assert!(holder.lost(&[second.key_id]).is_empty());
}

#[tokio::test]
async fn destroyed_keys_open_nothing_whatever_is_brought_back() {
    let bench = bench().await;
    let grant = bench.release(window(58, 55)).await;
    let before = contents(bench.folder.path());
    let seed = {
        let holder = bench.holder();
        let seed = Zeroizing::new(*holder.lock().ring.pairs[0].secret.seed());
        holder.destroy(UtcMicros::new(NOON.get() + 30 * DAY)).unwrap();
        assert!(matches!(
            holder.open(&grant, &bench.preamble),
            Err(KeyholderError::NoKey(_))
        ));
        seed
    };
    let after = contents(bench.folder.path());
    let file =
        |all: &[(String, Vec<u8>)], name: &str| all.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.clone());
    // The old keyring from a backup, with whatever epoch keys are there now.
    std::fs::write(bench.folder.path().join("keyring"), file(&before, "keyring").unwrap()).unwrap();
    let result = FileHolder::open(bench.folder.path(), Arc::new(bench.clock.clone()));
    assert!(
        matches!(result.err(), Some(KeyholderError::Damaged(_))),
        "the old keyring needs the old epoch key"
    );
    // The old keyring relabelled with the new epoch.
    let mut forged = file(&before, "keyring").unwrap();
    forged[..HEAD].copy_from_slice(&file(&after, "keyring").unwrap()[..HEAD]);
    std::fs::write(bench.folder.path().join("keyring"), forged).unwrap();
    assert!(FileHolder::open(bench.folder.path(), Arc::new(bench.clock.clone())).is_err());
    // No file has held the secret in the clear, before or after.
    for (name, bytes) in before.iter().chain(&after) {
        assert!(!bytes.windows(32).any(|window| window == &seed[..]), "{name}");
    }
    let old_epoch: Vec<u8> = before.iter().find(|(name, _)| name.starts_with("epoch")).unwrap().1[12..44].to_vec();
    for (name, bytes) in &after {
        assert!(
            !bytes.windows(32).any(|window| window == old_epoch),
            "{name} holds the old epoch key"
        );
    }
}

#[tokio::test]
async fn rewrapped_keys_outlive_their_pair_and_nothing_else_does() {
    let bench = bench().await;
    let holder = bench.holder();
    let grant = bench.release(window(58, 55)).await;
    let order = Row::RewrapOrdered {
        camera: bench.clinic.cameras[0],
        key: bench.descriptor.key_id,
        range: window(58, 56),
        destroy_at: UtcMicros::new(NOON.get() + 30 * DAY),
        reason: RewrapReason::Deletion,
    };
    let row = bench.clinic.ledger.force(NOON, Actor::System, order);
    let evidence = bench.clinic.ledger.evidence(row).unwrap();
    let order = verify_order(&evidence, &bench.clinic.ledger.verifier(), NOON).unwrap();
    let outside = sealed(&bench.descriptor, window(56, 55).start());
    assert!(
        holder.rewrap(&order, std::slice::from_ref(&outside)).is_err(),
        "a segment outside the order"
    );
    let second = sealed(&bench.descriptor, window(57, 55).start());
    let wrapped = holder
        .rewrap(&order, &[bench.preamble.clone(), second.clone()])
        .unwrap();
    let direct = holder.open(&grant, &bench.preamble).unwrap();
    drop(holder);
    let holder = bench.holder();
    let through = holder.open_rewrapped(&grant, &bench.preamble, &wrapped[0]).unwrap();
    assert_eq!(through.as_bytes(), direct.as_bytes());
    assert!(
        holder.open_rewrapped(&grant, &second, &wrapped[0]).is_err(),
        "another segment's wrap"
    );
    let mut bent = wrapped[0].clone();
    bent.sealed[0] ^= 1;
    assert!(
        holder.open_rewrapped(&grant, &bench.preamble, &bent).is_err(),
        "altered"
    );
    holder.destroy(UtcMicros::new(NOON.get() + 30 * DAY)).unwrap();
    assert!(matches!(
        holder.open_rewrapped(&grant, &bench.preamble, &wrapped[0]),
        Err(KeyholderError::NoKey(_))
    ));
}

#[tokio::test]
async fn a_reserve_key_does_not_lengthen_the_life_of_what_it_seals() {
    let bench = bench().await;
    let holder = bench.holder();
    let reserve = KeyPlan {
        reserve: true,
        ..plan(bench.clinic.cameras[0], -40 * DAY, 100 * DAY, 130 * DAY)
    };
    let descriptor = holder.announce(&[reserve]).unwrap().remove(0);
    let grant = bench.release(window(58, 55)).await;
    holder
        .open(&grant, &sealed(&descriptor, window(57, 56).start()))
        .unwrap();
    // 31 days later a fresh release of the same minutes is made by a server that forgot retention.
    let now = UtcMicros::new(NOON.get() + 31 * DAY);
    bench.clock.set(now);
    let (id, camera) = (GrantId::random(), bench.clinic.cameras[0]);
    let mut fresh = grant.grant().clone();
    fresh.id = id;
    (fresh.not_before, fresh.not_after) = (now, UtcMicros::new(now.get() + DAY));
    let until = UtcMicros::new(now.get() + MINUTE);
    let intent = Row::ReleaseIntended {
        grant: id,
        camera,
        range: window(58, 55),
        purpose: ReleaseUse::View,
        until,
    };
    let ledger = &bench.clinic.ledger;
    let issued = ledger.force(
        now,
        Actor::Person(bench.clinic.manager),
        Row::GrantIssued { grant: fresh },
    );
    let intent = ledger.force(now, Actor::Person(bench.clinic.desk), intent);
    let evidence = ReleaseEvidence {
        grant: ledger.evidence(issued).unwrap(),
        intent: ledger.evidence(intent).unwrap(),
    };
    let grant = verify_release(&evidence, &ledger.verifier(), now).unwrap();
    let late = holder.open(&grant, &sealed(&descriptor, window(57, 56).start()));
    assert!(matches!(late, Err(KeyholderError::NoKey(_))));
}

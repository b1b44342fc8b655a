//! What a power cut or a failing disk leaves, at every step of a write.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::super::disk::Step;
use super::*;

const STEPS: [Step; 8] = [
    Step::EpochWritten,
    Step::EpochDurable,
    Step::KeyringWritten,
    Step::KeyringSynced,
    Step::KeyringRenamed,
    Step::FolderSynced,
    Step::OldEpochOverwritten,
    Step::OldEpochRemoved,
];

/// Stops every write at every step, as a crash would, and looks at what the next start finds.
#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_or_the_new_keyring() {
    for operation in ["announce", "destroy"] {
        for step in STEPS {
            let bench = bench().await;
            let grant = bench.release(window(58, 55)).await;
            let hits = Arc::new(AtomicUsize::new(0));
            let armed = Arc::new(AtomicUsize::new(0));
            let fault: Fault = {
                let (hits, armed) = (Arc::clone(&hits), Arc::clone(&armed));
                Arc::new(move |at| {
                    if at == step && armed.load(Ordering::SeqCst) == 1 {
                        hits.fetch_add(1, Ordering::SeqCst);
                        return Err(io::Error::other("power cut"));
                    }
                    Ok(())
                })
            };
            let holder = FileHolder::open_with(bench.folder.path(), Arc::new(bench.clock.clone()), fault).unwrap();
            armed.store(1, Ordering::SeqCst);
            let due = UtcMicros::new(NOON.get() + 30 * DAY);
            let failed = match operation {
                "announce" => holder
                    .announce(&[plan(bench.clinic.cameras[1], 0, DAY, 31 * DAY)])
                    .is_err(),
                _ => holder.destroy(due).is_err(),
            };
            assert!(failed && hits.load(Ordering::SeqCst) == 1, "{operation} {step:?}");
            if operation == "destroy" {
                assert!(
                    holder.open(&grant, &bench.preamble).is_err(),
                    "{step:?}: a due key opened after a failed write"
                );
            }
            drop(holder);

            let holder = bench.holder();
            let pairs = holder.pairs();
            match operation {
                "announce" => {
                    assert!(pairs == 1 || pairs == 2, "{step:?}: {pairs}");
                    holder.open(&grant, &bench.preamble).unwrap();
                }
                _ => {
                    assert!(pairs <= 1, "{step:?}");
                    let gone = holder.destroy(due).unwrap();
                    assert_eq!(
                        gone.iter().map(|gone| gone.key).collect::<Vec<_>>(),
                        [bench.descriptor.key_id],
                        "{step:?}"
                    );
                    assert_eq!(holder.pairs(), 0);
                }
            }
            let names: Vec<String> = contents(bench.folder.path())
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(
                names.len(),
                3,
                "{operation} {step:?}: one epoch key, the keyring, the lock: {names:?}"
            );
            assert!(!names.iter().any(|name| name == "keyring.new"), "{names:?}");
        }
    }
}

/// The same without a restart: the next operation reads the disk and goes on.
#[tokio::test]
async fn a_disk_that_fails_once_is_caught_up_with() {
    for step in STEPS {
        let bench = bench().await;
        let left = Arc::new(AtomicUsize::new(0));
        let fault: Fault = {
            let left = Arc::clone(&left);
            Arc::new(move |at| {
                let fails = at == step
                    && left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                        .is_ok();
                if fails {
                    Err(io::Error::other("no space"))
                } else {
                    Ok(())
                }
            })
        };
        let holder = FileHolder::open_with(bench.folder.path(), Arc::new(bench.clock.clone()), fault).unwrap();
        let due = UtcMicros::new(NOON.get() + 30 * DAY);
        left.store(1, Ordering::SeqCst);
        assert!(holder.destroy(due).is_err(), "{step:?}");
        let gone = holder.destroy(due).unwrap();
        assert_eq!(gone.len(), 1, "{step:?}");
        left.store(1, Ordering::SeqCst);
        let plans = [plan(bench.clinic.cameras[1], 0, DAY, 31 * DAY)];
        let first = holder.announce(&plans);
        let again = holder.announce(&plans).unwrap();
        if let Ok(first) = first {
            assert_eq!(first, again, "{step:?}");
        }
        drop(holder);
        assert!(bench.holder().lost(&[again[0].key_id]).is_empty(), "{step:?}");
    }
}

#[tokio::test]
async fn hostile_keyring_files_are_refused() {
    let bench = bench().await;
    let path = bench.folder.path().join("keyring");
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut epoch = good.clone();
    epoch[11] ^= 4;
    let mut magic = good.clone();
    magic[3] = b'2';
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("cut short", good[..HEAD + 10].to_vec()),
        ("flipped", flipped),
        ("epoch", epoch),
        ("magic", magic),
    ];
    for (flaw, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        let result = FileHolder::open(bench.folder.path(), Arc::new(bench.clock.clone()));
        assert!(matches!(result.err(), Some(KeyholderError::Damaged(_))), "{flaw}");
        std::fs::write(&path, &good).unwrap();
        bench.holder();
    }
}

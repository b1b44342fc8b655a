//! Ingest from outside: agents over the real broker, good ones and hostile ones, and a server that dies in between.

use custody_shared::cose::SigningKey;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::message::Acked;
use custody_shared::statement::{Boot, ClockSource, Gap, GapCause, Kind, SignedStatement};
use custody_shared::time::{SECOND_US, TimeRange, UtcMicros};
use custody_shared::topic::Topic;

use super::synthetic::{Agent, Running, T0, TestSite, files};
use super::{TroubleKind, counters::IngestSnapshot};
use crate::index::{IndexStore, SegmentRow, StretchKind, coverage, rebuild};
use crate::statements::StatementRef;

fn range(from_s: i64, to_s: i64) -> TimeRange {
    TimeRange::new(
        UtcMicros::new(T0 + from_s * SECOND_US),
        UtcMicros::new(T0 + to_s * SECOND_US),
    )
    .unwrap()
}

fn rows(running: &Running, camera: CameraId) -> Vec<SegmentRow> {
    running.index.segments(camera, range(0, 1_000_000), usize::MAX).unwrap()
}

fn boot() -> Kind {
    Kind::Boot(Boot {
        software: "custody-agent 0.1.0".to_owned(),
        clock: ClockSource::Ntp,
    })
}

fn truth(agent: &Agent) -> Acked {
    Acked {
        next_index: agent.said.len() as u64,
        last_hash: agent.said.last().unwrap().hash(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_several_cameras_are_stored_indexed_and_receipted() {
    let site = TestSite::new().await;
    let running = site.run().await;
    let mut agents = [site.agent().await, site.agent().await, site.agent().await];
    for agent in &mut agents {
        agent.say(boot());
        for _ in 0..20 {
            agent.record(100);
        }
        agent.say(Kind::Gap(Gap {
            range: range(200, 320),
            cause: GapCause::CameraUnreachable,
        }));
    }
    // The first one meets a server that has just started; the others send together.
    agents[0].send_until_acked(0).await;
    for agent in &mut agents[1..] {
        agent.send_from(0).await;
    }
    for agent in &mut agents[1..] {
        agent.until_acked().await;
    }
    for agent in &mut agents {
        // What a receipt covers is in the log and in the index.
        let found = rows(&running, agent.camera);
        assert_eq!(found.len(), 20);
        for (row, signed) in found.iter().zip(&agent.said[1..]) {
            assert_eq!(running.statements.read(row.statement).unwrap(), signed.as_bytes());
        }
        let kinds: Vec<_> = coverage(&*running.index, agent.camera, range(0, 400))
            .unwrap()
            .into_iter()
            .map(|one| one.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                StretchKind::Kept,
                StretchKind::Gap(GapCause::CameraUnreachable),
                StretchKind::Unknown
            ]
        );
    }
    // An empty batch is a heartbeat, answered with the same truth.
    let agent = &mut agents[0];
    let next = agent.said.len() as u64;
    agent.send(next, &[]).await;
    assert_eq!(agent.receipt().await, truth(agent));
    let counted = running.ingest.counters();
    assert_eq!((counted.statements, counted.segments), (3 * 22, 3 * 20));
    assert_eq!((counted.forged, counted.forked, counted.malformed), (0, 0, 0));
    running.ingest.stop().await;
    site.broker.stop().await;
}

/// Sends something hostile after two honest statements; nothing of it may count, the receipt tells the truth, and the honest rest goes through.
async fn check(
    name: &str,
    hostile: impl AsyncFnOnce(&mut Agent),
    answered: bool,
    counted: fn(&IngestSnapshot) -> u64,
    trouble: Option<TroubleKind>,
) {
    let site = TestSite::new().await;
    let running = site.run().await;
    let mut agent = site.agent().await;
    agent.say(boot());
    agent.record(10);
    agent.send_until_acked(0).await;
    let before = counted(&running.ingest.counters());
    hostile(&mut agent).await;
    if answered {
        assert_eq!(agent.receipt().await, truth(&agent), "{name}");
    } else {
        // An answer that does not come is proven by the next one that does.
        let next = agent.said.len() as u64;
        agent.send(next, &[]).await;
        assert_eq!(agent.receipt().await, truth(&agent), "{name}");
    }
    assert_eq!(rows(&running, agent.camera).len(), 1, "{name}");
    assert_eq!(
        counted(&running.ingest.counters()) - before,
        1,
        "{name}: {:?}",
        running.ingest.counters()
    );
    assert_eq!(
        running.ingest.trouble(agent.camera).map(|trouble| trouble.kind),
        trouble,
        "{name}"
    );
    let from = agent.said.len();
    agent.record(10);
    agent.send_from(from).await;
    agent.until_acked().await;
    assert_eq!(rows(&running, agent.camera).len(), 2, "{name}");
    running.ingest.stop().await;
    site.broker.stop().await;
}

fn another(agent: &Agent, index: u64, prev: Sha256Hash, key: &SigningKey) -> SignedStatement {
    agent.statement(index, prev, boot()).sign(key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_replayed_forked_and_early_statements_change_nothing() {
    check(
        "signed by another key",
        async |agent| {
            let forged = another(agent, 2, agent.said[1].hash(), &SigningKey::generate().unwrap());
            agent.send(2, &[forged]).await;
        },
        true,
        |counted| counted.forged,
        Some(TroubleKind::Forged),
    )
    .await;
    check(
        "one bit flipped",
        async |agent| {
            let mut bytes = another(agent, 2, agent.said[1].hash(), &agent.key).into_bytes();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            agent.send(2, &[SignedStatement::from_bytes(bytes).unwrap()]).await;
        },
        true,
        |counted| counted.forged,
        Some(TroubleKind::Forged),
    )
    .await;
    check(
        "sent again",
        async |agent| agent.send_from(1).await,
        true,
        |counted| counted.replayed,
        None,
    )
    .await;
    check(
        "a link missing",
        async |agent| {
            let early = another(agent, 3, Sha256Hash::of(b"what was before"), &agent.key);
            agent.send(3, &[early]).await;
        },
        true,
        |counted| counted.out_of_order,
        None,
    )
    .await;
    check(
        "another history at the next place",
        async |agent| {
            let fork = another(agent, 2, Sha256Hash::of(b"another past"), &agent.key);
            agent.send(2, &[fork]).await;
        },
        true,
        |counted| counted.forked,
        Some(TroubleKind::Forked),
    )
    .await;
    check(
        "another statement at a place that is taken",
        async |agent| {
            let fork = another(agent, 1, agent.said[0].hash(), &agent.key);
            agent.send(1, &[fork]).await;
        },
        true,
        |counted| counted.forked,
        Some(TroubleKind::Forked),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_misplaced_batches_change_nothing() {
    check(
        "noise of the right length",
        async |agent| agent.publish(Topic::Statement, vec![7; 8192]).await,
        false,
        |counted| counted.malformed,
        Some(TroubleKind::Malformed),
    )
    .await;
    check(
        "no length that a batch has",
        async |agent| agent.publish(Topic::Statement, vec![7; 8191]).await,
        false,
        |counted| counted.malformed,
        Some(TroubleKind::Malformed),
    )
    .await;
    check(
        "sealed to another server",
        async |agent| {
            let honest = agent.server.0.clone();
            agent.server.0 = custody_shared::hpke::RecipientSecret::generate().unwrap().1;
            agent.send(2, &[]).await;
            agent.server.0 = honest;
        },
        false,
        |counted| counted.unopenable,
        Some(TroubleKind::Unopenable),
    )
    .await;
    check(
        "another camera's batch on its own topic",
        async |agent| {
            let honest = agent.camera;
            let batch = custody_shared::batch::StatementBatch {
                camera: CameraId::random(),
                first_index: 0,
                statements: vec![agent.said[0].as_bytes().to_vec()],
            };
            let sealed = batch.seal(&agent.server.0, 8192).unwrap();
            agent.camera = honest;
            agent.publish(Topic::Statement, sealed).await;
        },
        false,
        |counted| counted.unopenable,
        Some(TroubleKind::Unopenable),
    )
    .await;
    check(
        "a place that the batch does not begin at",
        async |agent| {
            let misplaced = another(agent, 3, agent.said[1].hash(), &agent.key);
            agent.send(2, &[misplaced]).await;
        },
        true,
        |counted| counted.malformed,
        Some(TroubleKind::Malformed),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_not_enrolled_is_not_heard_and_a_replaced_agent_begins_anew() {
    let site = TestSite::new().await;
    let running = site.run().await;
    let mut stranger = site.connect(CameraId::random(), SigningKey::generate().unwrap()).await;
    stranger.say(boot());
    stranger.send_from(0).await;
    let mut agent = site.agent().await;
    agent.record(10);
    agent.record(10);
    agent.send_until_acked(0).await;
    assert_eq!(running.index.position(stranger.camera).unwrap(), None);

    // The agent's disk died; a new one joins for the same camera with a new key and counts from nothing.
    let key = SigningKey::generate().unwrap();
    site.enrolled
        .0
        .lock()
        .unwrap()
        .get_mut(&agent.camera)
        .unwrap()
        .insert(0, key.public());
    let mut second = site.connect(agent.camera, key).await;
    second.key_id = custody_shared::id::KeyId::random();
    second.begins_s = 1000;
    second.record(20);
    second.send_until_acked(0).await;
    assert_eq!(rows(&running, agent.camera).len(), 3);
    // Both chains are verified again by their own keys.
    let before = rows(&running, agent.camera);
    let report = rebuild(&running.statements, &*running.index, &*site.enrolled).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(rows(&running, agent.camera), before);
    running.ingest.stop().await;
    site.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_of_the_places_loses_nothing_acknowledged() {
    let site = TestSite::new().await;
    let mut agent = site.agent().await;
    let running = site.run().await;
    for _ in 0..30 {
        agent.record(10);
    }
    agent.send_until_acked(0).await;
    let before = rows(&running, agent.camera);
    running.ingest.stop().await;
    drop((running.statements, running.index));
    let log = files(&site.path("statements")).pop().unwrap();

    // The index is gone, and the log ends in half a frame.
    std::fs::remove_dir_all(site.path("index")).unwrap();
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, [&whole[..], &whole[..777]].concat()).unwrap();
    let running = site.run().await;
    assert_eq!(running.ingest.caught_up().statements, 30);
    assert!(
        running.ingest.caught_up().is_clean(),
        "{:?}",
        running.ingest.caught_up()
    );
    assert_eq!(rows(&running, agent.camera), before);
    // The agent goes on where it was; what it sends again is known.
    agent.record(10);
    agent.send_until_acked(25).await;
    assert_eq!(rows(&running, agent.camera).len(), 31);
    running.ingest.stop().await;
    let store = running.statements;
    let upto = running.index.upto().unwrap();
    drop(running.index);

    // Stored but not indexed: as a crash between the two leaves it.
    let (places, _) = store
        .append(UtcMicros::new(T0), &[agent.record_unsent().as_bytes()])
        .unwrap();
    assert!(places[0] >= upto);
    drop(store);
    let running = site.run().await;
    assert_eq!(running.ingest.caught_up().statements, 1);
    agent.send_until_acked(31).await;
    assert!(running.ingest.counters().replayed >= 1);
    assert_eq!(rows(&running, agent.camera).len(), 32);
    running.ingest.stop().await;
    site.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_same_answers_and_names_what_was_tampered_with() {
    let site = TestSite::new().await;
    let running = site.run().await;
    let mut agents = [site.agent().await, site.agent().await];
    for agent in &mut agents {
        for n in 0..40 {
            agent.record(10);
            if n % 10 == 9 {
                let at = i64::from(n) * 10 + 1;
                agent.say(Kind::Gap(Gap {
                    range: range(at + 1000, at + 1005),
                    cause: GapCause::PacketLoss,
                }));
            }
        }
        agent.send_until_acked(0).await;
    }
    let answers = |running: &Running| {
        agents.each_ref().map(|agent| {
            (
                rows(running, agent.camera),
                running.index.gaps(agent.camera, range(0, 10_000), 100).unwrap(),
                running.index.position(agent.camera).unwrap(),
                coverage(&*running.index, agent.camera, range(0, 2000)).unwrap(),
            )
        })
    };
    let before = answers(&running);
    let report = rebuild(&running.statements, &*running.index, &*site.enrolled).unwrap();
    assert_eq!((report.statements, report.is_clean()), (88, true), "{report:?}");
    assert_eq!(answers(&running), before);

    // Somebody with access to the disk changes a statement, checksum and all.
    let log = files(&site.path("statements")).pop().unwrap();
    let good = std::fs::read(&log).unwrap();
    let victim = before[0].0[5].statement;
    let mut bytes = good.clone();
    let head = victim.offset as usize;
    let length = u32::from_be_bytes(bytes[head..head + 4].try_into().unwrap()) as usize;
    bytes[head + 8 + 100] ^= 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[head..head + 4]);
    crc.update(&bytes[head + 8..head + 8 + length]);
    let sum = crc.finalize().to_be_bytes();
    bytes[head + 4..head + 8].copy_from_slice(&sum);
    std::fs::write(&log, &bytes).unwrap();
    let report = rebuild(&running.statements, &*running.index, &*site.enrolled).unwrap();
    assert_eq!((report.statements, report.refused), (87, 1));
    assert_eq!(
        report.broken,
        [(agents[0].camera, 6)],
        "the link behind the changed one"
    );
    // And without the checksum it is damage at a place.
    bytes[head + 4] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let report = rebuild(&running.statements, &*running.index, &*site.enrolled).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].offset, head as u64);
    std::fs::write(&log, &good).unwrap();
    let report = rebuild(&running.statements, &*running.index, &*site.enrolled).unwrap();
    assert!(report.is_clean());
    assert_eq!(answers(&running), before);
    assert_ne!(running.index.upto().unwrap(), StatementRef::START);
    running.ingest.stop().await;
    site.broker.stop().await;
}

//! How many segments a second the server takes from its cameras: batches over TLS and MQTT, verified, durable, indexed, receipted.
//!
//! Agents and server run in this one process and share its cores. Beside it, in the same run: the same bytes in the same groups with a
//! bare write and fdatasync, and bare strict signature verification on one core. Arguments: segments (default 16000), cameras (default 8).

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custody_server::broker::{Broker, BrokerLimits};
use custody_server::ca::{Ca, ServerIdentity};
use custody_server::index::{SledIndex, StatementKeys};
use custody_server::ingest::{Ingest, IngestParts, ServerKeys};
use custody_server::statements::StatementStore;
use custody_shared::batch::StatementBatch;
use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, KeyId, SiteId};
use custody_shared::message::{Acked, Downlink};
use custody_shared::segment::{Header, Preamble, Sealer};
use custody_shared::statement::{
    ClockSource, Codec, CodecParameters, Kind, SegmentStatement, SignedStatement, Statement, Timing,
};
use custody_shared::time::{Clock, SECOND_US, SharedClock, SystemClock, UtcMicros};
use custody_shared::topic::Topic;
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sealed batches that an agent has on the way at a time.
const WINDOW: usize = 4;
const BUCKET: usize = 262_144;

struct Enrolled(HashMap<CameraId, VerifyingKey>);

impl StatementKeys for Enrolled {
    fn statement_keys(&self, camera: CameraId) -> Vec<VerifyingKey> {
        self.0.get(&camera).copied().into_iter().collect()
    }
}

struct Recorded {
    camera: CameraId,
    statements: Vec<SignedStatement>,
    /// Sealed batches, each with the place after its last statement.
    batches: Vec<(u64, Vec<u8>)>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let segments: usize = arguments.next().map_or(Ok(16_000), |text| text.parse())?;
    let cameras: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(segments, cameras))
}

async fn measure(segments: usize, cameras: usize) -> Result<(), Failure> {
    let dir = tempfile::tempdir_in(".")?;
    let site = SiteId::random();
    let clock: SharedClock = Arc::new(SystemClock);
    let ca = Arc::new(Ca::init(&dir.path().join("ca"), site, clock.clone())?);
    let identity = ServerIdentity::new(ca.clone(), &["127.0.0.1".to_owned()])?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let tls = identity.mqtt_config()?;
    let broker = Broker::start(listener, tls, site, ca.deny_list().clone(), BrokerLimits::default()).await?;
    let keys = Arc::new(ServerKeys::open(&dir.path().join("server-keys"))?);

    eprintln!("preparing {segments} signed statements of {cameras} cameras");
    let signing: Vec<_> = (0..cameras).map(|_| SigningKey::generate()).collect::<Result<_, _>>()?;
    let mut recorded = Vec::new();
    for key in &signing {
        recorded.push(record(key, segments.div_ceil(cameras), &keys)?);
    }
    let enrolled = recorded
        .iter()
        .zip(&signing)
        .map(|(one, key)| (one.camera, key.public()))
        .collect();
    let statements = Arc::new(StatementStore::open(&dir.path().join("statements"))?.0);
    let parts = IngestParts {
        site,
        door: broker.door().clone(),
        keys: keys.clone(),
        enrolment: Arc::new(Enrolled(enrolled)),
        statements,
        index: Arc::new(SledIndex::open(&dir.path().join("index"))?),
        clock,
    };
    let (ingest, _uplinks) = Ingest::start(parts).await?;

    let verify = verify_alone(&recorded[0].statements, &signing[0].public())?;
    let mut agents = Vec::new();
    for one in &recorded {
        agents.push(connect(&ca, site, port, one.camera).await?);
    }
    let total: usize = recorded.iter().map(|one| one.statements.len()).sum();
    let bytes: usize = recorded
        .iter()
        .flat_map(|one| &one.statements)
        .map(|signed| signed.as_bytes().len())
        .sum();
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (one, agent) in recorded.into_iter().zip(agents) {
        tasks.push(tokio::spawn(deliver(one, agent, site, keys.command_public())));
    }
    for task in tasks {
        task.await??;
    }
    let took = started.elapsed();
    let counted = ingest.counters();
    let write = write_alone(dir.path(), bytes, counted.commits.max(1))?;
    eprintln!("{counted:?}");

    let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
    let ours = rate(total, took);
    let (disk, one_core) = (rate(total, write), rate(verify.0, verify.1));
    println!("what\tours segments/s\tfloor segments/s\tratio");
    println!(
        "ingest, durable and receipted (floor: bare fdatasync)\t{ours:.0}\t{disk:.0}\t{:.3}",
        ours / disk
    );
    println!(
        "ingest (floor: bare verification, one core)\t{ours:.0}\t{one_core:.0}\t{:.3}",
        ours / one_core
    );
    ingest.stop().await;
    broker.stop().await;
    Ok(())
}

/// A camera's chain of segment statements, and the batches they fill.
fn record(key: &SigningKey, count: usize, keys: &ServerKeys) -> Result<Recorded, Failure> {
    let (camera, boot, key_id) = (CameraId::random(), BootId::random(), KeyId::random());
    let begin = SystemClock.now().get() - count as i64 * 10 * SECOND_US;
    let header = |seq: u64, prev| Header {
        camera,
        key_id,
        seq,
        t_start: UtcMicros::new(begin + seq as i64 * 10 * SECOND_US),
        boot_id: boot,
        prev_statement: prev,
    };
    // Sealing a key for each is the recorder's work; here one sealed key stands in all of them.
    let (_, template) = Sealer::new(header(0, Sha256Hash::ZERO), &RecipientSecret::generate()?.1)?;
    let mut statements: Vec<SignedStatement> = Vec::with_capacity(count);
    let mut batches = Vec::new();
    let (mut used, mut first) = (0, 0);
    for seq in 0..count as u64 {
        let prev = statements.last().map_or(Sha256Hash::ZERO, SignedStatement::hash);
        let header = header(seq, prev);
        let t_end = header.t_start.saturating_add(10 * SECOND_US);
        let segment = SegmentStatement {
            preamble: Preamble {
                header,
                ..template.clone()
            },
            file_sha256: Sha256Hash::of(&seq.to_be_bytes()),
            file_len: 3_750_000,
            t_end,
            frames: 250,
            fragments: 5,
            codec: CodecParameters {
                codec: Codec::H264,
                rfc6381: "avc1.640028".to_owned(),
                width: 1920,
                height: 1080,
            },
            truncated: false,
            clock: ClockSource::Ntp,
            timing: Timing::Source,
            closed_gop: true,
            b_frames: false,
        };
        let kind = Kind::Segment(Box::new(segment));
        let signed = Statement {
            camera,
            index: seq,
            prev,
            at: t_end,
            boot,
            kind,
        }
        .sign(key)?;
        let held = seq as usize - first;
        used = match StatementBatch::room_for(BUCKET, used, held, signed.as_bytes().len()) {
            Some(used) => used,
            None => {
                batches.push((seq, seal(camera, first, &statements[first..], keys)?));
                first = seq as usize;
                StatementBatch::room_for(BUCKET, 0, 0, signed.as_bytes().len()).ok_or("a statement fits a batch")?
            }
        };
        statements.push(signed);
    }
    batches.push((count as u64, seal(camera, first, &statements[first..], keys)?));
    Ok(Recorded {
        camera,
        statements,
        batches,
    })
}

fn seal(camera: CameraId, first: usize, statements: &[SignedStatement], keys: &ServerKeys) -> Result<Vec<u8>, Failure> {
    let statements = statements.iter().map(|signed| signed.as_bytes().to_vec()).collect();
    let batch = StatementBatch {
        camera,
        first_index: first as u64,
        statements,
    };
    Ok(batch.seal(keys.transport_public(), BUCKET)?)
}

async fn connect(
    ca: &Ca,
    site: SiteId,
    port: u16,
    camera: CameraId,
) -> Result<(AsyncClient, rumqttc::EventLoop), Failure> {
    let key = KeyPair::generate()?;
    let issued = ca.issue_agent(camera, &CertificateParams::default().serialize_request(&key)?.pem()?)?;
    let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(ca.roots())
        .with_client_auth_cert(chain, key)?;
    let mut options = MqttOptions::new("agent", "127.0.0.1", port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(config))));
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 16);
    client
        .subscribe(Topic::Acked.path(site, camera), QoS::AtLeastOnce)
        .await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    Ok((client, events))
}

/// Sends everything with a window, and again what stays without a receipt, as an agent does.
async fn deliver(
    recorded: Recorded,
    (client, mut events): (AsyncClient, rumqttc::EventLoop),
    site: SiteId,
    server: VerifyingKey,
) -> Result<(), Failure> {
    let Recorded { camera, batches, .. } = recorded;
    let path = Topic::Statement.path(site, camera);
    let (mut acked, mut sent) = (0, 0);
    while acked < batches.len() {
        while sent < batches.len().min(acked + WINDOW) {
            client
                .publish(path.clone(), QoS::AtLeastOnce, false, batches[sent].1.clone())
                .await?;
            sent += 1;
        }
        match tokio::time::timeout(Duration::from_secs(5), events.poll()).await {
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                let now = SystemClock.now();
                let receipt = Downlink::<Acked>::open(&server, &publish.payload, site, camera, now)?.body;
                while acked < batches.len() && batches[acked].0 <= receipt.next_index {
                    acked += 1;
                }
            }
            Ok(event) => drop(event?),
            Err(_) => sent = acked,
        }
    }
    Ok(())
}

fn verify_alone(statements: &[SignedStatement], key: &VerifyingKey) -> Result<(usize, Duration), Failure> {
    let count = statements.len().min(4000);
    let started = Instant::now();
    for signed in &statements[..count] {
        std::hint::black_box(signed.verify(key)?);
    }
    Ok((count, started.elapsed()))
}

fn write_alone(dir: &std::path::Path, bytes: usize, groups: u64) -> Result<Duration, Failure> {
    let group = vec![7; bytes / groups as usize];
    let mut file = std::fs::File::create(dir.join("floor"))?;
    let started = Instant::now();
    for _ in 0..groups {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    Ok(started.elapsed())
}

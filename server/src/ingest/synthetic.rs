//! A site with a real broker, ingest and index, and agents that say what a test wants them to say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_shared::batch::{BUCKETS, StatementBatch};
use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::{RecipientPublic, RecipientSecret};
use custody_shared::id::{BootId, CameraId, KeyId, SiteId};
use custody_shared::message::{Acked, CounterGuard, Downlink};
use custody_shared::segment::{Header, Sealer};
use custody_shared::statement::{
    ClockSource, Codec, CodecParameters, Kind, SegmentStatement, SignedStatement, Statement, Timing,
};
use custody_shared::time::{SECOND_US, SharedClock, SystemClock, UtcMicros};
use custody_shared::topic::Topic;
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Ingest, IngestParts, ServerKeys, Uplink};
use crate::broker::{Broker, BrokerLimits};
use crate::ca::{Ca, ServerIdentity};
use crate::index::{SledIndex, StatementKeys};
use crate::statements::StatementStore;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// When the first segment of every synthetic camera begins.
pub(crate) const T0: i64 = 1_790_000_000 * SECOND_US;

/// Who is enrolled; tests change it at will.
#[derive(Default)]
pub(crate) struct Enrolled(pub(crate) Mutex<HashMap<CameraId, Vec<VerifyingKey>>>);

impl StatementKeys for Enrolled {
    fn statement_keys(&self, camera: CameraId) -> Vec<VerifyingKey> {
        self.0.lock().unwrap().get(&camera).cloned().unwrap_or_default()
    }
}

pub(crate) struct TestSite {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) site: SiteId,
    pub(crate) ca: Arc<Ca>,
    pub(crate) identity: Arc<ServerIdentity>,
    pub(crate) broker: Broker,
    pub(crate) port: u16,
    pub(crate) keys: Arc<ServerKeys>,
    pub(crate) enrolled: Arc<Enrolled>,
    pub(crate) clock: SharedClock,
}

/// The parts that a restart of the server makes anew.
pub(crate) struct Running {
    pub(crate) ingest: Ingest,
    pub(crate) uplinks: mpsc::Receiver<Uplink>,
    pub(crate) statements: Arc<StatementStore>,
    pub(crate) index: Arc<SledIndex>,
}

impl TestSite {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = SiteId::random();
        let clock: SharedClock = Arc::new(SystemClock);
        let ca = Arc::new(Ca::init(&dir.path().join("ca"), site, clock.clone()).unwrap());
        let identity = ServerIdentity::new(ca.clone(), &["127.0.0.1".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = identity.mqtt_config().unwrap();
        let broker = Broker::start(listener, tls, site, ca.deny_list().clone(), BrokerLimits::default())
            .await
            .unwrap();
        let keys = Arc::new(ServerKeys::open(&dir.path().join("server-keys")).unwrap());
        Self {
            dir,
            site,
            ca,
            identity,
            broker,
            port,
            keys,
            enrolled: Arc::default(),
            clock,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn run(&self) -> Running {
        self.run_with(self.enrolled.clone()).await
    }

    pub(crate) async fn run_with(&self, enrolment: Arc<dyn StatementKeys>) -> Running {
        let (statements, _) = StatementStore::open(&self.path("statements")).unwrap();
        let statements = Arc::new(statements);
        let index = Arc::new(SledIndex::open(&self.path("index")).unwrap());
        let (ingest, uplinks) = Ingest::start(IngestParts {
            site: self.site,
            door: self.broker.door().clone(),
            keys: self.keys.clone(),
            enrolment,
            statements: statements.clone(),
            index: index.clone(),
            clock: self.clock.clone(),
        })
        .await
        .unwrap();
        Running {
            ingest,
            uplinks,
            statements,
            index,
        }
    }

    /// An enrolled agent, connected and listening for receipts.
    pub(crate) async fn agent(&self) -> Agent {
        let camera = CameraId::random();
        let key = SigningKey::generate().unwrap();
        self.enrolled.0.lock().unwrap().insert(camera, vec![key.public()]);
        self.connect(camera, key).await
    }

    pub(crate) async fn connect(&self, camera: CameraId, key: SigningKey) -> Agent {
        let tls = Arc::new(self.client_config(camera));
        let mut options = MqttOptions::new("agent", "127.0.0.1", self.port);
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)));
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        client
            .subscribe(Topic::Acked.path(self.site, camera), QoS::AtLeastOnce)
            .await
            .unwrap();
        client
            .subscribe(Topic::Command.path(self.site, camera), QoS::AtLeastOnce)
            .await
            .unwrap();
        client
            .subscribe(Topic::Keys.path(self.site, camera), QoS::AtLeastOnce)
            .await
            .unwrap();
        let mut subscribed = 0;
        while subscribed < 3 {
            let event = tokio::time::timeout(PATIENCE, events.poll()).await.unwrap().unwrap();
            subscribed += usize::from(matches!(event, Event::Incoming(Packet::SubAck(_))));
        }
        Agent {
            site: self.site,
            camera,
            key,
            server: (self.keys.transport_public().clone(), self.keys.command_public()),
            footage: RecipientSecret::generate().unwrap().1,
            boot: BootId::random(),
            key_id: KeyId::random(),
            said: Vec::new(),
            seq: 0,
            begins_s: 0,
            client,
            events,
            guard: CounterGuard::default(),
        }
    }

    /// TLS settings of an agent with a fresh certificate for `camera`.
    pub(crate) fn client_config(&self, camera: CameraId) -> ClientConfig {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default()
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap();
        let issued = self.ca.issue_agent(camera, &request).unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes())
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.ca.roots())
            .with_client_auth_cert(chain, key)
            .unwrap()
    }
}

pub(crate) struct Agent {
    pub(crate) site: SiteId,
    pub(crate) camera: CameraId,
    pub(crate) key: SigningKey,
    pub(crate) server: (RecipientPublic, VerifyingKey),
    pub(crate) footage: RecipientPublic,
    pub(crate) boot: BootId,
    pub(crate) key_id: KeyId,
    pub(crate) said: Vec<SignedStatement>,
    seq: u64,
    /// Seconds after `T0` at which its first segment begins.
    pub(crate) begins_s: i64,
    pub(crate) client: AsyncClient,
    pub(crate) events: EventLoop,
    guard: CounterGuard,
}

impl Agent {
    /// Says one thing more; it is not sent yet.
    pub(crate) fn say(&mut self, kind: Kind) -> SignedStatement {
        let index = self.said.len() as u64;
        let prev = self.said.last().map_or(Sha256Hash::ZERO, SignedStatement::hash);
        let signed = self.statement(index, prev, kind).sign(&self.key).unwrap();
        self.said.push(signed.clone());
        signed
    }

    pub(crate) fn statement(&self, index: u64, prev: Sha256Hash, kind: Kind) -> Statement {
        let at = UtcMicros::new(T0 + index as i64 * SECOND_US);
        Statement {
            camera: self.camera,
            index,
            prev,
            at,
            boot: self.boot,
            kind,
        }
    }

    /// Seals the next ten seconds and says so. Returns the number and the sealed file.
    pub(crate) fn record(&mut self, bytes: usize) -> (u64, Vec<u8>) {
        let seq = self.seq;
        self.seq += 1;
        let header = Header {
            camera: self.camera,
            key_id: self.key_id,
            seq,
            t_start: UtcMicros::new(T0 + (self.begins_s + seq as i64 * 10) * SECOND_US),
            boot_id: self.boot,
            prev_statement: self.said.last().map_or(Sha256Hash::ZERO, SignedStatement::hash),
        };
        let t_end = header.t_start.saturating_add(10 * SECOND_US);
        let (mut sealer, preamble) = Sealer::new(header, &self.footage).unwrap();
        let mut file = preamble.to_bytes();
        sealer.push(&vec![seq as u8; bytes], &mut file).unwrap();
        sealer.finish(&mut file);
        self.say(Kind::Segment(Box::new(SegmentStatement {
            preamble,
            file_sha256: Sha256Hash::of(&file),
            file_len: file.len() as u64,
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
        })));
        (seq, file)
    }

    /// Records without the file: only the signed statement is wanted.
    pub(crate) fn record_unsent(&mut self) -> SignedStatement {
        self.record(10);
        self.said[self.said.len() - 1].clone()
    }

    /// Sends statements as a batch that begins at `first`.
    pub(crate) async fn send(&mut self, first: u64, statements: &[SignedStatement]) {
        let statements = statements.iter().map(|signed| signed.as_bytes().to_vec()).collect();
        let batch = StatementBatch {
            camera: self.camera,
            first_index: first,
            statements,
        };
        let sealed = BUCKETS
            .iter()
            .find_map(|bucket| batch.seal(&self.server.0, *bucket).ok())
            .unwrap();
        self.publish(Topic::Statement, sealed).await;
    }

    /// Sends everything said from `first` on.
    pub(crate) async fn send_from(&mut self, first: usize) {
        let statements = self.said[first..].to_vec();
        for (number, part) in statements.chunks(100).enumerate() {
            self.send((first + number * 100) as u64, part).await;
        }
    }

    pub(crate) async fn publish(&mut self, topic: Topic, payload: Vec<u8>) {
        let path = topic.path(self.site, self.camera);
        self.client
            .publish(path, QoS::AtLeastOnce, false, payload)
            .await
            .unwrap();
    }

    /// Lets the connection work for so long.
    pub(crate) async fn pump(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, async { while self.events.poll().await.is_ok() {} }).await;
    }

    /// The next message on a topic.
    pub(crate) async fn message(&mut self, topic: Topic) -> Vec<u8> {
        let path = topic.path(self.site, self.camera);
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await.unwrap()
                    && publish.topic == path
                {
                    return publish.payload.to_vec();
                }
            }
        })
        .await
        .unwrap()
    }

    /// The next receipt, checked as an agent does.
    pub(crate) async fn receipt(&mut self) -> Acked {
        let bytes = self.message(Topic::Acked).await;
        let now = UtcMicros::new(i64::MAX / 4).min(custody_shared::time::Clock::now(&SystemClock));
        Downlink::<Acked>::receive(&self.server.1, &bytes, self.site, self.camera, now, &mut self.guard)
            .unwrap()
            .body
    }

    /// Sends everything said from `first` on, again and again until there is a receipt for it, as agents do.
    pub(crate) async fn send_until_acked(&mut self, first: usize) {
        for _ in 0..20 {
            self.send_from(first).await;
            if tokio::time::timeout(Duration::from_secs(1), self.until_acked())
                .await
                .is_ok()
            {
                return;
            }
        }
        panic!("no receipt");
    }

    /// Waits for a receipt for everything said.
    pub(crate) async fn until_acked(&mut self) {
        let expected = Acked {
            next_index: self.said.len() as u64,
            last_hash: self.said.last().map_or(Sha256Hash::ZERO, SignedStatement::hash),
        };
        while self.receipt().await != expected {}
    }
}

/// Every byte of every file below a folder, by path: for comparing and for damaging.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

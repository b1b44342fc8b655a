//! An agent's whole way: joining with a token, renewing, recording, delivering what is ordered. And what goes wrong on it.

use std::sync::Arc;
use std::time::Duration;

use custody_shared::cose::SigningKey;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, KeyId};
use custody_shared::join::{JoinRequest, JoinResponse, MqttEndpoint, RenewRequest, RenewResponse};
use custody_shared::keys::KeyDescriptor;
use custody_shared::message::{Command, Downlink, Faults, Health, KeyAnnouncement, Status};
use custody_shared::statement::ClockSource;
use custody_shared::time::{Clock, DAY_US, SECOND_US, SystemClock, TimeRange, UtcMicros};
use custody_shared::topic::Topic;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{AgentApi, AgentLimits, agent_router, serve};
use crate::ca::AgentIdentity;
use crate::fleet::{FetchError, Fleet, FleetParts, Presence, RecordedFootage};
use crate::ingest::synthetic::{Agent, PATIENCE, Running, T0, TestSite};
use crate::record::fake::{MemoryLedger, Mode, camera};
use crate::record::{Actor, Record, Row, Rules};
use crate::retrieval::footage::{CameraState, Footage};

mod silence;

struct Field {
    site: TestSite,
    running: Running,
    record: Record,
    ledger: Arc<MemoryLedger>,
    fleet: Arc<Fleet>,
    port: u16,
    stop: CancellationToken,
}

async fn field(cache_bytes: u64, patience: Duration) -> Field {
    let site = TestSite::new().await;
    let ledger = MemoryLedger::new(3);
    let record = Record::open(ledger.clone(), Rules::kr(), Arc::new(SystemClock)).unwrap();
    record.create_site_as(site.site, "Clinic", "Asia/Seoul").await.unwrap();
    let mut running = site.run_with(Arc::new(record.clone())).await;
    let stop = CancellationToken::new();
    let (_, unused) = tokio::sync::mpsc::channel(1);
    let uplinks = std::mem::replace(&mut running.uplinks, unused);
    let parts = FleetParts {
        downlinks: running.ingest.downlinks().clone(),
        keys: site.keys.clone(),
        directory: Arc::new(record.clone()),
        statements: running.statements.clone(),
        index: running.index.clone(),
        cache_dir: site.path("cache"),
        cache_bytes,
        patience,
    };
    let fleet = Fleet::start(parts, uplinks, stop.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = Arc::new(AgentApi {
        ca: site.ca.clone(),
        fleet: fleet.clone(),
        mqtt: MqttEndpoint {
            host: "127.0.0.1".to_owned(),
            port: site.port,
        },
        agents_url: format!("https://127.0.0.1:{port}"),
        clock: site.clock.clone(),
    });
    let tls = site.identity.agents_config().unwrap();
    tokio::spawn(serve(
        listener,
        tls,
        site.site,
        agent_router(api),
        AgentLimits::default(),
        stop.clone(),
    ));
    Field {
        site,
        running,
        record,
        ledger,
        fleet,
        port,
        stop,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn offset(&self) -> Option<u64> {
        let line = self
            .head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("upload-offset:"))?;
        line.split_once(':')?.1.trim().parse().ok()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on a connection of its own.
async fn request(config: Arc<ClientConfig>, port: u16, head: &str, body: &[u8], declared: usize) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    let head = format!("{head}\r\nhost: custody\r\nconnection: close\r\ncontent-length: {declared}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that has heard enough may close before it has read everything.
    let _ = stream.write_all(body).await;
    if body.len() < declared {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    let split = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    let (head, body) = answer.split_at(split);
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head,
        body: body.to_vec(),
    }
}

fn csr(key: &KeyPair) -> String {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .pem()
        .unwrap()
}

impl Field {
    async fn add_camera(&self, name: &str) -> (CameraId, zeroize::Zeroizing<String>) {
        let camera = self.record.add_camera(Actor::Console, camera(name)).await.unwrap();
        let now = SystemClock.now();
        let descriptor = KeyDescriptor {
            key_id: KeyId::random(),
            camera,
            valid_from: now,
            valid_until: now.saturating_add(DAY_US),
            destroy_at: now.saturating_add(31 * DAY_US),
            reserve: false,
            public: RecipientSecret::generate().unwrap().1,
        };
        let row = Row::KeysAnnounced {
            camera,
            descriptors: vec![descriptor],
        };
        self.record
            .commit(Actor::System, |_, _| Ok((vec![row], ())))
            .await
            .unwrap();
        let (token, _) = self.record.issue_token(Actor::Console, vec![camera]).await.unwrap();
        (camera, token)
    }

    fn bare(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.site.ca.roots())
            .with_no_client_auth();
        Arc::new(config)
    }

    async fn post(&self, config: Arc<ClientConfig>, path: &str, body: &[u8]) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json");
        request(config, self.port, &head, body, body.len()).await
    }

    async fn join(&self, token: &str, key: &KeyPair, signing: &SigningKey) -> Answer {
        let join = JoinRequest {
            token: token.parse().unwrap(),
            slot: None,
            csr_pem: csr(key),
            statement_public: signing.public(),
            witness_public: SigningKey::generate().unwrap().public(),
        };
        self.post(self.bare(), "/agent/v1/join", &serde_json::to_vec(&join).unwrap())
            .await
    }

    /// An agent that has joined the record without the detour over HTTPS, and said that it is there.
    async fn agent(&self, name: &str) -> Agent {
        let (camera, token) = self.add_camera(name).await;
        let signing = SigningKey::generate().unwrap();
        let answer = self.join(&token, &KeyPair::generate().unwrap(), &signing).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let mut agent = self.site.connect(camera, signing).await;
        self.say_online(&mut agent).await;
        agent
    }

    async fn say_online(&self, agent: &mut Agent) {
        let status = Status {
            camera: agent.camera,
            online: true,
            boot: agent.boot,
            since: SystemClock.now(),
        };
        // Until the server hears it: it may just have started.
        for _ in 0..100 {
            agent.publish(Topic::Status, status.sign(&agent.key)).await;
            agent.pump(Duration::from_millis(100)).await;
            if self.fleet.status(agent.camera).presence == Presence::Online {
                return;
            }
        }
        panic!("never online");
    }

    async fn patch(&self, config: &Arc<ClientConfig>, seq: u64, offset: u64, bytes: &[u8], declared: usize) -> Answer {
        let head = format!("PATCH /agent/v1/segments/{seq} HTTP/1.1\r\nupload-offset: {offset}");
        request(config.clone(), self.port, &head, bytes, declared).await
    }

    async fn head(&self, config: &Arc<ClientConfig>, seq: u64) -> Answer {
        request(
            config.clone(),
            self.port,
            &format!("HEAD /agent/v1/segments/{seq} HTTP/1.1"),
            b"",
            0,
        )
        .await
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.ingest.stop().await;
        self.site.broker.stop().await;
    }
}

fn with_certificate(field: &Field, pem: &str, key: &KeyPair) -> Arc<ClientConfig> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(field.site.ca.roots())
        .with_client_auth_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_takes_one_token_once_and_hands_out_everything_needed() {
    let field = field(1 << 20, PATIENCE).await;
    let (camera, token) = field.add_camera("entry").await;
    let (key, signing) = (KeyPair::generate().unwrap(), SigningKey::generate().unwrap());
    for (name, body) in [
        ("no JSON", b"hello".to_vec()),
        (
            "a field too many",
            br#"{"token":"x","favourite_colour":"red"}"#.to_vec(),
        ),
        ("oversized", vec![b' '; 17 * 1024]),
    ] {
        let answer = field.post(field.bare(), "/agent/v1/join", &body).await;
        assert!(matches!(answer.status, 400 | 413), "{name}: {}", answer.head);
    }
    let wrong = format!("{}.{}", &token[..12], "0".repeat(32));
    let answer = field.join(&wrong, &key, &signing).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.text().contains("ask for a new one") && !answer.text().contains(&wrong));

    // The record cannot be written: nobody joins, and nothing is used up.
    field.ledger.set(Mode::Lost);
    let answer = field.join(&token, &key, &signing).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    field.ledger.set(Mode::Works);
    let answer = field.join(&token, &key, &signing).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let joined: JoinResponse = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (joined.site, joined.camera, joined.camera_name.as_str()),
        (field.site.site, camera, "entry")
    );
    let leaf = CertificateDer::from_pem_slice(joined.certificate_pem.as_bytes()).unwrap();
    let (identity, serial) = AgentIdentity::read(&leaf).unwrap();
    assert_eq!(identity.camera, camera);
    assert!(
        field
            .record
            .state()
            .camera(camera)
            .unwrap()
            .accepts_certificate(&serial)
    );
    let now = SystemClock.now();
    let keys = Downlink::<KeyAnnouncement>::open(&joined.server_command_public, &joined.keys, joined.site, camera, now);
    assert_eq!(keys.unwrap().body.keys.len(), 1);
    assert_eq!(
        field.join(&token, &key, &SigningKey::generate().unwrap()).await.status,
        409,
        "the token again"
    );

    // What was handed out opens the rest of the interface, and a bare connection does not.
    let config = with_certificate(&field, &joined.certificate_pem, &key);
    let renew = serde_json::to_vec(&RenewRequest {
        csr_pem: csr(&KeyPair::generate().unwrap()),
    })
    .unwrap();
    assert_eq!(field.post(field.bare(), "/agent/v1/renew", &renew).await.status, 401);
    let answer = field.post(config.clone(), "/agent/v1/renew", &renew).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let renewed: RenewResponse = serde_json::from_slice(&answer.body).unwrap();
    assert_ne!(renewed.certificate_pem, joined.certificate_pem);
    // The answer could have been lost: the certificate before still works until its own end.
    assert_eq!(field.post(config.clone(), "/agent/v1/renew", &renew).await.status, 200);

    // Replaced by another agent: the first one's certificates end at once.
    let (token, _) = field.record.issue_token(Actor::Console, vec![camera]).await.unwrap();
    let answer = field
        .join(&token, &KeyPair::generate().unwrap(), &SigningKey::generate().unwrap())
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(field.post(config, "/agent/v1/renew", &renew).await.status, 403);
    field.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_segments_arrive_resumed_and_damaged_ones_are_fetched_again() {
    let field = field(1 << 20, PATIENCE).await;
    let mut agent = field.agent("entry").await;
    let config = Arc::new(field.site.client_config(agent.camera));
    let files: Vec<_> = (0..3).map(|_| agent.record(60_000).1).collect();
    agent.send_until_acked(0).await;
    let camera = agent.camera;

    assert_eq!(field.head(&config, 1).await.status, 404, "nobody has asked");
    assert_eq!(field.patch(&config, 1, 0, &files[1], files[1].len()).await.status, 404);
    let fleet = field.fleet.clone();
    let first = tokio::spawn(async move { fleet.fetch(camera, &[0, 1]).await });
    let order = loop {
        let bytes = agent.message(Topic::Command).await;
        let order = Downlink::<Command>::open(&agent.server.1, &bytes, agent.site, camera, SystemClock.now()).unwrap();
        if let Command::Fetch { first_seq, last_seq } = order.body {
            break (first_seq, last_seq);
        }
    };
    assert_eq!(order, (0, 1), "consecutive segments are one order");
    // A second caller who wants one of them waits for the same order.
    let fleet = field.fleet.clone();
    let second = tokio::spawn(async move { fleet.fetch(camera, &[1]).await });

    // The connection breaks in the middle; the upload goes on where it was.
    let half = files[1].len() / 2;
    let _ = field.patch(&config, 1, 0, &files[1][..half], files[1].len()).await;
    let answer = field.head(&config, 1).await;
    let here = answer.offset().unwrap();
    assert!(here <= half as u64, "{here}");
    let answer = field.patch(&config, 1, here + 1, b"x", 1).await;
    assert_eq!(
        (answer.status, answer.offset()),
        (409, Some(here)),
        "not where it goes on"
    );
    let rest = &files[1][here as usize..];
    let answer = field.patch(&config, 1, here, rest, rest.len()).await;
    assert_eq!(
        (answer.status, answer.offset()),
        (204, Some(files[1].len() as u64)),
        "{}",
        answer.text()
    );
    second.await.unwrap().unwrap();

    // One bit flipped, then a byte too many, then right.
    let mut flipped = files[0].clone();
    flipped[5000] ^= 4;
    let answer = field.patch(&config, 0, 0, &flipped, flipped.len()).await;
    assert_eq!((answer.status, answer.offset()), (409, Some(0)));
    assert!(answer.text().contains("SHA-256"), "{}", answer.text());
    let long = [&files[0][..], b"!"].concat();
    let answer = field.patch(&config, 0, 0, &long, long.len()).await;
    assert_eq!((answer.status, answer.offset()), (409, Some(0)), "{}", answer.text());
    assert!(field.fleet.open(camera, 0).is_none());
    assert_eq!(field.patch(&config, 0, 0, &files[0], files[0].len()).await.status, 204);
    first.await.unwrap().unwrap();
    for seq in [0, 1] {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut field.fleet.open(camera, seq).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, files[seq as usize]);
    }
    assert_eq!(
        field.head(&config, 0).await.status,
        404,
        "what has arrived is no longer ordered"
    );

    // Another camera's certificate does not deliver this one's segment.
    let fleet = field.fleet.clone();
    let third = tokio::spawn(async move { fleet.fetch(camera, &[2]).await });
    while field.head(&config, 2).await.status == 404 {}
    let stranger = Arc::new(field.site.client_config(CameraId::random()));
    assert_eq!(
        field.patch(&stranger, 2, 0, &files[2], files[2].len()).await.status,
        404
    );
    // Damaged every time: the fetch says so instead of trying for ever.
    let mut flipped = files[2].clone();
    flipped[9] ^= 1;
    for _ in 0..3 {
        assert_eq!(field.patch(&config, 2, 0, &flipped, flipped.len()).await.status, 409);
    }
    assert!(matches!(
        third.await.unwrap(),
        Err(FetchError::Damaged {
            seq: 2,
            attempts: 3,
            ..
        })
    ));
    // The cached ones of a range that is due are gone at once.
    let range = TimeRange::new(UtcMicros::new(T0), UtcMicros::new(T0 + 5 * SECOND_US)).unwrap();
    assert_eq!(field.fleet.forget(camera, range).unwrap(), 1);
    assert!(field.fleet.open(camera, 0).is_none() && field.fleet.open(camera, 1).is_some());
    field.end().await;
}

//! The gate from outside: real clients over TLS, good ones and hostile ones.

use std::sync::Arc;
use std::time::Duration;

use custody_shared::id::{CameraId, SiteId};
use custody_shared::time::SystemClock;
use custody_shared::topic::Topic;
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Broker, BrokerLimits, MAX_PAYLOAD};
use crate::ca::{Ca, ServerIdentity};

const PATIENCE: Duration = Duration::from_secs(10);

struct Site {
    _dir: tempfile::TempDir,
    ca: Arc<Ca>,
    site: SiteId,
    broker: Broker,
    port: u16,
}

async fn site(limits: BrokerLimits) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let site = SiteId::random();
    let ca = Arc::new(Ca::init(dir.path(), site, Arc::new(SystemClock)).unwrap());
    let identity = ServerIdentity::new(ca.clone(), &["127.0.0.1".to_owned()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = identity.mqtt_config().unwrap();
    let broker = Broker::start(listener, tls, site, ca.deny_list().clone(), limits)
        .await
        .unwrap();
    Site {
        _dir: dir,
        ca,
        site,
        broker,
        port,
    }
}

/// Client settings of a camera enrolled with `ca`, trusting `trusted`, and its certificate's serial number.
fn tls(ca: &Ca, trusted: &Ca, camera: CameraId) -> (Arc<ClientConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let issued = ca.issue_agent(camera, &request).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted.roots())
        .with_client_auth_cert(chain, key)
        .unwrap();
    (Arc::new(config), issued.serial)
}

impl Site {
    fn options(&self, camera: CameraId) -> (MqttOptions, String) {
        let (tls, serial) = tls(&self.ca, &self.ca, camera);
        let mut options = MqttOptions::new("any-name-at-all", "127.0.0.1", self.port);
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)));
        options.set_max_packet_size(1 << 20, 1 << 20);
        (options, serial)
    }

    async fn camera(&self, camera: CameraId) -> (AsyncClient, EventLoop, String) {
        let (options, serial) = self.options(camera);
        let (client, mut events) = AsyncClient::new(options, 16);
        expect_hello(&mut events).await;
        (client, events, serial)
    }

    async fn server(&self, topic: Topic) -> (AsyncClient, EventLoop) {
        let (client, mut events) = AsyncClient::new(self.broker.door().client_options(), 16);
        expect_hello(&mut events).await;
        client
            .subscribe(topic.filter(self.site), QoS::AtLeastOnce)
            .await
            .unwrap();
        until(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;
        (client, events)
    }

    fn path(&self, topic: Topic, camera: CameraId) -> String {
        topic.path(self.site, camera)
    }
}

async fn expect_hello(events: &mut EventLoop) {
    let event = timeout(PATIENCE, events.poll()).await.unwrap().unwrap();
    assert!(matches!(event, Event::Incoming(Packet::ConnAck(_))), "{event:?}");
}

async fn until(events: &mut EventLoop, wanted: impl Fn(&Packet) -> bool) -> Packet {
    timeout(PATIENCE, async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && wanted(&packet)
            {
                return packet;
            }
        }
    })
    .await
    .unwrap()
}

async fn message(events: &mut EventLoop) -> (String, Vec<u8>) {
    match until(events, |packet| matches!(packet, Packet::Publish(_))).await {
        Packet::Publish(publish) => (publish.topic, publish.payload.to_vec()),
        _ => unreachable!("until returns what was wanted"),
    }
}

/// The connection is cut by the other side within the time given.
async fn expect_cut(events: &mut EventLoop, name: &str) {
    let cut = timeout(PATIENCE, async { while events.poll().await.is_ok() {} }).await;
    assert!(cut.is_ok(), "{name} was not cut off");
}

#[tokio::test]
async fn own_topics_pass_both_ways() {
    let site = site(BrokerLimits::default()).await;
    let camera = CameraId::random();
    let (server, mut server_events) = site.server(Topic::Statement).await;
    let (client, mut events, _) = site.camera(camera).await;
    assert!(site.broker.is_connected(camera));
    client
        .subscribe(site.path(Topic::Acked, camera), QoS::AtLeastOnce)
        .await
        .unwrap();
    until(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;

    let largest = vec![7; MAX_PAYLOAD];
    client
        .publish(
            site.path(Topic::Statement, camera),
            QoS::AtLeastOnce,
            false,
            largest.clone(),
        )
        .await
        .unwrap();
    let acked = tokio::spawn(async move {
        until(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await;
        events
    });
    let (path, payload) = message(&mut server_events).await;
    assert_eq!((path, payload), (site.path(Topic::Statement, camera), largest));
    let mut events = acked.await.unwrap();

    server
        .publish(site.path(Topic::Acked, camera), QoS::AtLeastOnce, false, "receipt")
        .await
        .unwrap();
    let pump = tokio::spawn(async move { while server_events.poll().await.is_ok() {} });
    assert_eq!(
        message(&mut events).await,
        (site.path(Topic::Acked, camera), b"receipt".to_vec())
    );
    site.broker.stop().await;
    let _ = pump.await;
}

#[tokio::test]
async fn version_five_passes_too_and_takes_no_topic_alias() {
    use rumqttc::v5;
    let site = site(BrokerLimits::default()).await;
    let camera = CameraId::random();
    let (_server, mut server_events) = site.server(Topic::Status).await;
    let (config, _) = tls(&site.ca, &site.ca, camera);
    let mut options = v5::MqttOptions::new("v5", "127.0.0.1", site.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    let (client, mut events) = v5::AsyncClient::new(options, 16);
    let hello = timeout(PATIENCE, events.poll()).await.unwrap().unwrap();
    let v5::Event::Incoming(v5::mqttbytes::v5::Packet::ConnAck(hello)) = hello else {
        panic!("{hello:?}")
    };
    let properties = hello.properties.unwrap();
    assert_eq!(properties.topic_alias_max, Some(0));
    assert_eq!(properties.assigned_client_identifier, Some(camera.to_string()));
    client
        .publish(
            site.path(Topic::Status, camera),
            v5::mqttbytes::QoS::AtLeastOnce,
            true,
            "online",
        )
        .await
        .unwrap();
    let pump = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    assert_eq!(
        message(&mut server_events).await,
        (site.path(Topic::Status, camera), b"online".to_vec())
    );
    site.broker.stop().await;
    let _ = pump.await;
}

#[tokio::test]
async fn hostile_publishes_and_subscriptions_are_cut_off_and_reach_nobody() {
    let site = site(BrokerLimits::default()).await;
    let (camera, other) = (CameraId::random(), CameraId::random());
    let own = |topic: Topic| site.path(topic, camera);
    let publishes: [(&str, String, usize, bool); 10] = [
        (
            "another camera's statements",
            site.path(Topic::Statement, other),
            1,
            false,
        ),
        ("own receipts", own(Topic::Acked), 1, false),
        ("another's commands", site.path(Topic::Command, other), 1, false),
        ("outside the tree", "elsewhere".to_owned(), 1, false),
        ("a first character of two bytes", "é".to_owned(), 1, false),
        ("$SYS", "$SYS/broker".to_owned(), 1, false),
        ("longer than a batch", own(Topic::Statement), MAX_PAYLOAD + 1, false),
        ("twice a batch", own(Topic::Statement), 2 * MAX_PAYLOAD, false),
        ("a long status", own(Topic::Status), 257, false),
        ("retained statements", own(Topic::Statement), 1, true),
    ];
    let (_server, mut server_events) = site.server(Topic::Statement).await;
    for (name, path, length, retain) in publishes {
        let (client, mut events, _) = site.camera(camera).await;
        client
            .publish(path, QoS::AtLeastOnce, retain, vec![0; length])
            .await
            .unwrap();
        expect_cut(&mut events, name).await;
    }
    let filters = [
        ("everything", "#".to_owned()),
        ("every camera", Topic::Command.filter(site.site)),
        ("another camera's commands", site.path(Topic::Command, other)),
        ("another camera's statements", site.path(Topic::Statement, other)),
        ("own statements", own(Topic::Statement)),
        ("a shared subscription", format!("$share/g/{}", own(Topic::Command))),
        ("$SYS", "$SYS/#".to_owned()),
        (
            "a wildcard below its own",
            format!("custody/1/{}/{camera}/+", site.site),
        ),
    ];
    for (name, filter) in filters {
        let (client, mut events, _) = site.camera(camera).await;
        client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        expect_cut(&mut events, name).await;
    }
    assert_eq!(site.broker.counters().rule_broken, 17);
    assert_eq!(site.broker.counters().malformed, 1, "the one that no buffer may hold");
    // The server heard nothing of all that: what comes first is the honest message now.
    let (client, mut events, _) = site.camera(camera).await;
    client
        .publish(own(Topic::Statement), QoS::AtLeastOnce, false, "honest")
        .await
        .unwrap();
    let pump = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    assert_eq!(message(&mut server_events).await.1, b"honest");
    site.broker.stop().await;
    let _ = pump.await;
}

#[tokio::test]
async fn wills_are_the_cameras_own_and_come_only_when_it_is_lost() {
    let site = site(BrokerLimits::default()).await;
    let (camera, other) = (CameraId::random(), CameraId::random());
    let (_server, mut server_events) = site.server(Topic::Status).await;

    let (mut options, _) = site.options(camera);
    options.set_last_will(LastWill::new(
        site.path(Topic::Status, other),
        "offline",
        QoS::AtLeastOnce,
        true,
    ));
    let (_client, mut events) = AsyncClient::new(options, 4);
    assert!(
        timeout(PATIENCE, events.poll()).await.unwrap().is_err(),
        "another camera's will"
    );

    let will = LastWill::new(site.path(Topic::Status, camera), "offline", QoS::AtLeastOnce, true);
    let connect = async || {
        let (mut options, _) = site.options(camera);
        options.set_last_will(will.clone());
        let (client, mut events) = AsyncClient::new(options, 4);
        expect_hello(&mut events).await;
        (client, events)
    };
    // A goodbye and a newer connection of the same camera bring no will; a lost connection does.
    let (client, mut events) = connect().await;
    client.disconnect().await.unwrap();
    expect_cut(&mut events, "this one").await;
    let (_older, mut older_events) = connect().await;
    let (newer, mut newer_events) = connect().await;
    expect_cut(&mut older_events, "the older one").await;
    newer
        .publish(site.path(Topic::Status, camera), QoS::AtMostOnce, true, "online")
        .await
        .unwrap();
    timeout(PATIENCE, newer_events.poll()).await.unwrap().unwrap();
    assert_eq!(message(&mut server_events).await.1, b"online");
    drop((newer, newer_events));
    assert_eq!(
        message(&mut server_events).await,
        (site.path(Topic::Status, camera), b"offline".to_vec())
    );
    site.broker.stop().await;
}

#[tokio::test]
async fn wrong_authority_no_certificate_and_revoked_do_not_get_in() {
    let site = site(BrokerLimits::default()).await;
    let camera = CameraId::random();
    let other_dir = tempfile::tempdir().unwrap();
    let other = Ca::init(other_dir.path(), site.site, Arc::new(SystemClock)).unwrap();
    let (config, _) = tls(&other, &site.ca, camera);
    let mut options = MqttOptions::new("x", "127.0.0.1", site.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    let (_client, mut events) = AsyncClient::new(options, 4);
    assert!(
        timeout(PATIENCE, events.poll()).await.unwrap().is_err(),
        "another authority's certificate"
    );

    let bare = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(site.ca.roots())
        .with_no_client_auth();
    let mut options = MqttOptions::new("x", "127.0.0.1", site.port);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(bare))));
    let (_client, mut events) = AsyncClient::new(options, 4);
    assert!(
        timeout(PATIENCE, events.poll()).await.unwrap().is_err(),
        "no certificate"
    );

    // Cut off live, well within five seconds, and not let in again.
    let (_client, mut events, serial) = site.camera(camera).await;
    let started = tokio::time::Instant::now();
    site.ca.deny_list().deny_serial(&serial).unwrap();
    expect_cut(&mut events, "this one").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(
        timeout(PATIENCE, events.poll()).await.unwrap().is_err(),
        "the revoked certificate again"
    );
    // Another certificate of the same camera works until the camera itself is denied.
    let (_client, mut events, _) = site.camera(camera).await;
    site.ca.deny_list().deny_camera(camera).unwrap();
    expect_cut(&mut events, "this one").await;
    assert_eq!(site.broker.counters().denied, 3);
    site.broker.stop().await;
}

async fn raw(site: &Site, camera: CameraId) -> tokio_rustls::client::TlsStream<TcpStream> {
    let (config, _) = tls(&site.ca, &site.ca, camera);
    let stream = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap()
}

#[tokio::test]
async fn packets_that_kill_codecs_and_a_silent_client_harm_nobody_else() {
    let limits = BrokerLimits {
        handshake_time: Duration::from_millis(1500),
        ..BrokerLimits::default()
    };
    let site = site(limits).await;
    let camera = CameraId::random();
    let witness = CameraId::random();
    let (client, mut witness_events, _) = site.camera(witness).await;
    let connect = hex::decode("100d00044d5154540402003c000161").unwrap();
    let connect_v5 = hex::decode("100e00044d5154540502003c00000161").unwrap();
    for (name, hello, text) in [
        (
            "CONNACK",
            &connect_v5,
            "2f1700044d5154be00000000000000000000000000000000000000",
        ),
        ("UNSUBACK", &connect_v5, "b50c0000044d5154540502000505"),
        ("UNSUBACK, 3.1.1", &connect, "b50c0000044d5154540502000505"),
        ("PUBREL", &connect, "62020001"),
        ("QoS 2", &connect, "3405000161000161"),
        ("a second CONNECT", &connect, "100d00044d5154540402003c000161"),
        ("an endless length", &connect, "30ffffffff7f"),
        ("a receipt nobody asked for", &connect, "40020001"),
    ] {
        let mut stream = raw(&site, camera).await;
        stream.write_all(hello).await.unwrap();
        let mut answer = [0; 4];
        timeout(PATIENCE, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer[0], 0x20, "{name}");
        stream.write_all(&hex::decode(text).unwrap()).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect(name);
    }
    for (name, text) in [
        ("garbage first", "ffffffff"),
        ("CONNACK first", "2002"),
        ("an old version", "100c00064d5149736470030200"),
    ] {
        let mut stream = raw(&site, camera).await;
        stream.write_all(&hex::decode(text).unwrap()).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect(name);
        assert!(rest.is_empty(), "{name}");
    }
    // Silence after TLS, and half a handshake, end with the time for them.
    let mut silent = raw(&site, camera).await;
    let mut half = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("silent");
    let _ = timeout(PATIENCE, half.read_to_end(&mut rest)).await.expect("half");
    assert_eq!(site.broker.counters().timed_out, 2);
    // The witness never noticed: its connection still carries messages.
    let status = site.path(Topic::Status, witness);
    client
        .publish(status, QoS::AtLeastOnce, false, "still here")
        .await
        .unwrap();
    until(&mut witness_events, |packet| matches!(packet, Packet::PubAck(_))).await;
    site.broker.stop().await;
}

#[tokio::test]
async fn a_full_gate_refuses_and_recovers_and_the_own_door_needs_the_secret() {
    let site = site(BrokerLimits {
        connections: 1,
        ..BrokerLimits::default()
    })
    .await;
    let (client, events, _) = site.camera(CameraId::random()).await;
    let (options, _) = site.options(CameraId::random());
    let (_second, mut second) = AsyncClient::new(options.clone(), 4);
    assert!(timeout(PATIENCE, second.poll()).await.unwrap().is_err(), "no room");
    assert_eq!(site.broker.counters().full, 1);
    drop((client, events));
    timeout(PATIENCE, async { while second.poll().await.is_err() {} })
        .await
        .expect("room again");

    let mut options = site.broker.door().client_options();
    options.set_credentials(super::SERVER_CLIENT, "0".repeat(64));
    let (_stranger, mut stranger) = AsyncClient::new(options, 4);
    assert!(
        timeout(PATIENCE, stranger.poll()).await.unwrap().is_err(),
        "a guessed secret"
    );
    let (options, _) = site.options(CameraId::random());
    let mut plain = MqttOptions::new("x", "127.0.0.1", site.broker.door().client_options().broker_address().1);
    plain.set_keep_alive(options.keep_alive());
    let (_stranger, mut stranger) = AsyncClient::new(plain, 4);
    assert!(timeout(PATIENCE, stranger.poll()).await.unwrap().is_err(), "no secret");
    site.broker.stop().await;
}

//! Messages between server and agent: what is obeyed, and everything that is not.

mod samples;

use custody_shared::cose::SigningKey;
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, SiteId};
use custody_shared::message::{
    Acked, Body, Command, CounterGuard, Downlink, HEALTH_LEN, Health, KeyAnnouncement, MAX_FETCH, MessageError,
    Replayed, Status,
};
use custody_shared::time::{SECOND_US, UtcMicros};

fn downlink<B>(body: B) -> Downlink<B> {
    Downlink {
        site: samples::site(),
        camera: samples::camera(),
        counter: 5,
        issued_at: samples::moment(),
        expires_at: after(600),
        body,
    }
}

fn after(seconds: i64) -> UtcMicros {
    samples::moment().saturating_add(seconds * SECOND_US)
}

fn open<B: Body>(bytes: &[u8], at: UtcMicros) -> Result<Downlink<B>, MessageError> {
    Downlink::open(
        &samples::command_key().public(),
        bytes,
        samples::site(),
        samples::camera(),
        at,
    )
}

#[test]
fn good_messages_come_back() {
    fn check<B: Body + Clone + PartialEq + std::fmt::Debug>(body: B) {
        let message = downlink(body);
        let bytes = message.sign(&samples::command_key()).unwrap();
        assert!(bytes.len() <= B::MAX_LEN && B::MAX_LEN <= B::TOPIC.max_payload());
        assert_eq!(open::<B>(&bytes, after(1)).unwrap(), message);
    }
    check(Acked {
        next_index: 0,
        last_hash: Sha256Hash::ZERO,
    });
    check(Acked {
        next_index: u64::MAX,
        last_hash: Sha256Hash::of(b"x"),
    });
    check(Command::Fetch {
        first_seq: 0,
        last_seq: MAX_FETCH - 1,
    });
    check(Command::Restart);
    check(samples::announcement());
}

/// The longest announcement that is allowed fits its limit.
#[test]
fn ninety_keys_fit() {
    let keys = (0..90).map(|n| samples::descriptor(n, false)).collect();
    let message = downlink(KeyAnnouncement { issue: u64::MAX, keys });
    let bytes = message.sign(&samples::command_key()).unwrap();
    assert_eq!(open::<KeyAnnouncement>(&bytes, after(1)).unwrap(), message);
    let keys = (0..91).map(|n| samples::descriptor(n, false)).collect();
    let over = downlink(KeyAnnouncement { issue: 1, keys }).sign(&samples::command_key());
    assert_eq!(over, Err(MessageError::Field("key descriptor")));
}

#[test]
fn hostile_messages_are_not_obeyed() {
    let message = downlink(Command::Restart);
    let bytes = message.sign(&samples::command_key()).unwrap();
    let key = samples::command_key().public();
    let open_as = |site, camera| Downlink::<Command>::open(&key, &bytes, site, camera, after(1));
    assert_eq!(
        open_as(samples::site(), CameraId::from_bytes([1; 16])),
        Err(MessageError::Addressee),
        "another camera's"
    );
    assert_eq!(
        open_as(SiteId::from_bytes([1; 16]), samples::camera()),
        Err(MessageError::Addressee),
        "another site's"
    );
    assert_eq!(open::<Command>(&bytes, after(599)).as_ref(), Ok(&message));
    assert_eq!(
        open::<Command>(&bytes, after(600)),
        Err(MessageError::Expired(after(600))),
        "expired"
    );
    assert_eq!(
        open::<Command>(&bytes, after(-301)),
        Err(MessageError::Future(after(0))),
        "from the future"
    );
    assert!(
        open::<Command>(&bytes, after(-299)).is_ok(),
        "within the tolerance of clocks"
    );
    assert!(
        matches!(open::<Acked>(&bytes, after(1)), Err(MessageError::Signature(_))),
        "an order taken for a receipt"
    );
    assert!(
        matches!(
            open::<KeyAnnouncement>(&bytes, after(1)),
            Err(MessageError::Signature(_))
        ),
        "an order taken for keys"
    );
    let forged = message.sign(&SigningKey::from_seed(&[1; 32])).unwrap();
    assert!(
        matches!(open::<Command>(&forged, after(1)), Err(MessageError::Signature(_))),
        "forged"
    );
    assert_eq!(
        open::<Command>(&[0; 1025], after(1)),
        Err(MessageError::TooLong(1024)),
        "oversized"
    );
}

#[test]
fn messages_that_contradict_themselves_are_not_signed() {
    let sign = |m: Downlink<Command>| m.sign(&samples::command_key());
    let never = Downlink {
        expires_at: samples::moment(),
        ..downlink(Command::Restart)
    };
    assert_eq!(sign(never), Err(MessageError::Field("expiry")));
    let fetch = |first_seq, last_seq| sign(downlink(Command::Fetch { first_seq, last_seq }));
    assert_eq!(
        fetch(0, MAX_FETCH),
        Err(MessageError::Field("segment numbers")),
        "too many"
    );
    assert_eq!(fetch(2, 1), Err(MessageError::Field("segment numbers")), "backwards");
    assert_eq!(
        fetch(0, u64::MAX),
        Err(MessageError::Field("segment numbers")),
        "everything"
    );
    let mut foreign = samples::announcement();
    foreign.keys[1].camera = CameraId::from_bytes([1; 16]);
    assert_eq!(
        downlink(foreign).sign(&samples::command_key()),
        Err(MessageError::Field("key descriptor")),
        "another camera's key"
    );
}

#[test]
fn a_message_is_obeyed_once() {
    let bytes = downlink(Command::Restart).sign(&samples::command_key()).unwrap();
    let key = samples::command_key().public();
    let mut guard = CounterGuard::new(Some(4));
    let mut receive =
        |at| Downlink::<Command>::receive(&key, &bytes, samples::site(), samples::camera(), at, &mut guard);
    assert!(receive(after(600)).is_err(), "an expired message");
    assert!(receive(after(1)).is_ok(), "it did not use up the counter");
    assert_eq!(
        receive(after(2)),
        Err(MessageError::Replayed(Replayed { counter: 5, highest: 5 }))
    );
    assert_eq!(guard.highest(), Some(5));
    assert!(
        CounterGuard::default().accept(0).is_ok(),
        "the first counter may be zero"
    );
}

#[test]
fn status_is_the_cameras_own() {
    let status = Status {
        camera: samples::camera(),
        online: false,
        boot: BootId::from_bytes([2; 16]),
        since: samples::moment(),
    };
    let bytes = status.sign(&samples::statement_key());
    let key = samples::statement_key().public();
    assert_eq!(Status::verify(&key, samples::camera(), &bytes).unwrap(), status);
    assert_eq!(
        Status::verify(&key, CameraId::from_bytes([1; 16]), &bytes),
        Err(MessageError::Addressee)
    );
    assert!(Status::verify(&samples::command_key().public(), samples::camera(), &bytes).is_err());
    let mut online = bytes.clone();
    let flag = online.iter().rposition(|b| *b == 0xf4).unwrap();
    online[flag] = 0xf5;
    assert!(
        matches!(
            Status::verify(&key, samples::camera(), &online),
            Err(MessageError::Signature(_))
        ),
        "offline made online"
    );
}

#[test]
fn health_tells_its_reader_alone_and_has_one_length() {
    let health = samples::health();
    let (secret, key) = (samples::transport_secret(), samples::statement_key());
    let bytes = health.seal(&key, &samples::transport_public()).unwrap();
    assert_eq!(bytes.len(), HEALTH_LEN);
    let quiet = Health {
        recording: false,
        last_frame_age_s: u32::MAX,
        ..health
    };
    assert_eq!(
        quiet.seal(&key, &samples::transport_public()).unwrap().len(),
        HEALTH_LEN
    );
    fn open(with: &RecipientSecret, camera: CameraId, bytes: &[u8]) -> Result<Health, MessageError> {
        Health::open(with, &samples::statement_key().public(), camera, bytes)
    }
    assert_eq!(open(&secret, samples::camera(), &bytes).unwrap(), health);
    assert!(
        open(&RecipientSecret::from_seed(&[1; 32]), samples::camera(), &bytes).is_err(),
        "another reader"
    );
    assert!(
        open(&secret, CameraId::from_bytes([1; 16]), &bytes).is_err(),
        "another camera's topic"
    );
    assert_eq!(
        open(&secret, samples::camera(), &bytes[1..]),
        Err(MessageError::Field("length"))
    );
    let forged = health
        .seal(&samples::command_key(), &samples::transport_public())
        .unwrap();
    assert!(
        matches!(
            open(&secret, samples::camera(), &forged),
            Err(MessageError::Signature(_))
        ),
        "forged"
    );
}

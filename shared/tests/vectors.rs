//! The project's own vectors, which the texts in `shared/spec` point to.
//!
//! Everything is made from fixed seeds, so the files say the same on every machine and in every version. After a change
//! of a format, which is a change of its version, `CUSTODY_WRITE_VECTORS=1` writes them anew.

mod samples;

use custody_shared::batch::StatementBatch;
use custody_shared::cbor::{Cbor, Encoder};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke;
use custody_shared::keys::choose;
use custody_shared::message::{Acked, Body, Command, Downlink, Status};
use custody_shared::segment::{CHUNK, Preamble, SegmentKey, open_all, unseal_key};
use custody_shared::time::DAY_US;
use serde_json::{Value, json};

fn check(name: &str, made: &Value) {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = serde_json::to_string_pretty(made).unwrap() + "\n";
    if std::env::var_os("CUSTODY_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(&kept, made, "{name}");
}

#[test]
fn segment() {
    let (secret, header, randomness) = (samples::footage_secret(), samples::header(), samples::randomness());
    let cases: Vec<_> = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]
        .into_iter()
        .map(|len| {
            let file = samples::file(len);
            let key = unseal_key(&secret, &Preamble::parse(&file).unwrap()).unwrap();
            assert_eq!(open_all(&key, &file).unwrap()[..], samples::video(len));
            let start = Preamble::parse(&file).unwrap().to_bytes().len();
            json!({
                "video_len": len,
                "file_len": file.len(),
                "file_sha256": Sha256Hash::of(&file).to_string(),
                "first_sealed_bytes": hex::encode(&file[start..][..16]),
                "last_sealed_bytes": hex::encode(&file[file.len() - 16..]),
            })
        })
        .collect();
    let preamble = Preamble::parse(&samples::file(0)).unwrap();
    check(
        "segment",
        &json!({
            "footage_seed": hex::encode(secret.seed()),
            "footage_public_sha256": Sha256Hash::of(&secret.public().as_bytes()[..]).to_string(),
            "header": hex::encode(header.to_bytes()),
            "segment_key": hex::encode(randomness.key),
            "salt": hex::encode(randomness.salt),
            "encapsulation_randomness": hex::encode(randomness.encapsulation),
            "commitment": hex::encode(preamble.commitment),
            "sealed_key": hex::encode(preamble.sealed_key),
            "preamble": hex::encode(preamble.to_bytes()),
            "cases": cases,
        }),
    );
}

/// The vectors' commitment is the key's; a reader that derives anything else finds out here first.
#[test]
fn segment_key_of_the_vectors_opens_them() {
    let file = samples::file(5);
    let key = SegmentKey::from_bytes(&samples::randomness().key);
    assert_eq!(open_all(&key, &file).unwrap()[..], samples::video(5));
}

#[test]
fn statement() {
    let key = samples::statement_key();
    let statements: Vec<_> = samples::kinds()
        .iter()
        .zip(samples::chain())
        .map(|((name, _), statement)| {
            let signed = statement.sign(&key).unwrap();
            json!({
                "kind": name,
                "payload": hex::encode(statement.to_cbor()),
                "signed": hex::encode(signed.as_bytes()),
                "sha256": signed.hash().to_string(),
            })
        })
        .collect();
    check(
        "statement",
        &json!({ "seed": hex::encode(key.seed()), "public": key.public().to_string(), "chain": statements }),
    );
}

fn downlink<B: Body>(body: B) -> Value {
    let message = Downlink {
        site: samples::site(),
        camera: samples::camera(),
        counter: 9,
        issued_at: samples::moment(),
        expires_at: samples::moment().saturating_add(600_000_000),
        body,
    };
    let signed = message.sign(&samples::command_key()).unwrap();
    json!({
        "domain": B::DOMAIN,
        "topic": B::TOPIC.path(samples::site(), samples::camera()),
        "body_sha256": Sha256Hash::of(&message.body.to_cbor()).to_string(),
        "signed_len": signed.len(),
        "signed_sha256": Sha256Hash::of(&signed).to_string(),
        "signed": if signed.len() <= 1024 { hex::encode(&signed) } else { String::new() },
    })
}

#[test]
fn messages() {
    let status = Status {
        camera: samples::camera(),
        online: false,
        boot: samples::header().boot_id,
        since: samples::moment(),
    };
    check(
        "messages",
        &json!({
            "command_seed": hex::encode(samples::command_key().seed()),
            "statement_seed": hex::encode(samples::statement_key().seed()),
            "transport_seed": hex::encode(samples::transport_secret().seed()),
            "acked": downlink(Acked { next_index: 7, last_hash: Sha256Hash::of(b"the seventh") }),
            "fetch": downlink(Command::Fetch { first_seq: 3, last_seq: 12 }),
            "restart": downlink(Command::Restart),
            "keys": downlink(samples::announcement()),
            "offline": hex::encode(status.sign(&samples::statement_key())),
            "health_payload": hex::encode(samples::health().to_cbor()),
            "batch": batch(),
        }),
    );
}

/// A batch put together by hand as the text says, which the crate opens.
fn batch() -> Value {
    let statements: Vec<_> = samples::chain()[..2]
        .iter()
        .map(|s| s.sign(&samples::statement_key()).unwrap().into_bytes())
        .collect();
    let mut content = Encoder::new();
    content
        .map(3)
        .key(0)
        .value(&samples::camera())
        .key(1)
        .uint(0)
        .key(2)
        .array(2);
    for statement in &statements {
        content.bytes(statement);
    }
    let content = content.finish();
    let mut plain = (content.len() as u32).to_be_bytes().to_vec();
    plain.extend_from_slice(&content);
    plain.resize(8_192 - 4 - 1_120 - 16, 0);
    let randomness = samples::randomness().encapsulation;
    let (info, aad) = (b"custody/batch/v1", samples::camera());
    let (enc, sealed) =
        hpke::seal_with_randomness(&samples::transport_public(), info, aad.as_bytes(), &plain, &randomness).unwrap();
    let batch = [b"CSB1", &enc[..], &sealed].concat();
    let opened = StatementBatch::open(&samples::transport_secret(), samples::camera(), &batch).unwrap();
    assert_eq!((opened.first_index, opened.statements), (0, statements));
    json!({
        "encapsulation_randomness": hex::encode(randomness),
        "content": hex::encode(content),
        "batch_len": batch.len(),
        "batch_sha256": Sha256Hash::of(&batch).to_string(),
    })
}

#[test]
fn keys() {
    let descriptors = samples::announcement().keys;
    let described: Vec<_> = descriptors
        .iter()
        .map(|d| {
            json!({
                "seed": hex::encode([d.key_id.as_bytes()[0]; 32]),
                "descriptor_sha256": Sha256Hash::of(&d.to_cbor()).to_string(),
                "descriptor_without_public": hex::encode(&d.to_cbor()[..d.to_cbor().len() - 1216]),
            })
        })
        .collect();
    let chosen: Vec<_> = [
        0,
        DAY_US - 1,
        DAY_US,
        2 * DAY_US,
        3 * DAY_US - 1,
        3 * DAY_US,
        400 * DAY_US - 1,
        400 * DAY_US,
    ]
    .into_iter()
    .map(|later| {
        let t_start = samples::moment().saturating_add(later);
        json!({ "t_start": t_start.get(), "key_id": choose(&descriptors, t_start).map(|d| d.key_id.to_string()) })
    })
    .collect();
    check("keys", &json!({ "descriptors": described, "chosen": chosen }));
}

/// The grant's bytes are what a decision is signed over and what the record keeps.
#[test]
fn grant() {
    check("grant", &json!({ "bytes": hex::encode(samples::grant().to_cbor()) }));
}

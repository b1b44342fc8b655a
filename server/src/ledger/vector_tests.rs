//! The files of `spec/ledger.md` against vectors made by an implementation that shares no code with this one.

use custody_shared::tlog::LogSigner;
use serde_json::Value;

use super::keyring::Day;
use super::{body, journal, keyring};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../shared/tests/vectors/ledger.json")).unwrap()
}

fn bytes(v: &Value) -> Vec<u8> {
    hex::decode(v.as_str().unwrap()).unwrap()
}

#[test]
fn records_open_with_the_days_keys() {
    let v = vectors();
    let Some(Day::Live(buckets)) = keyring::parse(20_781, &bytes(&v["record_keys"])) else {
        panic!("no keys")
    };
    assert_eq!(buckets[0].id()[..], bytes(&v["bucket"]["id"]));
    for (index, row) in v["rows"].as_array().unwrap().iter().enumerate() {
        let record = bytes(&row["record"]);
        let (record, rest) = body::parse(&record).unwrap_or_else(|_| panic!("row {index}"));
        assert!(rest.is_empty());
        assert_eq!(
            (record.head.index, record.head.kind.0, record.head.day),
            (index as u64, 7, 20_781)
        );
        assert_eq!(record.head.leaf.as_bytes()[..], bytes(&row["leaf"]));
        let opened = record.open(&buckets[0]).unwrap();
        assert_eq!(opened.salt.as_bytes()[..], bytes(&row["salt"]));
        assert_eq!(*opened.body, bytes(&row["body"]));
    }
    assert!(matches!(
        keyring::parse(20_781, &bytes(&v["record_keys_destroyed"])),
        Some(Day::Purged)
    ));
    assert!(
        keyring::parse(20_782, &bytes(&v["record_keys"])).is_none(),
        "another day's file"
    );
}

#[test]
fn a_journal_is_written_byte_for_byte() {
    let v = vectors();
    let note = |name: &str| v[name].as_str().unwrap().to_owned();
    let header = journal::header(0, 0, &note("empty_checkpoint"));
    assert_eq!(header, bytes(&v["journal_header"]));
    let records: Vec<u8> = v["rows"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|r| bytes(&r["record"]))
        .collect();
    let batch = journal::batch(0, 3, &records, &note("checkpoint"));
    assert_eq!(batch, bytes(&v["journal_batch"]));
    let whole = [header, batch].concat();
    let parsed = journal::parse(&whole).unwrap();
    assert_eq!(
        (parsed.batches.len(), parsed.batches[0].records.len(), parsed.tail),
        (1, 3, journal::Tail::None)
    );
    let log = LogSigner::from_seed(v["origin"].as_str().unwrap(), &[1; 32]).unwrap();
    assert_eq!(log.verifier().open(parsed.batches[0].note).unwrap().size, 3);
}

//! The record as a whole.

mod cases;
mod enrolment;
mod failing;

use std::sync::Arc;

use custody_shared::id::{ExportId, GrantId, KeyId, PersonId, RequestId};
use custody_shared::time::{TimeRange, UtcMicros};

use super::cases::{DecisionDraft, RequestDraft};
use super::enrolment::{AgentKeys, CameraDraft};
use super::fake::{Clinic, DAY, MINUTE, Mode, NOON, camera, clinic, window};
use super::people::{PersonChange, PersonDraft};
use super::port::LedgerPort as _;
use super::terms::{LocationClass, Outcome, RefusalGround, RequestGround, RequestKind, RequestState};
use super::*;
use crate::access::{Grade, Rule};

fn approve() -> DecisionDraft {
    DecisionDraft {
        verdict: Some(Verdict::Approve),
        note: String::new(),
    }
}

fn refuse() -> DecisionDraft {
    DecisionDraft {
        verdict: Some(Verdict::Refuse {
            ground: RefusalGround::NotIdentified,
        }),
        note: String::new(),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, RecordError>) -> Rule {
    result.unwrap_err().refusal().expect("a refusal").rule
}

fn agent(n: u8) -> AgentKeys {
    AgentKeys {
        statement_public: [n; 32],
        witness_public: [n + 100; 32],
        certificate: format!("{n:02x}"),
    }
}

/// One act of every kind.
async fn busy() -> Clinic {
    let clinic = clinic().await;
    let record = &clinic.record;
    let (token, _) = record
        .issue_token(Actor::Person(clinic.contractor), clinic.cameras.clone())
        .await
        .unwrap();
    record.enrol(&token, Some("entry"), agent(1)).await.unwrap();
    let joined = record.state().camera_by_name("entry").unwrap().id;
    record.renew_certificate(joined, "aa".to_owned(), NOON).await.unwrap();
    record
        .revoke_certificate(Actor::Console, joined, "work order ended")
        .await
        .unwrap();
    let change = PersonChange {
        active: Some(false),
        ..PersonChange::default()
    };
    record
        .change_person(Actor::Person(clinic.manager), clinic.owner, change)
        .await
        .unwrap();
    let withdrawn = record.file_request(clinic.desk, clinic.draft()).await.unwrap();
    record.withdraw_request(clinic.desk, withdrawn).await.unwrap();
    let grant = clinic.granted().await;
    let view = record
        .intend_release(clinic.desk, grant, joined, window(58, 57), ReleaseUse::View)
        .await
        .unwrap();
    record
        .finish_releases(vec![(view.intent_row, 6, 1000, Outcome::Completed)])
        .await
        .unwrap();
    let export = record.intend_export(clinic.desk, grant).await.unwrap();
    record
        .intend_release(clinic.desk, grant, joined, window(60, 50), ReleaseUse::Export(export))
        .await
        .unwrap();
    record.finish_export(export, Outcome::Stopped, 5, None).await.unwrap();
    record.end_grant(clinic.manager, grant, "done").await.unwrap();
    refused(record.file_request(clinic.contractor, clinic.draft()).await);
    let rows = vec![
        Row::SignedIn { person: clinic.desk },
        Row::SignInRefused {
            person: Some(clinic.desk),
            locked: false,
        },
        Row::KeyDestroyed {
            camera: joined,
            key: KeyId::from_bytes([3; 16]),
            range: window(9, 8),
            reserve: false,
            due: NOON,
            done: NOON,
            method: "file".to_owned(),
        },
    ];
    record.commit(Actor::System, |_, _| Ok((rows, ()))).await.unwrap();
    clinic
}

#[tokio::test]
async fn replaying_the_ledger_gives_the_live_state() {
    let clinic = busy().await;
    let live = clinic.record.state();
    let again = Record::open(clinic.ledger.clone(), Rules::kr(), Arc::new(clinic.clock.clone())).unwrap();
    assert_eq!(*again.state(), *live);
    assert_eq!(live.rows(), clinic.ledger.len());
    assert!(live.requests().count() == 2 && live.grants().count() == 1 && live.exports().count() == 1);
}

#[tokio::test]
async fn every_row_comes_back_from_its_bytes() {
    let clinic = busy().await;
    let mut kinds = std::collections::BTreeSet::new();
    for index in 0..clinic.ledger.len() {
        let entry = clinic.record.entry(index).unwrap().unwrap();
        assert_eq!(decode(&encode(&entry).unwrap()).unwrap(), entry);
        kinds.insert(entry.row.kind());
    }
    assert_eq!(kinds.len(), 21, "{kinds:?}");
}

#[test]
fn hostile_bodies_are_refused() {
    let entry = Entry {
        at: NOON,
        actor: Actor::System,
        row: Row::SignedIn {
            person: PersonId::from_bytes([1; 16]),
        },
    };
    let good = encode(&entry).unwrap();
    for cut in 0..good.len() {
        assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    assert!(decode(&longer).is_err(), "trailing byte");
    let mut newer = good.to_vec();
    newer[1] = 2;
    assert!(matches!(decode(&newer), Err(WireError::Version(2))), "newer version");
    assert!(
        matches!(decode(&vec![0x84; wire::MAX_BODY + 1]), Err(WireError::TooLong(_))),
        "over the limit"
    );
    let nested: Vec<u8> = [&[0x84, 1, 0][..], &[0x81; 5000]].concat();
    assert!(decode(&nested).is_err(), "nested deeply");
}

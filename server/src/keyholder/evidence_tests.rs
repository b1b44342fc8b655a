use std::sync::Arc;

use custody_shared::id::GrantId;

use super::*;
use crate::record::fake::{Clinic, MINUTE, MemoryLedger, Mode, NOON, clinic, clinic_on, window};
use crate::record::port::LedgerPort as _;
use crate::record::{Actor, RecordError};

async fn released(clinic: &Clinic) -> ReleaseEvidence {
    let grant = clinic.granted().await;
    release(clinic, grant).await
}

async fn release(clinic: &Clinic, grant: GrantId) -> ReleaseEvidence {
    let camera = clinic.cameras[0];
    let intended = clinic
        .record
        .intend_release(clinic.desk, grant, camera, window(58, 55), ReleaseUse::View)
        .await
        .unwrap();
    ReleaseEvidence {
        grant: clinic.record.evidence(intended.grant_row).unwrap(),
        intent: clinic.record.evidence(intended.intent_row).unwrap(),
    }
}

fn at(minutes: i64) -> UtcMicros {
    UtcMicros::new(NOON.get() + minutes * MINUTE)
}

#[tokio::test]
async fn evidence_from_the_ledger_makes_a_verified_grant() {
    let clinic = clinic().await;
    let evidence = released(&clinic).await;
    let grant = verify_release(&evidence, &clinic.ledger.verifier(), NOON).unwrap();
    assert_eq!(
        (grant.camera(), grant.range(), grant.until()),
        (clinic.cameras[0], window(58, 55), at(10))
    );
    assert_eq!(grant.grant().viewer, clinic.desk);
}

#[tokio::test]
async fn the_ledger_on_disk_gives_evidence_too_and_folds_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::ledger::LedgerOptions {
        origin: "custody/test".to_owned(),
        create: true,
    };
    let ledger = crate::ledger::Ledger::open(folder.path(), options.clone()).unwrap();
    let clinic = clinic_on(Arc::new(ledger.clone()), MemoryLedger::new(9)).await;
    let evidence = released(&clinic).await;
    let grant = verify_release(&evidence, ledger.verifier(), NOON).unwrap();
    assert_eq!(grant.camera(), clinic.cameras[0]);
    assert!(
        verify_release(&evidence, &clinic.ledger.verifier(), NOON).is_err(),
        "another ledger of the same name"
    );
    let live = clinic.record.state();
    let clock = Arc::clone(clinic.record.clock());
    drop((clinic, ledger));
    let ledger = crate::ledger::Ledger::open(folder.path(), options).unwrap();
    let again = crate::record::Record::open(Arc::new(ledger), crate::record::Rules::kr(), clock).unwrap();
    assert_eq!(*again.state(), *live);
}

#[tokio::test]
async fn evidence_of_another_time_or_ledger_makes_none() {
    let clinic = clinic().await;
    let good = released(&clinic).await;
    let log = clinic.ledger.verifier();
    for (flaw, now) in [
        ("before the grant", at(-2)),
        ("after the intent", at(10)),
        ("after the grant", at(8 * 24 * 60)),
    ] {
        assert!(
            matches!(verify_release(&good, &log, now), Err(EvidenceError::NotNow(_))),
            "{flaw}"
        );
    }
    // The same name, another key: somebody else's ledger.
    let other = MemoryLedger::new(2).verifier();
    assert!(matches!(
        verify_release(&good, &other, NOON),
        Err(EvidenceError::Unproven(_))
    ));
    let second = released(&clinic).await;
    let swap = |grant: &RowEvidence, intent: &RowEvidence| {
        verify_release(
            &ReleaseEvidence {
                grant: grant.clone(),
                intent: intent.clone(),
            },
            &log,
            NOON,
        )
    };
    let site = clinic.record.evidence(0).unwrap();
    for (flaw, result) in [
        ("an intent under another grant", swap(&second.grant, &good.intent)),
        ("rows swapped", swap(&good.intent, &good.grant)),
        ("grant twice", swap(&good.grant, &good.grant)),
        ("another row as grant", swap(&site, &good.intent)),
        ("another row as intent", swap(&good.grant, &site)),
    ] {
        assert!(matches!(result, Err(EvidenceError::Contradicts(_))), "{flaw}");
    }
    let mut bent = good.clone();
    bent.intent.body = None;
    assert!(
        matches!(verify_release(&bent, &log, NOON), Err(EvidenceError::Unproven(_))),
        "purged"
    );
    let mut bent = good.clone();
    bent.intent.body.as_mut().unwrap()[20] ^= 1;
    assert!(
        matches!(verify_release(&bent, &log, NOON), Err(EvidenceError::Unproven(_))),
        "altered"
    );
    let mut bent = good;
    bent.intent.index += 1;
    assert!(
        matches!(verify_release(&bent, &log, NOON), Err(EvidenceError::Unproven(_))),
        "another place"
    );
}

/// Rows that a broken server might write: each stands in the ledger, properly signed, and still opens nothing.
#[tokio::test]
async fn rows_that_contradict_each_other_make_none() {
    let clinic = clinic().await;
    let id = clinic.granted().await;
    let issued = clinic.record.state().grant(id).unwrap().grant.clone();
    let (desk, manager) = (Actor::Person(clinic.desk), Actor::Person(clinic.manager));
    let intent = |camera, range, until| Row::ReleaseIntended {
        grant: id,
        camera,
        range,
        purpose: ReleaseUse::View,
        until,
    };
    let good = || intent(clinic.cameras[0], window(58, 55), at(10));
    let issue = || Row::GrantIssued { grant: issued.clone() };
    let searching = Grant {
        form: Form::Search,
        ..issued.clone()
    };
    let viewing = Grant {
        form: Form::View,
        ..issued.clone()
    };
    let export = Row::ReleaseIntended {
        grant: id,
        camera: clinic.cameras[0],
        range: window(58, 55),
        purpose: ReleaseUse::Export(custody_shared::id::ExportId::random()),
        until: at(10),
    };
    let cases: Vec<(&str, Actor, Row, Actor, Row, bool)> = vec![
        ("nothing wrong", manager, issue(), desk, good(), true),
        ("the viewer granted it", desk, issue(), desk, good(), false),
        ("the system granted it", Actor::System, issue(), desk, good(), false),
        ("another viewer", manager, issue(), manager, good(), false),
        ("no viewer", manager, issue(), Actor::System, good(), false),
        (
            "another camera",
            manager,
            issue(),
            desk,
            intent(custody_shared::id::CameraId::random(), window(58, 55), at(10)),
            false,
        ),
        (
            "a wider window",
            manager,
            issue(),
            desk,
            intent(clinic.cameras[0], window(61, 55), at(10)),
            false,
        ),
        (
            "longer than an intent",
            manager,
            issue(),
            desk,
            intent(clinic.cameras[0], window(58, 55), at(11)),
            false,
        ),
        (
            "a search shown",
            manager,
            Row::GrantIssued { grant: searching },
            desk,
            good(),
            false,
        ),
        (
            "a viewing exported",
            manager,
            Row::GrantIssued { grant: viewing },
            desk,
            export,
            false,
        ),
    ];
    for (flaw, decider, issue, viewer, intent, good) in cases {
        let grant = clinic.ledger.force(NOON, decider, issue);
        let intent = clinic.ledger.force(NOON, viewer, intent);
        let evidence = ReleaseEvidence {
            grant: clinic.ledger.evidence(grant).unwrap(),
            intent: clinic.ledger.evidence(intent).unwrap(),
        };
        assert_eq!(
            verify_release(&evidence, &clinic.ledger.verifier(), NOON).is_ok(),
            good,
            "{flaw}"
        );
    }
    let early = clinic.ledger.force(NOON, desk, good());
    let late = clinic.ledger.force(NOON, manager, issue());
    let evidence = ReleaseEvidence {
        grant: clinic.ledger.evidence(late).unwrap(),
        intent: clinic.ledger.evidence(early).unwrap(),
    };
    assert!(
        verify_release(&evidence, &clinic.ledger.verifier(), NOON).is_err(),
        "intent before its grant"
    );
}

#[tokio::test]
async fn an_unwritable_ledger_makes_none() {
    let clinic = clinic().await;
    let grant = clinic.granted().await;
    clinic.ledger.set(Mode::Lost);
    let rows = clinic.ledger.len();
    let result = clinic
        .record
        .intend_release(clinic.desk, grant, clinic.cameras[0], window(58, 55), ReleaseUse::View)
        .await;
    assert!(matches!(result, Err(RecordError::Ledger(_))));
    assert_eq!(clinic.ledger.len(), rows, "there is no row to be evidence");
}

#[tokio::test]
async fn orders_need_their_row() {
    let clinic = clinic().await;
    let key = KeyId::random();
    let order = Row::RewrapOrdered {
        camera: clinic.cameras[0],
        key,
        range: window(58, 55),
        destroy_at: at(60),
        reason: RewrapReason::Deletion,
    };
    let row = clinic.ledger.force(NOON, Actor::System, order);
    let log = clinic.ledger.verifier();
    let evidence = clinic.ledger.evidence(row).unwrap();
    assert_eq!(verify_order(&evidence, &log, NOON).unwrap().key(), key);
    assert!(verify_order(&evidence, &log, at(60)).is_err(), "due already");
    assert!(
        verify_order(&clinic.ledger.evidence(0).unwrap(), &log, NOON).is_err(),
        "another row"
    );
    assert!(
        verify_order(&evidence, &MemoryLedger::new(2).verifier(), NOON).is_err(),
        "another ledger"
    );
}

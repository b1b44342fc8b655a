//! Rows that may not follow, ledgers that fail, callers who go away.

use super::*;

#[tokio::test]
async fn rows_that_skip_the_acts_do_not_fold() {
    let clinic = clinic().await;
    let filed = clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
    let grant = clinic.granted().await;
    let state = clinic.record.state();
    let issued = state.grant(grant).unwrap().grant.clone();
    let foreign = custody_shared::grant::Grant {
        id: GrantId::random(),
        ..issued.clone()
    };
    let intent = |range: TimeRange, until: i64| Row::ReleaseIntended {
        grant,
        camera: clinic.cameras[0],
        range,
        purpose: ReleaseUse::View,
        until: UtcMicros::new(NOON.get() + until),
    };
    let manager = Actor::Person(clinic.manager);
    let decided = Row::RequestDecided {
        request: filed,
        verdict: Verdict::Approve,
        note: String::new(),
    };
    let cases: Vec<(&str, Actor, Row, Rule)> = vec![
        (
            "a second site",
            Actor::Console,
            Row::SiteCreated {
                site: custody_shared::id::SiteId::random(),
                name: "x".into(),
                zone: "UTC".into(),
            },
            Rule::IllegalTransition,
        ),
        (
            "a second grant",
            manager,
            Row::GrantIssued { grant: foreign.clone() },
            Rule::IllegalTransition,
        ),
        (
            "a grant without decision",
            manager,
            Row::GrantIssued {
                grant: custody_shared::grant::Grant {
                    request: filed,
                    ..foreign.clone()
                },
            },
            Rule::IllegalTransition,
        ),
        (
            "a grant without request",
            manager,
            Row::GrantIssued {
                grant: custody_shared::grant::Grant {
                    request: RequestId::random(),
                    ..foreign
                },
            },
            Rule::Unknown,
        ),
        (
            "the system decides",
            Actor::System,
            decided.clone(),
            Rule::IllegalTransition,
        ),
        (
            "the requester decides",
            Actor::Person(clinic.desk),
            decided,
            Rule::OwnRequest,
        ),
        (
            "outside the window",
            Actor::Person(clinic.desk),
            intent(window(61, 55), MINUTE),
            Rule::OutsideGrant,
        ),
        (
            "without end",
            Actor::Person(clinic.desk),
            intent(window(60, 55), 30 * DAY),
            Rule::GrantExpired,
        ),
        (
            "ends before it begins",
            Actor::Person(clinic.desk),
            intent(window(60, 55), 0),
            Rule::GrantExpired,
        ),
        (
            "outcome without intent",
            Actor::System,
            Row::ReleaseDone {
                intent: 0,
                segments: 0,
                bytes: 0,
                outcome: Outcome::Failed,
            },
            Rule::Unknown,
        ),
        (
            "export without grant",
            Actor::System,
            Row::ExportIntended {
                export: ExportId::random(),
                grant: GrantId::random(),
            },
            Rule::Unknown,
        ),
        (
            "own grade",
            manager,
            Row::PersonChanged {
                person: clinic.manager,
                grade: Some(Grade::Asks),
                verifier: None,
                active: None,
                unlock: false,
            },
            Rule::OwnAccount,
        ),
        (
            "a name twice",
            Actor::Console,
            Row::PersonAdded {
                person: PersonId::random(),
                name: "desk".into(),
                display: "x".into(),
                grade: Grade::Asks,
                verifier: String::new(),
            },
            Rule::Taken,
        ),
        (
            "an order for no key",
            Actor::System,
            Row::RewrapOrdered {
                camera: clinic.cameras[0],
                key: KeyId::random(),
                range: window(2, 1),
                destroy_at: NOON,
                reason: RewrapReason::Hold,
            },
            Rule::Unknown,
        ),
    ];
    let before = clinic.ledger.len();
    for (flaw, actor, row, rule) in cases {
        let result = clinic.record.commit(actor, |_, _| Ok((vec![row], ()))).await;
        assert_eq!(refused(result), rule, "{flaw}");
    }
    assert_eq!(clinic.ledger.len(), before, "nothing was written");
    assert_eq!(*clinic.record.state(), *state);
}

#[tokio::test]
async fn an_unwritable_ledger_stops_everything() {
    let clinic = clinic().await;
    let grant = clinic.granted().await;
    for mode in [Mode::Lost, Mode::WrittenButLost] {
        let before = clinic.record.state();
        clinic.ledger.set(mode);
        let release = clinic
            .record
            .intend_release(clinic.desk, grant, clinic.cameras[0], window(60, 50), ReleaseUse::View)
            .await;
        assert!(matches!(release, Err(RecordError::Ledger(_))));
        assert!(matches!(
            clinic.record.file_request(clinic.desk, clinic.draft()).await,
            Err(RecordError::Ledger(_))
        ));
        assert_eq!(
            clinic.record.state().requests().count(),
            before.requests().count(),
            "nothing is visible"
        );
        clinic.ledger.set(Mode::Works);
        clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
        let again = Record::open(clinic.ledger.clone(), Rules::kr(), Arc::new(clinic.clock.clone())).unwrap();
        assert_eq!(
            *again.state(),
            *clinic.record.state(),
            "the state is the ledger's fold again"
        );
    }
}

#[tokio::test]
async fn of_two_decisions_at_once_one_stands() {
    let clinic = clinic().await;
    for _ in 0..8 {
        let request = clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
        let (yes, no) = tokio::join!(
            clinic.record.decide_request(clinic.manager, request, approve()),
            clinic.record.decide_request(clinic.owner, request, refuse()),
        );
        assert!(yes.is_ok() != no.is_ok());
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_half_done() {
    let clinic = clinic().await;
    for _ in 0..4 {
        let filing = clinic.record.file_request(clinic.desk, clinic.draft());
        // Polled once, then dropped while the ledger is still writing.
        let _ = futures::future::select(Box::pin(filing), Box::pin(async { tokio::task::yield_now().await })).await;
    }
    clinic.granted().await;
    assert_eq!(clinic.record.state().rows(), clinic.ledger.len());
    assert_eq!(clinic.record.state().requests().count(), clinic.ledger.of_kind(40));
}

#[tokio::test]
async fn a_forged_row_keeps_the_record_closed_and_is_named() {
    let clinic = clinic().await;
    let request = clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
    let forged = Row::RequestDecided {
        request,
        verdict: Verdict::Approve,
        note: String::new(),
    };
    let index = clinic.ledger.force(NOON, Actor::Person(clinic.desk), forged);
    let error = Record::open(clinic.ledger.clone(), Rules::kr(), Arc::new(clinic.clock.clone()))
        .err()
        .unwrap();
    assert!(matches!(error, RecordError::Fold { index: at, .. } if at == index));
}

use std::sync::Arc;

use custody_shared::id::{ExportId, GrantId, KeyId, PersonId, RequestId};
use custody_shared::time::{TimeRange, UtcMicros};

use super::cases::{DecisionDraft, RequestDraft};
use super::enrolment::AgentKeys;
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

#[tokio::test]
async fn every_illegal_transition_is_refused_with_the_legal_ones() {
    type Act = (&'static str, bool);
    const ACTS: [Act; 3] = [("approve", true), ("refuse", true), ("withdraw", false)];
    for (first, _) in ACTS {
        for (second, _) in ACTS {
            let clinic = clinic().await;
            let request = clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
            let act = |what: &'static str| {
                let (record, desk, manager) = (clinic.record.clone(), clinic.desk, clinic.manager);
                async move {
                    match what {
                        "approve" => record.decide_request(manager, request, approve()).await.map(|_| ()),
                        "refuse" => record.decide_request(manager, request, refuse()).await.map(|_| ()),
                        _ => record.withdraw_request(desk, request).await,
                    }
                }
            };
            act(first).await.unwrap();
            let error = act(second).await.unwrap_err();
            let refusal = error.refusal().unwrap();
            assert_eq!(refusal.rule, Rule::IllegalTransition, "{first} then {second}");
            assert!(refusal.message.contains("goes to: nothing"), "{}", refusal.message);
        }
    }
    for state in RequestState::ALL {
        assert_eq!(state.next().is_empty(), *state != RequestState::Received, "{state}");
    }
}

#[tokio::test]
async fn nobody_decides_their_own_request() {
    let clinic = clinic().await;
    let request = clinic
        .record
        .file_request(clinic.manager, clinic.draft())
        .await
        .unwrap();
    assert_eq!(
        refused(clinic.record.decide_request(clinic.manager, request, approve()).await),
        Rule::OwnRequest
    );
    assert_eq!(
        refused(clinic.record.decide_request(clinic.manager, request, refuse()).await),
        Rule::OwnRequest
    );
    assert_eq!(clinic.ledger.of_kind(62), 2, "each attempt is a row");
    assert_eq!(
        clinic.record.state().request(request).unwrap().state,
        RequestState::Received
    );
    clinic
        .record
        .decide_request(clinic.owner, request, approve())
        .await
        .unwrap()
        .unwrap();
}

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
async fn requests_are_checked_as_typed() {
    let clinic = clinic().await;
    let good = clinic.draft();
    let now_window = |from: i64, to: i64| window(from, to);
    let provision = RequestDraft {
        kind: RequestKind::Provision,
        ground: RequestGround::OtherLaw,
        ..good.clone()
    };
    let letter = Recipient {
        agency: "Police".into(),
        officer: "Kim".into(),
        document: String::new(),
    };
    let cases: Vec<(&str, RequestDraft, Rule)> = vec![
        (
            "empty purpose",
            RequestDraft {
                purpose: "  ".into(),
                ..good.clone()
            },
            Rule::Malformed,
        ),
        (
            "long purpose",
            RequestDraft {
                purpose: "x".repeat(513),
                ..good.clone()
            },
            Rule::Malformed,
        ),
        (
            "resident number",
            RequestDraft {
                purpose: "my number is 900101-1234567".into(),
                ..good.clone()
            },
            Rule::ResidentNumber,
        ),
        (
            "no camera",
            RequestDraft {
                cameras: vec![],
                ..good.clone()
            },
            Rule::Malformed,
        ),
        (
            "unknown camera",
            RequestDraft {
                cameras: vec![custody_shared::id::CameraId::random()],
                ..good.clone()
            },
            Rule::Unknown,
        ),
        (
            "window too long",
            RequestDraft {
                range: now_window(24 * 60 + 10, 9),
                ..good.clone()
            },
            Rule::WindowTooLong,
        ),
        (
            "future window",
            RequestDraft {
                range: now_window(10, -10),
                ..good.clone()
            },
            Rule::WindowInFuture,
        ),
        (
            "destroyed day",
            RequestDraft {
                range: now_window(32 * 24 * 60, 32 * 24 * 60 - 5),
                ..good.clone()
            },
            Rule::AlreadyDestroyed,
        ),
        (
            "ground of another kind",
            RequestDraft {
                ground: RequestGround::CrimePrevention,
                ..good.clone()
            },
            Rule::GroundDoesNotCarry,
        ),
        (
            "deletion",
            RequestDraft {
                kind: RequestKind::Deletion,
                ground: RequestGround::OwnImage,
                ..good.clone()
            },
            Rule::KindNotServed,
        ),
        ("provision to nobody", provision.clone(), Rule::RecipientRequired),
        (
            "provision without document",
            RequestDraft {
                recipient: Some(letter),
                ..provision.clone()
            },
            Rule::Malformed,
        ),
        (
            "resident number as document",
            RequestDraft {
                recipient: Some(Recipient {
                    agency: "Police".into(),
                    officer: "Kim".into(),
                    document: "9001011234567".into(),
                }),
                ..provision.clone()
            },
            Rule::ResidentNumber,
        ),
    ];
    for (flaw, draft, rule) in cases {
        assert_eq!(
            refused(clinic.record.file_request(clinic.desk, draft).await),
            rule,
            "{flaw}"
        );
    }
    let warrant = Recipient {
        agency: "Police".into(),
        officer: "Kim".into(),
        document: "2026-117".into(),
    };
    clinic
        .record
        .file_request(
            clinic.desk,
            RequestDraft {
                recipient: Some(warrant),
                ..provision
            },
        )
        .await
        .unwrap();
    for ground in [RequestGround::OwnImage, RequestGround::UrgentNeed] {
        clinic
            .record
            .file_request(clinic.desk, RequestDraft { ground, ..good.clone() })
            .await
            .unwrap();
    }
    // Korean text of the full length fits the grant too.
    let long = RequestDraft {
        purpose: "가".repeat(512),
        ..good
    };
    let request = clinic.record.file_request(clinic.desk, long).await;
    if let Ok(request) = request {
        clinic
            .record
            .decide_request(clinic.manager, request, approve())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn decisions_are_checked_as_typed() {
    let clinic = clinic().await;
    let request = clinic.record.file_request(clinic.desk, clinic.draft()).await.unwrap();
    let part = |cameras: Vec<_>, range| DecisionDraft {
        verdict: Some(Verdict::ApproveInPart { cameras, range }),
        note: String::new(),
    };
    let all = clinic.cameras.clone();
    let cases = [
        (
            "words alone",
            DecisionDraft {
                verdict: None,
                note: "I do not want to".into(),
            },
            Rule::GroundRequired,
        ),
        ("the whole as a part", part(all.clone(), window(60, 50)), Rule::NotAPart),
        ("no camera", part(vec![], window(60, 50)), Rule::NotAPart),
        ("more than asked", part(all.clone(), window(61, 50)), Rule::NotAPart),
        (
            "another camera",
            part(vec![custody_shared::id::CameraId::random()], window(60, 50)),
            Rule::NotAPart,
        ),
        (
            "resident number",
            DecisionDraft {
                note: "900101-1234567".into(),
                ..refuse()
            },
            Rule::ResidentNumber,
        ),
    ];
    for (flaw, draft, rule) in cases {
        assert_eq!(
            refused(clinic.record.decide_request(clinic.manager, request, draft).await),
            rule,
            "{flaw}"
        );
    }
    for person in [clinic.desk, clinic.contractor] {
        assert_eq!(
            refused(clinic.record.decide_request(person, request, approve()).await),
            Rule::GradeMayNot
        );
    }
    let grant = clinic
        .record
        .decide_request(clinic.manager, request, part(vec![all[1], all[1]], window(58, 55)))
        .await
        .unwrap()
        .unwrap();
    let state = clinic.record.state();
    let grant = &state.grant(grant).unwrap().grant;
    assert_eq!(
        (grant.cameras.as_slice(), grant.range, grant.viewer),
        (&all[1..], window(58, 55), clinic.desk)
    );
    assert_eq!(
        (grant.not_before, grant.not_after.get(), grant.play_minutes),
        (NOON, NOON.get() + 7 * DAY, 120)
    );
    assert_eq!(state.request(request).unwrap().state, RequestState::PartlyApproved);
    // Answer due at the end of the tenth day after receipt, in the site's zone.
    assert_eq!(
        state.request(request).unwrap().due.get(),
        NOON.get() + 10 * DAY + 12 * 60 * MINUTE
    );
}

#[tokio::test]
async fn an_answer_in_words_grants_no_footage() {
    let clinic = clinic().await;
    let draft = RequestDraft {
        kind: RequestKind::Existence,
        ..clinic.draft()
    };
    let request = clinic.record.file_request(clinic.desk, draft).await.unwrap();
    assert_eq!(
        clinic
            .record
            .decide_request(clinic.manager, request, approve())
            .await
            .unwrap(),
        None
    );
    assert!(clinic.record.state().grant_of(request).is_none());
}

#[tokio::test]
async fn releases_stay_inside_their_grant() {
    let clinic = clinic().await;
    let grant = clinic.granted().await;
    let camera = clinic.cameras[0];
    let release = |person, camera, range| {
        clinic
            .record
            .intend_release(person, grant, camera, range, ReleaseUse::View)
    };
    assert_eq!(
        refused(release(clinic.manager, camera, window(60, 50)).await),
        Rule::NotYours
    );
    assert_eq!(
        refused(release(clinic.contractor, camera, window(60, 50)).await),
        Rule::GradeMayNot
    );
    assert_eq!(
        refused(release(clinic.desk, camera, window(60, 49)).await),
        Rule::OutsideGrant
    );
    let first = release(clinic.desk, camera, window(60, 50)).await.unwrap();
    assert_eq!(first.until.get(), NOON.get() + 10 * MINUTE);
    clinic.clock.advance(119 * MINUTE);
    let last = release(clinic.desk, camera, window(60, 50)).await.unwrap();
    assert_eq!(
        last.until.get(),
        NOON.get() + 120 * MINUTE,
        "an intent ends with the minutes"
    );
    clinic.clock.advance(MINUTE);
    assert_eq!(
        refused(release(clinic.desk, camera, window(60, 50)).await),
        Rule::MinutesUsed
    );
    let other = clinic.granted().await;
    clinic.clock.advance(7 * DAY);
    let late = clinic
        .record
        .intend_release(clinic.desk, other, camera, window(60, 50), ReleaseUse::View)
        .await;
    assert_eq!(refused(late), Rule::GrantExpired);
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

#[tokio::test]
async fn tokens_open_their_slots_once() {
    let clinic = clinic().await;
    let record = &clinic.record;
    assert_eq!(
        refused(
            record
                .issue_token(Actor::Person(clinic.manager), clinic.cameras.clone())
                .await
        ),
        Rule::GradeMayNot
    );
    let (token, expires) = record
        .issue_token(Actor::Console, clinic.cameras.clone())
        .await
        .unwrap();
    assert_eq!(expires.get(), NOON.get() + 8 * 60 * MINUTE);
    let wrong = format!("{}.{}", token.split_once('.').unwrap().0, "0".repeat(64));
    let long = "x".repeat(500);
    for flaw in [
        "",
        ".",
        "nothing",
        wrong.as_str(),
        long.as_str(),
        &token[..token.len() - 1],
    ] {
        assert_eq!(
            refused(record.enrol(flaw, Some("entry"), agent(1)).await),
            Rule::TokenInvalid,
            "{flaw:?}"
        );
    }
    assert_eq!(
        refused(record.enrol(&token, None, agent(1)).await),
        Rule::SlotTaken,
        "two slots are free: name one"
    );
    assert_eq!(
        refused(record.enrol(&token, Some("roof"), agent(1)).await),
        Rule::SlotTaken
    );
    let entry = record.enrol(&token, Some("entry"), agent(1)).await.unwrap();
    assert_eq!(
        refused(record.enrol(&token, Some("entry"), agent(2)).await),
        Rule::SlotTaken
    );
    assert_eq!(
        refused(record.enrol(&token, None, agent(1)).await),
        Rule::Taken,
        "the keys of another agent"
    );
    record.enrol(&token, None, agent(2)).await.unwrap();
    assert_eq!(refused(record.enrol(&token, None, agent(3)).await), Rule::SlotTaken);
    let state = record.state();
    let camera = state.camera(entry).unwrap();
    assert_eq!(camera.statement_public(), Some(&[1; 32]));
    assert!(camera.accepts_certificate("01") && !camera.accepts_certificate("02"));
    let (late, _) = record.issue_token(Actor::Console, vec![entry]).await.unwrap();
    clinic.clock.advance(8 * 60 * MINUTE);
    assert_eq!(refused(record.enrol(&late, None, agent(4)).await), Rule::TokenInvalid);
}

#[tokio::test]
async fn a_replaced_agent_ends_the_one_before() {
    let clinic = clinic().await;
    let record = &clinic.record;
    for n in [1, 2] {
        let (token, _) = record
            .issue_token(Actor::Console, vec![clinic.cameras[0]])
            .await
            .unwrap();
        record.enrol(&token, None, agent(n)).await.unwrap();
    }
    record
        .renew_certificate(clinic.cameras[0], "beef".to_owned(), NOON)
        .await
        .unwrap();
    let state = record.state();
    let camera = state.camera(clinic.cameras[0]).unwrap();
    assert_eq!(camera.enrolments.len(), 2);
    assert!(camera.accepts_certificate("beef"));
    assert!(!camera.accepts_certificate("01") && !camera.accepts_certificate("02"));
    record
        .revoke_certificate(Actor::Console, clinic.cameras[0], "stolen")
        .await
        .unwrap();
    assert!(
        !record
            .state()
            .camera(clinic.cameras[0])
            .unwrap()
            .accepts_certificate("beef")
    );
    assert_eq!(
        refused(
            record
                .renew_certificate(clinic.cameras[0], "f00d".to_owned(), NOON)
                .await
        ),
        Rule::IllegalTransition
    );
}

#[tokio::test]
async fn cameras_only_where_they_may_be() {
    let clinic = clinic().await;
    let place = |class| enrolment::CameraDraft {
        class,
        ..camera("third")
    };
    let add = |class| clinic.record.add_camera(Actor::Person(clinic.contractor), place(class));
    assert_eq!(refused(add(LocationClass::Prohibited).await), Rule::ProhibitedPlace);
    assert_eq!(refused(add(LocationClass::Private).await), Rule::PrivatePlace);
    add(LocationClass::Waiting).await.unwrap();
    assert_eq!(refused(add(LocationClass::Open).await), Rule::Taken, "a name twice");
    let named = enrolment::CameraDraft {
        location: "room of 900101-1234567".into(),
        ..camera("fourth")
    };
    assert_eq!(
        refused(clinic.record.add_camera(Actor::Console, named).await),
        Rule::ResidentNumber
    );
}

#[tokio::test]
async fn accounts_are_for_others_to_manage() {
    let clinic = clinic().await;
    let draft = |name: &str| PersonDraft {
        name: name.to_owned(),
        display: "Somebody".to_owned(),
        grade: Grade::Decides,
        password: zeroize::Zeroizing::new("a long enough password".to_owned()),
    };
    for person in [clinic.desk, clinic.contractor] {
        assert_eq!(
            refused(clinic.record.add_person(Actor::Person(person), draft("friend")).await),
            Rule::GradeMayNot
        );
    }
    let friend = clinic
        .record
        .add_person(Actor::Person(clinic.manager), draft("Friend"))
        .await
        .unwrap();
    assert_eq!(clinic.record.state().person_by_name(" FRIEND ").unwrap().id, friend);
    assert_eq!(
        refused(clinic.record.add_person(Actor::Console, draft("friend")).await),
        Rule::Taken
    );
    assert_eq!(
        refused(clinic.record.add_person(Actor::Console, draft("two words")).await),
        Rule::Malformed
    );
    let up = PersonChange {
        grade: Some(Grade::Administers),
        ..PersonChange::default()
    };
    let own = clinic
        .record
        .change_person(Actor::Person(clinic.manager), clinic.manager, up)
        .await;
    assert_eq!(refused(own), Rule::OwnAccount);
    let password = Some(zeroize::Zeroizing::new("another long password".to_owned()));
    let own = PersonChange {
        password,
        ..PersonChange::default()
    };
    clinic
        .record
        .change_person(Actor::Person(clinic.desk), clinic.desk, own)
        .await
        .unwrap();
}

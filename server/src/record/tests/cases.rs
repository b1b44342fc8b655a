//! Requests, decisions and releases as typed.

use super::*;

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
    // Korean text of the full length, as a browser sends it, comes all the way to a grant that can be read again.
    let purpose = format!("{}\r\n{}", "가".repeat(255), "나".repeat(256));
    let request = clinic
        .record
        .file_request(clinic.desk, RequestDraft { purpose, ..good })
        .await
        .unwrap();
    clinic
        .record
        .decide_request(clinic.manager, request, approve())
        .await
        .unwrap()
        .unwrap();
    Record::open(clinic.ledger.clone(), Rules::kr(), Arc::new(clinic.clock.clone())).unwrap();
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

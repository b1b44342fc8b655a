use super::*;

const NOW: UtcMicros = UtcMicros::new(1_800_000_000_000_000);

fn person(n: u8) -> PersonId {
    PersonId::from_bytes([n; 16])
}

fn who(grade: Grade) -> Principal {
    Principal {
        person: person(1),
        grade,
        active: true,
    }
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(UtcMicros::new(NOW.get() + from), UtcMicros::new(NOW.get() + to)).unwrap()
}

fn facts(cameras: &[CameraId], viewer: PersonId) -> GrantFacts<'_> {
    GrantFacts {
        grant: GrantId::from_bytes([9; 16]),
        viewer,
        copy: true,
        cameras,
        range: range(-1000, -100),
        not_before: UtcMicros::new(NOW.get() - 10),
        not_after: UtcMicros::new(NOW.get() + 10),
        minutes_end: None,
        ended: false,
        wanted: None,
    }
}

fn rule(who: &Principal, action: Action, what: Resource<'_>) -> Option<Rule> {
    decide(who, action, what, Context { now: NOW })
        .err()
        .map(|refusal| refusal.rule)
}

/// The table as people agreed on it: y = allowed on one's own things, n = refused.
const TABLE: &[(&str, &str)] = &[
    // action               asks decides administers
    ("list-cameras", "y y y"),
    ("see-coverage", "y y n"),
    ("see-health", "n y y"),
    ("configure-camera", "n n y"),
    ("issue-join-token", "n n y"),
    ("revoke-certificate", "n n y"),
    ("file-request", "y y n"),
    ("read-request", "y y n"),
    ("withdraw-request", "y y n"),
    ("decide-request", "n y n"),
    ("play", "y y n"),
    ("export", "y y n"),
    ("end-grant", "n y n"),
    ("read-register", "n y n"),
    ("read-ledger", "y y y"),
    ("manage-people", "n y n"),
];

#[test]
fn the_matrix_has_no_hole_and_agrees_with_the_table() {
    assert_eq!(TABLE.len(), Action::ALL.len());
    let camera = [CameraId::from_bytes([7; 16])];
    for action in Action::ALL {
        let row = TABLE
            .iter()
            .find(|(word, _)| *word == action.word())
            .unwrap_or_else(|| panic!("{action:?} has no row"))
            .1;
        for (grade, cell) in Grade::ALL.into_iter().zip(row.split(' ')) {
            // The most favourable resource: own request, own grant; another's request where one decides.
            let what = match action {
                Action::ReadRequest | Action::WithdrawRequest => Resource::Request {
                    request: RequestId::from_bytes([3; 16]),
                    requester: person(1),
                },
                Action::DecideRequest => Resource::Request {
                    request: RequestId::from_bytes([3; 16]),
                    requester: person(2),
                },
                Action::Play | Action::Export | Action::EndGrant => Resource::Grant(facts(&camera, person(1))),
                Action::ManagePeople => Resource::Person(person(2)),
                _ => Resource::Site,
            };
            let allowed = rule(&who(grade), *action, what).is_none();
            assert_eq!(allowed, cell == "y", "{grade} {action:?}");
        }
    }
}

#[test]
fn whoever_administers_reaches_no_footage_whatever_the_grant_says() {
    let camera = [CameraId::from_bytes([7; 16])];
    for action in [
        Action::Play,
        Action::Export,
        Action::FileRequest,
        Action::SeeCoverage,
        Action::ReadRequest,
    ] {
        for what in [
            Resource::Site,
            Resource::Camera(camera[0]),
            Resource::Grant(facts(&camera, person(1))),
            Resource::Request {
                request: RequestId::from_bytes([3; 16]),
                requester: person(1),
            },
        ] {
            assert_eq!(
                rule(&who(Grade::Administers), action, what),
                Some(Rule::GradeMayNot),
                "{action:?}"
            );
        }
    }
}

#[test]
fn nobody_decides_their_own() {
    let own = Resource::Request {
        request: RequestId::from_bytes([3; 16]),
        requester: person(1),
    };
    assert_eq!(
        rule(&who(Grade::Decides), Action::DecideRequest, own),
        Some(Rule::OwnRequest)
    );
    assert_eq!(
        rule(&who(Grade::Decides), Action::ManagePeople, Resource::Person(person(1))),
        Some(Rule::OwnAccount)
    );
}

#[test]
fn a_closed_account_does_nothing() {
    for grade in Grade::ALL {
        let closed = Principal {
            active: false,
            ..who(grade)
        };
        for action in Action::ALL {
            assert_eq!(
                rule(&closed, *action, Resource::Site),
                Some(Rule::AccountClosed),
                "{grade} {action:?}"
            );
        }
    }
}

#[test]
fn anothers_case_looks_like_none() {
    let camera = [CameraId::from_bytes([7; 16])];
    let request = Resource::Request {
        request: RequestId::from_bytes([3; 16]),
        requester: person(2),
    };
    assert_eq!(
        rule(&who(Grade::Asks), Action::ReadRequest, request),
        Some(Rule::NotYours)
    );
    assert_eq!(rule(&who(Grade::Decides), Action::ReadRequest, request), None);
    for grade in [Grade::Asks, Grade::Decides] {
        assert_eq!(
            rule(&who(grade), Action::WithdrawRequest, request),
            Some(Rule::NotYours)
        );
        assert_eq!(
            rule(&who(grade), Action::Play, Resource::Grant(facts(&camera, person(2)))),
            Some(Rule::NotYours)
        );
    }
    assert_eq!(Rule::NotYours.status(), Rule::Unknown.status());
}

#[test]
fn a_grant_is_good_for_its_time_cameras_window_and_form() {
    let cameras = [CameraId::from_bytes([7; 16])];
    let good = facts(&cameras, person(1));
    let stranger = CameraId::from_bytes([8; 16]);
    let cases = [
        ("good", good, None, None),
        (
            "before its time",
            GrantFacts {
                not_before: UtcMicros::new(NOW.get() + 1),
                ..good
            },
            Some(Rule::GrantNotYet),
            None,
        ),
        (
            "at its end",
            GrantFacts { not_after: NOW, ..good },
            Some(Rule::GrantExpired),
            None,
        ),
        (
            "minutes used",
            GrantFacts {
                minutes_end: Some(NOW),
                ..good
            },
            Some(Rule::MinutesUsed),
            None,
        ),
        (
            "ended",
            GrantFacts { ended: true, ..good },
            Some(Rule::GrantEnded),
            None,
        ),
        (
            "view only",
            GrantFacts { copy: false, ..good },
            None,
            Some(Rule::ViewOnly),
        ),
        (
            "inside",
            GrantFacts {
                wanted: Some((cameras[0], range(-900, -800))),
                ..good
            },
            None,
            None,
        ),
        (
            "other camera",
            GrantFacts {
                wanted: Some((stranger, range(-900, -800))),
                ..good
            },
            Some(Rule::OutsideGrant),
            None,
        ),
        (
            "too early",
            GrantFacts {
                wanted: Some((cameras[0], range(-1001, -800))),
                ..good
            },
            Some(Rule::OutsideGrant),
            None,
        ),
        (
            "too late",
            GrantFacts {
                wanted: Some((cameras[0], range(-900, -99))),
                ..good
            },
            Some(Rule::OutsideGrant),
            None,
        ),
    ];
    for (name, grant, play, export) in cases {
        assert_eq!(
            rule(&who(Grade::Asks), Action::Play, Resource::Grant(grant)),
            play,
            "{name}"
        );
        assert_eq!(
            rule(&who(Grade::Asks), Action::Export, Resource::Grant(grant)),
            play.or(export),
            "{name}"
        );
    }
}

#[test]
fn an_action_on_the_wrong_kind_of_thing_is_refused() {
    for action in [
        Action::Play,
        Action::DecideRequest,
        Action::ReadRequest,
        Action::EndGrant,
        Action::Export,
    ] {
        assert_eq!(
            rule(&who(Grade::Decides), action, Resource::Site),
            Some(Rule::GradeMayNot),
            "{action:?}"
        );
    }
}

//! Cameras, tokens, agents and accounts.

use super::*;

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
    let place = |class| CameraDraft {
        class,
        ..camera("third")
    };
    let add = |class| clinic.record.add_camera(Actor::Person(clinic.contractor), place(class));
    assert_eq!(refused(add(LocationClass::Prohibited).await), Rule::ProhibitedPlace);
    assert_eq!(refused(add(LocationClass::Private).await), Rule::PrivatePlace);
    add(LocationClass::Waiting).await.unwrap();
    assert_eq!(refused(add(LocationClass::Open).await), Rule::Taken, "a name twice");
    let named = CameraDraft {
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

use super::*;
use crate::record::fake::{Clinic, MINUTE, Mode, PASSWORD, clinic};

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn door(clinic: &Clinic) -> Door {
    Door::new(clinic.record.clone(), Arc::new(Sessions::new()))
}

async fn rule(door: &Door, name: &str, password: &str) -> Option<Rule> {
    door.sign_in(name, secret(password))
        .await
        .err()
        .map(|error| error.refusal().expect("a refusal").rule)
}

#[tokio::test]
async fn the_right_password_opens_and_leaves_a_row() {
    let clinic = clinic().await;
    let door = door(&clinic);
    let (person, token) = door.sign_in(" Desk ", secret(PASSWORD)).await.unwrap();
    assert_eq!(person, clinic.desk);
    assert_eq!(
        door.sessions().touch(token.reveal(), clinic.record.clock().now()),
        Some(clinic.desk)
    );
    assert_eq!(clinic.ledger.of_kind(60), 1);
}

#[tokio::test]
async fn five_failures_lock_the_name_for_a_while() {
    let clinic = clinic().await;
    let door = door(&clinic);
    for _ in 0..5 {
        assert_eq!(rule(&door, "desk", "wrong password").await, Some(Rule::SignIn));
    }
    assert_eq!(clinic.ledger.of_kind(61), 5);
    for _ in 0..3 {
        assert_eq!(rule(&door, "desk", PASSWORD).await, Some(Rule::SignIn), "locked");
    }
    assert_eq!(clinic.ledger.of_kind(61), 5, "a locked name fills no ledger");
    assert_eq!(rule(&door, "manager", PASSWORD).await, None, "others are not locked");
    clinic.clock.advance(15 * MINUTE);
    assert_eq!(rule(&door, "desk", "wrong password").await, Some(Rule::SignIn));
    assert_eq!(
        rule(&door, "desk", PASSWORD).await,
        Some(Rule::SignIn),
        "one more failure locks again"
    );
    clinic.clock.advance(15 * MINUTE);
    assert_eq!(rule(&door, "desk", PASSWORD).await, None);
    assert_eq!(rule(&door, "desk", "wrong password").await, Some(Rule::SignIn));
    assert_eq!(rule(&door, "desk", PASSWORD).await, None, "a success clears the count");
}

#[tokio::test]
async fn guesses_sent_at_once_do_not_outrun_the_count() {
    let clinic = clinic().await;
    let door = door(&clinic);
    let guesses = (0..20).map(|_| rule(&door, "desk", "wrong password"));
    futures::future::join_all(guesses).await;
    assert_eq!(clinic.ledger.of_kind(61), 5);
    assert_eq!(rule(&door, "desk", PASSWORD).await, Some(Rule::SignIn));
}

#[tokio::test]
async fn a_manager_unlocks() {
    let clinic = clinic().await;
    let door = door(&clinic);
    for _ in 0..5 {
        rule(&door, "desk", "wrong password").await;
    }
    let unlock = crate::record::people::PersonChange {
        unlock: true,
        ..Default::default()
    };
    clinic
        .record
        .change_person(Actor::Person(clinic.manager), clinic.desk, unlock)
        .await
        .unwrap();
    assert_eq!(rule(&door, "desk", PASSWORD).await, None);
}

#[tokio::test]
async fn unknown_and_closed_names_get_the_same_answer() {
    let clinic = clinic().await;
    let door = door(&clinic);
    let close = crate::record::people::PersonChange {
        active: Some(false),
        ..Default::default()
    };
    clinic
        .record
        .change_person(Actor::Console, clinic.owner, close)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for name in ["desk", "nobody", "owner", "", "900101-1234567"] {
        let password = if name == "owner" { PASSWORD } else { "wrong password" };
        answers.push(door.sign_in(name, secret(password)).await.err().unwrap().to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn no_row_no_session() {
    let clinic = clinic().await;
    let door = door(&clinic);
    clinic.ledger.set(Mode::Lost);
    assert!(matches!(
        door.sign_in("desk", secret(PASSWORD)).await,
        Err(RecordError::Ledger(_))
    ));
    assert_eq!(door.sessions().count(clinic.record.clock().now()), 0);
}

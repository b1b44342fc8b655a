//! Joining and renewing against a server of the test's own: what is kept, what is refused, and what a person is told.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Answer, Authority, CAMERA, Server, status};
use custody_agent::cli::Join;
use custody_agent::identity::{self, Identity};
use custody_agent::join::join;
use custody_agent::paths::Folder;
use custody_agent::renew::renew;
use custody_shared::join::{JoinRequest, RenewRequest, RenewResponse};

const TOKEN: &str = "0123456789ab.00112233445566778899aabbccddeeff";

fn arguments(server: &Server, data: &Path) -> Join {
    Join {
        server: server.url(),
        token: TOKEN.to_owned(),
        ca_pin: server.authority.pin.clone(),
        data: data.to_owned(),
        slot: None,
    }
}

fn json(code: u16, value: &impl serde::Serialize) -> Answer {
    Answer::Status(code, vec![], serde_json::to_vec(value).expect("json"))
}

async fn joined(server: &'static Server, data: &Path) -> String {
    server.answer(|request| {
        let asked: JoinRequest = serde_json::from_slice(&request.body).expect("a join request");
        json(201, &server.welcome(&asked.csr_pem))
    });
    join(arguments(server, data)).await.expect("joined")
}

async fn leaked_server() -> &'static Server {
    Box::leak(Box::new(Server::start().await))
}

#[tokio::test]
async fn joining_writes_private_keys_and_says_what_comes_next() {
    let server = leaked_server().await;
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("gate");
    let told = joined(server, &data).await;
    assert!(told.contains("custody-agent check") && told.contains("Gate"), "{told}");
    assert!(!told.contains(TOKEN), "the token is used up and nobody's business");
    let place = Folder::new(&data);
    for name in [
        identity::AGENT,
        identity::TLS_KEY,
        identity::TLS_CERTIFICATE,
        identity::STATEMENT_KEY,
        identity::WITNESS_KEY,
    ] {
        let mode = std::fs::metadata(place.identity_file(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let identity = Identity::load(&place).expect("usable");
    assert_eq!((identity.camera, identity.camera_name.as_str()), (CAMERA, "Gate"));
    let again = join(arguments(server, &data))
        .await
        .expect_err("one folder, one camera");
    assert!(again.to_string().contains("already belongs to a camera"), "{again}");
    assert_eq!(server.seen(), ["POST /agent/v1/join"], "nobody was asked a second time");
}

#[tokio::test]
async fn what_the_server_must_not_do() {
    let server = leaked_server().await;
    let stranger: &'static Authority = Box::leak(Box::new(Authority::new()));
    type Case = (
        &'static str,
        Box<dyn FnMut(&crate::support::Request) -> Answer + Send>,
        &'static str,
    );
    let cases: Vec<Case> = vec![
        (
            "unknown token",
            Box::new(|_| status(401)),
            "custody-server camera token",
        ),
        (
            "token used up",
            Box::new(|_| status(409)),
            "custody-server camera token",
        ),
        ("its own trouble", Box::new(|_| status(500)), "the server's log"),
        (
            "not JSON",
            Box::new(|_| Answer::Status(201, vec![], b"<html>".to_vec())),
            "versions differ",
        ),
        (
            "an endless answer",
            Box::new(|_| Answer::Status(201, vec![], vec![b' '; 700_000])),
            "longer than",
        ),
        (
            "another authority than the pinned one",
            Box::new(move |request| {
                let asked: JoinRequest = serde_json::from_slice(&request.body).expect("a join request");
                let mut welcome = server.welcome(&asked.csr_pem);
                welcome.ca_pem = stranger.pem.clone();
                json(201, &welcome)
            }),
            "not the pinned one",
        ),
    ];
    for (name, answer, wanted) in cases {
        server.answer(answer);
        let folder = tempfile::tempdir().expect("folder");
        let refused = join(arguments(server, folder.path()))
            .await
            .expect_err(name)
            .to_string();
        assert!(
            refused.contains(wanted) && refused.contains("cannot "),
            "{name}: {refused}"
        );
        assert!(!refused.contains(TOKEN), "{name}: {refused}");
        assert!(!identity::exists(&Folder::new(folder.path())), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_server_of_another_authority() {
    let server = leaked_server().await;
    let folder = tempfile::tempdir().expect("folder");
    let pin = Authority::new().pin;
    let refused = join(Join {
        ca_pin: pin,
        ..arguments(server, folder.path())
    })
    .await
    .expect_err("refused");
    assert!(refused.to_string().contains("compare --ca-pin"), "{refused}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn malformed_arguments_name_themselves() {
    let server = leaked_server().await;
    let folder = tempfile::tempdir().expect("folder");
    let good = || arguments(server, folder.path());
    for (name, arguments, wanted) in [
        (
            "token",
            Join {
                token: "abc".into(),
                ..good()
            },
            "--token",
        ),
        (
            "pin",
            Join {
                ca_pin: "sha1:00".into(),
                ..good()
            },
            "--ca-pin",
        ),
        (
            "plain HTTP",
            Join {
                server: "http://127.0.0.1:80".into(),
                ..good()
            },
            "https://HOST:PORT",
        ),
        (
            "a path",
            Join {
                server: format!("{}/agent", server.url()),
                ..good()
            },
            "https://HOST:PORT",
        ),
    ] {
        let refused = join(arguments).await.expect_err(name).to_string();
        assert!(refused.contains(wanted), "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_survives_a_restart_and_a_foreign_one_changes_nothing() {
    let server = leaked_server().await;
    let folder = tempfile::tempdir().expect("folder");
    joined(server, folder.path()).await;
    let place = Folder::new(folder.path());
    let identity = Identity::load(&place).expect("usable");
    let before = std::fs::read(place.identity_file(identity::TLS_CERTIFICATE)).expect("certificate");

    server.answer(|_| {
        json(
            200,
            &RenewResponse {
                certificate_pem: "no certificate".to_owned(),
            },
        )
    });
    assert!(renew(&identity, &place).await.is_err());
    server.answer(|_| status(403));
    assert!(renew(&identity, &place).await.expect_err("revoked").contains("403"));
    let unchanged = std::fs::read(place.identity_file(identity::TLS_CERTIFICATE)).expect("certificate");
    assert_eq!(unchanged, before);

    server.answer(|request| {
        assert!(request.known, "the one it has authenticates the renewal");
        let asked: RenewRequest = serde_json::from_slice(&request.body).expect("a renewal");
        json(
            200,
            &RenewResponse {
                certificate_pem: server.authority.sign(&asked.csr_pem),
            },
        )
    });
    renew(&identity, &place).await.expect("renewed");
    let after = std::fs::read(place.identity_file(identity::TLS_CERTIFICATE)).expect("certificate");
    assert_ne!(after, before);
    Identity::load(&place).expect("still usable");
}

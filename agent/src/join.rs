//! Enrolment: make three keys, check the server's authority against the pin, have the certificate signed.
//!
//! Everything is written into a folder beside, which becomes `identity/` by one rename at the end: a failed or killed
//! enrolment leaves nothing that looks like one.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use custody_shared::cose::SigningKey;
use custody_shared::join::{JoinRequest, JoinResponse, JoinToken, MAX_RESPONSE_LEN};
use rcgen::{CertificateParams, KeyPair};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::https::{Answer, Endpoint, HttpsError};
use crate::identity;
use crate::key_shelf::KeyShelf;
use crate::paths::Folder;
use crate::tls::{self, Pin};
use crate::{cli, files};

/// The certificate signing request for a TLS key; the server ignores its names and sets its own.
pub fn signing_request(key: &KeyPair) -> Result<String, rcgen::Error> {
    CertificateParams::new(Vec::<String>::new())?
        .serialize_request(key)?
        .pem()
}

/// Enrols and returns what to tell the person.
pub async fn join(arguments: cli::Join) -> Result<String, Failure> {
    let folder = Folder::new(std::path::absolute(&arguments.data).unwrap_or(arguments.data.clone()));
    let subject = format!("folder {}", folder.root().display());
    if identity::exists(&folder) {
        return Err(Failure::new(
            subject,
            "join",
            "it already belongs to a camera",
            "choose another folder; one folder records one camera",
        ));
    }
    let token = read_token(&arguments.token)?;
    let pin: Pin = arguments.ca_pin.parse().map_err(|error| {
        Failure::new(
            "--ca-pin",
            "understand it",
            error,
            "copy it as the server printed it: sha256: and 64 digits",
        )
    })?;
    let keys = Keys::generate().map_err(|error| Failure::new(&subject, "make keys", error, "try again"))?;
    let request = JoinRequest {
        token,
        slot: arguments.slot,
        csr_pem: signing_request(&keys.tls)
            .map_err(|error| Failure::new(&subject, "make a signing request", error, "try again"))?,
        statement_public: keys.statement.public(),
        witness_public: keys.witness.public(),
    };
    let response = ask(&arguments.server, &pin, &request).await?;
    check(&response, &pin, &arguments.server)?;
    write(&folder, &keys, &response).map_err(|error| {
        let remedy = "free the folder or choose another, and join again with a new token: this one is used up";
        Failure::new(&subject, "write the identity", error, remedy)
    })?;
    Ok(next_steps(&folder, &response))
}

struct Keys {
    tls: KeyPair,
    statement: SigningKey,
    witness: SigningKey,
}

impl Keys {
    fn generate() -> Result<Self, String> {
        let signing = || SigningKey::generate().map_err(|error| error.to_string());
        Ok(Self {
            tls: KeyPair::generate().map_err(|error| error.to_string())?,
            statement: signing()?,
            witness: signing()?,
        })
    }
}

fn read_token(given: &str) -> Result<JoinToken, Failure> {
    let mut text = Zeroizing::new(given.to_owned());
    if given == "-" {
        text.clear();
        // A token is short; whatever else comes on standard input is not one.
        let read = std::io::stdin().take(256).read_to_string(&mut text);
        read.map_err(|error| Failure::new("--token -", "read standard input", error, "pipe the token in"))?;
    }
    text.parse().map_err(|error| {
        Failure::new(
            "--token",
            "understand it",
            error,
            "copy it whole, as `custody-server camera token` printed it",
        )
    })
}

async fn ask(server: &str, pin: &Pin, request: &JoinRequest) -> Result<JoinResponse, Failure> {
    let subject = format!("server {}", crate::failure::redact(server));
    let failed = |error: HttpsError| {
        let remedy = match &error {
            HttpsError::Address(_) => "give it as https://HOST:PORT, as `custody-server camera token` printed it",
            HttpsError::Connect(cause) if cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                "compare --ca-pin with what the server prints and check this machine's clock: the answer came from someone else, or for another name"
            }
            HttpsError::Connect(_) | HttpsError::Timeout(_) => "check the address, the network and the firewall",
            _ => "check that this is the server's address for agents",
        };
        Failure::new(&subject, "join", error, remedy)
    };
    let tls = tls::pinned(pin).map_err(|error| Failure::new(&subject, "prepare TLS", error, "try again"))?;
    let endpoint = Endpoint::parse(server, tls).map_err(failed)?;
    let body =
        serde_json::to_vec(request).map_err(|error| Failure::new(&subject, "write the request", error, "try again"))?;
    let answer = endpoint
        .connect()
        .await
        .map_err(failed)?
        .post_json("/agent/v1/join", body)
        .await
        .map_err(failed)?;
    understand(&subject, &answer)
}

fn understand(subject: &str, answer: &Answer) -> Result<JoinResponse, Failure> {
    let (cause, remedy) = match answer.status.as_u16() {
        201 | 200 => {
            return serde_json::from_slice(&answer.body).map_err(|error| {
                Failure::new(
                    subject,
                    "understand the answer",
                    error,
                    "update the agent or the server: their versions differ",
                )
            });
        }
        401 | 403 => (
            "the token is unknown or expired",
            "make a new one with `custody-server camera token`",
        ),
        409 => (
            "the token is used up",
            "make a new one with `custody-server camera token`",
        ),
        429 => ("too many attempts", "wait a minute and try again"),
        _ => {
            let cause = format!("the server answered {}", answer.status);
            return Err(Failure::new(subject, "join", cause, "see the server's log"));
        }
    };
    Err(Failure::new(subject, "join", cause, remedy))
}

/// What the server gave must fit what was asked before any of it is kept.
fn check(response: &JoinResponse, pin: &Pin, server: &str) -> Result<(), Failure> {
    let failed = |cause: &str| {
        Failure::new(
            format!("server {}", crate::failure::redact(server)),
            "accept its answer",
            cause,
            "check that this is the right server and compare --ca-pin again",
        )
    };
    let authority = tls::certificates(&response.ca_pem).map_err(|error| failed(&error.to_string()))?;
    if !authority.iter().any(|certificate| pin.matches(certificate)) {
        return Err(failed("the authority it gave is not the pinned one"));
    }
    if response.camera_name.chars().count() > 64 || response.keys.len() > MAX_RESPONSE_LEN {
        return Err(failed("a field is longer than allowed"));
    }
    Ok(())
}

fn write(folder: &Folder, keys: &Keys, response: &JoinResponse) -> std::io::Result<()> {
    files::make_private_folder(folder.root())?;
    let beside = folder.root().join("identity.new");
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    files::make_private_folder(&beside)?;
    let put = |name: &str, bytes: &[u8]| files::write_atomic(&beside.join(name), bytes);
    put(identity::TLS_KEY, Zeroizing::new(keys.tls.serialize_pem()).as_bytes())?;
    put(identity::TLS_CERTIFICATE, response.certificate_pem.as_bytes())?;
    put(identity::CA, response.ca_pem.as_bytes())?;
    put(identity::STATEMENT_KEY, keys.statement.seed())?;
    put(identity::WITNESS_KEY, keys.witness.seed())?;
    put(identity::AGENT, &identity::agent_json(response))?;
    store_keys(folder, response);
    fs::rename(&beside, folder.identity())?;
    files::sync_folder(folder.root())
}

/// The first keys save waiting for the broker; without them the agent waits, so a refusal here is a warning.
fn store_keys(folder: &Folder, response: &JoinResponse) {
    let mut shelf = KeyShelf::open(
        &folder.keys(),
        response.server_command_public,
        response.site,
        response.camera,
    );
    if let Err(error) = shelf.offer(&response.keys) {
        tracing::warn!(%error, "the keys that came with the certificate are not usable; recording starts with the next announcement");
    }
}

fn next_steps(folder: &Folder, response: &JoinResponse) -> String {
    let data = folder.root().display();
    let name = if response.camera_name.is_empty() {
        response.camera.to_string()
    } else {
        response.camera_name.clone()
    };
    format!(
        "This machine now records for camera {name:?} ({camera}).\n\n\
         Next:\n  \
         1. Write a configuration; the shortest one is\n\n       \
              data_dir = {data_text}\n       \
              [source]\n       \
              kind = \"rtsp\"\n       \
              url = \"rtsp://user@camera/stream\"\n\n     \
            deploy/agent.toml explains every setting.\n  \
         2. custody-agent check --config FILE\n  \
         3. custody-agent run --config FILE\n\n\
         {data} holds this camera's private keys: no other user and no backup needs to read identity/.",
        camera = response.camera,
        data_text = toml_text(folder.root()),
    )
}

fn toml_text(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

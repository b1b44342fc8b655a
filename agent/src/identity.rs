//! Who this agent is: keys it made itself, the certificate it was given, and where its server is.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hpke::RecipientPublic;
use custody_shared::id::{CameraId, SiteId};
use custody_shared::join::{JoinResponse, MqttEndpoint};
use custody_shared::time::UtcMicros;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::files;
use crate::paths::Folder;
use crate::tls;

/// What is public about the enrolment.
pub const AGENT: &str = "agent.json";
/// Private key of the TLS certificate.
pub const TLS_KEY: &str = "tls.key";
/// The TLS certificate and what leads to the authority.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// The certificate authority.
pub const CA: &str = "ca.crt";
/// Seed of the key that signs statements.
pub const STATEMENT_KEY: &str = "statement.key";
/// Seed of the key that witnesses the record.
pub const WITNESS_KEY: &str = "witness.key";

const MAX_BYTES: u64 = 64 * 1024;

/// The public part of the enrolment, as it lies in `agent.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentForm {
    site: SiteId,
    camera: CameraId,
    camera_name: String,
    mqtt: MqttEndpoint,
    agents_url: String,
    server_transport_public: String,
    server_command_public: VerifyingKey,
}

/// `agent.json` for an enrolment that the server has accepted.
pub fn agent_json(response: &JoinResponse) -> Vec<u8> {
    let form = AgentForm {
        site: response.site,
        camera: response.camera,
        camera_name: response.camera_name.clone(),
        mqtt: response.mqtt.clone(),
        agents_url: response.agents_url.clone(),
        server_transport_public: STANDARD.encode(response.server_transport_public.as_bytes()),
        server_command_public: response.server_command_public,
    };
    // Texts and numbers alone: there is nothing in it that JSON could refuse.
    serde_json::to_vec_pretty(&form).unwrap_or_default()
}

/// The enrolment, ready to use.
pub struct Identity {
    /// The site.
    pub site: SiteId,
    /// The camera that this agent records.
    pub camera: CameraId,
    /// What people call it.
    pub camera_name: String,
    /// The broker.
    pub mqtt: MqttEndpoint,
    /// Where sealed files are sent.
    pub agents_url: String,
    /// What statements and health are sealed to.
    pub server_transport: RecipientPublic,
    /// What signs everything that the server says.
    pub server_command: VerifyingKey,
    /// Signs statements, status and health.
    pub statement: SigningKey,
    /// The certificate in use.
    pub credentials: Arc<Credentials>,
}

impl Identity {
    /// Reads the identity that `join` wrote.
    pub fn load(folder: &Folder) -> Result<Self, Failure> {
        let form: AgentForm =
            serde_json::from_slice(&read(folder, AGENT)?).map_err(|error| damaged(folder, AGENT, &error))?;
        let transport = STANDARD.decode(&form.server_transport_public).ok();
        let server_transport = transport
            .and_then(|bytes| RecipientPublic::from_bytes(&bytes).ok())
            .ok_or_else(|| damaged(folder, AGENT, &"the server's transport key is none"))?;
        Ok(Self {
            site: form.site,
            camera: form.camera,
            camera_name: form.camera_name,
            mqtt: form.mqtt,
            agents_url: form.agents_url,
            server_transport,
            server_command: form.server_command_public,
            statement: read_seed(folder, STATEMENT_KEY)?,
            credentials: Arc::new(Credentials::load(folder)?),
        })
    }

    /// The statement key once more, for the thread that signs statements.
    pub fn statement_key(&self) -> SigningKey {
        SigningKey::from_seed(self.statement.seed())
    }
}

/// The TLS certificate in use; replaced when it is renewed.
pub struct Credentials {
    key_pem: Zeroizing<String>,
    ca_pem: String,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct Current {
    tls: Arc<ClientConfig>,
    life: Life,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// First instant.
    pub from: UtcMicros,
    /// Last instant.
    pub until: UtcMicros,
}

impl Life {
    /// The life of the first certificate in a PEM text.
    pub fn of_pem(pem: &str) -> Result<Self, String> {
        let chain = tls::certificates(pem).map_err(|error| error.to_string())?;
        let first = chain.first().ok_or("no certificate")?;
        let (_, certificate) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
        let at = |time: x509_parser::time::ASN1Time| UtcMicros::new(time.timestamp().saturating_mul(1_000_000));
        let validity = certificate.validity();
        Ok(Self {
            from: at(validity.not_before),
            until: at(validity.not_after),
        })
    }

    /// When to renew: two thirds in.
    pub fn renew_at(self) -> UtcMicros {
        self.from.saturating_add(self.until.since(self.from) / 3 * 2)
    }
}

impl Credentials {
    fn load(folder: &Folder) -> Result<Self, Failure> {
        let text = |name| {
            let bytes = read(folder, name)?;
            String::from_utf8(bytes).map_err(|error| damaged(folder, name, &error))
        };
        let key_pem = Zeroizing::new(text(TLS_KEY)?);
        let (ca_pem, certificate_pem) = (text(CA)?, text(TLS_CERTIFICATE)?);
        let current = Current::new(&ca_pem, &certificate_pem, &key_pem)
            .map_err(|cause| damaged(folder, TLS_CERTIFICATE, &cause))?;
        Ok(Self {
            key_pem,
            ca_pem,
            current: Mutex::new(current),
        })
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS with the certificate in use.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.current().tls
    }

    /// Its life.
    pub fn life(&self) -> Life {
        self.current().life
    }

    /// The private key, to ask for a new certificate with.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Stores and uses a renewed certificate for the same key. One that does not fit changes nothing.
    pub fn replace(&self, folder: &Folder, certificate_pem: &str) -> Result<Life, String> {
        let new = Current::new(&self.ca_pem, certificate_pem, &self.key_pem)?;
        files::write_atomic(&folder.identity_file(TLS_CERTIFICATE), certificate_pem.as_bytes())
            .map_err(|error| error.to_string())?;
        let life = new.life;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(life)
    }
}

impl Current {
    fn new(ca_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, String> {
        let tls = tls::mutual(ca_pem, certificate_pem, key_pem).map_err(|error| error.to_string())?;
        Ok(Self {
            tls,
            life: Life::of_pem(certificate_pem)?,
        })
    }
}

fn read(folder: &Folder, name: &str) -> Result<Vec<u8>, Failure> {
    let path = folder.identity_file(name);
    files::read_bounded(&path, MAX_BYTES).map_err(|error| {
        let remedy = if error.kind() == std::io::ErrorKind::NotFound {
            "enrol this machine first with `custody-agent join`, with --data naming this folder"
        } else {
            "check that this user may read it"
        };
        Failure::new(format!("identity {}", path.display()), "read it", error, remedy)
    })
}

fn damaged(folder: &Folder, name: &str, cause: &dyn std::fmt::Display) -> Failure {
    let path = folder.identity_file(name);
    let remedy = "remove the identity folder and join again with a new token; what is recorded stays";
    Failure::new(format!("identity {}", path.display()), "use it", cause, remedy)
}

fn read_seed(folder: &Folder, name: &str) -> Result<SigningKey, Failure> {
    let bytes = Zeroizing::new(read(folder, name)?);
    let seed: &[u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| damaged(folder, name, &"it is not 32 bytes long"))?;
    Ok(SigningKey::from_seed(seed))
}

/// Whether a folder already belongs to a camera.
pub fn exists(folder: &Folder) -> bool {
    Path::exists(&folder.identity_file(AGENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_two_thirds_in() {
        let day = crate::paths::DAY_US;
        let life = Life {
            from: UtcMicros::new(0),
            until: UtcMicros::new(30 * day),
        };
        assert_eq!(life.renew_at(), UtcMicros::new(20 * day));
    }

    #[test]
    fn a_folder_that_never_joined_says_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let error = Identity::load(&Folder::new(folder.path())).err().expect("refused");
        assert!(error.to_string().contains("custody-agent join"), "{error}");
    }
}

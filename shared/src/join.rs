//! How an agent gets its identity: JSON over HTTPS, before it has a certificate.
//!
//! The installer gives the agent the server's address, a [`JoinToken`] and the digest of the
//! server's certificate authority. The agent makes its keys, sends their public halves, and gets a
//! certificate and everything else it needs to record.

use crate::cose::VerifyingKey;
use crate::hash::Sha256Hash;
use crate::hpke::RecipientPublic;
use crate::id::{CameraId, SiteId};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// A join or renewal request's body is at most this long, in bytes.
pub const MAX_REQUEST_LEN: usize = 16 * 1024;
/// A join response's body is at most this long, in bytes.
pub const MAX_RESPONSE_LEN: usize = 512 * 1024;
/// Length of the first part of a token, in bytes.
pub const TOKEN_ID_LEN: usize = 6;
/// Length of the secret part of a token, in bytes.
pub const TOKEN_SECRET_LEN: usize = 16;

/// A text that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a join token is written as twelve hexadecimal digits, a full stop and 32 more")]
pub struct TokenError;

/// Lets one agent join: a public part that names it and a secret part. Shown once.
pub struct JoinToken {
    id: [u8; TOKEN_ID_LEN],
    secret: Zeroizing<[u8; TOKEN_SECRET_LEN]>,
}

impl JoinToken {
    /// A fresh token.
    ///
    /// # Errors
    /// If the system's random source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut token = Self {
            id: [0; TOKEN_ID_LEN],
            secret: Zeroizing::new([0; TOKEN_SECRET_LEN]),
        };
        getrandom::fill(&mut token.id)?;
        getrandom::fill(&mut token.secret[..])?;
        Ok(token)
    }

    /// The public part, in the record and in logs.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    /// What the server keeps instead of the token. The secret has 128 random bits, so a plain
    /// digest does not help whoever reads it.
    pub fn hash(&self) -> Sha256Hash {
        let mut hasher = crate::hash::Hasher::new();
        hasher.update(b"custody/join-token/v1\0");
        hasher.update(&self.id);
        hasher.update(&self.secret[..]);
        hasher.finish()
    }

    /// The whole token, for the one who joins.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", hex::encode(self.id), hex::encode(&self.secret[..])))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (id, secret) = text.trim().split_once('.').ok_or(TokenError)?;
        let mut token = Self {
            id: [0; TOKEN_ID_LEN],
            secret: Zeroizing::new([0; TOKEN_SECRET_LEN]),
        };
        hex::decode_to_slice(id, &mut token.id).map_err(|_| TokenError)?;
        hex::decode_to_slice(secret, &mut token.secret[..]).map_err(|_| TokenError)?;
        Ok(token)
    }
}

impl Serialize for JoinToken {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for JoinToken {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::id::text_visitor(d)
    }
}

/// What an agent sends to join. Nothing about the machine it runs on is asked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The token, as text in JSON.
    pub token: JoinToken,
    /// Which of the token's places this agent takes; the next free one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// A certificate signing request for the agent's TLS key, PEM. Its subject is ignored.
    pub csr_pem: String,
    /// Public half of the key that signs statements.
    pub statement_public: VerifyingKey,
    /// Public half of the key that witnesses the record.
    pub witness_public: VerifyingKey,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("slot", &self.slot)
            .field("statement_public", &self.statement_public)
            .finish_non_exhaustive()
    }
}

/// Where an agent finds the MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttEndpoint {
    /// Host name or address; one that the server's certificate names.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What an agent needs to record and report, given once at joining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinResponse {
    /// The site.
    pub site: SiteId,
    /// The camera this agent records from now on.
    pub camera: CameraId,
    /// What people call the camera; at most 64 characters.
    pub camera_name: String,
    /// The agent's certificate, PEM.
    pub certificate_pem: String,
    /// The certificate authority, PEM; its digest is the pin.
    pub ca_pem: String,
    /// The broker.
    pub mqtt: MqttEndpoint,
    /// Base address of the agent interface, `https://host:port`.
    pub agents_url: String,
    /// The key that batches and health are sealed to.
    #[serde(with = "public_base64")]
    pub server_transport_public: RecipientPublic,
    /// The key that signs everything from the server.
    pub server_command_public: VerifyingKey,
    /// A signed key announcement, so that recording starts before the broker is reached.
    #[serde(with = "bytes_base64")]
    pub keys: Vec<u8>,
}

/// What an agent sends to have its certificate renewed, authenticated by the one it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// A certificate signing request, PEM.
    pub csr_pem: String,
}

/// The renewed certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewResponse {
    /// The certificate, PEM.
    pub certificate_pem: String,
}

mod bytes_base64 {
    use super::*;
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
    }
    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(serde::de::Error::custom)
    }
}

mod public_base64 {
    use super::*;
    pub(super) fn serialize<S: serde::Serializer>(key: &RecipientPublic, s: S) -> Result<S::Ok, S::Error> {
        bytes_base64::serialize(key.as_bytes(), s)
    }
    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<RecipientPublic, D::Error> {
        RecipientPublic::from_bytes(&bytes_base64::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose::SigningKey;
    use crate::hpke::RecipientSecret;

    #[test]
    fn token_text_and_hash_come_back() {
        let token = JoinToken::generate().unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 12 + 1 + 32);
        let again: JoinToken = text.parse().unwrap();
        assert_eq!((again.id(), again.hash()), (token.id(), token.hash()));
        assert!(text.starts_with(&token.id()));
        assert_ne!(JoinToken::generate().unwrap().hash(), token.hash());
        for bad in [
            "",
            ".",
            "00.11",
            &text[1..],
            &format!("{}0", &text[..]),
            &text.replace('.', ":"),
        ] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn response_comes_back_from_json() {
        let response = JoinResponse {
            site: SiteId::from_bytes([1; 16]),
            camera: CameraId::from_bytes([2; 16]),
            camera_name: "대기실 동쪽".into(),
            certificate_pem: "c".into(),
            ca_pem: "a".into(),
            mqtt: MqttEndpoint {
                host: "custody.local".into(),
                port: 8883,
            },
            agents_url: "https://custody.local:8443".into(),
            server_transport_public: RecipientSecret::from_seed(&[3; 32]).public(),
            server_command_public: SigningKey::from_seed(&[4; 32]).public(),
            keys: vec![1, 2, 3],
        };
        let json = serde_json::to_string(&response).unwrap();
        assert_eq!(serde_json::from_str::<JoinResponse>(&json).unwrap(), response);
        let unknown = json.replacen('{', "{\"root\":true,", 1);
        assert!(
            serde_json::from_str::<JoinResponse>(&unknown).is_err(),
            "an unknown field"
        );
    }

    #[test]
    fn request_hides_its_token() {
        let key = SigningKey::from_seed(&[4; 32]).public();
        let token = JoinToken::generate().unwrap();
        let secret = token.reveal()[13..].to_owned();
        let request = JoinRequest {
            token,
            slot: None,
            csr_pem: String::new(),
            statement_public: key,
            witness_public: key,
        };
        assert!(!format!("{request:?}").contains(&secret));
        assert!(serde_json::to_string(&request).unwrap().contains(&secret));
    }
}

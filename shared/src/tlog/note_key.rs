//! Keys of notes: a name, an id and Ed25519 (C2SP `signed-note`).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::note::NoteError;

/// The longest key name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Signature type byte of a plain Ed25519 signature over the text.
pub const ED25519: u8 = 0x01;
/// Signature type byte of a timestamped cosignature.
pub const COSIGNATURE_V1: u8 = 0x04;

/// A key name: not empty, no space, no plus sign, no control character.
pub fn valid_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c == '+' || c.is_control();
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(bad)
}

/// SHA-256(name ‖ newline ‖ type ‖ public key), the first four bytes.
fn key_id(name: &str, algorithm: u8, public: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', algorithm])
        .chain_update(public)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// A named private key that signs notes.
pub struct NoteSigner {
    name: String,
    key_id: [u8; 4],
    algorithm: u8,
    key: SigningKey,
}

impl NoteSigner {
    /// A signer of plain notes from an Ed25519 seed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        NoteSigner::with_algorithm(name, ED25519, seed)
    }

    pub(crate) fn with_algorithm(name: &str, algorithm: u8, seed: &[u8; 32]) -> Result<Self, NoteError> {
        if !valid_name(name) {
            return Err(NoteError::MalformedKey);
        }
        let key = SigningKey::from_bytes(seed);
        let key_id = key_id(name, algorithm, key.verifying_key().as_bytes());
        Ok(NoteSigner {
            name: name.to_owned(),
            key_id,
            algorithm,
            key,
        })
    }

    /// Parses `PRIVATE+KEY+name+id+key`, the spelling of Go's `sumdb/note`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(NoteError::MalformedKey)?;
        let (name, id, algorithm, seed) = parse_key(rest)?;
        let signer = NoteSigner::with_algorithm(name, algorithm, &seed)?;
        if signer.key_id != id {
            return Err(NoteError::MalformedKey);
        }
        Ok(signer)
    }

    /// The key as text, for a file that only its owner can read.
    pub fn to_private_text(&self) -> Zeroizing<String> {
        let mut blob = Zeroizing::new(vec![self.algorithm]);
        blob.extend_from_slice(self.key.as_bytes());
        let key = Zeroizing::new(BASE64_STANDARD.encode(&*blob));
        Zeroizing::new(format!(
            "PRIVATE+KEY+{}+{}+{}",
            self.name,
            hex::encode(self.key_id),
            &*key
        ))
    }

    /// The public half.
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier {
            name: self.name.clone(),
            key_id: self.key_id,
            algorithm: self.algorithm,
            key: self.key.verifying_key(),
        }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    pub(crate) fn raw_signature(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// A named public key that checks notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    key_id: [u8; 4],
    algorithm: u8,
    key: VerifyingKey,
}

impl NoteVerifier {
    /// A verifier of plain notes from 32 public bytes.
    pub fn from_public(name: &str, public: &[u8; 32]) -> Result<Self, NoteError> {
        NoteVerifier::with_algorithm(name, ED25519, public)
    }

    pub(crate) fn with_algorithm(name: &str, algorithm: u8, public: &[u8; 32]) -> Result<Self, NoteError> {
        if !valid_name(name) {
            return Err(NoteError::MalformedKey);
        }
        let key = VerifyingKey::from_bytes(public).map_err(|_| NoteError::MalformedKey)?;
        if key.is_weak() {
            return Err(NoteError::MalformedKey);
        }
        Ok(NoteVerifier {
            name: name.to_owned(),
            key_id: key_id(name, algorithm, public),
            algorithm,
            key,
        })
    }

    /// Parses a C2SP verifier key: `name+id+key`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, algorithm, public) = parse_key(text)?;
        let verifier = NoteVerifier::with_algorithm(name, algorithm, &public)?;
        if verifier.key_id != id {
            return Err(NoteError::MalformedKey);
        }
        Ok(verifier)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The key's id.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }
    /// The type of signature the key makes.
    pub fn algorithm(&self) -> u8 {
        self.algorithm
    }
    /// The raw public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Ed25519Signature::from_slice(signature) else {
            return false;
        };
        self.key.verify_strict(message, &signature).is_ok()
    }
}

impl std::fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blob = [&[self.algorithm][..], self.key.as_bytes()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.key_id),
            BASE64_STANDARD.encode(blob)
        )
    }
}

/// Name, id, type and the 32 bytes.
type KeyParts<'a> = (&'a str, [u8; 4], u8, [u8; 32]);

/// `name+id+base64(type ‖ 32 bytes)`. Base64 may itself contain plus signs, a name may not.
fn parse_key(text: &str) -> Result<KeyParts<'_>, NoteError> {
    let bad = NoteError::MalformedKey;
    let (name, rest) = text.split_once('+').ok_or(bad.clone())?;
    let (id, key) = rest.split_once('+').ok_or(bad.clone())?;
    let lower_hex = id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !valid_name(name) || !lower_hex || key.len() > 64 {
        return Err(bad);
    }
    let id = hex::decode(id)
        .map_err(|_| bad.clone())?
        .try_into()
        .map_err(|_| bad.clone())?;
    let blob = Zeroizing::new(BASE64_STANDARD.decode(key).map_err(|_| bad.clone())?);
    let (algorithm, key) = blob.split_first().ok_or(bad.clone())?;
    if !matches!(*algorithm, ED25519 | COSIGNATURE_V1) {
        return Err(bad);
    }
    Ok((name, id, *algorithm, key.try_into().map_err(|_| bad)?))
}

//! Text with signatures (C2SP `signed-note`), with Ed25519 keys.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The most signatures that are read from one note. C2SP asks for at least 16; a site may have many witnesses.
pub const MAX_SIGNATURES: usize = 256;
/// The longest key name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Signature type byte of a plain Ed25519 signature over the text.
pub const ED25519: u8 = 0x01;
/// Signature type byte of a timestamped cosignature.
pub const COSIGNATURE_V1: u8 = 0x04;

/// Why a note, a key or a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The bytes are no note.
    #[error("malformed note")]
    Malformed,
    /// The text of a key is malformed or contradicts its key id.
    #[error("malformed key")]
    MalformedKey,
    /// No signature of this key is on the note.
    #[error("the note is not signed by {0}")]
    NotSigned(String),
    /// A signature that claims this key does not verify.
    #[error("a signature on the note claims to be by {0} and is not")]
    BadSignature(String),
}

/// One signature line: a name, a key id and what the key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: [u8; 4],
    /// The signature itself, without the key id.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The line with its newline: `— name base64`.
    pub fn line(&self) -> String {
        let blob = [&self.key_id[..], &self.bytes].concat();
        format!("\u{2014} {} {}\n", self.name, BASE64_STANDARD.encode(blob))
    }

    /// Parses one line without its newline.
    pub fn parse_line(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::Malformed)?;
        let (name, blob) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        let blob = BASE64_STANDARD.decode(blob).map_err(|_| NoteError::Malformed)?;
        let (key_id, bytes) = blob.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
        if !valid_name(name) || bytes.is_empty() {
            return Err(NoteError::Malformed);
        }
        Ok(Signature {
            name: name.to_owned(),
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }
}

/// A text and the signatures under it. Holding one proves nothing: ask [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// An unsigned note. The text ends in a newline and has no other control character.
    pub fn new(text: String) -> Result<Self, NoteError> {
        let clean = text.bytes().all(|b| b >= 0x20 || b == b'\n');
        if !text.ends_with('\n') || !clean || text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed);
        }
        Ok(Note {
            text,
            signatures: Vec::new(),
        })
    }

    /// Parses a note with at least one signature.
    pub fn parse(bytes: &str) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed);
        }
        let split = bytes.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let mut note = Note::new(bytes[..split + 1].to_owned())?;
        let lines = bytes[split + 2..].strip_suffix('\n').ok_or(NoteError::Malformed)?;
        for line in lines.split('\n') {
            if note.signatures.len() >= MAX_SIGNATURES {
                return Err(NoteError::Malformed);
            }
            note.signatures.push(Signature::parse_line(line)?);
        }
        Ok(note)
    }

    /// The signed text with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order, verified or not.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Puts a signature under the note.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.push(signature);
    }

    /// Signs the text and puts the signature under it.
    pub fn sign(&mut self, signer: &NoteSigner) {
        let bytes = signer.key.sign(self.text.as_bytes()).to_bytes().to_vec();
        self.add(Signature {
            name: signer.name.clone(),
            key_id: signer.key_id,
            bytes,
        });
    }

    /// Checks that this key signed the text. Signatures of other keys are ignored; one that claims this key and is not
    /// by it condemns the note.
    pub fn verify(&self, verifier: &NoteVerifier) -> Result<(), NoteError> {
        self.verify_with(verifier, |bytes| {
            verifier.verifies(self.text.as_bytes(), bytes).then_some(())
        })
    }

    /// Applies `check` to every signature of this key; the answer is that of the last.
    pub(crate) fn verify_with<T>(
        &self,
        verifier: &NoteVerifier,
        check: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, NoteError> {
        let mut found = None;
        for signature in &self.signatures {
            if signature.name == verifier.name && signature.key_id == verifier.key_id {
                found = Some(check(&signature.bytes).ok_or_else(|| NoteError::BadSignature(verifier.name.clone()))?);
            }
        }
        found.ok_or_else(|| NoteError::NotSigned(verifier.name.clone()))
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| f.write_str(&s.line()))
    }
}

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

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;

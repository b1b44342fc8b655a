//! Text with signatures (C2SP `signed-note`), with Ed25519 keys.

use base64::prelude::{BASE64_STANDARD, Engine as _};

pub use super::note_key::{COSIGNATURE_V1, ED25519, MAX_NAME_BYTES, NoteSigner, NoteVerifier, valid_name};

/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The most signatures that are read from one note. C2SP asks for at least 16; a site may have many witnesses.
pub const MAX_SIGNATURES: usize = 256;
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
        let bytes = signer.raw_signature(self.text.as_bytes()).to_vec();
        self.add(Signature {
            name: signer.name().to_owned(),
            key_id: signer.key_id(),
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
            if signature.name == verifier.name() && signature.key_id == verifier.key_id() {
                found =
                    Some(check(&signature.bytes).ok_or_else(|| NoteError::BadSignature(verifier.name().to_owned()))?);
            }
        }
        found.ok_or_else(|| NoteError::NotSigned(verifier.name().to_owned()))
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| f.write_str(&s.line()))
    }
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;

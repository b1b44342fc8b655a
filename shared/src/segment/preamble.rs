//! What stands before the chunks, in the clear: who sealed what, when, and the sealed key.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::hash::Sha256Hash;
use crate::hpke::ENC_LEN;
use crate::id::{BootId, CameraId, KeyId};
use crate::time::UtcMicros;
use std::fmt;

/// First bytes of every segment file.
pub const MAGIC: &[u8; 4] = b"CSG1";
/// The version this code writes and reads.
pub const VERSION: u8 = 1;
/// X-Wing, HKDF-SHA256 and ChaCha20-Poly1305 for the key; HKDF-SHA512 and ChaCha20-Poly1305 for the chunks.
pub const SUITE: u8 = 1;
/// Length of the header.
pub const HEADER_LEN: usize = 4 + 1 + 1 + 16 + 16 + 8 + 8 + 16 + 32;
/// Length of the sealed segment key: 32 bytes and a tag.
pub const SEALED_KEY_LEN: usize = 48;
/// Length of the salt.
pub const SALT_LEN: usize = 24;
/// Length of the commitment.
pub const COMMITMENT_LEN: usize = 32;
/// Length of everything before the first chunk.
pub const PREAMBLE_LEN: usize = HEADER_LEN + 2 + ENC_LEN + SEALED_KEY_LEN + SALT_LEN + COMMITMENT_LEN;

/// Why bytes are no preamble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// Fewer bytes than a preamble has.
    #[error("shorter than a segment's preamble")]
    Short,
    /// Another file format.
    #[error("not a sealed segment")]
    Magic,
    /// A version or suite this code does not know; a newer Custody may.
    #[error("segment version {version}, suite {suite}: not known here")]
    Version {
        /// The version byte found.
        version: u8,
        /// The suite byte found.
        suite: u8,
    },
    /// A field has a value that no writer writes.
    #[error("the segment's {0} is out of range")]
    Field(&'static str),
}

/// Who recorded the segment, under which key, from when on. Authenticated by every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The camera.
    pub camera: CameraId,
    /// The footage key that the segment's key is sealed to.
    pub key_id: KeyId,
    /// Number of the segment, counted per camera without a hole and never used twice.
    pub seq: u64,
    /// Time of the first frame.
    pub t_start: UtcMicros,
    /// The agent's start in which it was recorded.
    pub boot_id: BootId,
    /// Digest of the camera's last signed statement when the segment began.
    pub prev_statement: Sha256Hash,
}

impl Header {
    /// The bytes at the start of the file.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(MAGIC);
        put(&[VERSION, SUITE]);
        put(self.camera.as_bytes());
        put(self.key_id.as_bytes());
        put(&self.seq.to_be_bytes());
        put(&self.t_start.get().to_be_bytes());
        put(self.boot_id.as_bytes());
        put(self.prev_statement.as_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If it is another format or version, or `t_start` is outside 1970 to 9999.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, PreambleError> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != *MAGIC {
            return Err(PreambleError::Magic);
        }
        let [version, suite] = fields.take()?;
        if (version, suite) != (VERSION, SUITE) {
            return Err(PreambleError::Version { version, suite });
        }
        let header = Self {
            camera: CameraId::from_bytes(fields.take()?),
            key_id: KeyId::from_bytes(fields.take()?),
            seq: u64::from_be_bytes(fields.take()?),
            t_start: UtcMicros::new(i64::from_be_bytes(fields.take()?)),
            boot_id: BootId::from_bytes(fields.take()?),
            prev_statement: Sha256Hash::from_bytes(fields.take()?),
        };
        if header.t_start.is_plausible() {
            Ok(header)
        } else {
            Err(PreambleError::Field("start"))
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], PreambleError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(PreambleError::Short)?;
        self.0 = rest;
        Ok(*field)
    }
}

/// Everything before the first chunk. Enough to unseal the segment's key without the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Preamble {
    /// Who, under which key, from when on.
    pub header: Header,
    /// The encapsulated key of the HPKE seal.
    pub enc: Box<[u8; ENC_LEN]>,
    /// The segment's key, sealed.
    pub sealed_key: [u8; SEALED_KEY_LEN],
    /// Salt of the chunks' key derivation.
    pub salt: [u8; SALT_LEN],
    /// Commitment to the segment's key.
    pub commitment: [u8; COMMITMENT_LEN],
}

impl Preamble {
    /// The bytes at the start of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREAMBLE_LEN);
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.extend_from_slice(&(ENC_LEN as u16).to_be_bytes());
        bytes.extend_from_slice(&self.enc[..]);
        bytes.extend_from_slice(&self.sealed_key);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.commitment);
        bytes
    }

    /// Reads the preamble at the start of `bytes`; chunks may follow.
    ///
    /// # Errors
    /// If `bytes` do not start with a preamble of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, PreambleError> {
        let mut fields = Fields(bytes);
        let header = Header::parse(&fields.take()?)?;
        if usize::from(u16::from_be_bytes(fields.take()?)) != ENC_LEN {
            return Err(PreambleError::Field("encapsulated key's length"));
        }
        Ok(Self {
            header,
            enc: Box::new(fields.take()?),
            sealed_key: fields.take()?,
            salt: fields.take()?,
            commitment: fields.take()?,
        })
    }

    /// The additional data of the key's seal: header, salt and commitment.
    pub fn key_aad(&self) -> Vec<u8> {
        key_aad(&self.header, &self.salt, &self.commitment)
    }
}

pub(super) fn key_aad(header: &Header, salt: &[u8; SALT_LEN], commitment: &[u8; COMMITMENT_LEN]) -> Vec<u8> {
    [&header.to_bytes()[..], salt, commitment].concat()
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preamble")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Cbor for Preamble {
    fn write(&self, e: &mut Encoder) {
        e.bytes(&self.to_bytes());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        let bytes = d.bytes(PREAMBLE_LEN)?;
        match Self::parse(bytes) {
            Ok(preamble) if bytes.len() == PREAMBLE_LEN => Ok(preamble),
            _ => Err(CborError::Value("preamble")),
        }
    }
}

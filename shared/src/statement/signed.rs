//! A statement and its signed bytes.

use super::Kind;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::cose::{self, CoseError, SigningKey, VerifyingKey};
use crate::hash::Sha256Hash;
use crate::id::{BootId, CameraId};
use crate::time::UtcMicros;

/// Names the kind of message in the signature.
pub const DOMAIN: &str = "custody/statement/v1";
/// Signed bytes of one statement are at most this long.
pub const MAX_SIGNED_LEN: usize = 4096;
const VERSION: u64 = 1;

/// Why bytes are no statement, or a statement cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than [`MAX_SIGNED_LEN`].
    #[error("a signed statement has at most {MAX_SIGNED_LEN} bytes")]
    TooLong,
    /// Not signed by this camera's key, or changed.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// Signed, but not a statement of this version.
    #[error("the statement {0}")]
    Content(#[from] CborError),
    /// A field that no reader would accept.
    #[error("the statement's {0} is not allowed")]
    Field(&'static str),
}

/// One thing a camera says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The camera that says it.
    pub camera: CameraId,
    /// Place in the camera's chain: 0, 1, 2…
    pub index: u64,
    /// Digest of the signed bytes of the statement before; [`Sha256Hash::ZERO`] for the first.
    pub prev: Sha256Hash,
    /// When it is said, by the agent's clock.
    pub at: UtcMicros,
    /// The agent's start in which it is said.
    pub boot: BootId,
    /// What is said.
    pub kind: Kind,
}

impl Statement {
    /// Signs the statement.
    ///
    /// # Errors
    /// If a field is outside its limits, so that no reader would accept it.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedStatement, StatementError> {
        self.check().map_err(StatementError::Field)?;
        SignedStatement::from_bytes(cose::sign1(key, DOMAIN, self.to_cbor()))
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.at.is_plausible() {
            return Err("instant");
        }
        if (self.index == 0) != (self.prev == Sha256Hash::ZERO) {
            return Err("link");
        }
        if let Kind::Segment(s) = &self.kind
            && s.preamble.header.camera != self.camera
        {
            return Err("camera");
        }
        self.kind.check()
    }
}

impl Cbor for Statement {
    fn write(&self, e: &mut Encoder) {
        e.map(7)
            .key(0)
            .uint(VERSION)
            .key(1)
            .value(&self.camera)
            .key(2)
            .uint(self.index);
        e.key(3)
            .value(&self.prev)
            .key(4)
            .value(&self.at)
            .key(5)
            .value(&self.boot)
            .key(6)
            .value(&self.kind);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(7)?;
        if d.key(0)?.uint()? != VERSION {
            return Err(CborError::Value("version"));
        }
        let statement = Self {
            camera: d.key(1)?.value()?,
            index: d.key(2)?.uint()?,
            prev: d.key(3)?.value()?,
            at: d.key(4)?.value()?,
            boot: d.key(5)?.value()?,
            kind: d.key(6)?.value()?,
        };
        statement.check().map_err(CborError::Value)?;
        Ok(statement)
    }
}

/// The signed bytes of a statement, as they are stored, sent and linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    bytes: Vec<u8>,
}

impl SignedStatement {
    /// Takes bytes that claim to be a statement.
    ///
    /// # Errors
    /// If they are too long.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StatementError> {
        if bytes.len() <= MAX_SIGNED_LEN {
            Ok(Self { bytes })
        } else {
            Err(StatementError::TooLong)
        }
    }

    /// The signed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signed bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What the next statement links to.
    pub fn hash(&self) -> Sha256Hash {
        Sha256Hash::of(&self.bytes)
    }

    /// What was said, if this key signed it. Statements from outside are checked with this.
    ///
    /// # Errors
    /// If another key signed it, or it is no valid statement.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Statement, StatementError> {
        Ok(Statement::from_cbor(&cose::verify1(key, DOMAIN, &self.bytes)?)?)
    }

    /// What is said, without asking who said it: for bytes whose signature was checked before they
    /// were stored, and whose storage or chain vouches for them.
    ///
    /// # Errors
    /// If it is no valid statement.
    pub fn parse_unverified(&self) -> Result<Statement, StatementError> {
        Ok(Statement::from_cbor(&cose::parse(&self.bytes)?.into_payload())?)
    }

    /// Checks many stored statements of one camera at once, three times as fast as one by one.
    ///
    /// Only for statements that [`verify`](Self::verify) accepted when they arrived, as when an
    /// index is rebuilt: the holder of a key can make signatures that this check accepts by chance
    /// and a strict one, such as an outsider's, does not.
    ///
    /// # Errors
    /// If any of them is not this key's or not a valid statement. Which one is not said.
    pub fn verify_batch(key: &VerifyingKey, statements: &[Self]) -> Result<Vec<Statement>, StatementError> {
        let messages: Vec<_> = statements
            .iter()
            .map(|s| cose::parse(&s.bytes))
            .collect::<Result<_, _>>()?;
        cose::verify_batch(key, DOMAIN, &messages)?;
        messages
            .into_iter()
            .map(|m| Ok(Statement::from_cbor(&m.into_payload())?))
            .collect()
    }
}

//! The frame of every message from the server: who, to whom, which, and until when.

use super::counter::{CounterGuard, Replayed};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::cose::{self, CoseError, SigningKey, VerifyingKey};
use crate::id::{CameraId, SiteId};
use crate::time::UtcMicros;
use crate::topic::Topic;

/// No message from the server is longer than this, in bytes.
pub const MAX_DOWNLINK_LEN: usize = 128 * 1024;
const VERSION: u64 = 1;

/// Why a message is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than its kind may be.
    #[error("the message is longer than {0} bytes")]
    TooLong(usize),
    /// Not the server's, or changed.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// Signed, but malformed.
    #[error("the message {0}")]
    Content(#[from] CborError),
    /// For another site or camera.
    #[error("the message is for another camera")]
    Addressee,
    /// Its time is over.
    #[error("the message expired at {0}")]
    Expired(UtcMicros),
    /// It was issued in the future: this clock or the server's is wrong.
    #[error("the message was issued at {0}, which is yet to come")]
    Future(UtcMicros),
    /// It was seen before.
    #[error(transparent)]
    Replayed(#[from] Replayed),
    /// The message does not open.
    #[error(transparent)]
    Seal(#[from] crate::hpke::HpkeError),
    /// A field that no reader would accept.
    #[error("the message's {0} is not allowed")]
    Field(&'static str),
}

/// What a message from the server can carry.
pub trait Body: Cbor {
    /// Names the kind in the signature, so that no kind passes as another.
    const DOMAIN: &'static str;
    /// Length limit of the signed message in bytes.
    const MAX_LEN: usize;
    /// Where it is published.
    const TOPIC: Topic;
    /// What of it no reader would accept, if anything.
    ///
    /// # Errors
    /// The name of the field.
    fn check(&self, _camera: CameraId) -> Result<(), &'static str> {
        Ok(())
    }
}

/// A message from the server to one camera's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink<B> {
    /// The site.
    pub site: SiteId,
    /// The camera.
    pub camera: CameraId,
    /// Counts up with every message of its kind to this camera; see [`CounterGuard`].
    pub counter: u64,
    /// When it was issued, by the server's clock.
    pub issued_at: UtcMicros,
    /// From when on it is no longer obeyed.
    pub expires_at: UtcMicros,
    /// What it says.
    pub body: B,
}

/// How far ahead of an agent's clock the server's may be, in microseconds.
const TOLERANCE_US: i64 = 5 * 60 * crate::time::SECOND_US;

impl<B: Body> Downlink<B> {
    /// Signs the message.
    ///
    /// # Errors
    /// If a field is outside its limits or the message is too long.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, MessageError> {
        if self.issued_at >= self.expires_at || !self.issued_at.is_plausible() || !self.expires_at.is_plausible() {
            return Err(MessageError::Field("expiry"));
        }
        self.body.check(self.camera).map_err(MessageError::Field)?;
        let mut e = Encoder::new();
        e.map(7)
            .key(0)
            .uint(VERSION)
            .key(1)
            .value(&self.site)
            .key(2)
            .value(&self.camera)
            .key(3)
            .uint(self.counter);
        e.key(4)
            .value(&self.issued_at)
            .key(5)
            .value(&self.expires_at)
            .key(6)
            .value(&self.body);
        let signed = cose::sign1(key, B::DOMAIN, e.finish());
        if signed.len() <= B::MAX_LEN {
            Ok(signed)
        } else {
            Err(MessageError::TooLong(B::MAX_LEN))
        }
    }

    /// Checks everything but the counter: signature, addressee, time.
    ///
    /// # Errors
    /// If the message is not to be obeyed.
    pub fn open(
        key: &VerifyingKey,
        bytes: &[u8],
        site: SiteId,
        camera: CameraId,
        now: UtcMicros,
    ) -> Result<Self, MessageError> {
        if bytes.len() > B::MAX_LEN {
            return Err(MessageError::TooLong(B::MAX_LEN));
        }
        let message = Self::decode(&cose::verify1(key, B::DOMAIN, bytes)?)?;
        if (message.site, message.camera) != (site, camera) {
            return Err(MessageError::Addressee);
        }
        if message.expires_at <= now {
            return Err(MessageError::Expired(message.expires_at));
        }
        if message.issued_at.since(now) > TOLERANCE_US {
            return Err(MessageError::Future(message.issued_at));
        }
        Ok(message)
    }

    /// [`open`](Self::open), then the counter: each message is obeyed once.
    ///
    /// The guard's new value is made durable before the message is acted on.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if the counter is not higher than all before.
    pub fn receive(
        key: &VerifyingKey,
        bytes: &[u8],
        site: SiteId,
        camera: CameraId,
        now: UtcMicros,
        guard: &mut CounterGuard,
    ) -> Result<Self, MessageError> {
        let message = Self::open(key, bytes, site, camera, now)?;
        guard.accept(message.counter)?;
        Ok(message)
    }

    fn decode(payload: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(payload);
        d.map(7)?;
        if d.key(0)?.uint()? != VERSION {
            return Err(CborError::Value("version"));
        }
        let message = Self {
            site: d.key(1)?.value()?,
            camera: d.key(2)?.value()?,
            counter: d.key(3)?.uint()?,
            issued_at: d.key(4)?.value()?,
            expires_at: d.key(5)?.value()?,
            body: d.key(6)?.value()?,
        };
        d.finish()?;
        if message.issued_at >= message.expires_at {
            return Err(CborError::Value("expiry"));
        }
        message.body.check(message.camera).map_err(CborError::Value)?;
        Ok(message)
    }
}

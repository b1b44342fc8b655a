//! From the agent: presence and health.

use super::MessageError;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::cose::{self, SigningKey, VerifyingKey};
use crate::hpke::{self, ENC_LEN, RecipientPublic, RecipientSecret, TAG_LEN};
use crate::id::{BootId, CameraId};
use crate::statement::ClockSource;
use crate::time::UtcMicros;

const VERSION: u64 = 1;
const STATUS_DOMAIN: &str = "custody/status/v1";
const HEALTH_DOMAIN: &str = "custody/health/v1";
const HEALTH_INFO: &[u8] = b"custody/health/v1";
/// A signed status is at most this long, in bytes.
pub const MAX_STATUS_LEN: usize = 256;
/// A health message is exactly this long, in bytes.
pub const HEALTH_LEN: usize = 1_536;
const HEALTH_PLAIN_LEN: usize = HEALTH_LEN - ENC_LEN - TAG_LEN;

/// Whether the agent is connected. Retained; the offline one is made beforehand, as last will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The camera.
    pub camera: CameraId,
    /// Connected, or not any more.
    pub online: bool,
    /// The agent's start.
    pub boot: BootId,
    /// When the connection began, in both messages: so that an old last will is told from a new one.
    pub since: UtcMicros,
}

impl Status {
    /// Signs the status with the key of the camera's statements.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(5)
            .key(0)
            .uint(VERSION)
            .key(1)
            .value(&self.camera)
            .key(2)
            .bool(self.online);
        e.key(3).value(&self.boot).key(4).value(&self.since);
        cose::sign1(key, STATUS_DOMAIN, e.finish())
    }

    /// The status, if this camera signed it.
    ///
    /// # Errors
    /// If it is too long, not signed by the key, malformed, or another camera's.
    pub fn verify(key: &VerifyingKey, camera: CameraId, bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_STATUS_LEN {
            return Err(MessageError::TooLong(MAX_STATUS_LEN));
        }
        let status = Self::decode(&cose::verify1(key, STATUS_DOMAIN, bytes)?)?;
        if status.camera == camera {
            Ok(status)
        } else {
            Err(MessageError::Addressee)
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(payload);
        d.map(5)?;
        if d.key(0)?.uint()? != VERSION {
            return Err(CborError::Value("version"));
        }
        let status = Self {
            camera: d.key(1)?.value()?,
            online: d.key(2)?.bool()?,
            boot: d.key(3)?.value()?,
            since: d.key(4)?.value()?,
        };
        d.finish()?;
        Ok(status)
    }
}

/// What is wrong with an agent, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(pub u32);

impl Faults {
    /// The camera gives no picture.
    pub const NO_SIGNAL: Self = Self(1);
    /// The clock is not kept right by anything.
    pub const CLOCK: Self = Self(1 << 1);
    /// The disk is nearly full.
    pub const DISK_LOW: Self = Self(1 << 2);
    /// The disk fails.
    pub const DISK_ERROR: Self = Self(1 << 3);
    /// There are footage keys for few days only.
    pub const KEYS_LOW: Self = Self(1 << 4);
    /// The reserve key is in use.
    pub const RESERVE_KEY: Self = Self(1 << 5);
    /// The certificate ends soon.
    pub const CERTIFICATE: Self = Self(1 << 6);
    /// The disk will not hold the promised days.
    pub const RETENTION: Self = Self(1 << 7);
    /// All that is known.
    pub const ALL: Self = Self(0xff);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How an agent is. Nothing in it depends on what the camera sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The camera.
    pub camera: CameraId,
    /// When it was measured.
    pub at: UtcMicros,
    /// Whether frames are being sealed.
    pub recording: bool,
    /// Age of the newest frame in seconds; saturates.
    pub last_frame_age_s: u32,
    /// Days until the disk is full at the present rate; saturates.
    pub disk_free_days: u16,
    /// What keeps the clock right.
    pub clock: ClockSource,
    /// Days for which there are day keys.
    pub keys_days: u16,
    /// What is wrong.
    pub faults: Faults,
}

impl Health {
    /// Signs and seals the message, exactly [`HEALTH_LEN`] bytes long.
    ///
    /// # Errors
    /// If randomness fails.
    pub fn seal(&self, key: &SigningKey, to: &RecipientPublic) -> Result<Vec<u8>, MessageError> {
        let signed = cose::sign1(key, HEALTH_DOMAIN, self.to_cbor());
        let mut padded = [0; HEALTH_PLAIN_LEN];
        padded[..2].copy_from_slice(&(signed.len() as u16).to_be_bytes());
        padded[2..2 + signed.len()].copy_from_slice(&signed);
        let (enc, sealed) = hpke::seal(to, HEALTH_INFO, self.camera.as_bytes(), &padded)?;
        Ok([&enc[..], &sealed].concat())
    }

    /// Opens a message that arrived on `camera`'s topic.
    ///
    /// # Errors
    /// If its length is another, it does not open, or the camera did not sign it.
    pub fn open(
        with: &RecipientSecret,
        key: &VerifyingKey,
        camera: CameraId,
        bytes: &[u8],
    ) -> Result<Self, MessageError> {
        if bytes.len() != HEALTH_LEN {
            return Err(MessageError::Field("length"));
        }
        let (enc, sealed) = bytes.split_first_chunk::<ENC_LEN>().ok_or(CborError::Truncated)?;
        let padded = hpke::open(with, enc, HEALTH_INFO, camera.as_bytes(), sealed)?;
        let (len, rest) = padded.split_first_chunk::<2>().ok_or(CborError::Truncated)?;
        let (signed, padding) = rest
            .split_at_checked(u16::from_be_bytes(*len).into())
            .ok_or(CborError::Limit)?;
        if padding.iter().any(|b| *b != 0) {
            return Err(CborError::Trailing.into());
        }
        let health = Self::from_cbor(&cose::verify1(key, HEALTH_DOMAIN, signed)?)?;
        if health.camera == camera {
            Ok(health)
        } else {
            Err(MessageError::Addressee)
        }
    }
}

impl Cbor for Health {
    fn write(&self, e: &mut Encoder) {
        e.map(9)
            .key(0)
            .uint(VERSION)
            .key(1)
            .value(&self.camera)
            .key(2)
            .value(&self.at)
            .key(3)
            .bool(self.recording);
        e.key(4)
            .uint(self.last_frame_age_s.into())
            .key(5)
            .uint(self.disk_free_days.into())
            .key(6)
            .value(&self.clock);
        e.key(7).uint(self.keys_days.into()).key(8).uint(self.faults.0.into());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(9)?;
        if d.key(0)?.uint()? != VERSION {
            return Err(CborError::Value("version"));
        }
        Ok(Self {
            camera: d.key(1)?.value()?,
            at: d.key(2)?.value()?,
            recording: d.key(3)?.bool()?,
            last_frame_age_s: d.key(4)?.small()?,
            disk_free_days: d.key(5)?.small()?,
            clock: d.key(6)?.value()?,
            keys_days: d.key(7)?.small()?,
            faults: Faults(d.key(8)?.small()?),
        })
    }
}

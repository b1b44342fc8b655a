//! What messages from the server carry: receipts, orders, keys.

use super::downlink::{Body, MAX_DOWNLINK_LEN};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::cose::OVERHEAD;
use crate::hash::Sha256Hash;
use crate::id::CameraId;
use crate::keys::{KeyDescriptor, MAX_KEYS};
use crate::topic::Topic;

/// One fetch order asks for at most this many segments.
pub const MAX_FETCH: u64 = 10_000;

/// How far the server holds this camera's chain durably. A broker's acknowledgement says less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// Place of the first statement that the server does not hold.
    pub next_index: u64,
    /// Digest of the one before; zero if there is none. If it is not the agent's, one of the two
    /// was restored from a copy.
    pub last_hash: Sha256Hash,
}

impl Body for Acked {
    const DOMAIN: &'static str = "custody/acked/v1";
    const MAX_LEN: usize = 128 + 96 + OVERHEAD;
    const TOPIC: Topic = Topic::Acked;
    fn check(&self, _camera: CameraId) -> Result<(), &'static str> {
        if (self.next_index == 0) == (self.last_hash == Sha256Hash::ZERO) {
            Ok(())
        } else {
            Err("link")
        }
    }
}

impl Cbor for Acked {
    fn write(&self, e: &mut Encoder) {
        e.map(2).key(0).uint(self.next_index).key(1).value(&self.last_hash);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(2)?;
        Ok(Self {
            next_index: d.key(0)?.uint()?,
            last_hash: d.key(1)?.value()?,
        })
    }
}

/// An order to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Upload these segments' sealed files; numbers without a file are passed over.
    Fetch {
        /// First number.
        first_seq: u64,
        /// Last number, at most [`MAX_FETCH`] segments.
        last_seq: u64,
    },
    /// End cleanly; whoever supervises the process starts it again.
    Restart,
}

impl Body for Command {
    const DOMAIN: &'static str = "custody/command/v1";
    const MAX_LEN: usize = 1024;
    const TOPIC: Topic = Topic::Command;
    fn check(&self, _camera: CameraId) -> Result<(), &'static str> {
        match self {
            Self::Fetch { first_seq, last_seq }
                if last_seq.checked_sub(*first_seq).is_none_or(|more| more >= MAX_FETCH) =>
            {
                Err("segment numbers")
            }
            _ => Ok(()),
        }
    }
}

impl Cbor for Command {
    fn write(&self, e: &mut Encoder) {
        match self {
            Self::Fetch { first_seq, last_seq } => e.array(3).uint(0).uint(*first_seq).uint(*last_seq),
            Self::Restart => e.array(1).uint(1),
        };
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        match (d.array(3)?, d.uint()?) {
            (3, 0) => Ok(Self::Fetch {
                first_seq: d.uint()?,
                last_seq: d.uint()?,
            }),
            (1, 1) => Ok(Self::Restart),
            // Numbers 2 and on are kept for destroy, mask, place, consent and configuration.
            _ => Err(CborError::Value("command")),
        }
    }
}

/// Public keys for the days ahead. Retained by the broker; replaces every announcement before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAnnouncement {
    /// Counts up with every announcement to this camera; agents keep the highest and refuse lower.
    pub issue: u64,
    /// The keys, at most [`MAX_KEYS`], all of this camera.
    pub keys: Vec<KeyDescriptor>,
}

impl Body for KeyAnnouncement {
    const DOMAIN: &'static str = "custody/keys/v1";
    const MAX_LEN: usize = MAX_DOWNLINK_LEN;
    const TOPIC: Topic = Topic::Keys;
    fn check(&self, camera: CameraId) -> Result<(), &'static str> {
        let fine = |k: &KeyDescriptor| k.camera == camera && k.is_consistent();
        if self.keys.len() <= MAX_KEYS && self.keys.iter().all(fine) {
            Ok(())
        } else {
            Err("key descriptor")
        }
    }
}

impl Cbor for KeyAnnouncement {
    fn write(&self, e: &mut Encoder) {
        e.map(2).key(0).uint(self.issue).key(1).list(&self.keys);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(2)?;
        Ok(Self {
            issue: d.key(0)?.uint()?,
            keys: d.key(1)?.list(MAX_KEYS)?,
        })
    }
}

//! Statements on their way to the server: sealed to its transport key, padded to fixed sizes.
//!
//! Sent at a fixed cadence, a batch tells a broker's operator or a packet capture neither how much
//! there was to say nor what. A batch without statements is valid, and just as long.

use crate::cbor::{CborError, Decoder, Encoder};
use crate::hpke::{self, ENC_LEN, HpkeError, RecipientPublic, RecipientSecret, TAG_LEN};
use crate::id::CameraId;
use crate::statement::MAX_SIGNED_LEN;

/// The lengths that a batch can have on the wire, in bytes. The first is the routine one and holds
/// three segments; the others are for catching up.
pub const BUCKETS: [usize; 4] = [8_192, 16_384, 65_536, 262_144];
/// A batch holds at most this many statements.
pub const MAX_STATEMENTS: usize = 2_048;

const MAGIC: &[u8; 4] = b"CSB1";
const INFO: &[u8] = b"custody/batch/v1";
/// Magic, encapsulated key and tag.
const OVERHEAD: usize = MAGIC.len() + ENC_LEN + TAG_LEN;

/// Why a batch cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A length that is none of [`BUCKETS`].
    #[error("a batch has one of the fixed lengths, not {0}")]
    Length(usize),
    /// The statements do not fit the length asked for.
    #[error("{needed} bytes of statements do not fit a batch of {bucket}")]
    TooLarge {
        /// Bytes needed.
        needed: usize,
        /// Length asked for.
        bucket: usize,
    },
    /// Not a batch of this version.
    #[error("not a batch of this version")]
    Magic,
    /// Another key or camera, or changed on the way.
    #[error("the batch does not open: {0}")]
    Seal(#[from] HpkeError),
    /// It opened, but what is inside is malformed.
    #[error("the batch's content {0}")]
    Content(#[from] CborError),
}

/// Consecutive signed statements of one camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementBatch {
    /// The camera.
    pub camera: CameraId,
    /// Place of the first statement in the chain; of the next one if there are none.
    pub first_index: u64,
    /// The signed bytes of each.
    pub statements: Vec<Vec<u8>>,
}

impl StatementBatch {
    /// Whether one more statement of `len` bytes fits beside `used` bytes (0 at first) and `count`
    /// statements in a batch of `bucket` bytes; if so, the bytes used with it.
    pub fn room_for(bucket: usize, used: usize, count: usize, len: usize) -> Option<usize> {
        // Byte string head of up to 3 bytes; length, list head and the other fields of up to 37.
        let after = used + len + 3;
        (count < MAX_STATEMENTS && len <= MAX_SIGNED_LEN && OVERHEAD + 37 + after <= bucket).then_some(after)
    }

    /// Seals the batch for the server, exactly `bucket` bytes long.
    ///
    /// # Errors
    /// If `bucket` is none of [`BUCKETS`], the statements do not fit, or randomness fails.
    pub fn seal(&self, to: &RecipientPublic, bucket: usize) -> Result<Vec<u8>, BatchError> {
        if !BUCKETS.contains(&bucket) {
            return Err(BatchError::Length(bucket));
        }
        let content = self.encode();
        let mut padded = vec![0; bucket - OVERHEAD];
        let needed = content.len() + 4;
        if needed > padded.len() || self.statements.len() > MAX_STATEMENTS {
            return Err(BatchError::TooLarge {
                needed: needed + OVERHEAD,
                bucket,
            });
        }
        padded[..4].copy_from_slice(&(content.len() as u32).to_be_bytes());
        padded[4..needed].copy_from_slice(&content);
        let (enc, sealed) = hpke::seal(to, INFO, self.camera.as_bytes(), &padded)?;
        Ok([MAGIC, &enc[..], &sealed].concat())
    }

    /// Opens a batch that arrived on `camera`'s topic.
    ///
    /// The statements inside are signed by the camera and are verified one by one afterwards.
    ///
    /// # Errors
    /// If it was sealed to another key or as another camera's, or is malformed.
    pub fn open(with: &RecipientSecret, camera: CameraId, bytes: &[u8]) -> Result<Self, BatchError> {
        if !BUCKETS.contains(&bytes.len()) {
            return Err(BatchError::Length(bytes.len()));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(BatchError::Magic)?;
        let (enc, sealed) = rest.split_first_chunk::<ENC_LEN>().ok_or(BatchError::Magic)?;
        let padded = hpke::open(with, enc, INFO, camera.as_bytes(), sealed)?;
        let (len, rest) = padded.split_first_chunk::<4>().ok_or(CborError::Truncated)?;
        let (content, padding) = rest
            .split_at_checked(u32::from_be_bytes(*len) as usize)
            .ok_or(CborError::Limit)?;
        if padding.iter().any(|b| *b != 0) {
            return Err(CborError::Trailing.into());
        }
        Ok(Self::decode(camera, content)?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.map(3)
            .key(0)
            .value(&self.camera)
            .key(1)
            .uint(self.first_index)
            .key(2)
            .array(self.statements.len());
        for statement in &self.statements {
            e.bytes(statement);
        }
        e.finish()
    }

    fn decode(camera: CameraId, content: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(content);
        d.map(3)?;
        if d.key(0)?.value::<CameraId>()? != camera {
            return Err(CborError::Value("camera"));
        }
        let first_index = d.key(1)?.uint()?;
        let mut statements = Vec::new();
        for _ in 0..d.key(2)?.array(MAX_STATEMENTS)? {
            statements.push(d.bytes(MAX_SIGNED_LEN)?.to_vec());
        }
        d.finish()?;
        Ok(Self {
            camera,
            first_index,
            statements,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lens: &[usize]) -> StatementBatch {
        let statements = lens.iter().map(|len| vec![7; *len]).collect();
        StatementBatch {
            camera: CameraId::from_bytes([1; 16]),
            first_index: 40,
            statements,
        }
    }

    #[test]
    fn every_content_of_a_bucket_looks_alike() {
        let (secret, public) = RecipientSecret::generate().unwrap();
        for batch in [batch(&[]), batch(&[100]), batch(&[1700, 1700, 1700])] {
            let sealed = batch.seal(&public, 8192).unwrap();
            assert_eq!(sealed.len(), 8192);
            assert_eq!(StatementBatch::open(&secret, batch.camera, &sealed).unwrap(), batch);
        }
    }

    #[test]
    fn room_is_what_fits() {
        let (_, public) = RecipientSecret::generate().unwrap();
        for bucket in BUCKETS {
            let (mut used, mut lens) = (0, vec![]);
            while let Some(after) = StatementBatch::room_for(bucket, used, lens.len(), 97 + lens.len() % 900) {
                lens.push(97 + lens.len() % 900);
                used = after;
            }
            assert_eq!(batch(&lens).seal(&public, bucket).unwrap().len(), bucket);
        }
        assert!(StatementBatch::room_for(BUCKETS[0], 0, 0, MAX_SIGNED_LEN).is_some());
        assert!(StatementBatch::room_for(BUCKETS[3], 0, 0, MAX_SIGNED_LEN + 1).is_none());
        assert!(matches!(
            batch(&[4000, 4000]).seal(&public, 8192),
            Err(BatchError::TooLarge { .. })
        ));
        assert_eq!(batch(&[]).seal(&public, 8193), Err(BatchError::Length(8193)));
    }

    #[test]
    fn hostile_batches_are_refused() {
        let (secret, public) = RecipientSecret::generate().unwrap();
        let (other, _) = RecipientSecret::generate().unwrap();
        let good = batch(&[100]);
        let sealed = good.seal(&public, 8192).unwrap();
        let open = |secret, bytes: &[u8]| StatementBatch::open(secret, good.camera, bytes);
        assert_eq!(
            open(&other, &sealed),
            Err(BatchError::Seal(HpkeError::Open)),
            "another key"
        );
        assert_eq!(open(&secret, &sealed[..8191]), Err(BatchError::Length(8191)), "cut");
        assert_eq!(open(&secret, &[0; 8192]), Err(BatchError::Magic), "zeros");
        let another = CameraId::from_bytes([2; 16]);
        assert_eq!(
            StatementBatch::open(&secret, another, &sealed),
            Err(BatchError::Seal(HpkeError::Open)),
            "another camera's topic"
        );
        let mut flipped = sealed.clone();
        flipped[8000] ^= 4;
        assert_eq!(
            open(&secret, &flipped),
            Err(BatchError::Seal(HpkeError::Open)),
            "flipped padding"
        );
    }
}

//! Writing a segment.

use super::chunk::Chunks;
use super::preamble::key_aad;
use super::{CHUNK, Header, KEY_INFO, MAX_PLAIN_LEN, Preamble, SALT_LEN, SEALED_KEY_LEN, SealError, SegmentKey};
use crate::hpke::{self, HpkeError, RecipientPublic, SEAL_RANDOMNESS};
use zeroize::{Zeroize as _, Zeroizing};

/// Seals one segment as its video arrives.
///
/// The segment's key exists only in here: it is made at the start and wiped at the end, and whoever
/// holds the file and the agent can then open nothing.
pub struct Sealer {
    chunks: Chunks,
    next: u64,
    // Less than one chunk of plaintext; its capacity is reserved once, so no copy of it stays behind.
    pending: Zeroizing<Vec<u8>>,
    plain_len: u64,
}

/// What a finished segment contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Number of chunks.
    pub chunks: u64,
    /// Bytes of video.
    pub plain_len: u64,
}

/// The random values that one segment uses up, for test vectors.
#[doc(hidden)]
pub struct SealRandomness {
    /// The segment's key.
    pub key: [u8; 32],
    /// The salt.
    pub salt: [u8; SALT_LEN],
    /// Randomness of the key's seal.
    pub encapsulation: [u8; SEAL_RANDOMNESS],
}

impl SealRandomness {
    fn draw() -> Result<Zeroizing<Self>, HpkeError> {
        let mut drawn = Zeroizing::new(Self {
            key: [0; 32],
            salt: [0; SALT_LEN],
            encapsulation: [0; SEAL_RANDOMNESS],
        });
        let Self {
            key,
            salt,
            encapsulation,
        } = &mut *drawn;
        for part in [&mut key[..], salt, encapsulation] {
            getrandom::fill(part).map_err(|_| HpkeError::Random)?;
        }
        Ok(drawn)
    }
}

impl zeroize::Zeroize for SealRandomness {
    fn zeroize(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
        self.encapsulation.zeroize();
    }
}

impl Sealer {
    /// Starts a segment whose key only `to`'s secret opens.
    ///
    /// The preamble is written and fsynced before the first chunk.
    ///
    /// # Errors
    /// If the system's random source fails.
    pub fn new(header: Header, to: &RecipientPublic) -> Result<(Self, Preamble), SealError> {
        Self::with_randomness(header, to, &*SealRandomness::draw()?)
    }

    /// [`Sealer::new`] with the randomness given, for test vectors. Used twice it breaks both files.
    ///
    /// # Errors
    /// As [`Sealer::new`].
    #[doc(hidden)]
    pub fn with_randomness(
        header: Header,
        to: &RecipientPublic,
        randomness: &SealRandomness,
    ) -> Result<(Self, Preamble), SealError> {
        let key = SegmentKey::from_bytes(&randomness.key);
        let salt = randomness.salt;
        let (chunks, commitment) = Chunks::derive(key.as_bytes(), &salt, &header.to_bytes());
        let aad = key_aad(&header, &salt, &commitment);
        let (enc, sealed) = hpke::seal_with_randomness(to, KEY_INFO, &aad, key.as_bytes(), &randomness.encapsulation)?;
        let sealed_key: [u8; SEALED_KEY_LEN] = sealed.try_into().expect("32 bytes seal to 48");
        let preamble = Preamble {
            header,
            enc,
            sealed_key,
            salt,
            commitment,
        };
        let pending = Zeroizing::new(Vec::with_capacity(CHUNK));
        Ok((
            Self {
                chunks,
                next: 0,
                pending,
                plain_len: 0,
            },
            preamble,
        ))
    }

    /// Takes more video and appends to `out` the chunks that became whole.
    ///
    /// # Errors
    /// If the segment would grow over its limit; then nothing of `plain` was taken.
    pub fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let plain_len = self.plain_len + plain.len() as u64;
        if plain_len > MAX_PLAIN_LEN {
            return Err(SealError::TooLong);
        }
        self.plain_len = plain_len;
        if !self.pending.is_empty() {
            let (fill, rest) = plain.split_at(plain.len().min(CHUNK - self.pending.len()));
            self.pending.extend_from_slice(fill);
            plain = rest;
            if self.pending.len() < CHUNK {
                return Ok(());
            }
            self.chunks.seal(self.next, &self.pending, out);
            self.next += 1;
            self.pending.zeroize();
        }
        let (whole, rest) = plain.as_chunks::<CHUNK>();
        for chunk in whole {
            self.chunks.seal(self.next, chunk, out);
            self.next += 1;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes of video taken that wait for their chunk to become whole; less than [`CHUNK`].
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many more bytes make the pending chunk whole; 0 if nothing is pending.
    ///
    /// Pushing padding of this length makes everything so far durable with the next sync.
    pub fn room_to_boundary(&self) -> usize {
        (CHUNK - self.pending.len()) % CHUNK
    }

    /// Bytes of video taken.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Appends the last chunk, whose shortness marks the end, and forgets the key.
    pub fn finish(self, out: &mut Vec<u8>) -> Finished {
        self.chunks.seal(self.next, &self.pending, out);
        Finished {
            chunks: self.next + 1,
            plain_len: self.plain_len,
        }
    }
}

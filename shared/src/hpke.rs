//! Sealing to a public key: HPKE (RFC 9180), base mode.
//!
//! One suite, everywhere: KEM X-Wing (X25519 with ML-KEM-768, 0x647a), KDF HKDF-SHA256 (0x0001),
//! AEAD ChaCha20-Poly1305 (0x0003). Footage recorded today stays closed to whoever stores it until
//! there is a quantum computer.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use ::hpke::rand_core::{TryCryptoRng, TryRng};
use ::hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use std::convert::Infallible;
use std::fmt;
use std::sync::OnceLock;
use zeroize::{Zeroize as _, Zeroizing};

type Kem = ::hpke::kem::XWing;
type Kdf = ::hpke::kdf::HkdfSha256;
type Aead = ::hpke::aead::ChaCha20Poly1305;
type PrivateKey = <Kem as ::hpke::Kem>::PrivateKey;
type PublicKey = <Kem as ::hpke::Kem>::PublicKey;
type Encapsulated = <Kem as ::hpke::Kem>::EncappedKey;

/// Length of a public key in bytes.
pub const PUBLIC_LEN: usize = 1216;
/// Length of a secret key's seed in bytes.
pub const SEED_LEN: usize = 32;
/// Length of the encapsulated key that stands before a ciphertext, in bytes.
pub const ENC_LEN: usize = 1120;
/// How much longer a ciphertext is than its plaintext, in bytes.
pub const TAG_LEN: usize = 16;
/// Random bytes that one sealing uses up.
pub const SEAL_RANDOMNESS: usize = 64;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpkeError {
    /// The bytes are no X-Wing public key.
    #[error("not a public key of this suite")]
    PublicKey,
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random,
    /// Another key, another context, or a changed message. Which of them cannot be told.
    #[error("does not open with this key in this context")]
    Open,
}

/// The public half: whoever has it can seal.
#[derive(Clone, PartialEq, Eq)]
pub struct RecipientPublic(Box<[u8; PUBLIC_LEN]>);

impl RecipientPublic {
    /// Checks and takes a public key.
    ///
    /// # Errors
    /// If the bytes are no key of this suite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let array: [u8; PUBLIC_LEN] = bytes.try_into().map_err(|_| HpkeError::PublicKey)?;
        PublicKey::from_bytes(&array).map_err(|_| HpkeError::PublicKey)?;
        Ok(Self(Box::new(array)))
    }

    /// The key as written in formats.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_LEN] {
        &self.0
    }
}

impl fmt::Debug for RecipientPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientPublic({}…)", hex::encode(&self.0[..8]))
    }
}

impl Cbor for RecipientPublic {
    fn write(&self, e: &mut Encoder) {
        e.bytes(&self.0[..]);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        Self::from_bytes(d.bytes(PUBLIC_LEN)?).map_err(|_| CborError::Value("public key"))
    }
}

/// The secret half: whoever has it can open. Wiped when dropped.
pub struct RecipientSecret {
    seed: Zeroizing<[u8; SEED_LEN]>,
    // Expanding a seed costs half as much as opening, and six kilobytes: a keyring holds thousands of
    // seeds of which it opens with few, so it is done with the first opening and then kept.
    expanded: OnceLock<Box<PrivateKey>>,
}

impl RecipientSecret {
    /// A fresh key pair.
    ///
    /// # Errors
    /// If the system's random source fails.
    pub fn generate() -> Result<(Self, RecipientPublic), HpkeError> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        getrandom::fill(&mut seed[..]).map_err(|_| HpkeError::Random)?;
        let secret = Self::from_seed(&seed);
        let public = secret.public();
        Ok((secret, public))
    }

    /// The key pair of a stored seed.
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Self {
        Self {
            seed: Zeroizing::new(*seed),
            expanded: OnceLock::new(),
        }
    }

    fn expand(&self) -> PrivateKey {
        PrivateKey::from_bytes(&self.seed[..]).expect("every 32 bytes are a seed")
    }

    /// The seed, to be stored in a keyring.
    pub fn seed(&self) -> &[u8; SEED_LEN] {
        &self.seed
    }

    /// The public half.
    pub fn public(&self) -> RecipientPublic {
        let mut bytes = Box::new([0; PUBLIC_LEN]);
        Kem::sk_to_pk(&self.expand()).write_exact(&mut bytes[..]);
        RecipientPublic(bytes)
    }
}

/// Randomness that was drawn before, handed to an interface that asks a generator for it.
struct Drawn(Zeroizing<[u8; SEAL_RANDOMNESS]>, usize);

impl TryRng for Drawn {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        // Slicing past the end panics: using randomness twice would be worse.
        dst.copy_from_slice(&self.0[self.1..self.1 + dst.len()]);
        self.0[self.1..self.1 + dst.len()].zeroize();
        self.1 += dst.len();
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// Seals `plaintext` so that only `to`'s secret opens it, and only with the same `info` and `aad`.
///
/// Returns the encapsulated key and the ciphertext, [`TAG_LEN`] longer than the plaintext.
///
/// # Errors
/// If the system's random source fails.
pub fn seal(
    to: &RecipientPublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<(Box<[u8; ENC_LEN]>, Vec<u8>), HpkeError> {
    let mut randomness = Zeroizing::new([0; SEAL_RANDOMNESS]);
    getrandom::fill(&mut randomness[..]).map_err(|_| HpkeError::Random)?;
    seal_with_randomness(to, info, aad, plaintext, &randomness)
}

/// [`seal`] with the randomness given, for test vectors. Randomness used twice breaks both.
///
/// # Errors
/// If `to` is not a key, which its constructor excludes.
#[doc(hidden)]
pub fn seal_with_randomness(
    to: &RecipientPublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    randomness: &[u8; SEAL_RANDOMNESS],
) -> Result<(Box<[u8; ENC_LEN]>, Vec<u8>), HpkeError> {
    let public = PublicKey::from_bytes(to.as_bytes()).map_err(|_| HpkeError::PublicKey)?;
    let mut drawn = Drawn(Zeroizing::new(*randomness), 0);
    let (encapsulated, mut context) =
        ::hpke::setup_sender_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &public, info, &mut drawn)
            .map_err(|_| HpkeError::PublicKey)?;
    let ciphertext = context.seal(plaintext, aad).map_err(|_| HpkeError::PublicKey)?;
    let mut enc = Box::new([0; ENC_LEN]);
    encapsulated.write_exact(&mut enc[..]);
    Ok((enc, ciphertext))
}

/// Opens what [`seal`] sealed.
///
/// # Errors
/// If the key, `info` or `aad` is another, or anything was changed.
pub fn open(
    with: &RecipientSecret,
    enc: &[u8; ENC_LEN],
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let encapsulated = Encapsulated::from_bytes(enc).map_err(|_| HpkeError::Open)?;
    let secret = with.expanded.get_or_init(|| Box::new(with.expand()));
    let mut context = ::hpke::setup_receiver::<Aead, Kdf, Kem>(&OpModeR::Base, secret, &encapsulated, info)
        .map_err(|_| HpkeError::Open)?;
    context
        .open(ciphertext, aad)
        .map(Zeroizing::new)
        .map_err(|_| HpkeError::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_info_aad_and_bytes() {
        let (secret, public) = RecipientSecret::generate().unwrap();
        let (other, _) = RecipientSecret::generate().unwrap();
        let (enc, ct) = seal(&public, b"info", b"aad", b"attack at dawn").unwrap();
        assert_eq!(
            &open(&secret, &enc, b"info", b"aad", &ct).unwrap()[..],
            b"attack at dawn"
        );
        let mut flipped_ct = ct.clone();
        flipped_ct[3] ^= 1;
        let mut flipped_enc = enc.clone();
        flipped_enc[1119] ^= 1;
        for (flaw, result) in [
            ("another key", open(&other, &enc, b"info", b"aad", &ct)),
            ("another info", open(&secret, &enc, b"infO", b"aad", &ct)),
            ("another aad", open(&secret, &enc, b"info", b"", &ct)),
            (
                "a flipped bit of the ciphertext",
                open(&secret, &enc, b"info", b"aad", &flipped_ct),
            ),
            (
                "a flipped bit of the encapsulated key",
                open(&secret, &flipped_enc, b"info", b"aad", &ct),
            ),
            ("a cut ciphertext", open(&secret, &enc, b"info", b"aad", &ct[..10])),
        ] {
            assert!(matches!(result, Err(HpkeError::Open)), "{flaw}");
        }
    }

    #[test]
    fn seed_gives_the_same_pair_again() {
        let (secret, public) = RecipientSecret::generate().unwrap();
        let again = RecipientSecret::from_seed(secret.seed());
        assert_eq!(again.public(), public);
        let (enc, ct) = seal(&public, b"", b"", b"x").unwrap();
        assert_eq!(&open(&again, &enc, b"", b"", &ct).unwrap()[..], b"x");
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let (_, public) = RecipientSecret::generate().unwrap();
        assert!(
            RecipientPublic::from_bytes(&public.as_bytes()[1..]).is_err(),
            "too short"
        );
        // Twelve-bit coefficients of 4095 are not reduced modulo 3329.
        assert!(
            RecipientPublic::from_bytes(&[0xff; PUBLIC_LEN]).is_err(),
            "coefficients out of range"
        );
    }
}

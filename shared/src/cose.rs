//! Signed bytes: COSE_Sign1 (RFC 9052) with Ed25519, in one exact form.
//!
//! Untagged, protected header `{1: -8}` (EdDSA), empty unprotected header, payload inside. The
//! external data names the kind of message (`custody/statement/v1`), so that nothing signed as one
//! kind passes as another. Signatures are checked strictly: no key or nonce point of small order,
//! no second form of a signature.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use coset::{CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::Signer as _;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// How many bytes a signature adds to a payload, at most.
pub const OVERHEAD: usize = 1 + 4 + 1 + 5 + 2 + 64;

/// Why signed bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not COSE_Sign1 in the one form that Custody writes.
    #[error("not a signed message of this form")]
    Malformed,
    /// Not signed by this key as this kind of message, or changed afterwards.
    #[error("the signature is not this key's")]
    Signature,
    /// The bytes are no usable Ed25519 public key.
    #[error("not an Ed25519 public key")]
    Key,
}

/// The secret half of a signing key. Wiped when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// If the system's random source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..])?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a stored seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be stored.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// A bare signature over `bytes`, for formats that bring their own frame.
    pub fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

/// The public half of a signing key; shown as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Checks and takes a public key.
    ///
    /// # Errors
    /// If the bytes are no point of the curve, or one of small order, for which anybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CoseError> {
        match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(CoseError::Key),
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Checks a bare signature, strictly.
    ///
    /// # Errors
    /// If it is not this key's over exactly these bytes.
    pub fn verify_bytes(&self, bytes: &[u8], signature: &[u8; 64]) -> Result<(), CoseError> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0
            .verify_strict(bytes, &signature)
            .map_err(|_| CoseError::Signature)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl FromStr for VerifyingKey {
    type Err = CoseError;
    fn from_str(text: &str) -> Result<Self, CoseError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| CoseError::Key)?;
        Self::from_bytes(&bytes)
    }
}

impl serde::Serialize for VerifyingKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for VerifyingKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::id::text_visitor(d)
    }
}

impl Cbor for VerifyingKey {
    fn write(&self, e: &mut Encoder) {
        e.bytes(self.as_bytes());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        Self::from_bytes(&d.byte_array()?).map_err(|_| CborError::Value("verifying key"))
    }
}

fn unsigned(payload: Vec<u8>) -> CoseSign1Builder {
    let protected = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
    CoseSign1Builder::new().protected(protected).payload(payload)
}

/// Signs `payload` as a message of the kind `domain`.
pub fn sign1(key: &SigningKey, domain: &str, payload: Vec<u8>) -> Vec<u8> {
    let signed = unsigned(payload)
        .create_signature(domain.as_bytes(), |tbs| key.sign_bytes(tbs).to_vec())
        .build();
    signed.to_vec().expect("a list of byte strings has an encoding")
}

/// What was signed, if `bytes` are a message of the kind `domain` signed by `key`.
///
/// # Errors
/// If they are not in the one form that [`sign1`] writes, or not signed by the key.
pub fn verify1(key: &VerifyingKey, domain: &str, bytes: &[u8]) -> Result<Vec<u8>, CoseError> {
    let message = parse(bytes)?;
    key.verify_bytes(&message.tbs(domain), message.signature())?;
    Ok(message.into_payload())
}

/// A message whose form is right and whose signature nobody has checked yet.
pub(crate) struct Unverified(CoseSign1);

impl Unverified {
    pub(crate) fn tbs(&self, domain: &str) -> Vec<u8> {
        self.0.tbs_data(domain.as_bytes())
    }
    pub(crate) fn signature(&self) -> &[u8; 64] {
        self.0
            .signature
            .as_slice()
            .try_into()
            .expect("parse checked the length")
    }
    pub(crate) fn into_payload(self) -> Vec<u8> {
        self.0.payload.expect("parse checked that there is one")
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Unverified, CoseError> {
    let (payload, signature) = split(bytes).map_err(|_| CoseError::Malformed)?;
    let message = unsigned(payload.to_vec()).signature(signature.to_vec()).build();
    Ok(Unverified(message))
}

/// Payload and signature, where every other byte is the one that [`sign1`] writes.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8; 64]), CborError> {
    let rest = bytes
        .strip_prefix(b"\x84\x43\xa1\x01\x27\xa0")
        .ok_or(CborError::Expected("COSE_Sign1"))?;
    let mut d = Decoder::new(rest);
    let payload = d.bytes(rest.len())?;
    let signature = d.bytes(64)?.try_into().map_err(|_| CborError::Limit)?;
    d.finish()?;
    Ok((payload, signature))
}

/// Checks several messages of one key and kind with one equation, about three times faster.
///
/// It accepts whatever [`verify1`] accepts. It may also accept what the holder of the key made on
/// purpose with a nonce point of mixed order, and which [`verify1`] refuses; so it decides only
/// about bytes that were checked strictly before.
pub(crate) fn verify_batch(key: &VerifyingKey, domain: &str, messages: &[Unverified]) -> Result<(), CoseError> {
    let tbs: Vec<_> = messages.iter().map(|m| m.tbs(domain)).collect();
    let tbs: Vec<_> = tbs.iter().map(Vec::as_slice).collect();
    let signatures: Vec<_> = messages
        .iter()
        .map(|m| ed25519_dalek::Signature::from_bytes(m.signature()))
        .collect();
    ed25519_dalek::verify_batch(&tbs, &signatures, &vec![key.0; messages.len()]).map_err(|_| CoseError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    #[test]
    fn signed_bytes_come_back_and_follow_the_standard() {
        let bytes = sign1(&key(1), "custody/test/v1", b"hello".to_vec());
        assert_eq!(verify1(&key(1).public(), "custody/test/v1", &bytes).unwrap(), b"hello");
        assert_eq!(bytes.len(), 5 + 1 + OVERHEAD - 5);
        let standard = CoseSign1::from_slice(&bytes).unwrap();
        assert_eq!(standard.payload.as_deref(), Some(&b"hello"[..]));
        assert_eq!(standard.to_vec().unwrap(), bytes);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = sign1(&key(1), "d", b"hello".to_vec());
        for i in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[i / 8] ^= 1 << (i % 8);
            assert!(verify1(&key(1).public(), "d", &flipped).is_err(), "bit {i}");
        }
    }

    #[test]
    fn hostile_messages_are_refused() {
        let bytes = sign1(&key(1), "d", b"hello".to_vec());
        let check = |flaw, bytes: &[u8], k: u8, domain, expected| {
            assert_eq!(verify1(&key(k).public(), domain, bytes), Err(expected), "{flaw}");
        };
        check("another key", &bytes, 2, "d", CoseError::Signature);
        check("another kind", &bytes, 1, "e", CoseError::Signature);
        check("cut", &bytes[..bytes.len() - 1], 1, "d", CoseError::Malformed);
        check("longer", &[&bytes[..], b"x"].concat(), 1, "d", CoseError::Malformed);
        check("tagged", &[b"\xd2", &bytes[..]].concat(), 1, "d", CoseError::Malformed);
        check("empty", b"", 1, "d", CoseError::Malformed);
        let mut long_head = bytes[..6].to_vec();
        long_head.extend_from_slice(b"\x58\x05");
        long_head.extend_from_slice(&bytes[7..]);
        check(
            "payload length in a longer head",
            &long_head,
            1,
            "d",
            CoseError::Malformed,
        );
    }

    #[test]
    fn keys_for_which_anybody_can_sign_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::from_bytes(&identity), Err(CoseError::Key));
        assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(CoseError::Key));
    }
}

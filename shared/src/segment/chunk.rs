//! One chunk: key derivation, nonce and AEAD of C2SP chunked encryption.

use super::{COMMITMENT_LEN, SALT_LEN, TAG_LEN};
use chacha20poly1305::aead::array::Array;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::consts::{U12, U16};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

/// An AEAD that the construction is instantiated with. Segments use ChaCha20-Poly1305 only; the
/// construction's published vectors use AES-GCM.
pub(super) trait Suite: KeyInit + AeadInOut<NonceSize = U12, TagSize = U16> {
    /// Domain of the key derivation: version, the AEAD's registered name, terminator.
    const LABEL: &'static [u8];
}

impl Suite for ChaCha20Poly1305 {
    const LABEL: &'static [u8] = b"c2sp.org/chunked-encryption@v1+AEAD_CHACHA20_POLY1305\0";
}

/// Seals and opens the chunks of one segment. Key and nonce are wiped when it is dropped.
pub(super) struct Chunks<A = ChaCha20Poly1305> {
    cipher: A,
    base_nonce: Zeroizing<[u8; 12]>,
}

impl<A: Suite> Chunks<A> {
    /// Derives the chunks' key and nonce, and the commitment to the input key.
    pub(super) fn derive(key: &[u8], salt: &[u8; SALT_LEN], context: &[u8]) -> (Self, [u8; COMMITMENT_LEN]) {
        // The crate wants a pseudorandom key as long as the hash. HMAC pads a shorter key with
        // zeros itself, so padding here gives the same bytes as the short key.
        let mut prk = Zeroizing::new([0; 64]);
        prk[..key.len()].copy_from_slice(key);
        let hkdf = hkdf::Hkdf::<sha2::Sha512>::from_prk(&prk[..]).expect("64 bytes are a key");
        let key_len = A::key_size();
        let mut okm = Zeroizing::new([0; 32 + 12 + COMMITMENT_LEN]);
        let okm = &mut okm[..key_len + 12 + COMMITMENT_LEN];
        hkdf.expand_multi_info(&[A::LABEL, salt, context], okm)
            .expect("76 bytes are within HKDF's limit");
        let cipher = A::new_from_slice(&okm[..key_len]).expect("the key has the cipher's length");
        let mut base_nonce = Zeroizing::new([0; 12]);
        base_nonce.copy_from_slice(&okm[key_len..key_len + 12]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&okm[key_len + 12..]);
        (Self { cipher, base_nonce }, commitment)
    }

    /// The base nonce with the chunk's number, a big-endian integer, on its last eight bytes.
    fn nonce(&self, index: u64) -> Array<u8, U12> {
        let mut nonce = *self.base_nonce;
        nonce[4..]
            .iter_mut()
            .zip(index.to_be_bytes())
            .for_each(|(n, i)| *n ^= i);
        nonce.into()
    }

    /// Appends the sealed chunk, encrypted from `plain` straight into place, and its tag.
    pub(super) fn seal(&self, index: u64, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(plain.len() + TAG_LEN);
        out.resize(start + plain.len(), 0);
        let place = InOutBuf::new(plain, &mut out[start..]).expect("made as long as the chunk");
        let tag = self.cipher.encrypt_inout_detached(&self.nonce(index), b"", place);
        out.extend_from_slice(&tag.expect("a chunk is far shorter than the cipher's limit"));
    }

    /// Appends the opened chunk, or nothing if it is not authentic.
    pub(super) fn open(&self, index: u64, sealed: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((body, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
            return false;
        };
        let start = out.len();
        out.resize(start + body.len(), 0);
        let place = InOutBuf::new(body, &mut out[start..]).expect("made as long as the chunk");
        let tag = Array::from(*tag);
        let opened = self.cipher.decrypt_inout_detached(&self.nonce(index), b"", place, &tag);
        if opened.is_err() {
            out.truncate(start);
        }
        opened.is_ok()
    }
}

#[cfg(test)]
mod vectors;

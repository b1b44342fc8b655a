//! One chunk: key derivation, nonce and AEAD of C2SP chunked encryption.

use super::{COMMITMENT_LEN, HEADER_LEN, SALT_LEN, SegmentKey, TAG_LEN};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use zeroize::Zeroizing;

/// Domain of the key derivation, with the AEAD's registered name and its terminator.
const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_CHACHA20_POLY1305\0";

/// Seals and opens the chunks of one segment. Key and nonce are wiped when it is dropped.
pub(super) struct Chunks {
    cipher: ChaCha20Poly1305,
    base_nonce: Zeroizing<[u8; 12]>,
}

impl Chunks {
    /// Derives the chunks' key and nonce, and the commitment to the segment's key.
    pub(super) fn derive(
        key: &SegmentKey,
        salt: &[u8; SALT_LEN],
        header: &[u8; HEADER_LEN],
    ) -> (Self, [u8; COMMITMENT_LEN]) {
        // The crate wants a pseudorandom key as long as the hash. HMAC pads a shorter key with
        // zeros itself, so padding here gives the same bytes as the 32-byte key.
        let mut prk = Zeroizing::new([0; 64]);
        prk[..32].copy_from_slice(key.as_bytes());
        let hkdf = hkdf::Hkdf::<sha2::Sha512>::from_prk(&prk[..]).expect("64 bytes are a key");
        let mut okm = Zeroizing::new([0; 32 + 12 + COMMITMENT_LEN]);
        hkdf.expand_multi_info(&[LABEL, salt, header], &mut okm[..])
            .expect("76 bytes are within HKDF's limit");
        let cipher = ChaCha20Poly1305::new_from_slice(&okm[..32]).expect("the key is 32 bytes");
        let mut base_nonce = Zeroizing::new([0; 12]);
        base_nonce.copy_from_slice(&okm[32..44]);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment.copy_from_slice(&okm[44..]);
        (Self { cipher, base_nonce }, commitment)
    }

    /// The base nonce with the chunk's number, a big-endian integer, on its last eight bytes.
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = *self.base_nonce;
        nonce[4..]
            .iter_mut()
            .zip(index.to_be_bytes())
            .for_each(|(n, i)| *n ^= i);
        nonce.into()
    }

    /// Appends the sealed chunk: one copy, encrypted where it lies, then the tag.
    pub(super) fn seal(&self, index: u64, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(plain.len() + TAG_LEN);
        out.extend_from_slice(plain);
        let tag = self
            .cipher
            .encrypt_inout_detached(&self.nonce(index), b"", InOutBuf::from(&mut out[start..]))
            .expect("a chunk is far shorter than the cipher's limit");
        out.extend_from_slice(&tag);
    }

    /// Appends the opened chunk, or nothing if it is not authentic.
    pub(super) fn open(&self, index: u64, sealed: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((body, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
            return false;
        };
        let start = out.len();
        out.extend_from_slice(body);
        let tag = Tag::from(*tag);
        let opened =
            self.cipher
                .decrypt_inout_detached(&self.nonce(index), b"", InOutBuf::from(&mut out[start..]), &tag);
        if opened.is_err() {
            out.truncate(start);
        }
        opened.is_ok()
    }
}

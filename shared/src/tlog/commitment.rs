//! What stands in the tree for a row: a salted commitment, never the row.
//!
//! leaf = version ‖ HMAC-SHA-256(salt, body). Salt and body lie beside the tree and die together; afterwards the leaf
//! proves that *something* was recorded at this place and tells nothing of what it was.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The version byte of the one commitment scheme there is: HMAC-SHA-256 with a salt of 32 bytes.
pub const COMMITMENT_VERSION: u8 = 1;
/// Length of a leaf in bytes.
pub const LEAF_LEN: usize = 33;
/// Length of a salt in bytes.
pub const SALT_LEN: usize = 32;

/// The secret that hides a row's body behind its commitment; as sensitive as the body itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Salt([u8; SALT_LEN]);

impl Salt {
    /// Draws a salt from the operating system. Fails only where the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SALT_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Salt(bytes))
    }

    /// Takes a salt as it was stored.
    pub fn from_bytes(bytes: [u8; SALT_LEN]) -> Self {
        Salt(bytes)
    }

    /// The bytes, for storing beside the body and nowhere else.
    pub fn as_bytes(&self) -> &[u8; SALT_LEN] {
        &self.0
    }
}

/// The 33 bytes that are hashed into the tree for one row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Leaf([u8; LEAF_LEN]);

impl Leaf {
    /// Takes leaf bytes that carry a known version byte; `None` for any other version.
    pub fn from_bytes(bytes: [u8; LEAF_LEN]) -> Option<Self> {
        (bytes[0] == COMMITMENT_VERSION).then_some(Leaf(bytes))
    }

    /// Takes leaf bytes from a slice of exactly the right length and version.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Leaf::from_bytes(bytes.try_into().ok()?)
    }

    /// The bytes as they stand in an entry bundle.
    pub fn as_bytes(&self) -> &[u8; LEAF_LEN] {
        &self.0
    }

    /// The leaf's hash in the tree (RFC 6962: SHA-256 of 0x00 ‖ leaf).
    pub fn hash(&self) -> super::NodeHash {
        super::tree::leaf_hash(&self.0)
    }

    /// Whether this leaf commits to exactly this salt and body.
    pub fn commits_to(&self, salt: &Salt, body: &[u8]) -> bool {
        commit(salt, body).0.ct_eq(&self.0).into()
    }
}

/// Commits to a body: version ‖ HMAC-SHA-256(salt, body).
pub fn commit(salt: &Salt, body: &[u8]) -> Leaf {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&salt.0).expect("HMAC takes a key of any length");
    mac.update(body);
    let mut leaf = [0; LEAF_LEN];
    leaf[0] = COMMITMENT_VERSION;
    leaf[1..].copy_from_slice(&mac.finalize().into_bytes());
    Leaf(leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitment_is_hmac_sha256_behind_a_version_byte() {
        // RFC 4231 test case 2 has a short key; HMAC pads a key of 32 bytes with zeros just the same.
        let mut key = [0u8; 32];
        key[..4].copy_from_slice(b"Jefe");
        let leaf = commit(&Salt::from_bytes(key), b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(leaf.as_bytes()),
            "015bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn commitment_binds_salt_and_body() {
        let salt = Salt::from_bytes([7; 32]);
        let leaf = commit(&salt, b"row");
        assert!(leaf.commits_to(&salt, b"row"));
        assert!(!leaf.commits_to(&salt, b"roW"));
        assert!(!leaf.commits_to(&Salt::from_bytes([8; 32]), b"row"));
        assert!(Leaf::from_bytes([2; 33]).is_none(), "unknown version accepted");
        assert!(Leaf::parse(&leaf.as_bytes()[..32]).is_none(), "short leaf accepted");
    }
}

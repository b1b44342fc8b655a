//! A row's body as it lies on the disk: encrypted under a key of its own, beside the leaf that commits to it.
//!
//! record = index u64 ‖ kind u16 ‖ day u32 ‖ bucket[16] ‖ kdf_salt[32] ‖ leaf[33] ‖ len u32 ‖ sealed[len] ‖ check[16]
//! sealed = ChaCha20-Poly1305(row key, nonce 0, aad = everything before it, salt[32] ‖ body)
//! row key = HKDF-SHA-256(ikm = bucket key, salt = kdf_salt, info = "custody/record-row/v1")
//! check = SHA-256 over everything before it, cut to 16 bytes: tells damage from a missing key.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use custody_shared::tlog::commitment::{LEAF_LEN, SALT_LEN, commit};
use custody_shared::tlog::{Leaf, Salt};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keyring::{Bucket, BucketId};
use super::row::{MAX_BODY, NewRow, RowKind};

const HEAD: usize = 8 + 2 + 4 + 16 + 32 + LEAF_LEN + 4;
const TAG: usize = 16;
const CHECK: usize = 16;

/// A record's fields that are readable without any key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) index: u64,
    pub(super) kind: RowKind,
    pub(super) day: u32,
    pub(super) bucket: BucketId,
    kdf_salt: [u8; 32],
    pub(super) leaf: Leaf,
}

/// One record within the bytes it was parsed from.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    bytes: &'a [u8],
}

/// Why a record cannot be taken from the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadRecord {
    /// The bytes end before the record does.
    Torn,
    /// The record is whole and not what was written; its length is trusted only as far as it leads to the next.
    Damaged {
        /// Bytes to skip to what should be the next record.
        len: usize,
    },
}

/// Salt and body of a row.
pub(super) struct Opened {
    pub(super) salt: Salt,
    pub(super) body: Zeroizing<Vec<u8>>,
}

fn row_key(bucket: &Bucket, kdf_salt: &[u8; 32]) -> ChaCha20Poly1305 {
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(Some(kdf_salt), bucket.key())
        .expand(b"custody/record-row/v1", &mut *key)
        .expect("32 bytes are within HKDF's reach");
    ChaCha20Poly1305::new((&*key).into())
}

/// Seals a row under a fresh salt and a fresh key; appends the record to `out` and gives the leaf.
pub(super) fn seal(index: u64, row: &NewRow, bucket: &Bucket, out: &mut Vec<u8>) -> Result<Leaf, getrandom::Error> {
    let salt = Salt::random()?;
    let mut kdf_salt = [0; 32];
    getrandom::fill(&mut kdf_salt)?;
    let leaf = commit(&salt, &row.body);

    let start = out.len();
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(&row.kind.0.to_be_bytes());
    out.extend_from_slice(&row.purge_on_day.to_be_bytes());
    out.extend_from_slice(bucket.id());
    out.extend_from_slice(&kdf_salt);
    out.extend_from_slice(leaf.as_bytes());
    out.extend_from_slice(&((SALT_LEN + row.body.len() + TAG) as u32).to_be_bytes());
    let aad = out[start..].to_vec();

    let mut plain = Zeroizing::new(Vec::with_capacity(SALT_LEN + row.body.len()));
    plain.extend_from_slice(salt.as_bytes());
    plain.extend_from_slice(&row.body);
    let tag = row_key(bucket, &kdf_salt)
        .encrypt_inout_detached(&Nonce::default(), &aad, plain.as_mut_slice().into())
        .expect("a body is far below the cipher's limit");
    out.extend_from_slice(&plain);
    out.extend_from_slice(&tag);
    let check = Sha256::digest(&out[start..]);
    out.extend_from_slice(&check[..CHECK]);
    Ok(leaf)
}

/// Takes one record from the front of `bytes`; the answer's second part is what follows it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), BadRecord> {
    let head = bytes.get(..HEAD).ok_or(BadRecord::Torn)?;
    let len = u32::from_be_bytes(*head.last_chunk().expect("a head ends in its length")) as usize;
    if !(SALT_LEN + TAG..=SALT_LEN + MAX_BODY + TAG).contains(&len) {
        return Err(BadRecord::Torn);
    }
    let whole = HEAD + len + CHECK;
    let (bytes, rest) = bytes.split_at_checked(whole).ok_or(BadRecord::Torn)?;
    let digest = Sha256::digest(&bytes[..HEAD + len]);
    if digest[..CHECK] != bytes[HEAD + len..] {
        return Err(BadRecord::Damaged { len: whole });
    }
    let mut at = 0;
    let mut take = |n: usize| {
        at += n;
        &head[at - n..at]
    };
    let index = u64::from_be_bytes(take(8).try_into().expect("8 bytes"));
    let kind = RowKind(u16::from_be_bytes(take(2).try_into().expect("2 bytes")));
    let day = u32::from_be_bytes(take(4).try_into().expect("4 bytes"));
    let bucket = take(16).try_into().expect("16 bytes");
    let kdf_salt = take(32).try_into().expect("32 bytes");
    let leaf = Leaf::parse(take(LEAF_LEN)).ok_or(BadRecord::Damaged { len: whole })?;
    Ok((
        Record {
            head: Head {
                index,
                kind,
                day,
                bucket,
                kdf_salt,
                leaf,
            },
            bytes,
        },
        rest,
    ))
}

/// The bytes from the record of a row on; empty where there is none.
pub(super) fn seek(bytes: &[u8], index: u64) -> &[u8] {
    let wanted = index.to_be_bytes();
    let starts = bytes
        .windows(8)
        .enumerate()
        .filter(|(_, w)| **w == wanted)
        .map(|(at, _)| &bytes[at..]);
    starts
        .take(64)
        .find(|rest| parse(rest).is_ok_and(|(r, _)| r.head.index == index))
        .unwrap_or_default()
}

impl Record<'_> {
    /// The record's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Opens the record. `None` where the bucket is not the right one or the body is not what the leaf commits to.
    pub(super) fn open(&self, bucket: &Bucket) -> Option<Opened> {
        let (aad, rest) = self.bytes.split_at(HEAD);
        let (sealed, tag) = rest[..rest.len() - CHECK].split_last_chunk::<TAG>()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        row_key(bucket, &self.head.kdf_salt)
            .decrypt_inout_detached(&Nonce::default(), aad, plain.as_mut_slice().into(), &Tag::from(*tag))
            .ok()?;
        let (salt, body) = plain.split_first_chunk::<SALT_LEN>()?;
        let opened = Opened {
            salt: Salt::from_bytes(*salt),
            body: Zeroizing::new(body.to_vec()),
        };
        self.head.leaf.commits_to(&opened.salt, &opened.body).then_some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(body: &[u8]) -> NewRow {
        NewRow {
            kind: RowKind(7),
            purge_on_day: 20_000,
            body: Zeroizing::new(body.to_vec()),
        }
    }

    #[test]
    fn a_record_opens_with_its_bucket_only() {
        let (bucket, other) = (Bucket::random(RowKind(7)).unwrap(), Bucket::random(RowKind(7)).unwrap());
        let mut bytes = Vec::new();
        let leaf = seal(3, &row(b"who read what"), &bucket, &mut bytes).unwrap();
        let (record, rest) = parse(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(
            (record.head.index, record.head.kind, record.head.day),
            (3, RowKind(7), 20_000)
        );
        assert_eq!(record.head.leaf, leaf);
        assert_eq!(&*record.open(&bucket).unwrap().body, b"who read what");
        assert!(record.open(&other).is_none(), "another bucket");
        assert!(
            !bytes.windows(8).any(|w| w == b"who read"),
            "the body stands in the clear"
        );
    }

    #[test]
    fn every_flipped_bit_is_seen_without_any_key() {
        let bucket = Bucket::random(RowKind(1)).unwrap();
        let mut bytes = Vec::new();
        seal(0, &row(b""), &bucket, &mut bytes).unwrap();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0x40;
            assert!(parse(&bent).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..len]), Err(BadRecord::Torn)), "cut to {len}");
        }
    }
}

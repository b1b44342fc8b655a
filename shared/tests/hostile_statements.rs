//! Signed bytes from the enemy: whatever was changed, cut, replayed or contradicts itself passes nowhere.

mod samples;

use custody_shared::cbor::{Cbor, CborError};
use custody_shared::cose::{self, SigningKey};
use custody_shared::grant::Grant;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::keys::KeyDescriptor;
use custody_shared::message::{Acked, Command, Health, KeyAnnouncement};
use custody_shared::statement::{
    Chain, ChainError, DOMAIN, Kind, MAX_SIGNED_LEN, SegmentStatement, SignedStatement, Statement, StatementError,
};
use proptest::prelude::*;

/// Whatever decodes encodes to the very same bytes; nothing else decodes, and nothing panics.
fn decodes_to_itself<T: Cbor>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = T::from_cbor(bytes) {
        prop_assert_eq!(value.to_cbor(), bytes);
    }
    Ok(())
}

fn all_decoders(bytes: &[u8]) -> Result<(), TestCaseError> {
    decodes_to_itself::<Statement>(bytes)?;
    decodes_to_itself::<Kind>(bytes)?;
    decodes_to_itself::<KeyDescriptor>(bytes)?;
    decodes_to_itself::<KeyAnnouncement>(bytes)?;
    decodes_to_itself::<Command>(bytes)?;
    decodes_to_itself::<Acked>(bytes)?;
    decodes_to_itself::<Health>(bytes)?;
    decodes_to_itself::<Grant>(bytes)
}

/// The encodings that flips and cuts start from.
fn encodings() -> Vec<Vec<u8>> {
    let mut encodings: Vec<_> = samples::chain().iter().map(Cbor::to_cbor).collect();
    encodings.push(samples::descriptor(1, false).to_cbor());
    encodings.push(samples::announcement().to_cbor());
    encodings.push(
        Command::Fetch {
            first_seq: 3,
            last_seq: 900,
        }
        .to_cbor(),
    );
    encodings.push(samples::health().to_cbor());
    encodings.push(samples::grant().to_cbor());
    encodings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn noise_decodes_to_itself_or_not_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all_decoders(&bytes)?;
    }

    #[test]
    fn flipped_and_cut_encodings_decode_to_themselves_or_not_at_all(which in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let all = encodings();
        let mut bytes = all[which.index(all.len())].clone();
        let at = at.index(bytes.len());
        all_decoders(&bytes[..at])?;
        bytes[at] ^= 1 << bit;
        all_decoders(&bytes)?;
        bytes.insert(at, bit);
        all_decoders(&bytes)?;
    }

    #[test]
    fn a_flipped_statement_is_refused(which in 0usize..7, at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let signed = samples::chain()[which].sign(&samples::statement_key()).unwrap();
        let mut bytes = signed.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let flipped = SignedStatement::from_bytes(bytes).unwrap();
        prop_assert!(flipped.verify(&samples::statement_key().public()).is_err());
        prop_assert!(SignedStatement::verify_batch(&samples::statement_key().public(), &[flipped]).is_err());
    }
}

#[test]
fn statements_come_back_one_by_one_and_together() {
    let public = samples::statement_key().public();
    let chain = samples::chain();
    let signed: Vec<_> = chain
        .iter()
        .map(|s| s.sign(&samples::statement_key()).unwrap())
        .collect();
    for (statement, signed) in chain.iter().zip(&signed) {
        assert_eq!(&signed.verify(&public).unwrap(), statement);
        assert_eq!(&signed.parse_unverified().unwrap(), statement);
        assert!(signed.as_bytes().len() < 1800, "{} bytes", signed.as_bytes().len());
    }
    assert_eq!(SignedStatement::verify_batch(&public, &signed).unwrap(), chain);
    assert_eq!(SignedStatement::verify_batch(&public, &[]).unwrap(), []);
    let other = SigningKey::from_seed(&[1; 32]).public();
    assert!(SignedStatement::verify_batch(&other, &signed).is_err());
}

#[test]
fn statements_that_contradict_themselves_are_neither_signed_nor_read() {
    let segment = &samples::chain()[2];
    let check = |flaw, change: &dyn Fn(&mut Statement)| {
        let mut bad = segment.clone();
        change(&mut bad);
        assert!(
            matches!(bad.sign(&samples::statement_key()), Err(StatementError::Field(_))),
            "signed: {flaw}"
        );
        let forced = cose::sign1(&samples::statement_key(), DOMAIN, bad.to_cbor());
        let read = SignedStatement::from_bytes(forced)
            .unwrap()
            .verify(&samples::statement_key().public());
        assert!(
            matches!(read, Err(StatementError::Content(CborError::Value(_)))),
            "read: {flaw}"
        );
    };
    let part = |s: &mut Statement, change: &dyn Fn(&mut SegmentStatement)| {
        let Kind::Segment(segment) = &mut s.kind else {
            unreachable!("the sample is a segment")
        };
        change(segment);
    };
    check("a segment of another camera", &|s| {
        s.camera = CameraId::from_bytes([1; 16])
    });
    check("no link, though not the first", &|s| s.prev = Sha256Hash::ZERO);
    check("a link, though the first", &|s| s.index = 0);
    check("ends before it begins", &|s| {
        part(s, &|g| g.t_end = g.preamble.header.t_start)
    });
    check("lasts for hours", &|s| {
        part(s, &|g| g.t_end = g.t_end.saturating_add(3_600_000_000))
    });
    check("a length of no file", &|s| part(s, &|g| g.file_len = 10));
    check("a file of terabytes", &|s| part(s, &|g| g.file_len = 1 << 42));
    check("no frames", &|s| part(s, &|g| g.frames = 0));
    check("more fragments than frames", &|s| {
        part(s, &|g| g.fragments = g.frames + 1)
    });
    check("no picture", &|s| part(s, &|g| g.codec.width = 0));
    check("a codec string with a line break", &|s| {
        part(s, &|g| g.codec.rfc6381 = "avc1\n".into())
    });
    check("truncated, but with an end mark's length", &|s| {
        part(s, &|g| g.truncated = true)
    });
}

#[test]
fn an_oversized_statement_is_refused_before_anything_else() {
    assert_eq!(
        SignedStatement::from_bytes(vec![0; MAX_SIGNED_LEN + 1]),
        Err(StatementError::TooLong)
    );
    assert!(SignedStatement::from_bytes(vec![0; MAX_SIGNED_LEN]).is_ok());
}

#[test]
fn a_chain_takes_what_comes_next_and_nothing_else() {
    let statements = samples::chain();
    let signed: Vec<_> = statements
        .iter()
        .map(|s| s.sign(&samples::statement_key()).unwrap())
        .collect();
    let start = Chain::start(samples::camera());
    let one = start.check(&statements[0], &signed[0]).unwrap();
    let two = one.check(&statements[1], &signed[1]).unwrap();
    assert_eq!((two.next_index, two.last_hash), (2, signed[1].hash()));
    assert_eq!(
        two.check(&statements[0], &signed[0]),
        Err(ChainError::Replay { index: 0 }),
        "replayed"
    );
    assert_eq!(
        one.check(&statements[2], &signed[2]),
        Err(ChainError::Gap { expected: 1, found: 2 }),
        "out of order"
    );
    let forked = Statement {
        prev: Sha256Hash::of(b"another history"),
        ..statements[2].clone()
    };
    let forked_signed = forked.sign(&samples::statement_key()).unwrap();
    assert_eq!(
        two.check(&forked, &forked_signed),
        Err(ChainError::Fork { index: 2 }),
        "forked"
    );
    let foreign = Chain::start(CameraId::from_bytes([1; 16]));
    assert_eq!(
        foreign.check(&statements[0], &signed[0]),
        Err(ChainError::WrongCamera(samples::camera())),
        "another camera"
    );
}

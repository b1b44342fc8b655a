//! Files from the enemy: whatever was changed, cut, moved or swapped opens nothing.

mod samples;

use custody_shared::hpke::RecipientSecret;
use custody_shared::segment::{
    CHUNK, Extent, ExtentError, HEADER_LEN, Header, OpenError, Opener, PREAMBLE_LEN, Preamble, SEALED_CHUNK, Sealer,
    SegmentKey, open_all, open_extent, unseal_key,
};
use proptest::prelude::*;

/// Reads a file as a keyholder and a retrieval do together.
fn read(file: &[u8]) -> Result<Vec<u8>, OpenError> {
    let key = unseal_key(&samples::footage_secret(), &Preamble::parse(file)?)?;
    open_all(&key, file).map(|video| video.to_vec())
}

/// A file of two whole chunks and a short one.
fn sample() -> Vec<u8> {
    samples::file(2 * CHUNK + 700)
}

#[test]
fn a_good_file_opens() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 700] {
        assert_eq!(read(&samples::file(len)).unwrap(), samples::video(len), "{len} bytes");
    }
}

#[test]
fn another_days_key_opens_nothing() {
    let other = RecipientSecret::from_seed(&[0x99; 32]);
    let preamble = Preamble::parse(&sample()).unwrap();
    assert!(matches!(unseal_key(&other, &preamble), Err(OpenError::Key)));
}

#[test]
fn chunks_in_another_order_do_not_open() {
    let mut file = sample();
    let (first, rest) = file[PREAMBLE_LEN..].split_at_mut(SEALED_CHUNK);
    first.swap_with_slice(&mut rest[..SEALED_CHUNK]);
    assert_eq!(read(&file), Err(OpenError::Chunk(0)));
}

#[test]
fn a_chunk_left_out_or_doubled_does_not_open() {
    let file = sample();
    let without_second = [
        &file[..PREAMBLE_LEN + SEALED_CHUNK],
        &file[PREAMBLE_LEN + 2 * SEALED_CHUNK..],
    ]
    .concat();
    assert_eq!(read(&without_second), Err(OpenError::Chunk(1)));
    let doubled = [&file[..PREAMBLE_LEN + SEALED_CHUNK], &file[PREAMBLE_LEN..]].concat();
    assert_eq!(read(&doubled), Err(OpenError::Chunk(1)));
}

#[test]
fn a_cut_at_a_whole_chunk_is_seen() {
    let file = sample();
    assert_eq!(
        read(&file[..PREAMBLE_LEN + 2 * SEALED_CHUNK]),
        Err(OpenError::Extent(ExtentError::Cut))
    );
    assert_eq!(read(&file[..PREAMBLE_LEN]), Err(OpenError::Extent(ExtentError::Cut)));
    assert!(matches!(read(&file[..PREAMBLE_LEN - 1]), Err(OpenError::Preamble(_))));
}

#[test]
fn only_a_signed_statement_excuses_a_missing_end() {
    let whole = sample();
    let cut = &whole[..PREAMBLE_LEN + 2 * SEALED_CHUNK];
    let key = SegmentKey::from_bytes(&samples::randomness().key);
    let mut statement = samples::segment_statement(cut);
    statement.truncated = true;
    let extent = statement.extent().unwrap();
    assert_eq!(open_extent(&key, cut, extent).unwrap()[..], samples::video(2 * CHUNK));
    // The statement is good for exactly this length, and not for the whole file either.
    assert_eq!(
        open_extent(&key, &cut[..cut.len() - 1], extent).err(),
        Some(OpenError::ChunkLen(1))
    );
    assert_eq!(
        open_extent(&key, &whole, extent).err(),
        Some(OpenError::Extent(ExtentError::Cut))
    );
    statement.file_len -= 1;
    assert_eq!(statement.extent(), Err(ExtentError::NotWholeChunks));
    statement.truncated = false;
    statement.file_len = cut.len() as u64;
    assert_eq!(statement.extent(), Err(ExtentError::Cut));
}

/// A file relabelled as another camera's, another day's, another time's: each field of the header.
#[test]
fn a_relabelled_file_does_not_open() {
    let file = sample();
    let key = SegmentKey::from_bytes(&samples::randomness().key);
    for (field, at) in [
        ("camera", 6),
        ("key_id", 22),
        ("seq", 45),
        ("t_start", 53),
        ("boot_id", 54),
        ("prev_statement", 70),
    ] {
        let mut relabelled = file.clone();
        relabelled[at] ^= 1;
        assert_eq!(read(&relabelled), Err(OpenError::Key), "{field}, with the day's key");
        assert_eq!(
            open_all(&key, &relabelled).err(),
            Some(OpenError::Commitment),
            "{field}, with the segment's key"
        );
    }
}

/// Two headers over one key: the chunks of one do not open under the other.
#[test]
fn chunks_of_another_segment_do_not_open() {
    let other = Header {
        seq: 8,
        ..samples::header()
    };
    let (ours, theirs) = (sample(), samples::file_of(other, &samples::video(2 * CHUNK + 700)));
    let grafted = [&ours[..PREAMBLE_LEN], &theirs[PREAMBLE_LEN..]].concat();
    assert_eq!(read(&grafted), Err(OpenError::Chunk(0)));
}

/// A ciphertext made to open under two keys fails on the commitment before any chunk is touched.
#[test]
fn a_second_key_fails_on_the_commitment() {
    let file = sample();
    let second = SegmentKey::from_bytes(&[0x22; 32]);
    assert_eq!(open_all(&second, &file).err(), Some(OpenError::Commitment));
    let mut preamble = Preamble::parse(&file).unwrap();
    preamble.commitment[0] ^= 1;
    let first = SegmentKey::from_bytes(&samples::randomness().key);
    let extent = Extent::complete(file.len() as u64).unwrap();
    assert_eq!(
        Opener::new(&first, &preamble, extent).err(),
        Some(OpenError::Commitment)
    );
}

#[test]
fn a_chunk_of_the_wrong_place_or_length_is_refused_without_output() {
    let file = sample();
    let extent = Extent::complete(file.len() as u64).unwrap();
    let key = SegmentKey::from_bytes(&samples::randomness().key);
    let opener = Opener::new(&key, &Preamble::parse(&file).unwrap(), extent).unwrap();
    let chunk = |i: usize| &file[PREAMBLE_LEN + i * SEALED_CHUNK..][..if i == 2 { 716 } else { SEALED_CHUNK }];
    let mut out = b"before".to_vec();
    for (index, sealed, error) in [
        (0, chunk(1), OpenError::Chunk(0)),
        (1, chunk(2), OpenError::ChunkLen(1)),
        (2, chunk(1), OpenError::ChunkLen(2)),
        (3, chunk(2), OpenError::NoSuchChunk(3)),
        (u64::MAX, chunk(2), OpenError::NoSuchChunk(u64::MAX)),
        (2, &chunk(2)[..715], OpenError::ChunkLen(2)),
        (0, &[], OpenError::ChunkLen(0)),
    ] {
        assert_eq!(opener.open_chunk(index, sealed, &mut out), Err(error));
        assert_eq!(out, b"before");
    }
    opener.open_chunk(2, chunk(2), &mut out).unwrap();
    opener.open_chunk(0, chunk(0), &mut out).unwrap();
    assert_eq!(out.len(), 6 + 700 + CHUNK);
}

#[test]
fn foreign_formats_and_versions_are_named() {
    use custody_shared::segment::PreambleError;
    let change = |at: usize, to: u8| {
        let mut file = sample();
        file[at] = to;
        Preamble::parse(&file).unwrap_err()
    };
    assert_eq!(change(0, b'X'), PreambleError::Magic);
    assert_eq!(change(4, 2), PreambleError::Version { version: 2, suite: 1 });
    assert_eq!(change(5, 9), PreambleError::Version { version: 1, suite: 9 });
    assert_eq!(change(46, 0xff), PreambleError::Field("start"));
    assert_eq!(
        change(HEADER_LEN + 1, 0),
        PreambleError::Field("encapsulated key's length")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn one_flipped_bit_anywhere_is_refused(bit in 0usize..(PREAMBLE_LEN + 2 * SEALED_CHUNK + 716) * 8) {
        let mut file = sample();
        file[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&file).is_err());
    }

    #[test]
    fn a_file_cut_anywhere_is_refused(len in 0usize..PREAMBLE_LEN + 2 * SEALED_CHUNK + 716) {
        prop_assert!(read(&sample()[..len]).is_err());
    }

    #[test]
    fn bytes_behind_the_end_are_refused(tail in proptest::collection::vec(any::<u8>(), 1..40_000)) {
        prop_assert!(read(&[sample(), tail].concat()).is_err());
    }

    #[test]
    fn noise_is_no_segment(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Preamble::parse(&bytes).is_err());
        let labelled = [&sample()[..HEADER_LEN], &bytes].concat();
        prop_assert!(read(&labelled).is_err());
    }

    /// However the video arrives, the file is the same.
    #[test]
    fn the_way_video_is_cut_does_not_show(cuts in proptest::collection::vec(0usize..=3 * CHUNK, 0..8)) {
        let video = samples::video(3 * CHUNK);
        let mut cuts = cuts;
        cuts.extend([0, video.len()]);
        cuts.sort_unstable();
        let (mut sealer, preamble) =
            Sealer::with_randomness(samples::header(), &samples::footage_secret().public(), &samples::randomness()).unwrap();
        let mut file = preamble.to_bytes();
        for cut in cuts.windows(2) {
            sealer.push(&video[cut[0]..cut[1]], &mut file).unwrap();
            prop_assert_eq!((file.len() - PREAMBLE_LEN) % SEALED_CHUNK, 0);
            prop_assert_eq!(sealer.plain_len() as usize, cut[1]);
            prop_assert_eq!(sealer.pending(), cut[1] % CHUNK);
            prop_assert_eq!((sealer.pending() + sealer.room_to_boundary()) % CHUNK, 0);
        }
        let finished = sealer.finish(&mut file);
        prop_assert_eq!((finished.chunks, finished.plain_len), (4, 3 * CHUNK as u64));
        prop_assert_eq!(file, samples::file(3 * CHUNK));
    }
}

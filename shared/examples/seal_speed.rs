//! How fast segments are sealed and opened, beside the bare cipher on the same blocks.
//!
//!     cargo run --release -p custody-shared --example seal_speed [seconds per row]
//!
//! Each row is measured in short turns with its floor, because machines are noisy: turn by turn
//! the two see the same noise, and the median of the turns' ratios is the figure that counts.
//! Lines are `name TAB ours MiB/s TAB floor MiB/s TAB ratio`, after one line of headings.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Nonce};
use custody_shared::hash::{Hasher, Sha256Hash};
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, KeyId};
use custody_shared::segment::{
    CHUNK, Extent, Header, MAX_PLAIN_LEN, Opener, SEALED_CHUNK, Sealer, sealed_len, unseal_key,
};
use custody_shared::time::UtcMicros;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A fragment of two seconds at 4 Mbit/s, cut where no chunk ends.
const FRAGMENT: usize = 1_000_003;
/// Bytes of video in one turn: ten seconds at 4 Mbit/s.
const SEGMENT: usize = 5 * FRAGMENT;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let turn = Duration::from_secs_f64(seconds);
    let video: Vec<u8> = (0..SEGMENT).map(|i| (i * 31 % 251) as u8).collect();
    let bare = Bare::new();
    let (secret, public) = RecipientSecret::generate().expect("randomness");
    let header = Header {
        camera: CameraId::random(),
        key_id: KeyId::random(),
        seq: 1,
        t_start: UtcMicros::new(1_795_368_540_000_000),
        boot_id: BootId::random(),
        prev_statement: Sha256Hash::ZERO,
    };
    let seal = |out: &mut Vec<u8>, hasher: Option<&mut Hasher>| {
        let (mut sealer, preamble) = Sealer::new(header, &public).expect("randomness");
        let mut hasher = hasher;
        for fragment in video.chunks(FRAGMENT) {
            out.clear();
            sealer.push(fragment, out).expect("a short segment");
            if let Some(hasher) = &mut hasher {
                hasher.update(out);
            }
        }
        out.clear();
        sealer.finish(out);
        preamble
    };

    println!("sealing\tours MiB/s\tfloor MiB/s\tratio");
    let mut out = Vec::with_capacity(FRAGMENT + 2 * SEALED_CHUNK);
    let mut blocks = video.clone();
    let (mut sealer, _) = Sealer::new(header, &public).expect("randomness");
    compare(
        "seal, running segment / bare cipher in place",
        turn,
        || {
            if sealer.plain_len() + video.len() as u64 > MAX_PLAIN_LEN {
                sealer = Sealer::new(header, &public).expect("randomness").0;
            }
            for fragment in video.chunks(FRAGMENT) {
                out.clear();
                sealer.push(fragment, &mut out).expect("within the limit");
            }
        },
        || bare.encrypt(&mut blocks),
    );
    compare(
        "seal, key included / bare cipher in place",
        turn,
        || drop(seal(&mut out, None)),
        || bare.encrypt(&mut blocks),
    );
    compare(
        "seal and SHA-256 / bare cipher in place",
        turn,
        || {
            let mut hasher = Hasher::new();
            seal(&mut out, Some(&mut hasher));
            black_box(hasher.finish());
        },
        || bare.encrypt(&mut blocks),
    );
    compare(
        "seal and SHA-256 / bare cipher and SHA-256",
        turn,
        || {
            let mut hasher = Hasher::new();
            seal(&mut out, Some(&mut hasher));
            black_box(hasher.finish());
        },
        || {
            bare.encrypt(&mut blocks);
            black_box(Sha256Hash::of(&blocks));
        },
    );

    let (mut sealer, preamble) = Sealer::new(header, &public).expect("randomness");
    let mut sealed = preamble.to_bytes();
    sealer.push(&video, &mut sealed).expect("a short segment");
    sealer.finish(&mut sealed);
    assert_eq!(sealed.len() as u64, sealed_len(SEGMENT as u64));
    let extent = Extent::complete(sealed.len() as u64).expect("just sealed");
    let mut plain = Vec::with_capacity(CHUNK);
    compare(
        "open, key included / bare cipher in place",
        turn,
        || {
            let key = unseal_key(&secret, &preamble).expect("just sealed");
            let opener = Opener::new(&key, &preamble, extent).expect("just sealed");
            for index in 0..extent.chunks() {
                plain.clear();
                let range = extent.sealed_range(index).expect("a chunk of it");
                opener
                    .open_chunk(index, &sealed[range.start as usize..range.end as usize], &mut plain)
                    .expect("just sealed");
            }
        },
        || bare.encrypt(&mut blocks),
    );
}

/// The cipher alone on blocks of 16 KiB, in place: nothing can be faster with this crate.
struct Bare(ChaCha20Poly1305);

impl Bare {
    fn new() -> Self {
        Self(ChaCha20Poly1305::new_from_slice(&[7; 32]).expect("32 bytes are a key"))
    }

    fn encrypt(&self, blocks: &mut [u8]) {
        for (block, index) in blocks.chunks_mut(CHUNK).zip(0u64..) {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&index.to_be_bytes());
            let tag = self
                .0
                .encrypt_inout_detached(&Nonce::from(nonce), b"", InOutBuf::from(block));
            black_box(tag.expect("a short block"));
        }
    }
}

/// Runs both in turns until the time is over and prints the medians.
fn compare(name: &str, time: Duration, mut ours: impl FnMut(), mut floor: impl FnMut()) {
    let timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    ours();
    floor();
    let (start, mut turns) = (Instant::now(), Vec::new());
    while start.elapsed() < time || turns.len() < 5 {
        turns.push((timed(&mut ours), timed(&mut floor)));
    }
    let mib = SEGMENT as f64 / f64::from(1 << 20);
    let ours = mib / median(turns.iter().map(|t| t.0).collect());
    let floor = mib / median(turns.iter().map(|t| t.1).collect());
    let ratio = median(turns.iter().map(|t| t.1 / t.0).collect());
    println!("{name}\t{ours:.0}\t{floor:.0}\t{ratio:.3}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

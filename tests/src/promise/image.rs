//! A stolen agent: everything on its disk, every key it has, opens no segment.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, KeyId};
use custody_shared::segment::{Extent, Header, Opener, PREAMBLE_LEN, Preamble, Sealer, SegmentKey, unseal_key};
use custody_shared::time::UtcMicros;

use super::Scale;
use crate::agent::Source;
use crate::journey::now;
use crate::site::{Person, Site};

/// Tries every 32 bytes on the agent's disk, raw and decoded from text, as the key of a day and as the key of a segment.
pub(super) async fn opens_nothing(scale: Scale) -> Result<String> {
    let mut site = Site::start("disk-image").await?;
    site.add_camera("Gate", Source::test_picture("Gate")).await?;
    let id = site.agents[0].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;
    site.until_kept(&asker, &id, now() - 1_000_000, 8.0, Duration::from_secs(60))
        .await?;
    // The image is taken while it runs, with a segment open, as a thief would pull the plug.
    let image = site.folder().join("image");
    crate::process::run(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(&site.agents[0].data)
            .arg(&image),
    )?;
    let sealed = site.agents[0].segments().first().context("a segment")?.clone();
    let sealed = std::fs::read(image.join(sealed.strip_prefix(&site.agents[0].data)?))?;

    let mut candidates = Candidates::default();
    candidates.add_folder(&image)?;
    let tried = candidates.must_not_open(&sealed, scale.times(32, 1) as usize)?;
    control()?;
    site.close().await?;
    Ok(format!(
        "{tried} candidate keys from every file of the image open nothing; a control's key is found by the same search"
    ))
}

/// Base 64 as it may lie anywhere: without padding, and with letters behind it that belong to something else.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes that might hold a key.
#[derive(Default)]
struct Candidates {
    /// From files of keys, statements and settings: tried as the secret of a day and as the key of a segment.
    texts: Vec<Vec<u8>>,
    /// From sealed segments: tried as the key of a segment, there being millions of places.
    sealed: Vec<Vec<u8>>,
}

impl Candidates {
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.add_folder(&path)?;
            } else if path.extension().is_some_and(|e| e == "csg") {
                self.sealed.push(std::fs::read(&path)?);
            } else {
                self.add(&std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// The bytes themselves, and what they say in hexadecimal or base 64.
    fn add(&mut self, bytes: &[u8]) {
        self.texts.push(bytes.to_vec());
        let text: String = bytes
            .iter()
            .filter(|b| !b"\r\n".contains(b))
            .map(|&b| char::from(b))
            .collect();
        self.texts.extend(
            text.split(|c: char| !c.is_ascii_hexdigit())
                .filter(|w| w.len() >= 64)
                .filter_map(|w| hex::decode(w).ok()),
        );
        let in_base64 = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
        for word in text.split(|c| !in_base64(c)).filter(|w| w.len() >= 43) {
            // A word may be glued to the text before it; all four alignments are tried.
            for start in 0..4 {
                let plain = word[start..].replace('-', "+").replace('_', "/");
                // One letter too many is no byte; it belongs to what follows.
                let whole = &plain[..plain.len() - usize::from(plain.len() % 4 == 1)];
                self.texts.extend(LENIENT.decode(whole).ok());
            }
        }
    }

    /// Tries every place that is a multiple of `stride`, and for segment keys every place.
    fn must_not_open(&self, file: &[u8], stride: usize) -> Result<usize> {
        let preamble = Preamble::parse(file.get(..PREAMBLE_LEN).context("a whole preamble")?)?;
        let mut tried = 0;
        for window in self.texts.iter().flat_map(|t| t.windows(32).step_by(stride)) {
            tried += 1;
            let seed = window.try_into().expect("a window is as long as a seed");
            ensure!(
                unseal_key(&RecipientSecret::from_seed(seed), &preamble).is_err(),
                "the image holds the secret of the day"
            );
        }
        let extent = Extent::complete(file.len() as u64)?;
        for window in self.texts.iter().chain(&self.sealed).flat_map(|t| t.windows(32)) {
            tried += 1;
            let key = SegmentKey::from_bytes(window.try_into().expect("a window is as long as a key"));
            ensure!(
                Opener::new(&key, &preamble, extent).is_err(),
                "the image holds the key of a segment"
            );
        }
        Ok(tried)
    }
}

/// The same search finds a key that does lie in a file, written in any of the usual ways.
fn control() -> Result<()> {
    let (secret, public) = RecipientSecret::generate()?;
    let header = Header {
        camera: CameraId::random(),
        key_id: KeyId::random(),
        seq: 1,
        t_start: UtcMicros::new(now()),
        boot_id: BootId::random(),
        prev_statement: Sha256Hash::ZERO,
    };
    let (mut sealer, preamble) = Sealer::new(header, &public)?;
    let mut file = preamble.to_bytes();
    sealer.push(&[7; 1000], &mut file)?;
    sealer.finish(&mut file);
    let base64 = base64::engine::general_purpose::STANDARD.encode(secret.seed());
    for written in [
        secret.seed().to_vec(),
        hex::encode(secret.seed()).into_bytes(),
        base64.into_bytes(),
    ] {
        let mut candidates = Candidates::default();
        candidates.add(&[b"{\"key\":\"".as_slice(), &written, b"\"}"].concat());
        ensure!(
            candidates.must_not_open(&file, 1).is_err(),
            "the search overlooks a key that is there"
        );
    }
    Ok(())
}

//! Looks for plaintext video wherever it must not be: MP4 structure, parameter sets, and bytes of known frames.
//!
//! A search that finds nothing proves something only if it would have found it: [`Searcher::must_find`] is that control.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

const BLOCK: usize = 4 << 20;
/// Bytes of the previous block that a match may begin in.
const OVERLAP: usize = 64;
const PROBE: usize = 16;
const FILTER_BITS: u32 = 22;

/// One piece of plaintext video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    /// Byte offset.
    pub offset: u64,
    /// What it is.
    pub what: String,
}

/// What a walk over folders has seen.
#[derive(Debug, Default)]
pub struct Walk {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The first find of each file that has one.
    pub finds: Vec<(PathBuf, Find)>,
}

impl Walk {
    /// An error that names the files, unless nothing was found and something was read.
    pub fn expect_nothing(self) -> Result<Self> {
        ensure!(self.files > 0, "the search read no file at all");
        let list: Vec<String> = self
            .finds
            .iter()
            .map(|(p, f)| format!("{}: {} at {}", p.display(), f.what, f.offset))
            .collect();
        ensure!(
            list.is_empty(),
            "plaintext video in {} files:\n{}",
            list.len(),
            list.join("\n")
        );
        Ok(self)
    }
}

/// The patterns.
pub struct Searcher {
    probes: HashMap<[u8; PROBE], String>,
    /// One bit per hash of a probe's first four bytes, so that nearly every position costs one look.
    filter: Vec<u64>,
}

impl Default for Searcher {
    fn default() -> Self {
        Self {
            probes: HashMap::new(),
            filter: vec![0; 1 << (FILTER_BITS - 6)],
        }
    }
}

impl Searcher {
    /// Learns the parameter sets and, of every coded picture, three pieces from an Annex B stream.
    pub fn learn(&mut self, stream: &[u8]) {
        let mut starts: Vec<usize> = stream
            .windows(3)
            .enumerate()
            .filter(|(_, w)| w == b"\0\0\x01")
            .map(|(i, _)| i + 3)
            .collect();
        starts.push(stream.len() + 3);
        for pair in starts.windows(2) {
            let nal = &stream[pair[0]..pair[1] - 3];
            let third = nal.len() / 3;
            for at in [0, third, 2 * third] {
                let Some(piece) = nal.get(at..at + PROBE) else { continue };
                // Filler and flat pictures look alike everywhere; they prove nothing.
                if piece.iter().collect::<std::collections::HashSet<_>>().len() >= PROBE / 2 {
                    self.insert(
                        piece.try_into().expect("a piece is as long as a probe"),
                        "bytes of a known frame",
                    );
                }
            }
        }
    }

    fn insert(&mut self, probe: [u8; PROBE], what: &str) {
        let bit = filter_bit(&probe);
        self.filter[(bit >> 6) as usize] |= 1 << (bit & 63);
        self.probes.insert(probe, what.to_owned());
    }

    /// How many pieces of frames are known.
    pub fn known(&self) -> usize {
        self.probes.len()
    }

    /// The first find in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<Find> {
        (0..bytes.len().saturating_sub(PROBE - 1)).find_map(|at| {
            let what = self
                .probe_at(bytes, at)
                .or_else(|| structure_at(bytes, at).map(str::to_owned))?;
            Some(Find {
                offset: at as u64,
                what,
            })
        })
    }

    fn probe_at(&self, bytes: &[u8], at: usize) -> Option<String> {
        let window: &[u8; PROBE] = bytes[at..at + PROBE].try_into().expect("the caller leaves room");
        let bit = filter_bit(window);
        if self.filter[(bit >> 6) as usize] >> (bit & 63) & 1 == 0 {
            return None;
        }
        self.probes.get(window).cloned()
    }

    /// The first find in a file, and its length.
    pub fn find_in_file(&self, path: &Path) -> Result<(u64, Option<Find>)> {
        let mut file = File::open(path)?;
        let (mut block, mut kept, mut before) = (vec![0; BLOCK + OVERLAP], 0, 0u64);
        loop {
            let read = file.read(&mut block[kept..])?;
            if read == 0 {
                return Ok((before + kept as u64, None));
            }
            let filled = kept + read;
            if let Some(find) = self.find(&block[..filled]) {
                return Ok((
                    before + filled as u64,
                    Some(Find {
                        offset: before + find.offset,
                        ..find
                    }),
                ));
            }
            let keep = filled.min(OVERLAP);
            block.copy_within(filled - keep..filled, 0);
            before += (filled - keep) as u64;
            kept = keep;
        }
    }

    /// Reads every regular file below the roots that changed after `since`, following no links.
    pub fn walk(&self, roots: &[PathBuf], since: SystemTime) -> Result<Walk> {
        let mut walk = Walk::default();
        let mut folders: Vec<PathBuf> = roots.to_vec();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                // Files come and go while the processes run; one that is gone holds nothing.
                let Ok(meta) = std::fs::symlink_metadata(entry.path()) else {
                    continue;
                };
                if meta.is_dir() {
                    folders.push(entry.path());
                } else if meta.is_file() && meta.modified().is_ok_and(|m| m >= since) {
                    let Ok((bytes, find)) = self.find_in_file(&entry.path()) else {
                        continue;
                    };
                    walk.files += 1;
                    walk.bytes += bytes;
                    walk.finds.extend(find.map(|f| (entry.path(), f)));
                }
            }
        }
        Ok(walk)
    }

    /// The positive control: puts `plaintext` into `folder`, finds it there, and takes it away again.
    pub fn must_find(&self, plaintext: &[u8], folder: &Path) -> Result<()> {
        let path = folder.join("positive-control");
        std::fs::write(&path, plaintext).with_context(|| format!("positive control in {}", folder.display()))?;
        let walk = self.walk(&[folder.to_owned()], SystemTime::UNIX_EPOCH);
        std::fs::remove_file(&path)?;
        if !walk?.finds.iter().any(|(p, _)| *p == path) {
            bail!(
                "the search is blind: plaintext put into {} was not found",
                folder.display()
            );
        }
        Ok(())
    }
}

fn filter_bit(window: &[u8; PROBE]) -> u32 {
    let head = u32::from_be_bytes([window[0], window[1], window[2], window[3]]);
    head.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS)
}

/// MP4 and Annex B structure that chance does not make: at least six fixed bytes each.
fn structure_at(bytes: &[u8], at: usize) -> Option<&'static str> {
    let rest = &bytes[at..];
    if rest[0] != 0 || rest[1] != 0 {
        return None;
    }
    if rest[2] == 0 && rest[3] == 1 {
        return match rest[4..7] {
            [0x67 | 0x27 | 0x47, 66 | 77 | 88 | 100 | 110, _] if rest[6] & 3 == 0 => Some("an H.264 parameter set"),
            [0x40, 1, 0x0c] => Some("an H.265 parameter set"),
            [0x42, 1, 1] => Some("an H.265 parameter set"),
            _ => None,
        };
    }
    let size = u16::from_be_bytes([rest[2], rest[3]]);
    match &rest[4..8] {
        b"mfhd" if size == 16 => Some("an MP4 fragment (mfhd)"),
        b"tfhd" | b"tfdt" | b"trun" if size < 0x4000 && rest[8] <= 1 => Some("an MP4 fragment (traf)"),
        b"mvhd" if matches!(size, 108 | 120) => Some("an MP4 header (mvhd)"),
        b"avcC" if rest[8] == 1 => Some("an MP4 codec box (avcC)"),
        b"hvcC" if rest[8] == 1 => Some("an MP4 codec box (hvcC)"),
        b"ftyp" if size <= 64 && rest[8..12].iter().all(u8::is_ascii_alphanumeric) => Some("an MP4 header (ftyp)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..length).map(|_| step()).collect()
    }

    #[test]
    fn structure_is_found_anywhere_and_noise_is_not() {
        let searcher = Searcher::default();
        let cases: [(&str, &[u8]); 6] = [
            ("moof", b"\0\0\0\x40moof\0\0\0\x10mfhd\0\0\0\0\0\0\0\x01"),
            ("avcC", b"\0\0\0\x30avcC\x01\x64\0\x28\xff\xe1\0\x19"),
            ("hvcC", b"\0\0\0\x70hvcC\x01\x01\x60\0\0\0\0\0"),
            ("ftyp", b"\0\0\0\x1cftypiso6\0\0\0\0iso6"),
            ("Annex B", b"\0\0\0\x01\x67\x64\0\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0"),
            ("HEVC", b"\0\0\0\x01\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0"),
        ];
        for (name, plain) in cases {
            for at in [0, 1, 4095, 99_000] {
                let mut bytes = noise(100_000);
                bytes[at..at + plain.len()].copy_from_slice(plain);
                assert!(
                    searcher.find(&bytes).is_some_and(|f| f.offset.abs_diff(at as u64) <= 8),
                    "{name} at {at}"
                );
            }
        }
        assert_eq!(searcher.find(&noise(3_000_000)), None);
        // The words alone, as they stand in a player's source, are no video.
        assert_eq!(
            searcher.find(br#"case "moof": return boxes.traf; // avcC, hvcC, mdat, mfhd, ftyp isom and trun"#),
            None
        );
    }

    #[test]
    fn known_frames_are_found_across_the_seam_of_two_blocks() -> Result<()> {
        let mut stream = b"\0\0\x01\x65".to_vec();
        stream.extend(noise(900));
        let mut searcher = Searcher::default();
        searcher.learn(&stream);
        assert_eq!(searcher.known(), 3);
        let folder = tempfile::tempdir()?;
        for at in [0, BLOCK - 8, BLOCK + OVERLAP - 8, 2 * BLOCK + OVERLAP - 5] {
            let mut file = vec![7u8; 3 * BLOCK];
            file[at..at + 40].copy_from_slice(&stream[300..340]);
            let path = folder.path().join("file");
            std::fs::write(&path, &file)?;
            let (read, find) = searcher.find_in_file(&path)?;
            assert!(
                find.is_some_and(|f| f.offset.abs_diff(at as u64) < 24),
                "at {at}, read {read}"
            );
        }
        searcher.must_find(&stream, folder.path())?;
        Ok(())
    }
}

//! The note beside a running segment: what the agent, which cannot open what it seals, must still know after a crash.
//!
//! Synced when a segment begins with another codec than the one before, and rewritten in place after every fragment without a sync
//! of its own: it survives a killed process exactly, and a power cut as far as recovery needs it. Times and counts only, nothing of
//! the picture.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use custody_shared::hash::Sha256Hash;
use custody_shared::time::UtcMicros;
use serde::{Deserialize, Serialize};

use super::Shape;
use crate::files::{PRIVATE, read_bounded};

/// A note is this long, padded with blanks, so that rewriting it never leaves an old tail.
const LENGTH: usize = 1024;
const CHECK: usize = 16;

/// What is known of the segment being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// Its number.
    pub(super) seq: u64,
    /// Its codec parameters, as the statement will carry them (deterministic CBOR, hexadecimal).
    pub(super) codec: String,
    /// Bytes of the file that are whole chunks on disk.
    pub(super) durable_len: u64,
    /// End of the last picture in those bytes.
    pub(super) t_end: UtcMicros,
    /// Pictures in them.
    pub(super) frames: u32,
    /// Fragments in them.
    pub(super) fragments: u32,
    /// Whether the clock was synchronised when it began.
    pub(super) synchronised: bool,
    /// What its end would tell, guessed from the segment before.
    pub(super) shape: Shape,
}

/// The file that holds the note.
#[derive(Debug)]
pub(super) struct NoteFile(File);

impl NoteFile {
    /// Opens or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(path)?;
        Ok(Self(file))
    }

    /// Rewrites the note; `sync` makes it survive a power cut.
    pub(super) fn write(&self, note: &Note, sync: bool) -> io::Result<()> {
        let text = serde_json::to_string(note).map_err(io::Error::other)?;
        if text.len() > LENGTH - CHECK {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the note is too long"));
        }
        let mut raw = vec![b' '; LENGTH];
        raw[CHECK..CHECK + text.len()].copy_from_slice(text.as_bytes());
        let check = check(&raw[CHECK..]);
        raw[..CHECK].copy_from_slice(check.as_bytes());
        self.0.write_all_at(&raw, 0)?;
        if sync { self.0.sync_data() } else { Ok(()) }
    }
}

fn check(text: &[u8]) -> String {
    hex::encode(&Sha256Hash::of(text).as_bytes()[..CHECK / 2])
}

/// Reads the note; one that is torn, damaged or missing is none.
pub(super) fn read(path: &Path) -> Option<Note> {
    let raw = read_bounded(path, LENGTH as u64).ok()?;
    let text = raw.get(CHECK..)?;
    (raw[..CHECK] == *check(text).as_bytes()).then(|| serde_json::from_slice(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(seq: u64) -> Note {
        Note {
            seq,
            codec: "a0".into(),
            durable_len: 17_000,
            t_end: UtcMicros::new(1_700_000_000_000_000),
            frames: 50,
            fragments: 2,
            synchronised: true,
            shape: Shape::UNKNOWN,
        }
    }

    #[test]
    fn a_note_is_read_back_or_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("recording");
        assert_eq!(read(&path), None);
        let file = NoteFile::open(&path).expect("open");
        file.write(&note(123_456), true).expect("write");
        file.write(&note(9), false).expect("rewrite");
        assert_eq!(read(&path), Some(note(9)));
        let mut raw = std::fs::read(&path).expect("read");
        raw[40] ^= 1;
        std::fs::write(&path, &raw).expect("flip");
        assert_eq!(read(&path), None, "flipped");
        std::fs::write(&path, &raw[..500]).expect("cut");
        assert_eq!(read(&path), None, "cut");
    }
}

//! One sealed file while it is being written: sealing, hashing on the way, padding, and one sync per fragment.
//!
//! Order: the previous statement is durable (the caller's duty), the preamble is synced, chunks follow, one fdatasync per
//! fragment. A chunk is never rewritten: that would use a nonce twice. A crash leaves whole chunks and perhaps half of one;
//! `recovery` cuts that half and states the rest as truncated.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use custody_shared::fmp4;
use custody_shared::hash::{Hasher, Sha256Hash};
use custody_shared::hpke::RecipientPublic;
use custody_shared::segment::{CHUNK, Header, Preamble, SEALED_CHUNK, SealError, Sealer};

use crate::files::{PRIVATE, make_private_folder, sync_folder, write_at};

/// Plaintext is handed to the sealer in pieces of at most this, so that the sealed copy stays small.
const PIECE: usize = 16 * CHUNK;
/// A fragment is padded to the chunk boundary where that costs at most one part in this many.
const PADDING_PART: usize = 50;
/// The shortest `free` box.
const LEAST_FREE: usize = 8;

/// Why a file cannot be written on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The disk.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// The sealing.
    #[error("{0}")]
    Seal(#[from] SealError),
}

/// What a finished file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FinishedFile {
    /// SHA-256 of all its bytes.
    pub(super) sha256: Sha256Hash,
    /// Its length.
    pub(super) len: u64,
}

/// A file that grows.
pub(super) struct SealedFile {
    path: PathBuf,
    file: File,
    sealer: Sealer,
    preamble: Preamble,
    hasher: Hasher,
    written: u64,
    /// Reused for every piece: sealing allocates nothing per fragment.
    out: Vec<u8>,
}

impl SealedFile {
    /// Creates the file and makes its preamble durable.
    ///
    /// A crash here leaves a file without a chunk, which the next start deletes: it holds no footage.
    pub(super) fn create(
        path: &Path,
        header: Header,
        to: &RecipientPublic,
        mut out: Vec<u8>,
    ) -> Result<Self, WriteError> {
        let (sealer, preamble) = Sealer::new(header, to)?;
        let folder = path
            .parent()
            .ok_or_else(|| io::Error::other("the path has no folder"))?;
        if !folder.exists() {
            make_private_folder(folder)?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent)?;
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(path)?;
        out.clear();
        out.reserve(PIECE / CHUNK * SEALED_CHUNK + SEALED_CHUNK);
        let mut this = Self {
            path: path.to_owned(),
            file,
            sealer,
            preamble,
            hasher: Hasher::new(),
            written: 0,
            out,
        };
        let begun = this.begin(folder);
        if let Err(error) = begun {
            // Nothing was recorded in it; left behind it would only be a riddle.
            let _ = fs::remove_file(path);
            return Err(error.into());
        }
        Ok(this)
    }

    fn begin(&mut self, folder: &Path) -> io::Result<()> {
        self.out.extend_from_slice(&self.preamble.to_bytes());
        self.flush()?;
        self.file.sync_all()?;
        sync_folder(folder)
    }

    /// Writes what is in `out` and takes it into the hash; on an error the file is cut back to what was whole.
    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = write_at(&self.file, &self.out, self.written) {
            self.file.set_len(self.written)?;
            return Err(error);
        }
        self.hasher.update(&self.out);
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Seals plaintext; whole chunks reach the file, not yet the platter.
    pub(super) fn push(&mut self, plain: &[u8]) -> Result<(), WriteError> {
        for piece in plain.chunks(PIECE) {
            self.sealer.push(piece, &mut self.out)?;
            if self.out.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Ends a fragment of `length` plaintext bytes: pads it with a `free` box to the chunk boundary where that costs at
    /// most 2 %, so that a power cut cannot take its tail. Returns how many of its bytes still wait for their chunk.
    pub(super) fn end_fragment(&mut self, length: usize) -> Result<usize, WriteError> {
        let mut room = self.sealer.room_to_boundary();
        if room > 0 && room < LEAST_FREE {
            room += CHUNK;
        }
        if room > 0
            && room * PADDING_PART <= length
            && let Some(padding) = fmp4::free_box(room)
        {
            self.sealer.push(&padding, &mut self.out)?;
        }
        self.flush()?;
        Ok(self.sealer.pending())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        self.file.sync_data()?;
        Ok(())
    }

    /// Seals the last, short chunk, makes everything durable and gives length and hash.
    pub(super) fn finish(self) -> Result<(FinishedFile, Vec<u8>), WriteError> {
        let Self {
            file,
            sealer,
            mut hasher,
            written,
            mut out,
            ..
        } = self;
        sealer.finish(&mut out);
        write_at(&file, &out, written)?;
        hasher.update(&out);
        file.sync_data()?;
        let len = written + out.len() as u64;
        Ok((
            FinishedFile {
                sha256: hasher.finish(),
                len,
            },
            out,
        ))
    }

    /// The file's preamble.
    pub(super) fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of whole chunks written so far, preamble included.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

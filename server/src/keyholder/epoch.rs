//! Epoch keys: each write of the keyring has its own, and destroying the one before it destroys what that write held.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use custody_shared::hash::Sha256Hash;
use zeroize::Zeroizing;

use super::disk::{Fault, Step};

const MAGIC: &[u8; 4] = b"CEK1";
const LEN: usize = 4 + 8 + 32 + 32;

/// Where epoch keys live: two slots, the even epochs' and the odd epochs'.
///
/// Duties: `put` is durable on return; `destroy_except` leaves nothing of any other epoch's key that this holder
/// could read again; each may be repeated.
pub(super) trait EpochKeyHolder: Send + Sync {
    /// Keeps the key of an epoch.
    ///
    /// # Errors
    /// The system's.
    fn put(&self, epoch: u64, key: &[u8; 32]) -> io::Result<()>;
    /// The key of an epoch, if this holder has it.
    ///
    /// # Errors
    /// The system's.
    fn get(&self, epoch: u64) -> io::Result<Option<Zeroizing<[u8; 32]>>>;
    /// Destroys every key but this epoch's.
    ///
    /// # Errors
    /// The system's.
    fn destroy_except(&self, epoch: u64) -> io::Result<()>;
    /// What this holder can honestly claim of a destruction.
    fn claim(&self) -> &'static str;
}

/// Epoch keys in two files beside the keyring.
pub(super) struct FileEpochs {
    folder: PathBuf,
    fault: Fault,
}

impl FileEpochs {
    /// Slots in a folder that exists.
    pub(super) fn new(folder: &Path, fault: Fault) -> Self {
        Self {
            folder: folder.to_owned(),
            fault,
        }
    }

    fn slot(&self, epoch: u64) -> PathBuf {
        self.folder
            .join(if epoch.is_multiple_of(2) { "epoch-a" } else { "epoch-b" })
    }

    /// Overwrites a file in place before its name goes, so that the key does not lie about in a free block.
    fn forget(&self, path: &Path) -> io::Result<()> {
        let mut file = match OpenOptions::new().write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut noise = [0_u8; LEN];
        getrandom::fill(&mut noise).map_err(io::Error::other)?;
        file.write_all(&noise)?;
        file.sync_all()?;
        (self.fault)(Step::OldEpochOverwritten)?;
        std::fs::remove_file(path)?;
        File::open(&self.folder)?.sync_all()?;
        (self.fault)(Step::OldEpochRemoved)
    }
}

impl EpochKeyHolder for FileEpochs {
    fn put(&self, epoch: u64, key: &[u8; 32]) -> io::Result<()> {
        let path = self.slot(epoch);
        // What an interrupted write left in the slot encrypts no keyring in force.
        self.forget(&path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LEN));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(key);
        let check = Sha256Hash::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&bytes)?;
        (self.fault)(Step::EpochWritten)?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        (self.fault)(Step::EpochDurable)
    }

    fn get(&self, epoch: u64) -> io::Result<Option<Zeroizing<[u8; 32]>>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LEN + 1));
        match File::open(self.slot(epoch)) {
            Ok(file) => file.take(LEN as u64 + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A torn or foreign slot holds no key.
        if bytes.len() != LEN
            || bytes[..4] != *MAGIC
            || bytes[4..12] != epoch.to_be_bytes()
            || Sha256Hash::of(&bytes[..44]).as_bytes()[..] != bytes[44..]
        {
            return Ok(None);
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        key.copy_from_slice(&bytes[12..44]);
        Ok(Some(key))
    }

    fn destroy_except(&self, epoch: u64) -> io::Result<()> {
        self.forget(&self.slot(epoch.wrapping_add(1)))
    }

    fn claim(&self) -> &'static str {
        "file: epoch key overwritten and removed; best effort on copy-on-write disks and virtual machines"
    }
}

//! The keyring on disk: one small file, encrypted under an epoch key of its own for every write.
//!
//! Order of a write, and what a crash after each step leaves:
//! 1. new epoch key durable in the free slot — the old keyring under the old key;
//! 2. new keyring written and synced beside the old one — the same;
//! 3. renamed over the old one, folder synced — the new keyring under the new key, the old epoch key still there;
//! 4. old epoch key overwritten and removed — the new keyring alone.
//!
//! Reading it finishes what a crash interrupted: whichever keyring is in place names its epoch, every other epoch
//! key goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::epoch::{EpochKeyHolder, FileEpochs};
use super::ring::Keyring;
use super::{Destroyed, KeyholderError};

const MAGIC: &[u8; 4] = b"CKF1";
pub(super) const HEAD: usize = 4 + 8 + 24;
/// Largest keyring file; more is refused before it is read.
const MAX_FILE: u64 = 512 << 20;

/// Steps of a write, in their order; tests stop at each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The new epoch key is written, not synced.
    EpochWritten,
    /// The new epoch key is durable.
    EpochDurable,
    /// The new keyring is written beside the old one, not synced.
    KeyringWritten,
    /// The new keyring is synced.
    KeyringSynced,
    /// The new keyring has the old one's name.
    KeyringRenamed,
    /// The rename is durable.
    FolderSynced,
    /// The old epoch key is overwritten.
    OldEpochOverwritten,
    /// The old epoch key is gone.
    OldEpochRemoved,
}

/// What happens at a step: nothing, except in tests.
pub(super) type Fault = Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// The file and its epoch keys.
pub(super) struct KeyringFile {
    folder: PathBuf,
    epochs: Box<dyn EpochKeyHolder>,
    fault: Fault,
}

impl KeyringFile {
    /// In a folder that exists and is locked.
    pub(super) fn new(folder: &Path, fault: Fault) -> Self {
        let epochs = Box::new(FileEpochs::new(folder, Arc::clone(&fault)));
        Self {
            folder: folder.to_owned(),
            epochs,
            fault,
        }
    }

    /// What a destruction here can honestly claim.
    pub(super) fn claim(&self) -> &'static str {
        self.epochs.claim()
    }

    fn path(&self) -> PathBuf {
        self.folder.join("keyring")
    }

    /// The keyring in force and its epoch, after removing what it does not need. `None` where no write was ever
    /// finished: such a keyring holds no key that was announced.
    pub(super) fn load(&self) -> Result<Option<(Keyring, u64)>, KeyholderError> {
        let path = self.path();
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let len = file.metadata().map_err(|source| failed("read", &path, source))?.len();
                if len > MAX_FILE {
                    return Err(KeyholderError::Damaged("its file is over the limit"));
                }
                file.take(MAX_FILE)
                    .read_to_end(&mut bytes)
                    .map_err(|source| failed("read", &path, source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        }
        let (head, sealed) = bytes
            .split_at_checked(HEAD)
            .ok_or(KeyholderError::Damaged("its file is cut short"))?;
        if head[..4] != *MAGIC {
            return Err(KeyholderError::Damaged("its file has another format"));
        }
        let epoch = u64::from_be_bytes(head[4..12].try_into().expect("eight bytes"));
        let key = self
            .epochs
            .get(epoch)
            .map_err(|source| failed("read the epoch key of", &path, source))?
            .ok_or(KeyholderError::Damaged("its epoch key is gone"))?;
        let nonce = XNonce::try_from(&head[12..HEAD]).expect("24 bytes");
        let plain = XChaCha20Poly1305::new((&*key).into())
            .decrypt(&nonce, Payload { msg: sealed, aad: head })
            .map(Zeroizing::new)
            .map_err(|_| KeyholderError::Damaged("its file was altered"))?;
        let ring = Keyring::parse(&plain, self.claim())?;
        self.tidy(epoch)?;
        Ok(Some((ring, epoch)))
    }

    /// Finishes an interrupted write.
    fn tidy(&self, epoch: u64) -> Result<(), KeyholderError> {
        let (path, new) = (self.path(), self.folder.join("keyring.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new, error)),
            _ => {}
        }
        // The rename must be durable before the epoch key of the keyring it replaced goes.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| failed("sync the folder of", &path, source))?;
        self.epochs
            .destroy_except(epoch)
            .map_err(|source| failed("destroy an old epoch key of", &path, source))
    }

    /// Makes `ring` and the outcomes `done` the keyring of a new epoch, durably, and destroys every older epoch key.
    pub(super) fn save(&self, ring: &Keyring, done: &[Destroyed], epoch: u64) -> Result<(), KeyholderError> {
        let (path, new) = (self.path(), self.folder.join("keyring.new"));
        let mut key = Zeroizing::new([0_u8; 32]);
        let mut head = [0_u8; HEAD];
        head[..4].copy_from_slice(MAGIC);
        head[4..12].copy_from_slice(&epoch.to_be_bytes());
        for random in [&mut key[..], &mut head[12..]] {
            getrandom::fill(random).map_err(|error| failed("draw a key for", &path, io::Error::other(error)))?;
        }
        let nonce = XNonce::try_from(&head[12..]).expect("24 bytes");
        let plain = ring.to_bytes(done);
        let (msg, aad) = (plain.as_slice(), head.as_slice());
        let sealed = XChaCha20Poly1305::new((&*key).into())
            .encrypt(&nonce, Payload { msg, aad })
            .map_err(|_| KeyholderError::Damaged("its content is too long"))?;
        self.epochs
            .put(epoch, &key)
            .map_err(|source| failed("write an epoch key for", &path, source))?;
        // A crash here leaves the old keyring and a spare epoch key; reading removes the spare.
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&head)?;
            file.write_all(&sealed)?;
            (self.fault)(Step::KeyringWritten)?;
            file.sync_all()?;
            (self.fault)(Step::KeyringSynced)?;
            std::fs::rename(&new, &path)?;
            (self.fault)(Step::KeyringRenamed)?;
            File::open(&self.folder)?.sync_all()?;
            (self.fault)(Step::FolderSynced)
        })();
        written.map_err(|source| failed("write", &path, source))?;
        // A crash here leaves the new keyring and both epoch keys; reading destroys the old one.
        self.epochs
            .destroy_except(epoch)
            .map_err(|source| failed("destroy the old epoch key of", &path, source))
    }
}

/// An error of the disk, with what to do about it.
pub(super) fn failed(step: &'static str, path: &Path, source: io::Error) -> KeyholderError {
    KeyholderError::Io {
        step,
        subject: path.display().to_string(),
        remedy: "free disk space, check the disk and the folder's owner; keys that are due open nothing meanwhile",
        source,
    }
}

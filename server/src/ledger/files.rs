//! The few operations on files that the ledger's durability rests on, so that tests can fail each of them.
//!
//! Paths are relative to the ledger's directory. Nothing is held open between operations: a directory that was moved
//! away or replaced fails the next write instead of receiving rows that nobody will find.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// No file of the ledger is larger than this, in bytes.
pub(super) const MAX_FILE: u64 = 256 * 1024 * 1024;

/// A directory of files. After `Ok`, `sync` has made a file's content durable and `sync_dir` its names; everything else
/// may be lost, kept or kept in part when power fails. Implementations are used by one writer and many readers.
pub(super) trait Files: Send + Sync {
    /// A whole file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// A file's length in bytes.
    fn len(&self, path: &str) -> io::Result<u64>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Writes bytes at an offset. With `create`, the file may be absent; its directory must exist.
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8], create: bool) -> io::Result<()>;
    /// Cuts or extends a file.
    fn truncate(&self, path: &str, len: u64) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync(&self, path: &str) -> io::Result<()>;
    /// Makes a directory's names durable; the empty path is the ledger's directory itself.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Renames, replacing the target at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Creates one directory.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Takes the exclusive lock on a file, created if absent; `WouldBlock` where somebody holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>>;
}

/// Creates the ledger's directory (mode 0700) if it is absent; its parent must exist.
pub(super) fn create_root(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
        Ok(()) => match dir.parent() {
            Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
            _ => Ok(()),
        },
    }
}

/// Files on a disk.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Disk(root.to_owned())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.at(path))?;
        let len = file.metadata()?.len();
        if len > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{len} bytes")));
        }
        let mut bytes = Vec::with_capacity(len as usize);
        file.by_ref().take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.at(path))?.len())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        std::fs::read_dir(self.at(dir))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8], create: bool) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(self.at(path))?;
        file.write_all_at(bytes, offset)
    }

    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.at(path))?.set_len(len)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.at(path))?.sync_data()
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.at(from), self.at(to))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(self.at(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.at(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        std::fs::remove_dir(self.at(path))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(std::fs::TryLockError::Error(e)) => Err(e),
        }
    }
}

/// Reads a file that may be absent.
pub(super) fn read_optional(files: &dyn Files, path: &str) -> io::Result<Option<Vec<u8>>> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts a whole file in place of another so that a crash leaves the old or the new one, and makes it durable.
pub(super) fn replace(files: &dyn Files, path: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{path}.new");
    files.write_at(&new, 0, bytes, true)?;
    // A crash may have left a longer one behind.
    files.truncate(&new, bytes.len() as u64)?;
    files.sync(&new)?;
    files.rename(&new, path)?;
    files.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))
}

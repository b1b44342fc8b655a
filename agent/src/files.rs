//! Writing small files so that a crash leaves the old one or the new one, never half of either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Readable by the agent's own user alone.
pub const PRIVATE: u32 = 0o600;

/// Makes what was created in or renamed into `folder` survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` and its parents with mode 0700.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Replaces `path` by `bytes`: written beside it, synced, renamed, folder synced.
///
/// A crash before the rename leaves a `.new` file that the next write replaces.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("the path has no folder"))?;
    let mut name = path
        .file_name()
        .ok_or_else(|| io::Error::other("the path has no file name"))?
        .to_owned();
    name.push(".new");
    let beside = folder.join(name);
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if let Err(e) = written {
        // The half-written neighbour helps nobody, least of all on a full disk.
        let _ = fs::remove_file(&beside);
        return Err(e);
    }
    sync_folder(folder)
}

/// Reads a file of at most `limit` bytes; a larger one is an error, not a large allocation.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{length} bytes where at most {limit} are possible"),
        ));
    }
    fs::read(path)
}

/// Writes footage and statements; the one place where a test lets the disk fail.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Some(failed) = crate::testing::disk_fails(file, bytes, offset) {
        return failed;
    }
    file.write_all_at(bytes, offset)
}

/// `true` for the errors that mean "no space here now": they pass by themselves when space returns.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_is_private_and_whole() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.json");
        fs::write(folder.path().join("agent.json.new"), b"left by a crash").expect("leftover");
        write_atomic(&path, b"one").expect("first write");
        write_atomic(&path, b"two").expect("second write");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(
            fs::metadata(&path).expect("metadata").permissions().mode() & 0o777,
            PRIVATE
        );
        assert!(!folder.path().join("agent.json.new").exists());
    }

    #[test]
    fn an_oversized_file_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("keys.cose");
        fs::write(&path, vec![0; 101]).expect("write");
        assert!(read_bounded(&path, 100).is_err());
        assert_eq!(read_bounded(&path, 101).expect("at the bound").len(), 101);
    }
}

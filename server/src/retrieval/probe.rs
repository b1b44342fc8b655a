//! Whether the ledger could be written right now, tried without writing a row.
//!
//! An intent stays good for minutes. Between its row and the next one nothing is appended that could fail, so each use of a
//! standing intent asks the disk first: what cannot be recorded is not opened, not even for the rest of those minutes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Written and given back: more than a file system keeps beside a file's own blocks, so that a full disk shows.
static ROOM: [u8; 65_536] = [0; 65_536];
/// The probe's file in the ledger's folder. Its content means nothing; it is empty between two probes.
const NAME: &str = "probe";

/// Whether a row could be written to the ledger in `folder` now. Takes about as long as one append.
pub(super) async fn writable(folder: PathBuf) -> bool {
    match tokio::task::spawn_blocking(move || probe(&folder)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(
                "nothing is opened: the ledger's folder cannot be written ({error}); free or mend its disk"
            );
            false
        }
        Err(_) => false,
    }
}

fn probe(folder: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(NAME))?;
    file.write_all(&ROOM)?;
    file.sync_data()?;
    file.set_len(0)?;
    // The file that a row reaches first may be closed to writing where its folder is not.
    match OpenOptions::new().append(true).open(folder.join("journal")) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_writable_until_its_folder_is_gone_or_closed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger");
        assert!(probe(&ledger).is_err(), "no folder");
        std::fs::create_dir(&ledger).unwrap();
        probe(&ledger).unwrap();
        assert_eq!(std::fs::metadata(ledger.join(NAME)).unwrap().len(), 0);
        // Root passes every permission: a folder in the file's place is refused to root too.
        std::fs::remove_file(ledger.join(NAME)).unwrap();
        std::fs::create_dir(ledger.join(NAME)).unwrap();
        assert!(probe(&ledger).is_err(), "closed to writing");
    }
}

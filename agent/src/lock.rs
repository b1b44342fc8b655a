//! One process per folder: two would give out the same numbers twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;
use crate::files::{PRIVATE, make_private_folder};
use crate::paths::Folder;

/// Held as long as this lives; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the folder's lock.
pub fn take(folder: &Folder) -> Result<Lock, Failure> {
    try_take(folder).map_err(|error| {
        let remedy = if error.kind() == io::ErrorKind::WouldBlock {
            "another custody-agent runs on it: stop that one, or give this one a folder of its own"
        } else {
            "check that the disk is mounted and that this user may write there"
        };
        Failure::new(format!("folder {}", folder.root().display()), "lock it", error, remedy)
    })
}

fn try_take(folder: &Folder) -> io::Result<Lock> {
    make_private_folder(folder.root())?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(folder.lock())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(folder.path());
        let held = take(&folder).expect("free");
        let refused = take(&folder).expect_err("held");
        assert!(refused.remedy().contains("another custody-agent"), "{refused}");
        drop(held);
        take(&folder).expect("free again");
    }
}

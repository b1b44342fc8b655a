//! The last receipt, kept so that a start knows where the server is. A help, not a truth: it may be lost, and is never synced.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use custody_shared::hash::Sha256Hash;

use crate::files::{PRIVATE, read_bounded};
use crate::keeper::Head;

const LENGTH: usize = 8 + 32 + 8;

/// Writes the receipt in place: a torn one is recognised and read as none.
pub fn write(path: &Path, head: Head) -> io::Result<()> {
    let mut raw = Vec::with_capacity(LENGTH);
    raw.extend_from_slice(&head.next_index.to_be_bytes());
    raw.extend_from_slice(head.last_hash.as_bytes());
    let check = Sha256Hash::of(&raw);
    raw.extend_from_slice(&check.as_bytes()[..8]);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path)?;
    file.write_all_at(&raw, 0)
}

/// Reads the receipt; a torn, damaged or missing one is [`Head::START`].
pub fn read(path: &Path) -> Head {
    parse(&read_bounded(path, LENGTH as u64).unwrap_or_default()).unwrap_or(Head::START)
}

fn parse(raw: &[u8]) -> Option<Head> {
    let (body, check) = raw.split_at_checked(40)?;
    if Sha256Hash::of(body).as_bytes()[..8] != *check {
        return None;
    }
    let (index, hash) = body.split_first_chunk::<8>()?;
    Some(Head {
        next_index: u64::from_be_bytes(*index),
        last_hash: Sha256Hash::from_bytes(hash.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("acked");
        assert_eq!(read(&path), Head::START);
        let head = Head {
            next_index: 77,
            last_hash: Sha256Hash::of(b"x"),
        };
        write(
            &path,
            Head {
                next_index: 3,
                last_hash: Sha256Hash::ZERO,
            },
        )
        .expect("write");
        write(&path, head).expect("write");
        assert_eq!(read(&path), head);
        let mut raw = std::fs::read(&path).expect("read");
        raw[3] ^= 1;
        std::fs::write(&path, raw).expect("flip");
        assert_eq!(read(&path), Head::START);
    }
}

//! The public keys to seal to, as the server announced them: the highest issue ever accepted, durable before it is used.

use std::io;
use std::path::{Path, PathBuf};

use custody_shared::cose::VerifyingKey;
use custody_shared::id::{CameraId, SiteId};
use custody_shared::keys::{KeyDescriptor, choose};
use custody_shared::message::{Downlink, KeyAnnouncement, MAX_DOWNLINK_LEN, MessageError};
use custody_shared::time::UtcMicros;

use crate::files;
use crate::paths::DAY_US;

/// Why an announcement changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// Not the server's, not for this camera, or malformed.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// An issue that is not newer than the one in force. Obeying it could bring back a destroyed day's key.
    #[error("issue {offered} is not newer than issue {held}, which is in force")]
    OlderIssue {
        /// The issue refused.
        offered: u64,
        /// The issue in force.
        held: u64,
    },
    /// The disk did not take it; the announcement in force stays.
    #[error("it cannot be stored: {0}")]
    Store(#[from] io::Error),
}

/// The announcement in force.
#[derive(Debug)]
pub struct KeyShelf {
    path: PathBuf,
    server: VerifyingKey,
    site: SiteId,
    camera: CameraId,
    held: Option<KeyAnnouncement>,
}

impl KeyShelf {
    /// Opens the shelf; a file that is missing, damaged or not the server's is an empty shelf and a warning.
    pub fn open(path: &Path, server: VerifyingKey, site: SiteId, camera: CameraId) -> Self {
        let mut shelf = Self {
            path: path.to_owned(),
            server,
            site,
            camera,
            held: None,
        };
        match files::read_bounded(path, MAX_DOWNLINK_LEN as u64) {
            Ok(bytes) => match shelf.verify(&bytes) {
                Ok(announcement) => shelf.held = Some(announcement),
                Err(error) => {
                    tracing::warn!(%error, "the stored keys cannot be used; waiting for the server's next announcement")
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "the stored keys cannot be read; waiting for the server's next announcement")
            }
        }
        shelf
    }

    /// Checks everything but the time: keys announced long ago are still the keys, and the issue number refuses replays.
    fn verify(&self, signed: &[u8]) -> Result<KeyAnnouncement, MessageError> {
        let open = |now| Downlink::<KeyAnnouncement>::open(&self.server, signed, self.site, self.camera, now);
        let opened = match open(UtcMicros::MIN) {
            Err(MessageError::Future(issued_at)) => open(issued_at),
            other => other,
        };
        opened.map(|message| message.body)
    }

    /// Takes a signed announcement: verified, newer than what is held, stored, then in force.
    pub fn offer(&mut self, signed: &[u8]) -> Result<u64, KeyRefusal> {
        let announcement = self.verify(signed)?;
        if let Some(held) = &self.held
            && announcement.issue <= held.issue
        {
            return Err(KeyRefusal::OlderIssue {
                offered: announcement.issue,
                held: held.issue,
            });
        }
        files::write_atomic(&self.path, signed)?;
        let issue = announcement.issue;
        self.held = Some(announcement);
        Ok(issue)
    }

    fn keys(&self) -> &[KeyDescriptor] {
        self.held.as_ref().map_or(&[], |held| &held.keys)
    }

    /// The key for filming that begins at `at`: the day's, else the reserve.
    pub fn choose(&self, at: UtcMicros) -> Option<&KeyDescriptor> {
        choose(self.keys(), at)
    }

    /// The descriptor of a key, where it is still announced.
    pub fn find(&self, key: custody_shared::id::KeyId) -> Option<&KeyDescriptor> {
        self.keys().iter().find(|descriptor| descriptor.key_id == key)
    }

    /// For how long a day's footage lives after its day, as the announced day keys have it, µs.
    pub fn retention_us(&self) -> Option<i64> {
        self.keys()
            .iter()
            .filter(|key| !key.reserve)
            .map(|key| key.destroy_at.since(key.valid_until))
            .max()
    }

    /// The number of the announcement in force.
    pub fn issue(&self) -> Option<u64> {
        self.held.as_ref().map(|held| held.issue)
    }

    /// Whole days from `now` on for which there is a day key without a hole.
    pub fn days_ahead(&self, now: UtcMicros) -> u16 {
        let mut until = now;
        while let Some(key) = self.keys().iter().find(|key| !key.reserve && key.covers(until)) {
            until = key.valid_until;
        }
        u16::try_from(until.since(now) / DAY_US).unwrap_or(u16::MAX)
    }

    /// Whether there is a reserve key for `now`.
    pub fn has_reserve(&self, now: UtcMicros) -> bool {
        self.keys().iter().any(|key| key.reserve && key.covers(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{announcement, announcement_for, camera, server_key, site};

    fn shelf(folder: &Path) -> KeyShelf {
        KeyShelf::open(&folder.join("keys.cose"), server_key().public(), site(), camera())
    }

    fn day(number: i64) -> UtcMicros {
        UtcMicros::new(number * DAY_US + 1)
    }

    #[test]
    fn only_a_newer_issue_replaces_what_is_held_and_it_survives_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let mut held = shelf(folder.path());
        assert!(held.choose(day(100)).is_none());
        assert_eq!(held.offer(&announcement(7, 100, 45)).expect("first"), 7);
        for old in [6, 7] {
            let refused = held.offer(&announcement(old, 500, 45)).expect_err("not newer");
            assert!(matches!(refused, KeyRefusal::OlderIssue { held: 7, .. }), "{refused}");
        }
        held.offer(&announcement(8, 101, 45)).expect("newer");
        let again = shelf(folder.path());
        assert_eq!(again.issue(), Some(8));
        assert!(again.choose(day(101)).is_some());
    }

    #[test]
    fn foreign_forged_and_garbled_announcements_change_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let mut held = shelf(folder.path());
        held.offer(&announcement(1, 100, 3)).expect("first");
        let mut flipped = announcement(2, 100, 3);
        *flipped.last_mut().expect("a byte") ^= 1;
        let foreign = announcement_for(CameraId::from_bytes([9; 16]), 2, 100, 3);
        for (flaw, bytes) in [
            ("flipped", flipped),
            ("foreign", foreign),
            ("empty", vec![]),
            ("long", vec![0; 300_000]),
        ] {
            assert!(matches!(held.offer(&bytes), Err(KeyRefusal::Message(_))), "{flaw}");
            assert_eq!(held.issue(), Some(1), "{flaw}");
        }
        std::fs::write(folder.path().join("keys.cose"), b"rot").expect("rot");
        assert_eq!(shelf(folder.path()).issue(), None);
    }

    #[test]
    fn days_ahead_and_the_reserve() {
        let folder = tempfile::tempdir().expect("folder");
        let mut held = shelf(folder.path());
        held.offer(&announcement(1, 100, 45)).expect("first");
        assert_eq!(held.days_ahead(UtcMicros::new(100 * DAY_US)), 45);
        assert_eq!(held.days_ahead(day(200)), 0);
        assert!(!held.choose(day(110)).expect("a day key").reserve);
        assert!(held.choose(day(200)).expect("the reserve").reserve);
        assert!(held.has_reserve(day(200)));
        assert_eq!(held.retention_us(), Some(30 * DAY_US));
    }
}

//! What tests share: a camera, its server and its keys.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use custody_shared::cose::SigningKey;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{CameraId, KeyId, SiteId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::message::{Downlink, KeyAnnouncement};
use custody_shared::time::UtcMicros;

use crate::paths::DAY_US;

pub(crate) fn site() -> SiteId {
    SiteId::from_bytes([1; 16])
}

pub(crate) fn camera() -> CameraId {
    CameraId::from_bytes([2; 16])
}

pub(crate) fn server_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

pub(crate) fn statement_key() -> SigningKey {
    SigningKey::from_seed(&[4; 32])
}

/// The one footage key pair of all tests' days.
pub(crate) fn footage_key() -> RecipientSecret {
    RecipientSecret::from_seed(&[5; 32])
}

/// Key of a UTC day (days since 1970).
pub(crate) fn day_key(day: i64) -> KeyId {
    let mut id = [6; 16];
    id[8..].copy_from_slice(&day.to_be_bytes());
    KeyId::from_bytes(id)
}

/// `days` day keys from `first_day` on, and a reserve.
pub(crate) fn descriptors(camera: CameraId, first_day: i64, days: i64) -> Vec<KeyDescriptor> {
    let public = footage_key().public();
    let at = |day: i64| UtcMicros::new(day * DAY_US);
    let day = |day: i64| KeyDescriptor {
        key_id: day_key(day),
        camera,
        valid_from: at(day),
        valid_until: at(day + 1),
        destroy_at: at(day + 31),
        reserve: false,
        public: public.clone(),
    };
    let reserve = KeyDescriptor {
        key_id: KeyId::from_bytes([7; 16]),
        valid_from: at(0),
        valid_until: at(100_000),
        destroy_at: at(100_000),
        reserve: true,
        ..day(first_day)
    };
    (first_day..first_day + days).map(day).chain([reserve]).collect()
}

pub(crate) fn announcement_for(camera: CameraId, issue: u64, first_day: i64, days: i64) -> Vec<u8> {
    let message = Downlink {
        site: site(),
        camera,
        counter: issue,
        issued_at: UtcMicros::new(first_day * DAY_US),
        expires_at: UtcMicros::new((first_day + 1) * DAY_US),
        body: KeyAnnouncement {
            issue,
            keys: descriptors(camera, first_day, days),
        },
    };
    message.sign(&server_key()).expect("sign")
}

pub(crate) fn announcement(issue: u64, first_day: i64, days: i64) -> Vec<u8> {
    announcement_for(camera(), issue, first_day, days)
}

/// How the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// Nothing reaches it.
    Lost,
    /// A part reaches it.
    Half,
    /// Everything reaches it, and it says otherwise.
    Written,
}

thread_local! {
    /// Bytes that the disk still takes on this thread, and how it fails then.
    static DISK: Cell<Option<(usize, DiskFault)>> = const { Cell::new(None) };
}

/// Lets writes on this thread fail after `bytes` more; `None` mends the disk.
pub(crate) fn break_disk(fault: Option<(usize, DiskFault)>) {
    DISK.set(fault);
}

/// The failure of this write, if it is to fail.
pub(crate) fn disk_fails(file: &File, bytes: &[u8], offset: u64) -> Option<io::Result<()>> {
    let (left, fault) = DISK.get()?;
    if bytes.len() <= left {
        DISK.set(Some((left - bytes.len(), fault)));
        return None;
    }
    DISK.set(Some((0, fault)));
    let reaches = match fault {
        DiskFault::Lost => 0,
        DiskFault::Half => bytes.len() / 2,
        DiskFault::Written => bytes.len(),
    };
    Some(
        file.write_all_at(&bytes[..reaches], offset)
            .and(Err(io::ErrorKind::StorageFull.into())),
    )
}

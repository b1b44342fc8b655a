//! Where everything lies, and the limits of what may lie there.

use custody_shared::tlog::tile::index_path;

/// Held locked while a ledger is open.
pub(super) const LOCK: &str = "lock";
/// The log's private key.
pub(super) const KEY: &str = "log.key";
/// The log's public key, for whoever checks the files.
pub(super) const VERIFIER: &str = "log.vkey";
/// The signed checkpoint of the settled part.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Rows that are durable and not yet settled.
pub(super) const JOURNAL: &str = "journal";
/// Tiles and entry bundles.
pub(super) const TILES: &str = "tile";
/// Encrypted bodies.
pub(super) const BODIES: &str = "bodies";
/// Keys of the bodies.
pub(super) const KEYRING: &str = "record-keyring";

/// The file of the bodies of 256 rows.
pub(super) fn bodies(bundle: u64) -> String {
    format!("{BODIES}/{}", index_path(bundle))
}

/// The file of the keys of the bodies that are purged on a day (days since 1970).
pub(super) fn keys(day: u32) -> String {
    format!("{KEYRING}/{day:06}")
}

/// Rows in one group commit at most.
pub(super) const BATCH_ROWS: usize = 4096;
/// Bytes of bodies in one group commit at most, apart from its last request.
pub(super) const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Rows in the journal after which it is settled at once.
pub(super) const SETTLE_ROWS: usize = 2048;
/// Bytes in the journal after which it is settled at once.
pub(super) const SETTLE_BYTES: u64 = 4 * 1024 * 1024;
/// Quiet time after which the journal is settled.
pub(super) const SETTLE_AFTER: std::time::Duration = std::time::Duration::from_millis(200);
/// Bytes in the journal above which nothing is appended until it could be settled.
pub(super) const JOURNAL_BYTES: u64 = 32 * 1024 * 1024;

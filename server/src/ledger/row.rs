//! Rows as the record hands them over.

use zeroize::Zeroizing;

use super::error::LedgerError;

/// The longest body, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// The most rows in one append.
pub const MAX_APPEND_ROWS: usize = 1024;
/// The most bytes of bodies in one append.
pub const MAX_APPEND_BYTES: usize = 4 * 1024 * 1024;
/// The last day on which a row may be purged (days since 1970): the year 4707 or so.
const MAX_DAY: u32 = 999_999;

/// The kind of a row: the ledger groups keys by it and knows nothing else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKind(pub u16);

/// A row to append.
pub struct NewRow {
    /// Its kind.
    pub kind: RowKind,
    /// The day (since 1970, UTC) on which its body is destroyed.
    pub purge_on_day: u32,
    /// What it says.
    pub body: Zeroizing<Vec<u8>>,
}

/// A row as it is read.
pub struct Row {
    /// Its place in the log.
    pub index: u64,
    /// Its kind.
    pub kind: RowKind,
    /// The day (since 1970, UTC) on which its body is, or was, destroyed.
    pub purge_on_day: u32,
    /// What it says; `None` once purged.
    pub body: Option<Zeroizing<Vec<u8>>>,
}

/// Refuses what could not be stored, before it waits for its turn.
pub(super) fn check(rows: &[NewRow]) -> Result<(), LedgerError> {
    if rows.len() > MAX_APPEND_ROWS {
        return Err(LedgerError::InvalidRows("at most 1024 rows can be appended together"));
    }
    if rows.iter().any(|r| r.body.len() > MAX_BODY) {
        return Err(LedgerError::InvalidRows("a row's body has at most 256 KiB"));
    }
    if rows.iter().map(|r| r.body.len()).sum::<usize>() > MAX_APPEND_BYTES {
        return Err(LedgerError::InvalidRows("rows appended together have at most 4 MiB"));
    }
    if rows.iter().any(|r| r.purge_on_day > MAX_DAY) {
        return Err(LedgerError::InvalidRows(
            "a row's day of purging is beyond the calendar",
        ));
    }
    Ok(())
}

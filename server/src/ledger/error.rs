//! What can go wrong, and what to do about it.

use std::io;
use std::sync::Arc;

/// An error of the ledger. Cheap to clone: one failed write is reported to everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// A write failed. Nothing may be released until appends succeed again; the ledger heals by itself once the disk
    /// takes writes.
    #[error("ledger: cannot {step} {path} ({cause}); check that its disk has space and takes writes")]
    Unwritable {
        /// The failed step.
        step: &'static str,
        /// The file, relative to the ledger's directory.
        path: String,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// A read failed.
    #[error("ledger: cannot read {path} ({cause}); check its disk and its owner")]
    Unreadable {
        /// The file, relative to the ledger's directory.
        path: String,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// Another process holds the ledger.
    #[error("ledger: another process has it open; stop that one first")]
    Locked,
    /// There is no ledger in the directory.
    #[error("ledger: there is none in this directory; create it with `custody-server init`")]
    Missing,
    /// The ledger belongs to another origin.
    #[error("ledger: it is the log {found}, the configuration says {wanted}; correct the configuration")]
    OtherOrigin {
        /// The origin of the log's key.
        found: String,
        /// The origin asked for.
        wanted: String,
    },
    /// The files contradict each other or their signatures.
    #[error(
        "ledger: {path} is damaged ({what}); run `custody-server ledger verify`, restore the named file from a backup"
    )]
    Damaged {
        /// The file, relative to the ledger's directory.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody else changed the head under the running ledger. Going on would fork the log.
    #[error("ledger: {path} was changed by somebody else; put it back, or stop the server and verify the ledger")]
    HeadMoved {
        /// The file, relative to the ledger's directory.
        path: String,
    },
    /// The rows cannot be appended as they are.
    #[error("ledger: {0}")]
    InvalidRows(&'static str),
    /// The log has no row at this index.
    #[error("ledger: there is no row {0}")]
    NoSuchRow(u64),
    /// The ledger has been closed.
    #[error("ledger: it has been closed")]
    Closed,
}

impl LedgerError {
    pub(super) fn unwritable(step: &'static str, path: &str, cause: io::Error) -> Self {
        LedgerError::Unwritable {
            step,
            path: path.to_owned(),
            cause: Arc::new(cause),
        }
    }

    pub(super) fn unreadable(path: &str, cause: io::Error) -> Self {
        LedgerError::Unreadable {
            path: path.to_owned(),
            cause: Arc::new(cause),
        }
    }

    pub(super) fn damaged(path: &str, what: impl Into<String>) -> Self {
        LedgerError::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    /// Whether a later attempt can succeed without anybody touching the ledger's content.
    pub fn may_heal(&self) -> bool {
        matches!(
            self,
            LedgerError::Unwritable { .. } | LedgerError::Unreadable { .. } | LedgerError::HeadMoved { .. }
        )
    }
}

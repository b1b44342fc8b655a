//! What the record needs of a ledger. The ledger itself implements it; tests put one behind it that fails
//! both ways: rows lost, and rows written but reported lost.

use std::future::Future;
use std::pin::Pin;

use custody_shared::tlog::RowEvidence;
use zeroize::Zeroizing;

use crate::ledger::{self, Ledger, LedgerError};

/// A row to append.
pub struct NewRow {
    /// The number of its kind.
    pub kind: u16,
    /// Day (since 1970-01-01) on which its body is purged.
    pub purge_on_day: u32,
    /// What it says.
    pub body: Zeroizing<Vec<u8>>,
}

/// A ledger that cannot be written or read, in its own words: step, subject, remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

/// A future that ends with the ledger's answer.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'a>>;

/// An append-only sequence of rows.
///
/// Duties: `append` returns only after the rows are durable and a signed checkpoint covers them; all of them or
/// none; an error may leave them written or not. Rows keep their order and their index for ever.
pub trait LedgerPort: Send + Sync + 'static {
    /// Appends rows together and gives their indices.
    fn append(&self, rows: Vec<NewRow>) -> PortFuture<'_, Vec<u64>>;
    /// Number of rows.
    fn len(&self) -> u64;
    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A row's body; `None` once it was purged.
    ///
    /// # Errors
    /// The ledger's own.
    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, PortError>;
    /// A row with its proof of inclusion in the latest signed checkpoint.
    ///
    /// # Errors
    /// The ledger's own.
    fn evidence(&self, index: u64) -> Result<RowEvidence, PortError>;
}

impl From<LedgerError> for PortError {
    fn from(error: LedgerError) -> Self {
        Self(error.to_string())
    }
}

impl LedgerPort for Ledger {
    fn append(&self, rows: Vec<NewRow>) -> PortFuture<'_, Vec<u64>> {
        Box::pin(async move {
            let rows = rows
                .into_iter()
                .map(|row| ledger::NewRow {
                    kind: ledger::RowKind(row.kind),
                    purge_on_day: row.purge_on_day,
                    body: row.body,
                })
                .collect();
            Ok(Self::append(self, rows).await?)
        })
    }

    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, PortError> {
        Ok(self.read(index)?.map(|(_, body)| body))
    }

    fn evidence(&self, index: u64) -> Result<RowEvidence, PortError> {
        Ok(Self::evidence(self, index)?)
    }
}

//! What the record needs of a ledger. The ledger itself implements it; tests put one behind it that fails
//! both ways: rows lost, and rows written but reported lost.

use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

use crate::ledger::{Ledger, LedgerError, NewRow, RowEvidence};

/// A future that ends with the ledger's answer.
pub type LedgerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// An append-only sequence of rows.
///
/// Duties: `append` returns only after the rows are durable and a signed checkpoint covers them; all of them or
/// none; an error may leave them written or not. Rows keep their order and their index for ever.
pub trait LedgerPort: Send + Sync + 'static {
    /// Appends rows together and gives their indices.
    fn append(&self, rows: Vec<NewRow>) -> LedgerFuture<'_, Vec<u64>>;
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
    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, LedgerError>;
    /// A row with its proof of inclusion in the latest signed checkpoint.
    ///
    /// # Errors
    /// The ledger's own.
    fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError>;
}

impl LedgerPort for Ledger {
    fn append(&self, rows: Vec<NewRow>) -> LedgerFuture<'_, Vec<u64>> {
        Box::pin(Self::append(self, rows))
    }

    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, LedgerError> {
        Ok(self.read(index)?.map(|(_, body)| body))
    }

    fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError> {
        Self::evidence(self, index)
    }
}

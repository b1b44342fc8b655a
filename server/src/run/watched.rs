//! The ledger, watched: whether its last write succeeded is what `/healthz` says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::ledger::{Ledger, LedgerError, NewRow, RowEvidence};
use crate::record::port::{LedgerFuture, LedgerPort};

/// A ledger and whether it fails.
pub(super) struct Watched {
    pub(super) ledger: Ledger,
    pub(super) failing: Arc<AtomicBool>,
}

impl LedgerPort for Watched {
    fn append(&self, rows: Vec<NewRow>) -> LedgerFuture<'_, Vec<u64>> {
        Box::pin(async move {
            let result = self.ledger.append(rows).await;
            let failed = result.is_err();
            if self.failing.swap(failed, Ordering::Relaxed) != failed {
                match &result {
                    Err(error) => tracing::error!("nothing is released until the ledger can be written: {error}"),
                    Ok(_) => tracing::info!("the ledger can be written again"),
                }
            }
            result
        })
    }

    fn len(&self) -> u64 {
        self.ledger.len()
    }

    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, LedgerError> {
        Ok(self.ledger.read(index)?.map(|(_, body)| body))
    }

    fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError> {
        self.ledger.evidence(index)
    }
}

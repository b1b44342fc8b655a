//! Noticing that a broker ends the connection because of what is published: the same statements, again and again, and never a receipt.

use std::time::Duration;

/// This many short connections in a row without a receipt are no coincidence.
const SUSPICIOUS: u32 = 3;
/// A connection that lived longer did not die of its first publish.
const SHORT: Duration = Duration::from_secs(20);

/// Counts short connections that sent statements and got no receipt.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    in_a_row: u32,
    published: bool,
}

impl Refusals {
    /// Statements went out on this connection.
    pub(super) fn published(&mut self) {
        self.published = true;
    }

    /// A receipt came: nothing is refused.
    pub(super) fn receipt(&mut self) {
        *self = Self::default();
    }

    /// The connection ended after `lived`. Returns whether refusal has just become the likely reason.
    pub(super) fn ended(&mut self, lived: Duration) -> bool {
        let refused = std::mem::take(&mut self.published) && lived < SHORT;
        if refused {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        refused && self.in_a_row == SUSPICIOUS
    }

    /// Whether to go slow: the smallest batches, the longest waits.
    pub(super) fn suspected(&self) -> bool {
        self.in_a_row >= SUSPICIOUS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_publish_is_noticed_once_and_a_receipt_clears_it() {
        let mut refusals = Refusals::default();
        let mut noticed = Vec::new();
        for _ in 0..5 {
            refusals.published();
            noticed.push(refusals.ended(Duration::from_millis(300)));
        }
        assert_eq!(noticed, [false, false, true, false, false]);
        assert!(refusals.suspected());
        refusals.receipt();
        assert!(!refusals.suspected());
    }

    #[test]
    fn an_unreachable_broker_and_a_long_connection_are_no_refusal() {
        let mut refusals = Refusals::default();
        for _ in 0..9 {
            assert!(!refusals.ended(Duration::from_millis(1)));
            refusals.published();
            assert!(!refusals.ended(Duration::from_secs(60)));
        }
        assert!(!refusals.suspected());
    }
}

//! Rows one after the other, a bundle at a time.

use std::collections::VecDeque;

use super::error::LedgerError;
use super::row::Row;
use super::state::Found;
use super::{Ledger, body, layout};

/// Rows in their order; see [`Ledger::iter`].
pub struct Rows<'a> {
    ledger: &'a Ledger,
    next: u64,
    ready: VecDeque<Found>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(ledger: &'a Ledger, from: u64) -> Self {
        Rows {
            ledger,
            next: from,
            ready: VecDeque::new(),
        }
    }

    /// Reads the records from `next` to the end of its bundle.
    fn fill(&mut self) -> Result<(), LedgerError> {
        let shared = &self.ledger.shared;
        let size = self.ledger.len();
        let end = (self.next / 256 + 1).saturating_mul(256).min(size);
        if self.next >= end {
            return Ok(());
        }
        let base = shared.unsettled().base;
        if self.next >= base {
            for index in self.next..end {
                self.ready.push_back(shared.record(index)?);
            }
            return Ok(());
        }
        let file = shared.read(&layout::bodies(self.next / 256))?;
        let mut rest = &file[..];
        while let Ok((record, after)) = body::parse(rest) {
            if record.head.index == self.next + self.ready.len() as u64 && record.head.index < end.min(base) {
                self.ready.push_back(Found {
                    bytes: record.bytes().into(),
                });
            }
            rest = after;
        }
        if self.ready.is_empty() {
            // Names the damaged row in the error.
            self.ready.push_back(shared.record(self.next)?);
        }
        Ok(())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, LedgerError>;

    /// The next row. After an error the iteration goes on behind the row that could not be read.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Err(error) = self.fill()
        {
            self.ready.clear();
            self.next += 1;
            return Some(Err(error));
        }
        let found = self.ready.pop_front()?;
        let index = self.next;
        self.next += 1;
        Some(self.ledger.shared.row(index, &found))
    }
}

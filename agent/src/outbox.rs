//! The outbox: which statements go out next, and when. A state machine without a clock, socket or file of its own.
//!
//! A statement has left only when the server says that it is durable there (`acked`); a PUBACK means nothing. Batches go out
//! at a fixed cadence in fixed sizes, full or empty, so that neither times nor sizes tell what happened in front of the camera.
//! At most [`WINDOW`] batches are without a receipt. After a lost connection or a silent server it starts over from the last receipt.

use std::collections::VecDeque;

/// Batches that may be out without a receipt.
pub const WINDOW: usize = 4;

/// How a batch is to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    /// Index of the first statement wanted.
    pub from: u64,
    /// Whether statements have piled up, so that the largest size is in order.
    pub behind: bool,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    end: u64,
    sent_at_us: i64,
}

/// Where the outbox stands.
#[derive(Debug)]
pub struct Outbox {
    acked: u64,
    next: u64,
    flights: VecDeque<Flight>,
    due_at_us: i64,
    cadence_us: i64,
    patience_us: i64,
    connected: bool,
}

impl Outbox {
    /// An outbox whose statements below `acked` have receipts. `patience_us` is how long a receipt may take.
    pub fn new(acked: u64, cadence_us: i64, patience_us: i64) -> Self {
        Self {
            acked,
            next: acked,
            flights: VecDeque::new(),
            due_at_us: 0,
            cadence_us,
            patience_us,
            connected: false,
        }
    }

    /// Index of the first statement without a receipt.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// A connection stands: the first batch goes at once, because its receipt says where the server is.
    pub fn connected(&mut self, now_us: i64) {
        self.connected = true;
        self.start_over();
        self.due_at_us = now_us;
    }

    /// The connection is gone; nothing that was out counts.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.start_over();
    }

    fn start_over(&mut self) {
        self.next = self.acked;
        self.flights.clear();
    }

    /// The server has everything below `next_index` durably. It may be less than before (restored from a backup):
    /// then what it lacks goes again.
    pub fn acked_until(&mut self, next_index: u64, head: u64) {
        // A receipt for statements that do not exist here is the caller's to resolve; counting it would lose statements.
        let next_index = next_index.min(head);
        if next_index < self.acked {
            self.acked = next_index;
            self.start_over();
            return;
        }
        self.acked = next_index;
        self.next = self.next.max(next_index);
        while self.flights.front().is_some_and(|flight| flight.end <= next_index) {
            self.flights.pop_front();
        }
    }

    /// What to send now, where `head` is the index after the newest durable statement.
    ///
    /// On cadence there is always a batch, empty if need be. Between cadences there is one only while statements pile up.
    pub fn poll(&mut self, now_us: i64, head: u64) -> Option<Send> {
        if !self.connected {
            return None;
        }
        if self
            .flights
            .front()
            .is_some_and(|flight| now_us.saturating_sub(flight.sent_at_us) > self.patience_us)
        {
            self.start_over();
        }
        if self.flights.len() >= WINDOW {
            return None;
        }
        let waiting = head.saturating_sub(self.next);
        let behind = waiting > BEHIND;
        // A clock stepped back must not silence the outbox for as long as the step.
        let early = now_us < self.due_at_us && self.due_at_us.saturating_sub(now_us) <= self.cadence_us;
        (behind || !early).then_some(Send {
            from: self.next,
            behind,
        })
    }

    /// A batch went out that ends before `end` (equal to its beginning where it was empty).
    pub fn sent(&mut self, now_us: i64, end: u64) {
        if end > self.next {
            self.next = end;
            self.flights.push_back(Flight {
                end,
                sent_at_us: now_us,
            });
        }
        // Steps of the cadence, not of "now": otherwise the load would show in the times.
        let late = now_us.saturating_sub(self.due_at_us);
        self.due_at_us = if (0..self.cadence_us).contains(&late) {
            self.due_at_us + self.cadence_us
        } else {
            now_us.saturating_add(self.cadence_us)
        };
    }

    /// The agent ends: what waits goes now instead of at the next cadence.
    pub fn flush(&mut self, now_us: i64) {
        self.due_at_us = now_us;
    }
}

/// From this many waiting statements on, batches do not wait for the cadence.
pub const BEHIND: u64 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn outbox() -> Outbox {
        let mut outbox = Outbox::new(0, 10 * S, 30 * S);
        outbox.connected(0);
        outbox
    }

    #[test]
    fn on_cadence_there_is_always_one_batch_even_an_empty_one() {
        let mut outbox = outbox();
        let mut sent_at = Vec::new();
        for second in 0..60 {
            if let Some(send) = outbox.poll(second * S, 0) {
                assert!(!send.behind);
                outbox.sent(second * S, send.from);
                sent_at.push(second);
            }
        }
        assert_eq!(sent_at, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn a_backlog_does_not_wait_for_the_cadence_but_for_the_window() {
        let mut outbox = outbox();
        let head = 100_000;
        for batch in 0..WINDOW as u64 {
            let send = outbox.poll(1, head).expect("within the window");
            assert_eq!(
                send,
                Send {
                    from: batch * 130,
                    behind: true
                }
            );
            outbox.sent(1, (batch + 1) * 130);
        }
        assert_eq!(outbox.poll(1, head), None, "the window is full");
        outbox.acked_until(260, head);
        assert_eq!(outbox.poll(2, head).expect("two places are free").from, 520);
    }

    #[test]
    fn without_a_receipt_it_starts_over_from_the_last_one() {
        let mut outbox = outbox();
        outbox.sent(0, 3);
        outbox.acked_until(2, 3);
        assert_eq!(outbox.poll(29 * S, 3).expect("on cadence").from, 3);
        assert_eq!(outbox.poll(31 * S, 3).expect("patience is over").from, 2);
    }

    #[test]
    fn a_lost_connection_forgets_what_was_out() {
        let mut outbox = outbox();
        outbox.sent(0, 7);
        outbox.disconnected();
        assert_eq!(outbox.poll(60 * S, 9), None);
        outbox.connected(70 * S);
        assert_eq!(outbox.poll(70 * S, 9), Some(Send { from: 0, behind: false }));
    }

    #[test]
    fn a_server_restored_from_a_backup_gets_what_it_lacks() {
        let mut outbox = outbox();
        outbox.sent(0, 50);
        outbox.acked_until(50, 50);
        outbox.acked_until(20, 50);
        assert_eq!(outbox.poll(0, 50).expect("again").from, 20);
    }

    #[test]
    fn a_receipt_for_what_was_never_said_loses_nothing() {
        let mut outbox = outbox();
        outbox.sent(0, 3);
        outbox.acked_until(u64::MAX, 5);
        assert_eq!(outbox.acked(), 5);
        assert_eq!(outbox.poll(10 * S, 6).expect("the next").from, 5);
    }

    #[test]
    fn a_clock_stepped_back_does_not_silence_it() {
        let mut outbox = outbox();
        outbox.sent(100_000 * S, 0);
        assert!(outbox.poll(100 * S, 0).is_some());
        outbox.sent(100 * S, 0);
        assert!(outbox.poll(105 * S, 0).is_none());
        assert!(outbox.poll(110 * S, 0).is_some());
    }
}

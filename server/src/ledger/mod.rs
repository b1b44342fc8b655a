//! The ledger: rows that nobody can change, drop or reorder without an outsider noticing.
//!
//! In scope: durable appends behind signed checkpoints, the tree, encrypted bodies beside it, the keys of the bodies,
//! proofs, verification. Out of scope: what a row means (the record), who may read one (access).
//! A row goes through the modules in this order: [`row`] → [`keyring`] + [`body`] → [`edge`] → [`journal`] (here it
//! is durable) → [`settle`] (here it reaches its tiles) → [`state`] → [`read`], [`rows`] → [`verify`]. The normative
//! text is `shared/spec/ledger.md`.
//!
//! Invariants: no checkpoint leaves this module before the journal that holds it is durable; no row's body touches a
//! disk in the clear; a failed write fails every append until the disk has healed.

mod block_on;
mod body;
mod edge;
mod error;
mod files;
mod journal;
mod keyring;
mod layout;
mod open;
mod read;
mod row;
mod rows;
mod settle;
mod state;
mod verify;
mod verify_head;
mod verify_tree;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;
#[cfg(test)]
mod verify_tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::{Semaphore, oneshot};

pub use custody_shared::tlog::{LogVerifier, RowEvidence};
pub use error::LedgerError;
pub use read::TileBytes;
pub use row::{MAX_APPEND_BYTES, MAX_APPEND_ROWS, MAX_BODY, NewRow, Row, RowKind};
pub use rows::Rows;
pub use verify::{Finding, Report, Subject, verify};

use files::{Disk, Files};
use state::Shared;
use writer::Request;

/// Appends that may wait at once; the next waits for its turn before it is queued.
const MAX_WAITING: usize = 1024;

/// How to open a ledger.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// The log's origin: its name in every checkpoint. Must equal the one the ledger was created with.
    pub origin: String,
    /// Whether to create the ledger where there is none. Never overwrites anything.
    pub create: bool,
}

/// The ledger of one site. Cheap to clone; one writer thread serves all clones and ends, settled, after the last.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

/// The way to the writer thread. Dropping the last one lets it finish and waits for it.
struct Queue {
    sender: Option<Sender<Request>>,
    turns: Arc<Semaphore>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender.take();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed every append; there is nothing more to report here.
            let _ = thread.join();
        }
    }
}

impl Ledger {
    /// Opens the ledger in `dir`, creating it if asked to, and recovers from whatever a crash left. Locks the
    /// directory: a second ledger on it is refused. Blocks on the disk.
    pub fn open(dir: &Path, options: LedgerOptions) -> Result<Ledger, LedgerError> {
        if options.create {
            files::create_root(dir).map_err(|e| LedgerError::unwritable("create", &dir.display().to_string(), e))?;
        }
        Ledger::open_on(Arc::new(Disk::new(dir)), options)
    }

    fn open_on(files: Arc<dyn Files>, options: LedgerOptions) -> Result<Ledger, LedgerError> {
        let (shared, writer) = open::open(files, &options)?;
        let (sender, requests) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run(&requests))
            .map_err(|e| LedgerError::unwritable("start", "the ledger's thread", e))?;
        let turns = Arc::new(Semaphore::new(MAX_WAITING));
        let queue = Queue {
            sender: Some(sender),
            turns,
            thread: Some(thread),
        };
        Ok(Ledger {
            shared,
            queue: Arc::new(queue),
        })
    }

    /// Appends rows, all of them next to each other or none, and gives their indices once they are durable and a
    /// signed checkpoint covers them. Dropping the future leaves open whether they were appended.
    pub async fn append(&self, rows: Vec<NewRow>) -> Result<Vec<u64>, LedgerError> {
        row::check(&rows)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let turn = self
            .queue
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| LedgerError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            rows,
            reply,
            _turn: turn,
        };
        self.queue
            .sender
            .as_ref()
            .ok_or(LedgerError::Closed)?
            .send(request)
            .map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    /// [`Ledger::append`] for callers without a runtime. Never call it from within one: it blocks the thread.
    pub fn append_blocking(&self, rows: Vec<NewRow>) -> Result<Vec<u64>, LedgerError> {
        block_on::block_on(self.append(rows))
    }
}

//! The one writer: collects the appends that wait, makes them durable with one sync, and lets them go.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};

use custody_shared::tlog::{Leaf, LogSigner, tree};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::body;
use super::edge::{Edge, FullTile};
use super::error::LedgerError;
use super::files::Files;
use super::journal;
use super::layout::{self, CHECKPOINT, JOURNAL};
use super::row::NewRow;
use super::state::{Head, Shared};

/// One append that waits.
pub(super) struct Request {
    pub(super) rows: Vec<NewRow>,
    pub(super) reply: oneshot::Sender<Result<Vec<u64>, LedgerError>>,
    pub(super) _turn: OwnedSemaphorePermit,
}

/// What the settled part on the disk consists of.
pub(super) struct Settled {
    /// Rows in their tiles.
    pub(super) base: u64,
    /// The checkpoint file's content.
    pub(super) note: String,
    /// Bytes of settled records in the bundle that holds row `base`.
    pub(super) bundle_len: u64,
}

/// Whether the journal is as the writer believes it to be.
pub(super) enum Health {
    /// It ends with the last commit.
    Sound,
    /// A write failed: it may have bytes behind the last commit that were never acknowledged.
    Untidy,
    /// It was replaced and its name is not durable yet.
    NameNotDurable,
}

/// The writer's state. Owned by its thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) signer: LogSigner,
    pub(super) settled: Settled,
    /// Bytes of the journal up to the last commit.
    pub(super) journal_len: u64,
    pub(super) health: Health,
    /// Directories whose names are known to be durable.
    pub(super) durable_dirs: BTreeSet<String>,
    /// Released when the writer ends.
    pub(super) _lock: Box<dyn Send + Sync>,
}

/// A batch that is computed and not written.
struct Prepared {
    first: u64,
    edge: Edge,
    note: String,
    bytes: Vec<u8>,
    records: Vec<Arc<[u8]>>,
    full: Vec<FullTile>,
}

impl Writer {
    /// Serves appends until every ledger handle is gone, then settles.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match requests.recv_timeout(layout::SETTLE_AFTER) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    self.settle_quietly();
                    // Nothing is left to do until somebody appends, unless settling failed and must be tried again.
                    match self.unsettled_rows() {
                        0 => match requests.recv() {
                            Ok(request) => request,
                            Err(_) => break,
                        },
                        _ => continue,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.serve(first, requests);
            if self.unsettled_rows() >= layout::SETTLE_ROWS || self.journal_len >= layout::SETTLE_BYTES {
                self.settle_quietly();
            }
        }
        self.settle_quietly();
    }

    fn unsettled_rows(&self) -> usize {
        (self.shared.head().edge.size() - self.settled.base) as usize
    }

    fn settle_quietly(&mut self) {
        if self.unsettled_rows() > 0
            && let Err(error) = self.settle()
        {
            // The rows are durable in the journal; only its bound makes this an error for somebody.
            tracing::warn!(%error, "the ledger's journal could not be settled");
        }
    }

    /// Commits the request and whatever else waits.
    fn serve(&mut self, first: Request, requests: &Receiver<Request>) {
        let mut waiting = vec![first];
        let (mut rows, mut bytes) = (0, 0);
        loop {
            let last = waiting.last().expect("one request at least");
            rows += last.rows.len();
            bytes += last.rows.iter().map(|r| r.body.len()).sum::<usize>();
            if rows >= layout::BATCH_ROWS || bytes >= layout::BATCH_BYTES {
                break;
            }
            match requests.try_recv() {
                Ok(request) => waiting.push(request),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        // A request whose rows cannot be sealed fails alone; then the others are tried again without it.
        while !waiting.is_empty() {
            match self.commit(&waiting) {
                Ok(first) => return acknowledge(waiting, first),
                Err((Some(guilty), error)) => {
                    let _ = waiting.remove(guilty).reply.send(Err(error));
                }
                Err((None, error)) => {
                    for request in waiting {
                        // A receiver that has gone away does not want to know.
                        let _ = request.reply.send(Err(error.clone()));
                    }
                    return;
                }
            }
        }
    }

    /// Makes requests durable; gives the index of the first row, or the request that is to blame alone.
    fn commit(&mut self, waiting: &[Request]) -> Result<u64, (Option<usize>, LedgerError)> {
        self.ready().map_err(|e| (None, e))?;
        let prepared = self.prepare(waiting)?;
        self.write(&prepared.bytes).map_err(|e| (None, e))?;
        // From here on the rows are in the log: nothing below can fail.
        self.journal_len += prepared.bytes.len() as u64;
        let mut unsettled = self.shared.unsettled.write().unwrap_or_else(PoisonError::into_inner);
        unsettled.records.extend(prepared.records);
        unsettled
            .tiles
            .extend(prepared.full.into_iter().map(|(tile, bytes)| (tile, bytes.into())));
        drop(unsettled);
        let head = Arc::new(Head {
            edge: prepared.edge,
            note: prepared.note.into(),
        });
        *self.shared.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(prepared.first)
    }

    /// Checks that the next batch may be written, after healing what can be healed.
    fn ready(&mut self) -> Result<(), LedgerError> {
        self.unmoved()?;
        match self.health {
            Health::Sound => {}
            Health::Untidy => self.tidy()?,
            Health::NameNotDurable => self.sync_names()?,
        }
        if self.journal_len >= layout::JOURNAL_BYTES {
            self.settle()?;
        }
        Ok(())
    }

    /// Compare before swap: the head on the disk is the one this writer left there.
    fn unmoved(&self) -> Result<(), LedgerError> {
        let files = &*self.shared.files;
        let moved = |path: &str| LedgerError::HeadMoved { path: path.to_owned() };
        let len = files
            .len(JOURNAL)
            .map_err(|e| LedgerError::unwritable("find", JOURNAL, e))?;
        let as_left = match self.health {
            Health::Untidy => len >= self.journal_len,
            _ => len == self.journal_len,
        };
        if !as_left {
            return Err(moved(JOURNAL));
        }
        let note = files
            .read(CHECKPOINT)
            .map_err(|e| LedgerError::unwritable("find", CHECKPOINT, e))?;
        if note != self.settled.note.as_bytes() {
            return Err(moved(CHECKPOINT));
        }
        Ok(())
    }

    /// Cuts off what a failed write may have left. Its batch was never acknowledged and its checkpoint never shown.
    fn tidy(&mut self) -> Result<(), LedgerError> {
        let files = &*self.shared.files;
        files
            .truncate(JOURNAL, self.journal_len)
            .map_err(|e| LedgerError::unwritable("cut", JOURNAL, e))?;
        files
            .sync(JOURNAL)
            .map_err(|e| LedgerError::unwritable("sync", JOURNAL, e))?;
        self.health = Health::Sound;
        Ok(())
    }

    pub(super) fn sync_names(&mut self) -> Result<(), LedgerError> {
        self.shared
            .files
            .sync_dir("")
            .map_err(|e| LedgerError::unwritable("sync", "the ledger's directory", e))?;
        self.health = Health::Sound;
        Ok(())
    }

    fn prepare(&self, waiting: &[Request]) -> Result<Prepared, (Option<usize>, LedgerError)> {
        let mut edge = self.shared.head().edge.clone();
        let first = edge.size();
        let (mut sealed, mut records, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for (number, request) in waiting.iter().enumerate() {
            for row in &request.rows {
                if edge.size() >= tree::MAX_SIZE {
                    return Err((None, LedgerError::InvalidRows("the log is full")));
                }
                let bucket = self
                    .shared
                    .keyring
                    .bucket(row.kind, row.purge_on_day)
                    .map_err(|e| match e {
                        LedgerError::InvalidRows(_) | LedgerError::Damaged { .. } => (Some(number), e),
                        e => (None, e),
                    })?;
                let start = sealed.len();
                let leaf: Leaf = body::seal(edge.size(), row, &bucket, &mut sealed)
                    .map_err(|e| (None, LedgerError::unwritable("seal", "a row", std::io::Error::other(e))))?;
                records.push(sealed[start..].into());
                edge.push(leaf.hash(), &mut full);
            }
        }
        let note = self.signer.sign(edge.size(), edge.root());
        let bytes = journal::batch(first, records.len(), &sealed, &note);
        Ok(Prepared {
            first,
            edge,
            note,
            bytes,
            records,
            full,
        })
    }

    /// The commit: one write, one sync.
    fn write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        let files: &dyn Files = &*self.shared.files;
        let written = files
            .write_at(JOURNAL, self.journal_len, bytes, false)
            .map_err(|e| LedgerError::unwritable("write", JOURNAL, e))
            .and_then(|()| {
                files
                    .sync(JOURNAL)
                    .map_err(|e| LedgerError::unwritable("sync", JOURNAL, e))
            });
        if written.is_err() {
            self.health = Health::Untidy;
            // At once if the disk lets us, else before the next append.
            let _ = self.tidy();
        }
        written
    }
}

fn acknowledge(waiting: Vec<Request>, mut first: u64) {
    for request in waiting {
        let next = first + request.rows.len() as u64;
        let _ = request.reply.send(Ok((first..next).collect()));
        first = next;
    }
}

//! From the broker to the statement log: batches opened, statements verified, chained, stored, indexed, acknowledged.
//!
//! receiver (rumqttc) → workers (one per core; a camera always meets the same one) → committer (one thread: one fdatasync for
//! all that has come meanwhile) → receipts. Every queue between them is bounded and makes the one before wait; what the broker drops
//! meanwhile, agents send again, for nothing is acknowledged before it is durable.

mod commit;
mod counters;
mod link;
mod receipts;
mod server_keys;
mod verify;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use custody_shared::id::{CameraId, SiteId};
use custody_shared::time::SharedClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::ServerDoor;
use crate::index::{IndexError, IndexStore, ReplayReport, StatementKeys, replay};
use crate::statements::StatementStore;

pub use counters::{IngestCounters, IngestSnapshot, Trouble, TroubleKind};
pub use link::{Downlinks, LinkError, Uplink};
pub use server_keys::{ServerKeys, ServerKeysError};

/// Batches waiting for a worker.
const WORKER_QUEUE: usize = 64;
/// Verified batches waiting for the committer.
const COMMIT_QUEUE: usize = 64;
/// Status and health messages waiting for the fleet.
const UPLINK_QUEUE: usize = 1024;

/// What ingest works with.
pub struct IngestParts {
    /// The site.
    pub site: SiteId,
    /// Where the broker is.
    pub door: ServerDoor,
    /// Opens batches and signs receipts.
    pub keys: Arc<ServerKeys>,
    /// Who may sign what.
    pub enrolment: Arc<dyn StatementKeys>,
    /// Where statements are kept.
    pub statements: Arc<StatementStore>,
    /// Their projection.
    pub index: Arc<dyn IndexStore>,
    /// The time.
    pub clock: SharedClock,
}

/// A running ingest.
pub struct Ingest {
    counters: Arc<IngestCounters>,
    downlinks: Downlinks,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
    caught_up: ReplayReport,
}

impl Ingest {
    /// Indexes what a crash left unindexed, then begins to take batches. Returns also the stream of messages other than statements,
    /// which the fleet reads.
    ///
    /// # Errors
    /// If the log cannot be read or the index not be written.
    pub async fn start(parts: IngestParts) -> Result<(Self, mpsc::Receiver<Uplink>), IndexError> {
        let (statements, index, enrolment) = (parts.statements.clone(), parts.index.clone(), parts.enrolment.clone());
        let caught_up = tokio::task::spawn_blocking(move || replay(&statements, &*index, &*enrolment))
            .await
            .map_err(|error| IndexError::Store {
                step: "catching up",
                reason: error.to_string(),
            })??;
        if !caught_up.is_clean() {
            tracing::error!(
                ?caught_up,
                "the statement log is not whole; what is named is missing from the index"
            );
        }

        let counters = Arc::new(IngestCounters::default());
        let stop = CancellationToken::new();
        let (uplink_sender, uplinks) = mpsc::channel(UPLINK_QUEUE);
        let (commit_sender, commit_receiver) = sync_channel(COMMIT_QUEUE);
        let heads = Arc::new(commit::Heads::default());
        let (client, events) = link::connect(&parts.door);
        let receipts = Arc::new(receipts::Receipts::default());

        let mut threads = Vec::new();
        let mut workers = Vec::new();
        let count = std::thread::available_parallelism().map_or(1, |count| count.get().clamp(1, 8));
        for number in 0..count {
            let (sender, receiver) = mpsc::channel(WORKER_QUEUE);
            workers.push(sender);
            let worker = verify::Worker {
                keys: parts.keys.clone(),
                enrolment: parts.enrolment.clone(),
                heads: heads.clone(),
                counters: counters.clone(),
                clock: parts.clock.clone(),
                out: commit_sender.clone(),
            };
            threads.push(spawn(&format!("verify-{number}"), move || worker.run(receiver))?);
        }
        drop(commit_sender);
        let committer = commit::Committer::new(&parts, heads, counters.clone(), receipts.clone());
        threads.push(spawn("commit", move || committer.run(&commit_receiver))?);

        let downlinks = Downlinks::new(parts.site, client, parts.keys.clone(), parts.clock.clone());
        let receiver = link::Receiver {
            site: parts.site,
            workers,
            uplinks: uplink_sender,
            counters: counters.clone(),
        };
        let tasks = vec![
            tokio::spawn(link::run(receiver, downlinks.clone(), events, stop.clone())),
            tokio::spawn(receipts::run(
                receipts,
                downlinks.clone(),
                counters.clone(),
                stop.clone(),
            )),
        ];
        Ok((
            Self {
                counters,
                downlinks,
                stop,
                tasks,
                threads,
                caught_up,
            },
            uplinks,
        ))
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> IngestSnapshot {
        self.counters.snapshot()
    }

    /// What was last wrong with a camera's statements, if anything.
    pub fn trouble(&self, camera: CameraId) -> Option<Trouble> {
        self.counters.trouble(camera)
    }

    /// What the start found in the log beyond the index.
    pub fn caught_up(&self) -> &ReplayReport {
        &self.caught_up
    }

    /// For sending signed messages to agents.
    pub fn downlinks(&self) -> &Downlinks {
        &self.downlinks
    }

    /// Ends: what is in the queues is still stored, and acknowledged if the broker is still there.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has nothing left to stop.
            let _ = task.await;
        }
        let threads = self.threads;
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, IndexError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| IndexError::Store {
            step: "starting a thread",
            reason: error.to_string(),
        })
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;

//! The agents in the field: how they are, what they are told, and sealed files fetched from them when somebody may see them.
//!
//! In scope: presence and health, key announcements, fetch orders, the bounded cache of sealed files. Out of scope: opening
//! anything (the keyholder), who may (access), the HTTPS interface itself (`agentapi`).

mod cache;
mod directory;
mod footage;
mod order;
mod presence;
mod upload;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custody_shared::id::CameraId;
use custody_shared::message::{Command, MAX_FETCH};
use custody_shared::statement::{Kind, SignedStatement};
use custody_shared::time::{DAY_US, SECOND_US, TimeRange};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::index::{IndexError, IndexStore};
use crate::ingest::{Downlinks, ServerKeys, Uplink};
use crate::statements::StatementStore;

pub use cache::SealedCache;
pub use directory::{Directory, Joining, Refused};
pub use footage::RecordedFootage;
pub use presence::{AgentState, Presence};
pub use upload::{UploadError, Uploaded};

use order::{Expected, Order, Outcome};

/// How long a fetch order is good, in microseconds: an agent that connects later is ordered anew.
const ORDER_VALID_US: i64 = 60 * SECOND_US;
/// How long an announcement of keys is good: as long as the keys it brings reach ahead.
const KEYS_VALID_US: i64 = 60 * DAY_US;
/// A stalled order is repeated after so long.
const REPEAT: Duration = Duration::from_secs(10);
/// Orders open at a time.
const MAX_ORDERS: usize = 2 * MAX_FETCH as usize;

/// Why sealed files did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No statement names this segment.
    #[error("camera {camera}: no segment {seq} is stated; choose a time that the coverage shows as kept")]
    Unknown {
        /// The camera.
        camera: CameraId,
        /// The segment.
        seq: u64,
    },
    /// The agent did not deliver in time.
    #[error("camera {camera}: segment {seq} did not arrive ({}); check the agent and its network", if *.online { "the agent is connected" } else { "the agent is not connected" })]
    TimedOut {
        /// The camera.
        camera: CameraId,
        /// The segment waited for.
        seq: u64,
        /// Whether the agent was connected.
        online: bool,
    },
    /// What arrived is not what was signed, time and again.
    #[error("camera {camera}: segment {seq} arrived damaged {attempts} times; the agent's disk or its file is damaged")]
    Damaged {
        /// The camera.
        camera: CameraId,
        /// The segment.
        seq: u64,
        /// How often it was tried.
        attempts: u32,
    },
    /// More than the cache can hold, or too many orders at once.
    #[error("camera {camera}: {bytes} bytes asked for at once do not fit the cache of {limit}; ask for a shorter time")]
    TooMuch {
        /// The camera.
        camera: CameraId,
        /// Bytes asked for.
        bytes: u64,
        /// Bytes the cache holds.
        limit: u64,
    },
    /// The index or the statement log failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The statement log holds something else than the index says.
    #[error("camera {camera}: the statement of segment {seq} cannot be read; run `custody-server rebuild`")]
    Statement {
        /// The camera.
        camera: CameraId,
        /// The segment.
        seq: u64,
    },
    /// A disk or the broker failed.
    #[error("camera {camera}: {reason}")]
    Failed {
        /// The camera.
        camera: CameraId,
        /// What failed, with its remedy.
        reason: String,
    },
}

/// What the fleet works with.
pub struct FleetParts {
    /// For signed messages to agents.
    pub downlinks: Downlinks,
    /// Opens health messages.
    pub keys: Arc<ServerKeys>,
    /// What the record knows of agents.
    pub directory: Arc<dyn Directory>,
    /// What cameras have said.
    pub statements: Arc<StatementStore>,
    /// Where it is found.
    pub index: Arc<dyn IndexStore>,
    /// Folder of the sealed cache.
    pub cache_dir: PathBuf,
    /// Bytes the cache may hold.
    pub cache_bytes: u64,
    /// How long a fetch may go without any progress.
    pub patience: Duration,
}

/// The agents of a site.
pub struct Fleet {
    parts: FleetParts,
    cache: Arc<SealedCache>,
    presence: Mutex<HashMap<CameraId, AgentState>>,
    orders: Mutex<HashMap<(CameraId, u64), Arc<Order>>>,
}

impl Fleet {
    /// Opens the cache and begins to listen to `uplinks`, until `stop`.
    ///
    /// # Errors
    /// If the cache's folder cannot be used.
    pub fn start(
        parts: FleetParts,
        uplinks: mpsc::Receiver<Uplink>,
        stop: CancellationToken,
    ) -> std::io::Result<Arc<Self>> {
        let cache = Arc::new(SealedCache::open(&parts.cache_dir, parts.cache_bytes)?);
        let fleet = Arc::new(Self {
            parts,
            cache,
            presence: Mutex::default(),
            orders: Mutex::default(),
        });
        tokio::spawn(presence::listen(fleet.clone(), uplinks, stop));
        Ok(fleet)
    }

    /// How a camera's agent is.
    pub fn status(&self, camera: CameraId) -> AgentState {
        lock(&self.presence).get(&camera).cloned().unwrap_or_default()
    }

    /// Tells a camera's agent its keys for the days ahead, as the record has them.
    pub async fn publish_keys(&self, camera: CameraId) -> Result<(), FetchError> {
        let Some(announcement) = self.parts.directory.announcement(camera) else {
            return Ok(());
        };
        let sent = self.parts.downlinks.send(camera, announcement, KEYS_VALID_US).await;
        sent.map_err(|error| FetchError::Failed {
            camera,
            reason: error.to_string(),
        })
    }

    /// The signed announcement of a camera's keys, for its join response.
    pub(crate) fn signed_keys(&self, camera: CameraId) -> Result<Vec<u8>, String> {
        let announcement = self.parts.directory.announcement(camera);
        let announcement = announcement.ok_or("the camera has no keys yet")?;
        self.parts
            .downlinks
            .sign(camera, announcement, KEYS_VALID_US)
            .map_err(|error| error.to_string())
    }

    /// The server's message keys.
    pub(crate) fn keys(&self) -> &ServerKeys {
        &self.parts.keys
    }

    /// What cameras have said.
    pub(crate) fn statements(&self) -> &StatementStore {
        &self.parts.statements
    }

    /// Where it is found.
    pub(crate) fn index(&self) -> &dyn IndexStore {
        &*self.parts.index
    }

    /// What the record knows of agents.
    pub(crate) fn directory(&self) -> &Arc<dyn Directory> {
        &self.parts.directory
    }

    /// Where the sealed file of a segment lies once it has been fetched. It may be evicted at any time: open it through [`Fleet::open`].
    pub fn sealed_path(&self, camera: CameraId, seq: u64) -> PathBuf {
        self.cache.path(camera, seq)
    }

    /// The sealed file of a segment, if it is in the cache. An open file survives its eviction.
    pub fn open(&self, camera: CameraId, seq: u64) -> Option<File> {
        self.cache.file(camera, seq)
    }

    /// Deletes cached files of a camera whose segments overlap `range`; returns how many. Bytes whose segment nobody states go too.
    pub fn forget(&self, camera: CameraId, range: TimeRange) -> std::io::Result<u64> {
        self.cache
            .forget(camera, |seq| match self.parts.index.segment(camera, seq) {
                Ok(Some(row)) => row.range.overlaps(&range),
                Ok(None) | Err(_) => true,
            })
    }

    /// Has the sealed files of these segments fetched into the cache, verified; returns when all are there.
    ///
    /// Several callers who want one file share one order. The wait ends with an error once nothing has arrived for the
    /// configured patience.
    pub async fn fetch(self: &Arc<Self>, camera: CameraId, seqs: &[u64]) -> Result<(), FetchError> {
        let missing: Vec<u64> = seqs
            .iter()
            .copied()
            .filter(|seq| !self.cache.touch(camera, *seq))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let fleet = self.clone();
        let expected = tokio::task::spawn_blocking(move || fleet.expected(camera, &missing))
            .await
            .map_err(|error| FetchError::Failed {
                camera,
                reason: error.to_string(),
            })??;
        let bytes = expected.iter().map(|expected| expected.len).sum();
        let limit = self.parts.cache_bytes;
        if bytes > limit {
            return Err(FetchError::TooMuch { camera, bytes, limit });
        }
        let mut orders = Vec::with_capacity(expected.len());
        let mut fresh = Vec::new();
        {
            let mut open = lock(&self.orders);
            open.retain(|_, order| order.is_wanted());
            if open.len() + expected.len() > MAX_ORDERS {
                return Err(FetchError::TooMuch { camera, bytes, limit });
            }
            for expected in expected {
                let seq = expected.seq;
                let order = open.entry((camera, seq)).or_insert_with(|| {
                    fresh.push(seq);
                    Arc::new(Order::new(expected))
                });
                orders.push(order.clone());
            }
        }
        self.command(camera, &fresh).await?;
        for order in orders {
            self.wait(camera, &order).await?;
        }
        Ok(())
    }

    fn expected(&self, camera: CameraId, seqs: &[u64]) -> Result<Vec<Expected>, FetchError> {
        seqs.iter()
            .map(|&seq| {
                let row = self
                    .parts
                    .index
                    .segment(camera, seq)?
                    .ok_or(FetchError::Unknown { camera, seq })?;
                let bytes = self.parts.statements.read(row.statement).map_err(IndexError::from)?;
                let statement = SignedStatement::from_bytes(bytes).and_then(|signed| signed.parse_unverified());
                match statement {
                    Ok(statement) if statement.camera == camera => match statement.kind {
                        Kind::Segment(segment) if segment.preamble.header.seq == seq => Ok(Expected {
                            seq,
                            len: segment.file_len,
                            sha256: segment.file_sha256,
                        }),
                        _ => Err(FetchError::Statement { camera, seq }),
                    },
                    _ => Err(FetchError::Statement { camera, seq }),
                }
            })
            .collect()
    }

    /// Orders segments, consecutive numbers together.
    async fn command(&self, camera: CameraId, seqs: &[u64]) -> Result<(), FetchError> {
        let mut sorted = seqs.to_vec();
        sorted.sort_unstable();
        for run in sorted.chunk_by(|one, next| *next == one + 1) {
            for part in run.chunks(MAX_FETCH as usize) {
                if let (Some(first), Some(last)) = (part.first(), part.last()) {
                    let command = Command::Fetch {
                        first_seq: *first,
                        last_seq: *last,
                    };
                    let sent = self.parts.downlinks.send(camera, command, ORDER_VALID_US).await;
                    sent.map_err(|error| FetchError::Failed {
                        camera,
                        reason: error.to_string(),
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Orders again what a camera still owes: its agent has just connected and may have missed the order.
    async fn command_again(&self, camera: CameraId) {
        let owed: Vec<u64> = lock(&self.orders)
            .iter()
            .filter(|((of, _), order)| *of == camera && order.is_wanted())
            .map(|((_, seq), _)| *seq)
            .collect();
        if let Err(error) = self.command(camera, &owed).await {
            tracing::warn!(%error, "an order could not be repeated");
        }
    }

    async fn wait(&self, camera: CameraId, order: &Arc<Order>) -> Result<(), FetchError> {
        let seq = order.expected.seq;
        let mut watch = order.watch();
        let mut idle = Duration::ZERO;
        loop {
            let outcome = watch.borrow_and_update().clone();
            match outcome {
                Outcome::Arriving(_) => {}
                Outcome::Arrived => return Ok(()),
                Outcome::Damaged(attempts) => return Err(FetchError::Damaged { camera, seq, attempts }),
                Outcome::Failed(reason) => return Err(FetchError::Failed { camera, reason }),
            }
            let step = REPEAT
                .min(self.parts.patience.saturating_sub(idle))
                .max(Duration::from_millis(1));
            match tokio::time::timeout(step, watch.changed()).await {
                Ok(Ok(())) => idle = Duration::ZERO,
                Ok(Err(_)) => {
                    return Err(FetchError::Failed {
                        camera,
                        reason: "the order was given up".to_owned(),
                    });
                }
                Err(_) => {
                    idle += step;
                    if idle >= self.parts.patience {
                        let online = self.status(camera).presence == Presence::Online;
                        return Err(FetchError::TimedOut { camera, seq, online });
                    }
                    self.command(camera, &[seq]).await?;
                }
            }
        }
    }

    fn order(&self, camera: CameraId, seq: u64) -> Option<Arc<Order>> {
        lock(&self.orders)
            .get(&(camera, seq))
            .filter(|order| order.is_wanted())
            .cloned()
    }

    fn close(&self, camera: CameraId, seq: u64) {
        lock(&self.orders).remove(&(camera, seq));
    }
}

/// The folder of a camera's sealed files within the cache.
fn camera_dir(dir: &Path, camera: CameraId) -> PathBuf {
    dir.join(camera.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

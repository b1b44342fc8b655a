//! Intents that are good now, and what came of them. One intent covers up to ten minutes of opening one camera's part of a
//! grant; its outcome is written when it ends, together with others.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use custody_shared::grant::Grant;
use custody_shared::id::CameraId;
use custody_shared::time::{SharedClock, UtcMicros};
use custody_shared::tlog::LogVerifier;
use tokio::sync::Mutex;

use super::open::{OpenError, Reader};
use super::probe;
use crate::keyholder::{ReleaseEvidence, VerifiedGrant, verify_release};
use crate::record::Record;
use crate::record::terms::Outcome;

/// An intent this close to its end is not used for another segment.
const MARGIN_US: i64 = 15_000_000;
/// An intent that opened nothing for this long is over.
const IDLE_US: i64 = 60_000_000;
/// Outcomes that wait for a ledger that cannot be written, at most; older ones are found again as open intents at the next start.
const MOST_WAITING: usize = 4096;

struct Active {
    verified: VerifiedGrant,
    seen: BTreeSet<u64>,
    bytes: u64,
    failed: bool,
    completed: bool,
    used: UtcMicros,
}

type Ended = (u64, u32, u64, Outcome);

/// Releases that are going on.
pub struct Releases {
    record: Record,
    log: LogVerifier,
    failing: Arc<AtomicBool>,
    folder: Option<PathBuf>,
    clock: SharedClock,
    active: Mutex<HashMap<(Reader, CameraId), Active>>,
    waiting: Mutex<Vec<Ended>>,
}

impl Releases {
    pub(super) fn new(record: Record, log: LogVerifier, failing: Arc<AtomicBool>, clock: SharedClock) -> Self {
        Self {
            record,
            log,
            failing,
            folder: None,
            clock,
            active: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Asks this folder, the ledger's, before each use of a standing intent whether a row could be written.
    pub(super) fn watch(&mut self, folder: PathBuf) {
        self.folder = Some(folder);
    }

    async fn closed(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
            || match &self.folder {
                Some(folder) => !probe::writable(folder.clone()).await,
                None => false,
            }
    }

    /// A release that is good now: the one that is going on, or a new intent with its evidence checked.
    ///
    /// # Errors
    /// [`OpenError::Record`] where a rule refuses or the ledger cannot be written; [`OpenError::Evidence`].
    pub(super) async fn ready(
        &self,
        reader: Reader,
        camera: CameraId,
        grant: &Grant,
    ) -> Result<VerifiedGrant, OpenError> {
        let mut active = self.active.lock().await;
        let now = self.clock.now();
        // While the ledger cannot be written not even a standing intent opens anything: a new one is tried, and fails.
        if active.contains_key(&(reader, camera))
            && !self.closed().await
            && let Some(release) = active.get_mut(&(reader, camera))
            && release.verified.until().get() - MARGIN_US > now.get()
        {
            release.used = now;
            return Ok(release.verified.clone());
        }
        if let Some(over) = active.remove(&(reader, camera)) {
            self.waiting.lock().await.push(over.ended());
        }
        let intended = self
            .record
            .intend_release(reader.person, reader.grant, camera, grant.range, reader.purpose)
            .await?;
        let evidence = ReleaseEvidence {
            grant: self.record.evidence(intended.grant_row)?,
            intent: self.record.evidence(intended.intent_row)?,
        };
        let verified = verify_release(&evidence, &self.log, self.clock.now())?;
        let release = Active {
            verified: verified.clone(),
            seen: BTreeSet::new(),
            bytes: 0,
            failed: false,
            completed: false,
            used: now,
        };
        active.insert((reader, camera), release);
        Ok(verified)
    }

    /// Notes what came of opening one segment; `bytes` is `None` where it failed.
    pub(super) async fn note(&self, reader: Reader, camera: CameraId, intent: u64, seq: u64, bytes: Option<u64>) {
        let mut active = self.active.lock().await;
        if let Some(release) = active
            .get_mut(&(reader, camera))
            .filter(|release| release.verified.intent_row() == intent)
        {
            match bytes {
                Some(bytes) => {
                    release.seen.insert(seq);
                    release.bytes = release.bytes.saturating_add(bytes);
                }
                None => release.failed = true,
            }
        }
    }

    /// Ends a reader's releases, as an export does when it knows what came of it.
    pub async fn end(&self, reader: Reader, outcome: Outcome) {
        let mut active = self.active.lock().await;
        let ended: Vec<_> = active.keys().filter(|(known, _)| *known == reader).copied().collect();
        let mut waiting = self.waiting.lock().await;
        for key in ended {
            if let Some(mut release) = active.remove(&key) {
                release.completed = outcome == Outcome::Completed;
                waiting.push(release.ended());
            }
        }
    }

    /// Writes the outcomes of releases that ended; with `all` of every one, as at shutdown. Called every few seconds.
    pub async fn settle(&self, all: bool) {
        let mut waiting = {
            let mut active = self.active.lock().await;
            let now = self.clock.now().get();
            let over: Vec<_> = active
                .iter()
                .filter(|(_, release)| {
                    all || release.verified.until().get() <= now || now - release.used.get() > IDLE_US
                })
                .map(|(key, _)| *key)
                .collect();
            let mut waiting = self.waiting.lock().await;
            waiting.extend(over.iter().filter_map(|key| active.remove(key)).map(Active::ended));
            std::mem::take(&mut *waiting)
        };
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = self.record.finish_releases(waiting.clone()).await {
            tracing::warn!("outcomes of releases are not recorded yet: {error}");
            waiting.truncate(MOST_WAITING);
            self.waiting.lock().await.append(&mut waiting);
        }
    }

    /// Ends intents that a crash left without an outcome.
    pub async fn recover(&self) {
        let left: Vec<Ended> = self
            .record
            .state()
            .open_release_rows()
            .map(|row| (row, 0, 0, Outcome::Stopped))
            .collect();
        for part in left.chunks(512) {
            if let Err(error) = self.record.finish_releases(part.to_vec()).await {
                tracing::warn!("releases that a crash cut short are not closed yet: {error}");
            }
        }
    }

    /// Releases that are going on.
    pub async fn count(&self) -> usize {
        self.active.lock().await.len()
    }
}

impl Active {
    fn ended(self) -> Ended {
        let outcome = match (self.failed, self.completed, self.seen.is_empty()) {
            (true, _, true) => Outcome::Failed,
            (false, true, _) => Outcome::Completed,
            _ => Outcome::Stopped,
        };
        (
            self.verified.intent_row(),
            u32::try_from(self.seen.len()).unwrap_or(u32::MAX),
            self.bytes,
            outcome,
        )
    }
}

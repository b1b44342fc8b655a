//! Retention: what is due is destroyed, what is needed is laid ahead.
//!
//! In scope: one tick, run at start and then every minute. Out of scope: how keys are destroyed (`keyholder`), how
//! agents delete their own files.
//!
//! Order of a tick: the keyholder destroys what is due, alone; cached ciphertext goes; then the record gets its
//! rows. Neither ledger nor network can hold up the first step: outcomes stay in the keyring until their rows are
//! durable.

mod step;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_shared::id::{CameraId, KeyId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::time::TimeRange;

pub use step::{ClockTrust, StepGuard};

use crate::keyholder::{Destroyed, Keyholder, KeyholderError, missing};
use crate::record::{Actor, MAX_ROWS, Record, RecordError, Row, days};

/// Deletes cached sealed files of a camera that were filmed inside a range, and says how many.
pub type Sweep = Arc<dyn Fn(CameraId, TimeRange) -> std::io::Result<u64> + Send + Sync>;
/// Time since some fixed moment, that no clock setting moves.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Descriptors in one commit: about 1.3 MB, well inside what the ledger takes at once.
const KEYS_AT_ONCE: usize = 1024;

/// What a tick came to. Empty lists and no alarm: nothing was due and nothing was missing.
#[derive(Debug, Default)]
pub struct Tick {
    /// Keys whose destruction got its row in this tick.
    pub destroyed: Vec<KeyId>,
    /// Cached files deleted.
    pub files: u64,
    /// Cameras with newly announced keys: their agents are to be told.
    pub announced: Vec<CameraId>,
    /// What a person must look at. Names cameras by id and holds no personal data.
    pub alarms: Vec<String>,
}

/// Retention of one site.
pub struct Retention {
    record: Record,
    holder: Arc<dyn Keyholder>,
    sweep: Sweep,
    monotonic: Monotonic,
    guard: Mutex<StepGuard>,
}

impl Retention {
    /// Retention over a record and a keyholder.
    #[must_use]
    pub fn new(record: Record, holder: Arc<dyn Keyholder>, sweep: Sweep, monotonic: Monotonic) -> Self {
        Self {
            record,
            holder,
            sweep,
            monotonic,
            guard: Mutex::new(StepGuard::default()),
        }
    }

    /// The clock of a running system for [`Retention::new`].
    #[must_use]
    pub fn system_monotonic() -> Monotonic {
        let start = std::time::Instant::now();
        Arc::new(move || start.elapsed())
    }

    /// Does what is due. Never fails as a whole: what could not be done is an alarm and is tried again.
    pub async fn tick(&self) -> Tick {
        let mut tick = Tick::default();
        let now = self.record.clock().now();
        let trust = self
            .guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .observe(now, (self.monotonic)());
        match trust {
            ClockTrust::Trusted => self.destroy(&mut tick).await,
            ClockTrust::Stepped { by, until } => tick.alarms.push(format!(
                "the clock stepped forward by {} s; automatic destruction waits until {until}: check the clock",
                by.as_secs()
            )),
        }
        if let Err(error) = self.lay_ahead(&mut tick).await {
            tick.alarms.push(format!("keys could not be laid ahead ({error})"));
        }
        tick
    }

    async fn destroy(&self, tick: &mut Tick) {
        let (holder, now) = (Arc::clone(&self.holder), self.record.clock().now());
        let outcomes = match blocking(move || holder.destroy(now)).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tick.alarms.push(format!(
                    "keys that are due open nothing, but their destruction is not durable ({error})"
                ));
                return;
            }
        };
        if outcomes.is_empty() {
            return;
        }
        for gone in &outcomes {
            match (self.sweep)(gone.camera, gone.range) {
                Ok(files) => tick.files += files,
                // Ciphertext without a key is harmless; it is still over its time.
                Err(error) => tick.alarms.push(format!(
                    "cached files of camera {} are over their time ({error})",
                    gone.camera
                )),
            }
        }
        match self.write_destructions(&outcomes).await {
            Ok(()) => {
                let keys: Vec<KeyId> = outcomes.iter().map(|gone| gone.key).collect();
                self.holder.settle(&keys);
                tick.destroyed = keys;
            }
            Err(error) => tick.alarms.push(format!(
                "{} destructions are done and wait for their rows ({error})",
                outcomes.len()
            )),
        }
    }

    /// Rows for outcomes that have none yet. A crash after this and before settling brings an outcome back; its row
    /// is found and not written twice.
    async fn write_destructions(&self, outcomes: &[Destroyed]) -> Result<(), RecordError> {
        for part in outcomes.chunks(MAX_ROWS) {
            self.record
                .commit(Actor::System, |state, _| {
                    let rows = part
                        .iter()
                        .filter(|gone| {
                            !state
                                .keys(gone.camera)
                                .is_some_and(|keys| keys.destroyed.iter().any(|old| old.key == gone.key))
                        })
                        .map(|gone| Row::KeyDestroyed {
                            camera: gone.camera,
                            key: gone.key,
                            range: gone.range,
                            reserve: gone.reserve,
                            due: gone.due,
                            done: gone.done,
                            method: gone.method.clone(),
                        })
                        .collect();
                    Ok((rows, ()))
                })
                .await?;
        }
        Ok(())
    }

    async fn lay_ahead(&self, tick: &mut Tick) -> Result<(), LayAheadError> {
        let state = self.record.state();
        let zone = state.zone();
        let now = self.record.clock().now();
        let today = days::local_day(now, &zone);
        let rules = self.record.rules().on(today).clone();
        let plans: Vec<_> = state
            .cameras()
            .flat_map(|camera| missing(camera.id, state.keys(camera.id), today, &rules, &zone))
            .collect();
        if !plans.is_empty() {
            let holder = Arc::clone(&self.holder);
            // One write of the keyring for all cameras. Private halves are durable before public halves are spoken of.
            let descriptors = blocking(move || holder.announce(&plans)).await?;
            self.announce(descriptors, tick).await?;
        }
        let live = |camera: CameraId| {
            let keys = state
                .keys(camera)
                .into_iter()
                .flat_map(|keys| keys.live.keys().copied());
            keys.collect::<Vec<KeyId>>()
        };
        let all: Vec<KeyId> = state.cameras().flat_map(|camera| live(camera.id)).collect();
        let lost = self.holder.lost(&all);
        if !lost.is_empty() {
            for camera in state.cameras() {
                let count = live(camera.id).iter().filter(|key| lost.contains(key)).count();
                tick.alarms.push(format!(
                    "camera {}: {count} announced keys are not in the keyring; what is sealed to them can never be \
                     opened: bring back the keyring or lay new keys",
                    camera.id
                ));
            }
        }
        Ok(())
    }

    /// A row for each camera, several to a commit.
    async fn announce(&self, descriptors: Vec<KeyDescriptor>, tick: &mut Tick) -> Result<(), RecordError> {
        let mut by_camera: BTreeMap<CameraId, Vec<KeyDescriptor>> = BTreeMap::new();
        for descriptor in descriptors {
            by_camera.entry(descriptor.camera).or_default().push(descriptor);
        }
        let mut waiting = by_camera.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut part: Vec<(CameraId, Vec<KeyDescriptor>)> = Vec::new();
            let mut keys = 0;
            while let Some((camera, list)) = waiting.next_if(|(_, list)| keys == 0 || keys + list.len() <= KEYS_AT_ONCE)
            {
                keys += list.len();
                part.push((camera, list));
            }
            let cameras: Vec<CameraId> = part.iter().map(|(camera, _)| *camera).collect();
            self.record
                .commit(Actor::System, |state, _| {
                    let rows = part
                        .into_iter()
                        .filter_map(|(camera, mut descriptors)| {
                            let known = state.keys(camera);
                            descriptors.retain(|new| !known.is_some_and(|keys| keys.live.contains_key(&new.key_id)));
                            (!descriptors.is_empty()).then_some(Row::KeysAnnounced { camera, descriptors })
                        })
                        .collect();
                    Ok((rows, ()))
                })
                .await?;
            tick.announced.extend(cameras);
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum LayAheadError {
    #[error(transparent)]
    Holder(#[from] KeyholderError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyholderError> + Send + 'static,
) -> Result<T, KeyholderError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(KeyholderError::Plan("the work was interrupted")))
}

#[cfg(test)]
mod tests;

//! Preparing copies: bounded in number, watched by their viewer, gone with the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use custody_shared::hash::Hasher;
use custody_shared::id::{CameraId, ExportId, GrantId, PersonId};
use custody_shared::time::UtcMicros;
use tokio::sync::Semaphore;

use super::mp4::Joiner;
use super::plan::{Part, Plan};
use super::{bundle, stream};
use crate::ledger::Ledger;
use crate::record::terms::Outcome;
use crate::record::{Record, RecordError, ReleaseUse, State};
use crate::retrieval::{Footage, OpenError, Reader, Retrieval, SegmentInfo};

/// Copies prepared at once; more wait.
const AT_ONCE: usize = 2;
/// Copies remembered; the oldest finished one gives way.
const REMEMBERED: usize = 64;

/// Where a copy stands.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Being prepared.
    Preparing {
        /// Segments opened.
        done: u64,
        /// Segments in all.
        total: u64,
    },
    /// Ready to be fetched.
    Ready(Arc<Plan>),
    /// Not possible; the reason is fit to be shown.
    Failed(String),
}

pub(super) struct Job {
    pub(super) id: ExportId,
    pub(super) grant: GrantId,
    pub(super) person: PersonId,
    began: UtcMicros,
    done: AtomicU64,
    total: AtomicU64,
    result: RwLock<Option<Result<Arc<Plan>, String>>>,
}

impl Job {
    fn progress(&self) -> Progress {
        match &*self.result.read().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(plan)) => Progress::Ready(Arc::clone(plan)),
            Some(Err(reason)) => Progress::Failed(reason.clone()),
            None => Progress::Preparing {
                done: self.done.load(Ordering::Relaxed),
                total: self.total.load(Ordering::Relaxed),
            },
        }
    }
}

/// All copies of this process.
pub struct Exports {
    pub(super) record: Record,
    pub(super) retrieval: Arc<Retrieval>,
    pub(super) footage: Arc<dyn Footage>,
    pub(super) ledger: Ledger,
    jobs: Mutex<HashMap<ExportId, Arc<Job>>>,
    slots: Semaphore,
}

impl Exports {
    /// None yet.
    pub fn new(record: Record, retrieval: Arc<Retrieval>, footage: Arc<dyn Footage>, ledger: Ledger) -> Self {
        Self {
            record,
            retrieval,
            footage,
            ledger,
            jobs: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    /// Begins a copy under a grant; a copy of the same grant that is being prepared or ready is given instead. The row
    /// stands in the ledger before anything is opened.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn begin(self: &Arc<Self>, person: PersonId, grant: GrantId) -> Result<ExportId, RecordError> {
        let running = self
            .jobs()
            .values()
            .find(|job| job.grant == grant && job.person == person && !failed(job))
            .map(|job| job.id);
        if let Some(id) = running {
            return Ok(id);
        }
        let id = self.record.intend_export(person, grant).await?;
        let job = Arc::new(Job {
            id,
            grant,
            person,
            began: self.record.clock().now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            result: RwLock::new(None),
        });
        {
            let mut jobs = self.jobs();
            if jobs.len() >= REMEMBERED
                && let Some(oldest) = jobs
                    .values()
                    .filter(|job| finished(job))
                    .min_by_key(|job| job.began)
                    .map(|job| job.id)
            {
                jobs.remove(&oldest);
            }
            jobs.insert(id, Arc::clone(&job));
        }
        let exports = Arc::clone(self);
        tokio::spawn(async move { exports.run(job).await });
        Ok(id)
    }

    /// Where a copy stands; `None` where this process knows none of that id.
    pub fn progress(&self, id: ExportId) -> Option<Progress> {
        self.jobs().get(&id).cloned().map(|job| job.progress())
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<ExportId, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, job: Arc<Job>) {
        let Ok(_slot) = self.slots.acquire().await else { return };
        let prepared = self.prepare(&job).await;
        let reader = Reader {
            person: job.person,
            grant: job.grant,
            purpose: ReleaseUse::Export(job.id),
        };
        let (outcome, bytes, sha256) = match &prepared {
            Ok(plan) => {
                self.retrieval.releases().end(reader, Outcome::Completed).await;
                (
                    Outcome::Completed,
                    plan.footage_len(),
                    Some(bundle::manifest_hash(plan)),
                )
            }
            Err(_) => (Outcome::Failed, 0, None),
        };
        self.retrieval.releases().settle(false).await;
        let recorded = self.record.finish_export(job.id, outcome, bytes, sha256).await;
        let result = match (prepared, recorded) {
            (Ok(plan), Ok(())) => Ok(Arc::new(plan)),
            (Ok(_), Err(error)) => {
                tracing::error!(export = %job.id, "its outcome cannot be recorded: {error}");
                Err("ledger-unwritable".to_owned())
            }
            (Err(error), _) => {
                tracing::warn!(export = %job.id, "not prepared: {error}");
                Err(error.to_string())
            }
        };
        *job.result.write().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    async fn prepare(&self, job: &Job) -> Result<Plan, OpenError> {
        let state = self.record.state();
        let reader = Reader {
            person: job.person,
            grant: job.grant,
            purpose: ReleaseUse::Export(job.id),
        };
        let Some(grant) = state.grant(job.grant).map(|record| record.grant.clone()) else {
            return Err(OpenError::NoSuchSegment);
        };
        let mut all = Vec::with_capacity(grant.cameras.len());
        for camera in &grant.cameras {
            let segments = self.retrieval.segments(*camera, grant.range)?;
            job.total.fetch_add(segments.len() as u64, Ordering::Relaxed);
            all.push((*camera, segments));
        }
        let mut parts = Vec::new();
        for (camera, segments) in all {
            let mut making = Making::new(camera, camera_name(&state, camera));
            for segment in &segments {
                let opened = self.retrieval.open(reader, camera, segment.seq).await?;
                job.done.fetch_add(1, Ordering::Relaxed);
                let damaged = |error: custody_shared::fmp4::Fmp4Error| OpenError::Damaged {
                    seq: segment.seq,
                    reason: error.to_string(),
                };
                if !making.joiner.takes(&opened) {
                    parts.extend(making.finish());
                    making.next_part();
                }
                let bytes = making.joiner.push(&opened).map_err(damaged)?;
                if !bytes.is_empty() {
                    let start = opened.clip().start().unwrap_or(segment.range.start());
                    making.add(segment, start, &bytes);
                }
            }
            parts.extend(making.finish());
        }
        bundle::plan(self, &state, job, &grant, parts)
    }

    /// A footage file as a stream, opened while it is read; `None` where there is none (yet). Each fetch is a copy of its own
    /// in the record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn fetch_part(
        self: &Arc<Self>,
        id: ExportId,
        address: &str,
    ) -> Result<Option<(Part, stream::Stream)>, RecordError> {
        let Some((job, plan)) = self.ready(id) else {
            return Ok(None);
        };
        let Some(part) = plan.parts.iter().find(|part| part.address == address).cloned() else {
            return Ok(None);
        };
        let stream = stream::fetch(Arc::clone(self), &job, stream::Wanted::Part(part.clone())).await?;
        Ok(Some((part, stream)))
    }

    /// The archive as a stream, opened while it is read; `None` where there is none (yet).
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn fetch_archive(
        self: &Arc<Self>,
        id: ExportId,
    ) -> Result<Option<(Arc<Plan>, stream::Stream)>, RecordError> {
        let Some((job, plan)) = self.ready(id) else {
            return Ok(None);
        };
        let stream = stream::fetch(Arc::clone(self), &job, stream::Wanted::Archive(Arc::clone(&plan))).await?;
        Ok(Some((plan, stream)))
    }

    fn ready(&self, id: ExportId) -> Option<(Arc<Job>, Arc<Plan>)> {
        let job = self.jobs().get(&id).cloned()?;
        match job.progress() {
            Progress::Ready(plan) => Some((job, plan)),
            _ => None,
        }
    }
}

fn finished(job: &Job) -> bool {
    job.result.read().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn failed(job: &Job) -> bool {
    matches!(
        &*job.result.read().unwrap_or_else(PoisonError::into_inner),
        Some(Err(_))
    )
}

fn camera_name(state: &State, camera: CameraId) -> String {
    state
        .camera(camera)
        .map_or_else(|| camera.to_string(), |found| found.name.clone())
}

/// A footage file in the making.
struct Making {
    camera: CameraId,
    name: String,
    number: u32,
    joiner: Joiner,
    segments: Vec<u64>,
    span: Option<(UtcMicros, UtcMicros)>,
    codec: String,
    bytes: u64,
    sha256: Hasher,
    crc32: crc32fast::Hasher,
}

impl Making {
    fn new(camera: CameraId, name: String) -> Self {
        Self {
            camera,
            name,
            number: 1,
            joiner: Joiner::default(),
            segments: Vec::new(),
            span: None,
            codec: String::new(),
            bytes: 0,
            sha256: Hasher::new(),
            crc32: crc32fast::Hasher::new(),
        }
    }

    fn next_part(&mut self) {
        let number = self.number + 1;
        *self = Self {
            number,
            ..Self::new(self.camera, std::mem::take(&mut self.name))
        };
    }

    fn add(&mut self, segment: &SegmentInfo, start: UtcMicros, bytes: &[u8]) {
        self.segments.push(segment.seq);
        self.span = Some((self.span.map_or(start, |(first, _)| first), segment.range.end()));
        self.codec.clone_from(&segment.rfc6381);
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        self.crc32.update(bytes);
    }

    fn finish(&mut self) -> Option<Part> {
        let (start, end) = self.span?;
        let suffix = if self.number == 1 {
            String::new()
        } else {
            format!("-{}", self.number)
        };
        Some(Part {
            camera: self.camera,
            camera_name: self.name.clone(),
            name: format!("video/{}{suffix}.mp4", bundle::file_name(&self.name, self.camera)),
            address: format!("{}{suffix}", self.camera),
            codec: std::mem::take(&mut self.codec),
            segments: std::mem::take(&mut self.segments),
            start,
            end,
            bytes: self.bytes,
            sha256: std::mem::take(&mut self.sha256).finish(),
            crc32: std::mem::take(&mut self.crc32).finalize(),
        })
    }
}

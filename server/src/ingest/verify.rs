//! Opening a batch and checking who signed what is inside.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use custody_shared::batch::{BatchError, StatementBatch};
use custody_shared::cose::VerifyingKey;
use custody_shared::id::CameraId;
use custody_shared::statement::{SignedStatement, Statement, StatementError};
use custody_shared::time::SharedClock;
use tokio::sync::mpsc;

use super::commit::Heads;
use super::counters::{IngestCounters, TroubleKind};
use super::link::Job;
use super::server_keys::ServerKeys;
use crate::index::StatementKeys;

/// A batch whose statements are its camera's.
pub(super) struct Verified {
    pub(super) camera: CameraId,
    pub(super) key: VerifyingKey,
    /// Statements that were stored before: only compared, and verified only if they differ.
    pub(super) old: Vec<(u64, SignedStatement)>,
    /// Statements whose signature has been checked, in the order of their places.
    pub(super) fresh: Vec<(Statement, SignedStatement)>,
}

pub(super) struct Worker {
    pub(super) keys: Arc<ServerKeys>,
    pub(super) enrolment: Arc<dyn StatementKeys>,
    pub(super) heads: Arc<Heads>,
    pub(super) counters: Arc<IngestCounters>,
    pub(super) clock: SharedClock,
    pub(super) out: SyncSender<Verified>,
}

impl Worker {
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            if let Some(verified) = self.verify(&job)
                && self.out.send(verified).is_err()
            {
                return;
            }
        }
    }

    fn verify(&self, job: &Job) -> Option<Verified> {
        let camera = job.camera;
        let Some(key) = self.enrolment.statement_keys(camera).into_iter().next() else {
            self.counters.add(&self.counters.unknown_camera, 1);
            return None;
        };
        let batch = match StatementBatch::open(self.keys.transport(), camera, &job.payload) {
            Ok(batch) => batch,
            Err(error) => {
                let kind = match error {
                    BatchError::Seal(_) => TroubleKind::Unopenable,
                    _ => TroubleKind::Malformed,
                };
                self.counters.note(camera, kind, self.clock.now());
                return None;
            }
        };
        let known = self.heads.next_index(camera, &key);
        let mut verified = Verified {
            camera,
            key,
            old: Vec::new(),
            fresh: Vec::new(),
        };
        for (index, bytes) in (batch.first_index..).zip(batch.statements) {
            let checked = SignedStatement::from_bytes(bytes).and_then(|signed| {
                if index < known {
                    verified.old.push((index, signed));
                    return Ok(());
                }
                let statement = signed.verify(&key)?;
                if statement.camera != camera || statement.index != index {
                    return Err(StatementError::Field("place"));
                }
                verified.fresh.push((statement, signed));
                Ok(())
            });
            if let Err(error) = checked {
                let kind = match error {
                    StatementError::Signature(_) => TroubleKind::Forged,
                    _ => TroubleKind::Malformed,
                };
                self.counters.note(camera, kind, self.clock.now());
                // What follows hangs on this one. The good ones before it still count, and the receipt tells the truth.
                break;
            }
        }
        Some(verified)
    }
}

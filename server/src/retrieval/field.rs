//! The cameras' side as it is: index, statement log, fleet.

use std::sync::Arc;

use custody_shared::id::CameraId;
use custody_shared::statement::{Kind, SegmentStatement, SignedStatement};
use custody_shared::time::{SECOND_US, SharedClock, TimeRange};

use super::footage::{CameraState, Footage, FootageError, Pending, Sealed, SegmentInfo, Stretch, StretchKind};
use crate::fleet::{FetchError, Fleet, Presence};
use crate::index::{self, IndexStore, SegmentRow};
use crate::record::Record;
use crate::statements::StatementStore;

/// Statements of all cameras looked at for one export, at most: what twelve cameras say in a week.
const MOST_FRAMES: usize = 1_000_000;
/// Frames looked at behind the last segment's, for the gap that ends the window.
const FRAMES_BEHIND: usize = 2_000;
/// A health message older than this tells nothing.
const FRESH_US: i64 = 180 * SECOND_US;
/// A newest frame older than this is no recording.
const LATE_S: u32 = 30;

/// The cameras' side, joined from its parts.
pub struct Field {
    /// The agents and the sealed cache.
    pub fleet: Arc<Fleet>,
    /// What was stated, by time.
    pub index: Arc<dyn IndexStore>,
    /// What was stated, as it was signed.
    pub statements: Arc<StatementStore>,
    /// Which cameras were enrolled.
    pub record: Record,
    /// The time.
    pub clock: SharedClock,
}

impl Field {
    fn statement(&self, camera: CameraId, row: &SegmentRow) -> Result<SegmentStatement, FootageError> {
        let lost = |reason: String| FootageError::Store(format!("camera {camera}: the statement of segment {}: {reason}", row.seq));
        let bytes = self.statements.read(row.statement).map_err(|error| lost(error.to_string()))?;
        let signed = SignedStatement::from_bytes(bytes).map_err(|error| lost(error.to_string()))?;
        let statement = signed.parse_unverified().map_err(|error| lost(error.to_string()))?;
        match statement.kind {
            Kind::Segment(segment) if statement.camera == camera => Ok(segment),
            _ => Err(lost("the log holds something else there".into())),
        }
    }

    fn info(&self, camera: CameraId, row: &SegmentRow) -> Result<SegmentInfo, FootageError> {
        let stated = self.statement(camera, row)?;
        Ok(SegmentInfo {
            seq: row.seq,
            range: row.range,
            file_len: row.file_len,
            rfc6381: stated.codec.rfc6381,
            width: stated.codec.width,
            height: stated.codec.height,
            truncated: row.truncated,
            closed_gop: row.closed_gop,
        })
    }
}

fn store(error: impl std::fmt::Display) -> FootageError {
    FootageError::Store(error.to_string())
}

impl Footage for Field {
    fn segments(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentInfo>, FootageError> {
        let rows = self.index.segments(camera, range, limit).map_err(store)?;
        rows.iter().map(|row| self.info(camera, row)).collect()
    }

    fn segment(&self, camera: CameraId, seq: u64) -> Result<Option<SegmentInfo>, FootageError> {
        let row = self.index.segment(camera, seq).map_err(store)?;
        row.map(|row| self.info(camera, &row)).transpose()
    }

    fn coverage(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Stretch>, FootageError> {
        let found = index::coverage(&*self.index, camera, range).map_err(store)?;
        Ok(found
            .into_iter()
            .take(limit)
            .map(|stretch| Stretch {
                range: stretch.range,
                kind: match stretch.kind {
                    index::StretchKind::Kept => StretchKind::Kept,
                    index::StretchKind::Gap(cause) => StretchKind::Gap(cause.to_string()),
                    index::StretchKind::Destroyed => StretchKind::Destroyed,
                    index::StretchKind::Unknown => StretchKind::Unknown,
                },
            })
            .collect())
    }

    fn sealed(&self, camera: CameraId, seq: u64) -> Pending<'_, Result<Sealed, FootageError>> {
        Box::pin(async move {
            let row = self.index.segment(camera, seq).map_err(store)?;
            let row = row.ok_or_else(|| FootageError::Lost { seq, reason: "no statement names it".into() })?;
            let stated = self.statement(camera, &row)?;
            let extent = stated.extent().map_err(store)?;
            // Fetched and evicted before it could be opened: a cache that small is fetched into once more.
            for _ in 0..2 {
                self.fleet.fetch(camera, &[seq]).await.map_err(|error| fetch_error(seq, error))?;
                if let Some(file) = self.fleet.open(camera, seq) {
                    return Ok(Sealed { file, extent });
                }
            }
            Err(FootageError::Store("the sealed cache is too small to hold one segment; raise [footage] cache_bytes".into()))
        })
    }

    fn prefetch(&self, camera: CameraId, seqs: Vec<u64>) {
        let fleet = Arc::clone(&self.fleet);
        tokio::spawn(async move {
            // Whoever needs the file asks again and hears of the failure then.
            if let Err(error) = fleet.fetch(camera, &seqs).await {
                tracing::debug!(%camera, %error, "not fetched ahead");
            }
        });
    }

    fn state(&self, camera: CameraId) -> CameraState {
        let state = self.record.state();
        if state.camera(camera).is_none_or(|found| found.enrolments.is_empty()) {
            return CameraState::Never;
        }
        let status = self.fleet.status(camera);
        let now = self.clock.now();
        match (status.presence, status.health) {
            (Presence::Online, Some(health)) => {
                let fresh = status.heard.is_some_and(|heard| now.get() - heard.get() < FRESH_US);
                if fresh && health.recording && health.last_frame_age_s < LATE_S { CameraState::Recording } else { CameraState::Late }
            }
            (Presence::Online, None) => CameraState::Late,
            (Presence::Unknown | Presence::Offline, _) => CameraState::Away,
        }
    }

    fn statements(&self, camera: CameraId, range: TimeRange) -> Result<Vec<Vec<u8>>, FootageError> {
        let rows = self.index.segments(camera, range, usize::MAX).map_err(store)?;
        let Some(first) = rows.iter().map(|row| row.statement).min() else { return Ok(Vec::new()) };
        let last = rows.iter().map(|row| row.statement).max().unwrap_or(first);
        let mut out = Vec::new();
        let mut behind = 0;
        for frame in self.statements.scan(first).map_err(store)?.take(MOST_FRAMES) {
            let frame = frame.map_err(store)?;
            if frame.at > last {
                behind += 1;
                if behind > FRAMES_BEHIND {
                    break;
                }
            }
            let of = SignedStatement::from_bytes(frame.bytes)
                .and_then(|signed| signed.parse_unverified().map(|statement| (statement, signed)));
            if let Ok((statement, signed)) = of
                && statement.camera == camera
                && (frame.at <= last || concerns(&statement.kind, range))
            {
                out.push(signed.into_bytes());
            }
        }
        Ok(out)
    }
}

/// Whether a statement made after the window's last segment still speaks of the window.
fn concerns(kind: &Kind, range: TimeRange) -> bool {
    match kind {
        Kind::Gap(gap) => gap.range.overlaps(&range),
        Kind::Destroyed(destroyed) => destroyed.range.overlaps(&range),
        _ => false,
    }
}

fn fetch_error(seq: u64, error: FetchError) -> FootageError {
    match error {
        FetchError::TimedOut { .. } => FootageError::Away,
        FetchError::Index(_) | FetchError::Statement { .. } | FetchError::TooMuch { .. } | FetchError::Failed { .. } => store(error),
        FetchError::Unknown { .. } | FetchError::Damaged { .. } => FootageError::Lost { seq, reason: error.to_string() },
    }
}

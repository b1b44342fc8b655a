//! What retrieval sees of the cameras' side: index, statement log, fleet and cache behind its boundary.

use std::fmt::Display;
use std::sync::Arc;

use custody_shared::id::CameraId;
use custody_shared::statement::{Kind, SegmentStatement, SignedStatement};
use custody_shared::time::TimeRange;

use super::{FetchError, Fleet, Presence};
use crate::index::{SegmentRow, coverage};
use crate::retrieval::footage::{
    CameraState, Footage, FootageError, Pending, Sealed, SegmentInfo, Stretch, StretchKind,
};

/// Statements given out for one range.
const MAX_STATEMENTS: usize = 200_000;

/// The footage that this site's cameras have recorded.
pub struct RecordedFootage(Arc<Fleet>);

impl RecordedFootage {
    /// Footage of the cameras of `fleet`.
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self(fleet)
    }

    fn statement(&self, row: &SegmentRow) -> Result<SegmentStatement, FootageError> {
        let bytes = self.0.statements().read(row.statement).map_err(store)?;
        let statement = SignedStatement::from_bytes(bytes)
            .and_then(|signed| signed.parse_unverified())
            .map_err(store)?;
        match statement.kind {
            Kind::Segment(segment) if segment.preamble.header.seq == row.seq => Ok(*segment),
            _ => Err(FootageError::Store(format!(
                "the index names another statement for segment {}; run `custody-server rebuild`",
                row.seq
            ))),
        }
    }

    fn info(&self, row: &SegmentRow) -> Result<SegmentInfo, FootageError> {
        let statement = self.statement(row)?;
        Ok(SegmentInfo {
            seq: row.seq,
            range: row.range,
            file_len: row.file_len,
            rfc6381: statement.codec.rfc6381,
            width: statement.codec.width,
            height: statement.codec.height,
            truncated: row.truncated,
            closed_gop: row.closed_gop,
        })
    }
}

fn store(error: impl Display) -> FootageError {
    FootageError::Store(error.to_string())
}

impl Footage for RecordedFootage {
    fn segments(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentInfo>, FootageError> {
        let rows = self.0.index().segments(camera, range, limit).map_err(store)?;
        rows.iter().map(|row| self.info(row)).collect()
    }

    fn segment(&self, camera: CameraId, seq: u64) -> Result<Option<SegmentInfo>, FootageError> {
        let row = self.0.index().segment(camera, seq).map_err(store)?;
        row.map(|row| self.info(&row)).transpose()
    }

    fn coverage(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Stretch>, FootageError> {
        use crate::index::StretchKind as Kind;
        let stretches = coverage(self.0.index(), camera, range).map_err(store)?;
        Ok(stretches
            .into_iter()
            .take(limit)
            .map(|stretch| Stretch {
                range: stretch.range,
                kind: match stretch.kind {
                    Kind::Kept => StretchKind::Kept,
                    Kind::Gap(cause) => StretchKind::Gap(cause.as_str().to_owned()),
                    Kind::Destroyed => StretchKind::Destroyed,
                    Kind::Unknown => StretchKind::Unknown,
                },
            })
            .collect())
    }

    fn sealed(&self, camera: CameraId, seq: u64) -> Pending<'_, Result<Sealed, FootageError>> {
        Box::pin(async move {
            let row = self.0.index().segment(camera, seq).map_err(store)?;
            let row = row.ok_or(FootageError::Lost {
                seq,
                reason: "no statement names it".to_owned(),
            })?;
            let extent = self.statement(&row)?.extent().map_err(store)?;
            // Between arriving and opening a file can be evicted by many others; a second fetch is then due.
            for _ in 0..2 {
                self.0
                    .fetch(camera, &[seq])
                    .await
                    .map_err(|error| fetch_error(seq, error))?;
                if let Some(file) = self.0.open(camera, seq) {
                    return Ok(Sealed { file, extent });
                }
            }
            Err(FootageError::Store(
                "the cache of sealed files is too small for what is asked; enlarge it".to_owned(),
            ))
        })
    }

    fn prefetch(&self, camera: CameraId, seqs: Vec<u64>) {
        let fleet = self.0.clone();
        tokio::spawn(async move {
            // Whoever needs the file waits for the same order and is told what went wrong.
            if let Err(error) = fleet.fetch(camera, &seqs).await {
                tracing::debug!(%error, "fetching ahead failed");
            }
        });
    }

    fn state(&self, camera: CameraId) -> CameraState {
        if self.0.directory().statement_keys(camera).is_empty() {
            return CameraState::Never;
        }
        let state = self.0.status(camera);
        match (state.presence, state.health) {
            (Presence::Online, Some(health)) if !health.recording => CameraState::Late,
            (Presence::Online, _) => CameraState::Recording,
            (Presence::Offline | Presence::Unknown, _) => CameraState::Away,
        }
    }

    fn statements(&self, camera: CameraId, range: TimeRange) -> Result<Vec<Vec<u8>>, FootageError> {
        let places = self
            .0
            .index()
            .statements(camera, range, MAX_STATEMENTS)
            .map_err(store)?;
        places
            .into_iter()
            .map(|place| self.0.statements().read(place).map_err(store))
            .collect()
    }
}

fn fetch_error(seq: u64, error: FetchError) -> FootageError {
    match error {
        FetchError::TimedOut { .. } => FootageError::Away,
        FetchError::Damaged { .. } => FootageError::Lost {
            seq,
            reason: "what it sent is not what it had signed".to_owned(),
        },
        FetchError::Unknown { .. } => FootageError::Lost {
            seq,
            reason: "no statement names it".to_owned(),
        },
        other => FootageError::Store(other.to_string()),
    }
}

//! Sending sealed files that the server asked for: resumable, one after the other, each checked against its statement first.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custody_shared::hash::Sha256Hash;
use custody_shared::statement::{Kind, SignedStatement};
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::https::{Connection, Endpoint, HttpsError, Payload};
use crate::identity::Identity;
use crate::keeper::{Pulse, find_segment_file, hash_file};
use crate::link::Wanted;
use crate::paths::Folder;
use crate::statement_log::LogReader;

/// Ranges that may wait.
const MAX_RANGES: usize = 64;
/// Attempts per segment before the next one has its turn; the server asks again for what it still wants.
const ATTEMPTS: u32 = 5;
const OFFSET: &str = "upload-offset";

/// Why a segment was not sent.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    /// The connection.
    #[error("{0}")]
    Https(#[from] HttpsError),
    /// The disk.
    #[error("{0}")]
    Disk(#[from] std::io::Error),
    /// An answer that the agreement does not know.
    #[error("the server answered {0}")]
    Answer(http::StatusCode),
    /// The server threw away what it had.
    #[error("the server discarded what it had received")]
    Discarded,
}

/// What became of a segment.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    /// The server does not want it (any more).
    Unwanted,
    /// It is not here: destroyed, or never recorded.
    Absent,
    /// The file differs from its statement.
    Damaged,
}

/// Sends what is wanted, for ever.
pub async fn run(identity: Arc<Identity>, folder: Folder, pulse: Arc<Pulse>, mut wanted: mpsc::Receiver<Wanted>) {
    let mut waiting: VecDeque<Wanted> = VecDeque::new();
    let mut uploader = Uploader {
        identity,
        folder,
        pulse,
        connection: None,
    };
    loop {
        if waiting.is_empty() {
            match wanted.recv().await {
                Some(range) => waiting.push_back(range),
                None => return,
            }
        }
        while let Ok(range) = wanted.try_recv() {
            // The newest wish first: somebody is waiting for it in front of a player. Asked again means wanted once.
            waiting.retain(|other| *other != range);
            waiting.push_front(range);
            waiting.truncate(MAX_RANGES);
        }
        let Some((seq, last)) = waiting.pop_front() else {
            continue;
        };
        if seq < last {
            waiting.push_front((seq + 1, last));
        }
        uploader.send(seq).await;
    }
}

struct Uploader {
    identity: Arc<Identity>,
    folder: Folder,
    pulse: Arc<Pulse>,
    connection: Option<Connection>,
}

impl Uploader {
    async fn send(&mut self, seq: u64) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        for attempt in 1..=ATTEMPTS {
            match self.try_send(seq).await {
                Ok(Outcome::Sent) => return tracing::debug!(seq, "sent"),
                Ok(Outcome::Unwanted) => return tracing::debug!(seq, "not wanted any more"),
                Ok(Outcome::Absent) => {
                    return tracing::info!(seq, "wanted, but not here: destroyed, or never recorded");
                }
                Ok(Outcome::Damaged) => {
                    self.pulse.segment_damaged();
                    return tracing::error!(
                        seq,
                        "the sealed file differs from its signed statement: the disk has changed it. It is kept, and the server is told; check this disk"
                    );
                }
                Err(error) => {
                    self.connection = None;
                    tracing::info!(%error, seq, attempt, "a segment could not be sent; trying again");
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
        }
        tracing::warn!(seq, "a segment could not be sent; the server asks again");
    }

    async fn try_send(&mut self, seq: u64) -> Result<Outcome, UploadError> {
        let address = format!("/agent/v1/segments/{seq}");
        let path = match self.look(seq).await? {
            Some((path, true)) => path,
            // Whoever waits for it learns now why it cannot come, instead of at the end of their patience.
            Some((_, false)) => return self.cannot(&address, "damaged", Outcome::Damaged).await,
            None => return self.cannot(&address, "absent", Outcome::Absent).await,
        };
        let file = File::open(&path)?;
        let end = file.metadata()?.len();
        let head = self
            .connection()
            .await?
            .send("HEAD", &address, &[], Payload::Empty)
            .await?;
        let offset = match head.status.as_u16() {
            200 | 204 => offset_of(&head.headers).unwrap_or(0),
            404 | 410 => return Ok(Outcome::Unwanted),
            _ => return Err(UploadError::Answer(head.status)),
        };
        if offset >= end {
            return Ok(Outcome::Sent);
        }
        let payload = Payload::File { file, offset, end };
        let headers = [
            (OFFSET, offset.to_string()),
            ("content-type", "application/offset+octet-stream".to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self
            .connection()
            .await?
            .send("PATCH", &address, &headers, payload)
            .await?;
        match answer.status.as_u16() {
            200 | 201 | 204 => Ok(Outcome::Sent),
            404 | 410 => Ok(Outcome::Unwanted),
            409 => Err(UploadError::Discarded),
            _ => Err(UploadError::Answer(answer.status)),
        }
    }

    async fn cannot(&mut self, address: &str, reason: &str, outcome: Outcome) -> Result<Outcome, UploadError> {
        let headers = [("custody-reason", reason)];
        let answer = self
            .connection()
            .await?
            .send("DELETE", address, &headers, Payload::Empty)
            .await?;
        // Not wanted any more is as good as told.
        if answer.status.is_success() || answer.status == http::StatusCode::NOT_FOUND {
            return Ok(outcome);
        }
        Err(UploadError::Answer(answer.status))
    }

    async fn connection(&mut self) -> Result<&mut Connection, HttpsError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                Endpoint::parse(&self.identity.agents_url, self.identity.credentials.tls())?
                    .connect()
                    .await?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Finds the file and compares it with its statement, off the thread that reads the camera.
    async fn look(&self, seq: u64) -> Result<Option<(PathBuf, bool)>, std::io::Error> {
        let folder = self.folder.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let Some(path) = find_segment_file(&folder, seq)? else {
                return Ok(None);
            };
            let intact = is_intact(&folder, &path, seq)?;
            Ok(Some((path, intact)))
        });
        looked.await.map_err(std::io::Error::other)?
    }
}

fn offset_of(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(OFFSET)?.to_str().ok()?.parse().ok()
}

/// Whether a file has the length and hash that its statement signs. Without a statement there is nothing to differ from.
fn is_intact(folder: &Folder, path: &Path, seq: u64) -> std::io::Result<bool> {
    let Some((hash, length)) = stated(folder, seq)? else {
        return Ok(true);
    };
    // The length first: it needs no reading.
    Ok(path.metadata()?.len() == length && hash_file(path)? == (hash, length))
}

fn stated(folder: &Folder, seq: u64) -> std::io::Result<Option<(Sha256Hash, u64)>> {
    let bytes = LogReader::new(&folder.statements()).find_segment(seq)?;
    let statement = bytes.and_then(|bytes| SignedStatement::from_bytes(bytes).ok()?.parse_unverified().ok());
    Ok(match statement.map(|statement| statement.kind) {
        Some(Kind::Segment(segment)) => Some((segment.file_sha256, segment.file_len)),
        _ => None,
    })
}

//! Bytes of a sealed file arriving from an agent: only what was ordered, only as long as was signed, only what was signed.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use custody_shared::hash::Hasher;
use custody_shared::id::CameraId;
use futures::{Stream, StreamExt};

use super::Fleet;
use super::order::{Order, Outcome, Part};

/// How often a file may arrive damaged before the fetch fails.
const ATTEMPTS: u32 = 3;
/// Bytes gathered before a write.
const WRITE_BYTES: usize = 256 * 1024;

/// How an upload stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// So many bytes are here; more are expected.
    Part(u64),
    /// All is here and is what was signed.
    Whole(u64),
}

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Nobody has ordered this segment.
    #[error("segment {0} was not ordered; upload only what a fetch command names")]
    NotOrdered(u64),
    /// The upload goes on elsewhere.
    #[error("the upload goes on at byte {0}, not where this request begins")]
    Offset(u64),
    /// More bytes than the statement says the file has.
    #[error("more than the {0} bytes that the camera has stated; start over at byte 0")]
    TooLong(u64),
    /// The whole is not what was signed. It has been discarded.
    #[error("the file's SHA-256 is not the one that the camera has signed; it was discarded: start over at byte 0")]
    Damaged,
    /// The connection broke; what has come is kept.
    #[error("the upload broke off: {0}")]
    Broken(String),
    /// The cache's disk failed.
    #[error("the cache cannot be written ({0}); check the server's disk")]
    Disk(#[from] io::Error),
}

impl Fleet {
    /// Bytes of a segment that are here; `None` if nobody has ordered it.
    pub fn upload_offset(&self, camera: CameraId, seq: u64) -> Option<u64> {
        self.order(camera, seq).map(|order| order.offset())
    }

    /// Takes bytes of an ordered segment from `offset` on.
    pub async fn receive<S, E>(&self, camera: CameraId, seq: u64, offset: u64, body: S) -> Result<Uploaded, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let order = self.order(camera, seq).ok_or(UploadError::NotOrdered(seq))?;
        // One upload of a segment at a time: a second one learns where the first has got to.
        let mut part = order.part.try_lock().map_err(|_| UploadError::Offset(order.offset()))?;
        if order.offset() != offset {
            return Err(UploadError::Offset(order.offset()));
        }
        let result = self.receive_part(camera, &order, &mut part, body).await;
        match &result {
            Err(UploadError::TooLong(_) | UploadError::Damaged | UploadError::Disk(_)) => {
                *part = None;
                self.cache.discard(camera, seq);
                self.failed(camera, &order, &result);
            }
            Ok(Uploaded::Whole(_)) => {
                *part = None;
                // First in the cache, then told: whoever waits finds it.
                order.set(Outcome::Arrived);
                self.close(camera, seq);
            }
            _ => {}
        }
        result
    }

    /// The agent cannot deliver what was ordered; whoever waits learns it now. `false` where nobody has ordered it.
    pub fn undeliverable(&self, camera: CameraId, seq: u64, damaged: bool) -> bool {
        let Some(order) = self.order(camera, seq) else {
            return false;
        };
        tracing::warn!(%camera, seq, damaged, "an agent cannot deliver a segment");
        order.set(if damaged {
            Outcome::Damaged(1)
        } else {
            Outcome::Failed(format!(
                "segment {seq} is missing on the agent's disk; look at that disk"
            ))
        });
        self.cache.discard(camera, seq);
        self.close(camera, seq);
        true
    }

    fn failed(&self, camera: CameraId, order: &Arc<Order>, result: &Result<Uploaded, UploadError>) {
        let seq = order.expected.seq;
        if let Err(UploadError::Disk(error)) = result {
            order.set(Outcome::Failed(format!(
                "the cache cannot be written ({error}); check the server's disk"
            )));
            self.close(camera, seq);
            return;
        }
        let attempts = order.damaged();
        tracing::warn!(%camera, seq, attempts, "a sealed file arrived damaged and was discarded");
        if attempts < ATTEMPTS {
            order.set(Outcome::Arriving(0));
        } else {
            order.set(Outcome::Damaged(attempts));
            self.close(camera, seq);
        }
    }

    async fn receive_part<S, E>(
        &self,
        camera: CameraId,
        order: &Arc<Order>,
        part: &mut Option<Part>,
        mut body: S,
    ) -> Result<Uploaded, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let expected = order.expected;
        if part.is_none() {
            *part = Some(Part {
                file: self.cache.begin(camera, expected.seq)?,
                len: 0,
                hasher: Hasher::new(),
            });
        }
        let mut buffer = Vec::with_capacity(WRITE_BYTES);
        let mut broken = None;
        loop {
            let next = body.next().await;
            let ended = !matches!(next, Some(Ok(_)));
            match next {
                Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
                Some(Err(error)) => broken = Some(error.to_string()),
                None => {}
            }
            if !ended && buffer.len() < WRITE_BYTES {
                continue;
            }
            let Some(arrived) = part.as_mut() else {
                return Err(UploadError::NotOrdered(expected.seq));
            };
            if arrived.len + buffer.len() as u64 > expected.len {
                return Err(UploadError::TooLong(expected.len));
            }
            arrived.file.write_all(&buffer)?;
            arrived.hasher.update(&buffer);
            arrived.len += buffer.len() as u64;
            buffer.clear();
            order.set(Outcome::Arriving(arrived.len));
            if ended {
                break;
            }
        }
        if let Some(reason) = broken {
            return Err(UploadError::Broken(reason));
        }
        match part.take() {
            Some(arrived) if arrived.len == expected.len => {
                if arrived.hasher.clone().finish() != expected.sha256 {
                    return Err(UploadError::Damaged);
                }
                let cache = self.cache.clone();
                let admit = move || cache.admit(camera, expected.seq, &arrived.file, expected.len);
                tokio::task::spawn_blocking(admit).await.map_err(io::Error::other)??;
                Ok(Uploaded::Whole(expected.len))
            }
            other => {
                let len = other.as_ref().map_or(0, |arrived| arrived.len);
                *part = other;
                Ok(Uploaded::Part(len))
            }
        }
    }
}

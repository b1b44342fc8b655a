//! Fetching a copy: segments are opened one ahead of the reader, and never more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::ExportId;
use tokio::sync::mpsc;

use super::bundle::manifest_hash;
use super::job::{Exports, Job};
use super::mp4::Joiner;
use super::plan::{Part, Plan};
use super::zip::Zip;
use crate::record::terms::Outcome;
use crate::record::{RecordError, ReleaseUse};
use crate::retrieval::Reader;

/// Pieces between the opener and the network.
const AHEAD: usize = 1;
/// A reader that takes nothing for this long is gone.
const STALL: Duration = Duration::from_secs(120);

/// The bytes of a copy; an error in between breaks the connection, so that nobody takes half a copy for a whole one.
pub(crate) type Stream = futures::stream::BoxStream<'static, io::Result<Bytes>>;

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// Why a fetch ended before its end.
struct Ended;

async fn send(to: &Sender, bytes: Bytes) -> Result<(), Ended> {
    match tokio::time::timeout(STALL, to.send(Ok(bytes))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Ended),
    }
}

/// What is fetched.
pub(super) enum Wanted {
    /// One footage file.
    Part(Part),
    /// The archive.
    Archive(Arc<Plan>),
}

/// A fetch: a copy of its own in the record, intended before its first byte and closed with what came of it.
pub(super) struct Fetch {
    exports: Arc<Exports>,
    reader: Reader,
    export: ExportId,
    /// Bytes of footage handed over.
    bytes: AtomicU64,
}

/// Begins a fetch; its row stands in the ledger when this returns.
///
/// # Errors
/// [`RecordError`].
pub(super) async fn fetch(exports: Arc<Exports>, job: &Job, wanted: Wanted) -> Result<Stream, RecordError> {
    let export = exports.record.intend_export(job.person, job.grant).await?;
    let reader = Reader {
        person: job.person,
        grant: job.grant,
        purpose: ReleaseUse::Export(export),
    };
    let fetch = Fetch {
        exports,
        reader,
        export,
        bytes: AtomicU64::new(0),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let (ended, hash) = match &wanted {
            Wanted::Part(part) => (write_part(&fetch, part, &sender).await, part.sha256),
            Wanted::Archive(plan) => (write_archive(&fetch, plan, &sender).await, manifest_hash(plan)),
        };
        fetch.finish(ended, hash).await;
    });
    Ok(Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })))
}

impl Fetch {
    async fn finish(self, ended: Result<(), Ended>, hash: Sha256Hash) {
        let releases = self.exports.retrieval.releases();
        let (outcome, hash) = match ended {
            Ok(()) => (Outcome::Completed, Some(hash)),
            Err(Ended) => (Outcome::Stopped, None),
        };
        releases.end(self.reader, outcome).await;
        releases.settle(false).await;
        let bytes = self.bytes.load(Ordering::Relaxed);
        if let Err(error) = self
            .exports
            .record
            .finish_export(self.export, outcome, bytes, hash)
            .await
        {
            tracing::error!(export = %self.export, "what came of a fetch cannot be recorded: {error}");
        }
    }
}

async fn write_archive(fetch: &Fetch, plan: &Plan, to: &Sender) -> Result<(), Ended> {
    let mut zip = Zip::new(plan.time);
    let mut entries = plan.entries().into_iter();
    for (document, entry) in plan.documents.iter().zip(&mut entries) {
        send(to, zip.begin(entry).into()).await?;
        send(to, document.content.clone()).await?;
    }
    for (part, entry) in plan.parts.iter().zip(entries) {
        send(to, zip.begin(entry).into()).await?;
        write_part(fetch, part, to).await?;
    }
    send(to, zip.finish().into()).await
}

async fn write_part(fetch: &Fetch, part: &Part, to: &Sender) -> Result<(), Ended> {
    let mut joiner = Joiner::default();
    let mut written = 0_u64;
    for seq in &part.segments {
        let opened = fetch
            .exports
            .retrieval
            .open(fetch.reader, part.camera, *seq)
            .await
            .map_err(|error| error.to_string());
        let bytes = opened.and_then(|opened| joiner.push(&opened).map_err(|error| error.to_string()));
        match bytes {
            Ok(bytes) => {
                written += bytes.len() as u64;
                fetch.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                send(to, bytes.into()).await?;
            }
            Err(reason) => return broken(fetch, to, &reason).await,
        }
    }
    if written == part.bytes {
        Ok(())
    } else {
        broken(fetch, to, "its length changed since it was prepared").await
    }
}

async fn broken(fetch: &Fetch, to: &Sender, reason: &str) -> Result<(), Ended> {
    tracing::warn!(export = %fetch.export, "fetching it broke off: {reason}");
    let _ = to
        .send(Err(io::Error::other("the copy broke off; fetch it again")))
        .await;
    Err(Ended)
}

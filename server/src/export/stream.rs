//! Fetching a copy: segments are opened one ahead of the reader, and never more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::job::{Exports, Job};
use super::mp4::Joiner;
use super::plan::{Part, Plan};
use super::zip::Zip;
use crate::record::ReleaseUse;
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

fn stream(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Stream {
    Box::pin(futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) }))
}

/// One footage file.
pub(super) fn part(exports: Arc<Exports>, job: Arc<Job>, part: Part) -> Stream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if write_part(&exports, &job, &part, &sender).await.is_ok() {
            finish(&exports, &job).await;
        }
    });
    stream(receiver)
}

/// The archive.
pub(super) fn archive(exports: Arc<Exports>, job: Arc<Job>, plan: Arc<Plan>) -> Stream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if write_archive(&exports, &job, &plan, &sender).await.is_ok() {
            finish(&exports, &job).await;
        }
    });
    stream(receiver)
}

fn reader(job: &Job) -> Reader {
    Reader { person: job.person, grant: job.grant, purpose: ReleaseUse::Export(job.id) }
}

async fn finish(exports: &Exports, job: &Job) {
    exports.retrieval.releases().complete(reader(job)).await;
}

async fn write_archive(exports: &Exports, job: &Job, plan: &Plan, to: &Sender) -> Result<(), Ended> {
    let mut zip = Zip::new(plan.time);
    let mut entries = plan.entries().into_iter();
    for (document, entry) in plan.documents.iter().zip(&mut entries) {
        send(to, zip.begin(entry).into()).await?;
        send(to, document.content.clone()).await?;
    }
    for (part, entry) in plan.parts.iter().zip(entries) {
        send(to, zip.begin(entry).into()).await?;
        write_part(exports, job, part, to).await?;
    }
    send(to, zip.finish().into()).await
}

async fn write_part(exports: &Exports, job: &Job, part: &Part, to: &Sender) -> Result<(), Ended> {
    let mut joiner = Joiner::default();
    let mut written = 0_u64;
    for seq in &part.segments {
        let opened = exports.retrieval.open(reader(job), part.camera, *seq).await.map_err(|error| error.to_string());
        let bytes = opened.and_then(|opened| joiner.push(&opened).map_err(|error| error.to_string()));
        match bytes {
            Ok(bytes) => {
                written += bytes.len() as u64;
                send(to, bytes.into()).await?;
            }
            Err(reason) => return broken(job, to, &reason).await,
        }
    }
    if written == part.bytes { Ok(()) } else { broken(job, to, "its length changed since it was prepared").await }
}

async fn broken(job: &Job, to: &Sender, reason: &str) -> Result<(), Ended> {
    tracing::warn!(export = %job.id, "fetching it broke off: {reason}");
    let _ = to.send(Err(io::Error::other("the copy broke off; fetch it again"))).await;
    Err(Ended)
}

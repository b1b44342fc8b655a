//! Receipts on their way out: the newest for each camera, signed only when it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use custody_shared::id::CameraId;
use custody_shared::message::Acked;
use custody_shared::time::SECOND_US;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::counters::IngestCounters;
use super::link::Downlinks;

/// How long a receipt is good: an agent that connects later has sent again by then.
const VALID_US: i64 = 600 * SECOND_US;

/// Receipts that wait to be sent; one for each camera at most.
#[derive(Default)]
pub(super) struct Receipts {
    waiting: Mutex<HashMap<CameraId, Acked>>,
    ready: Notify,
}

impl Receipts {
    pub(super) fn put(&self, receipts: impl Iterator<Item = (CameraId, Acked)>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(receipts);
        self.ready.notify_one();
    }

    fn take(&self) -> HashMap<CameraId, Acked> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) async fn run(
    receipts: Arc<Receipts>,
    downlinks: Downlinks,
    counters: Arc<IngestCounters>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = receipts.ready.notified() => {}
        }
        for (camera, acked) in receipts.take() {
            // An unsent receipt is not lost: the agent sends again and is answered again.
            match downlinks.send(camera, acked, VALID_US).await {
                Ok(()) => counters.add(&counters.receipts, 1),
                Err(error) => tracing::error!(%error, %camera, "a receipt could not be sent"),
            }
        }
    }
}

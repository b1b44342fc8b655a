//! The server's own MQTT client: receiving what agents send, and sending them signed messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custody_shared::id::{CameraId, SiteId};
use custody_shared::message::Body;
use custody_shared::time::{SharedClock, UtcMicros};
use custody_shared::topic::Topic;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::counters::IngestCounters;
use super::server_keys::{ServerKeys, ServerKeysError};
use crate::broker::ServerDoor;

/// Messages waiting to be sent.
const SEND_QUEUE: usize = 256;
/// Pause before connecting again.
const RECONNECT: Duration = Duration::from_millis(200);

/// A statement batch as it came.
pub(super) struct Job {
    pub(super) camera: CameraId,
    pub(super) payload: Bytes,
}

/// A message other than a statement batch.
#[derive(Debug)]
pub struct Uplink {
    pub(crate) camera: CameraId,
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It could not be signed.
    #[error(transparent)]
    Keys(#[from] ServerKeysError),
    /// The client has ended.
    #[error("the connection to the broker has ended; the server is stopping")]
    Ended,
}

pub(super) fn connect(door: &ServerDoor) -> (AsyncClient, EventLoop) {
    AsyncClient::new(door.client_options(), SEND_QUEUE)
}

/// Sends signed messages to agents.
#[derive(Clone)]
pub struct Downlinks {
    site: SiteId,
    client: AsyncClient,
    keys: Arc<ServerKeys>,
    clock: SharedClock,
}

impl Downlinks {
    pub(super) fn new(site: SiteId, client: AsyncClient, keys: Arc<ServerKeys>, clock: SharedClock) -> Self {
        Self {
            site,
            client,
            keys,
            clock,
        }
    }

    /// Signs `body` for `camera`, good for `valid_us` microseconds, and publishes it. An agent that is not connected misses it,
    /// unless its topic is retained.
    pub async fn send<B: Body>(&self, camera: CameraId, body: B, valid_us: i64) -> Result<(), LinkError> {
        let signed = self.sign(camera, body, valid_us)?;
        self.publish(camera, B::TOPIC, signed).await
    }

    /// Signs `body` for `camera` without sending it.
    pub fn sign<B: Body>(&self, camera: CameraId, body: B, valid_us: i64) -> Result<Vec<u8>, LinkError> {
        Ok(self.keys.sign(self.site, camera, body, self.now(), valid_us)?)
    }

    pub(crate) async fn publish(&self, camera: CameraId, topic: Topic, signed: Vec<u8>) -> Result<(), LinkError> {
        let path = topic.path(self.site, camera);
        let sent = self
            .client
            .publish(path, QoS::AtLeastOnce, topic.retained(), signed)
            .await;
        sent.map_err(|_| LinkError::Ended)
    }

    pub(crate) fn now(&self) -> UtcMicros {
        self.clock.now()
    }

    async fn subscribe(&self) {
        for (topic, qos) in [
            (Topic::Statement, QoS::AtLeastOnce),
            (Topic::Status, QoS::AtLeastOnce),
            (Topic::Health, QoS::AtMostOnce),
            (Topic::Cosignature, QoS::AtLeastOnce),
        ] {
            if self.client.subscribe(topic.filter(self.site), qos).await.is_err() {
                return;
            }
        }
    }
}

pub(super) struct Receiver {
    pub(super) site: SiteId,
    pub(super) workers: Vec<mpsc::Sender<Job>>,
    pub(super) uplinks: mpsc::Sender<Uplink>,
    pub(super) counters: Arc<IngestCounters>,
}

/// Receives until `stop`. Dropping the workers' senders at the end lets them finish.
pub(super) async fn run(receiver: Receiver, downlinks: Downlinks, mut events: EventLoop, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.poll() => event,
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                receiver.counters.add(&receiver.counters.connections, 1);
                // No session outlives a connection: without this, nothing would come any more. In a task of its own, because
                // the queue it fills is emptied by this loop.
                let downlinks = downlinks.clone();
                tokio::spawn(async move { downlinks.subscribe().await });
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let Some((site, camera, topic)) = Topic::parse(&publish.topic) else {
                    continue;
                };
                if site == receiver.site {
                    receiver.take(camera, topic, publish.payload).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "lost the connection to the broker");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RECONNECT) => {}
                }
            }
        }
    }
}

impl Receiver {
    async fn take(&self, camera: CameraId, topic: Topic, payload: Bytes) {
        if topic == Topic::Statement {
            self.counters.add(&self.counters.batches, 1);
            let place = usize::from(camera.as_bytes()[15]) % self.workers.len();
            // Waiting here is the back-pressure: the broker keeps, and in the end drops, what agents will send again.
            let _ = self.workers[place].send(Job { camera, payload }).await;
        } else if self.uplinks.try_send(Uplink { camera, topic, payload }).is_err() {
            self.counters.add(&self.counters.dropped, 1);
        }
    }
}

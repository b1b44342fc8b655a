//! One MQTT connection, from CONNECT to its end.

use std::time::Duration;

use custody_shared::batch::{BUCKETS, BatchError, StatementBatch};
use custody_shared::message::{HEALTH_LEN, Health, MAX_DOWNLINK_LEN, Status};
use custody_shared::statement::ClockSource;
use custody_shared::time::UtcMicros;
use custody_shared::topic::{DOWN, Topic};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, Packet, QoS, SubscribeFilter,
    TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Link;
use super::orders::Order;
use crate::cursor;
use crate::keeper::thread::Job;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How often the outbox is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Health goes out once in this many cadences.
const HEALTH_CADENCES: u32 = 3;
/// Requests that may wait inside the client, and packets that may wait for us.
const QUEUE: usize = 16;
/// A topic and the packet's own fields beside the payload.
const PACKET_OVERHEAD: usize = 512;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// MQTT or the network.
    #[error("{0}")]
    Connection(#[from] Box<ConnectionError>),
    /// The client's queue is closed or full.
    #[error("the connection takes no more publishes ({0})")]
    Client(#[from] rumqttc::ClientError),
    /// The broker takes nobody, or not us.
    #[error("the broker refuses the connection ({0:?})")]
    Refused(ConnectReturnCode),
    /// The log cannot be read.
    #[error("the statement log cannot be read ({0})")]
    Log(#[from] std::io::Error),
    /// A batch cannot be sealed.
    #[error("a batch cannot be sealed ({0})")]
    Batch(#[from] BatchError),
    /// The connection's task ended without a word.
    #[error("the connection's task ended")]
    Ended,
}

/// The task that moves packets; ends with the session.
struct Pump {
    events: mpsc::Receiver<Result<Event, Box<ConnectionError>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pump {
    /// The client's loop is not safe to cancel in the middle, so it has a task of its own.
    fn start(mut events: rumqttc::EventLoop) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            loop {
                let event = events.poll().await.map_err(Box::new);
                let last = event.is_err();
                if sender.send(event).await.is_err() || last {
                    return;
                }
            }
        });
        Self { events: receiver, task }
    }
}

impl Link {
    fn options(&self, since: UtcMicros) -> MqttOptions {
        let identity = &self.parts.identity;
        let mut options = MqttOptions::new(identity.camera.to_string(), &identity.mqtt.host, identity.mqtt.port);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            identity.credentials.tls(),
        )));
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_max_packet_size(
            MAX_DOWNLINK_LEN + PACKET_OVERHEAD,
            BUCKETS[BUCKETS.len() - 1] + PACKET_OVERHEAD,
        );
        options.set_inflight(8);
        options.set_request_channel_capacity(QUEUE);
        options.set_last_will(LastWill::new(
            Topic::Status.path(identity.site, identity.camera),
            self.status(false, since),
            QoS::AtLeastOnce,
            true,
        ));
        options
    }

    fn status(&self, online: bool, since: UtcMicros) -> Vec<u8> {
        let identity = &self.parts.identity;
        Status {
            camera: identity.camera,
            online,
            boot: self.parts.boot,
            since,
        }
        .sign(&identity.statement)
    }

    /// Connects and serves until the connection ends or the agent stops.
    pub(super) async fn session(&mut self) -> Result<(), SessionError> {
        let since = self.now();
        let (client, events) = AsyncClient::new(self.options(since), QUEUE);
        let mut pump = Pump::start(events);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut health = interval(self.parts.cadence * HEALTH_CADENCES);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut up = false;
        let mut stop = self.parts.stop.clone();
        loop {
            tokio::select! {
                event = pump.events.recv() => match event.ok_or(SessionError::Ended)?.map_err(SessionError::Connection)? {
                    Event::Incoming(Packet::ConnAck(connack)) => {
                        if connack.code != ConnectReturnCode::Success {
                            return Err(SessionError::Refused(connack.code));
                        }
                        self.greet(&client, since)?;
                        up = true;
                        self.fill(&client)?;
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        self.receive(&publish.topic, &publish.payload).await;
                        if up {
                            self.fill(&client)?;
                        }
                    }
                    _ => {}
                },
                _ = look.tick(), if up => {
                    self.hand_over_keys();
                    self.fill(&client)?;
                }
                _ = health.tick(), if up => self.send_health(&client)?,
                () = super::stopped(&mut stop) => {
                    if up {
                        self.farewell(&client, &mut pump, since).await;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Every CONNACK comes without a session, because none is asked for: subscribe, say that we are here, send what waits.
    fn greet(&mut self, client: &AsyncClient, since: UtcMicros) -> Result<(), SessionError> {
        let identity = &self.parts.identity;
        let path = |topic: Topic| topic.path(identity.site, identity.camera);
        client.try_subscribe_many(DOWN.map(|topic| SubscribeFilter::new(path(topic), QoS::AtLeastOnce)))?;
        client.try_publish(path(Topic::Status), QoS::AtLeastOnce, true, self.status(true, since))?;
        tracing::info!(broker = %identity.mqtt.host, "linked to the server");
        let now = self.monotonic_us();
        self.outbox.connected(now);
        Ok(())
    }

    /// The outbox counts on a clock that never steps.
    fn monotonic_us(&self) -> i64 {
        crate::source::Moment::now(&self.parts.clock).monotonic_us
    }

    /// Sends what the outbox wants sent now.
    fn fill(&mut self, client: &AsyncClient) -> Result<(), SessionError> {
        let head = self.parts.head.borrow().next_index;
        loop {
            let now = self.monotonic_us();
            let Some(send) = self.outbox.poll(now, head) else {
                return Ok(());
            };
            let large = send.behind && !self.refusals.suspected();
            let bucket = if large { BUCKETS[BUCKETS.len() - 1] } else { BUCKETS[0] };
            let (mut used, mut count) = (0, 0);
            let out = self.reader.read(send.from, head, |length| {
                let room = StatementBatch::room_for(bucket, used, count, length);
                if let Some(after) = room {
                    (used, count) = (after, count + 1);
                }
                room.is_some()
            })?;
            let camera = self.parts.identity.camera;
            let end = out.first_index + out.statements.len() as u64;
            let said = !out.statements.is_empty();
            if said && out.first_index > send.from && self.unreadable.replace(send.from) != Some(send.from) {
                tracing::error!(
                    first = send.from,
                    next = out.first_index,
                    "statements that the server does not have yet cannot be read from this disk any more; its chain of this camera stops there. Check the disk, then remove the identity folder and join again with a new token"
                );
            }
            let batch = StatementBatch {
                camera,
                first_index: out.first_index,
                statements: out.statements,
            };
            let sealed = batch.seal(&self.parts.identity.server_transport, bucket)?;
            // Checked before it is published: a broker that refuses it would end every connection from now on.
            if sealed.len() > Topic::Statement.max_payload() {
                return Err(BatchError::Length(sealed.len()).into());
            }
            let topic = Topic::Statement.path(self.parts.identity.site, camera);
            if client.try_publish(topic, QoS::AtLeastOnce, false, sealed).is_err() {
                // The client's queue is full; the outbox asks again soon.
                return Ok(());
            }
            self.outbox.sent(now, end);
            if said {
                self.refusals.published();
            } else {
                return Ok(());
            }
        }
    }

    async fn receive(&mut self, topic: &str, payload: &[u8]) {
        match self.orders.read(topic, payload, self.trusted_now()) {
            Ok(Some(Order::Acked(server, issued_at))) => {
                self.refusals.receipt();
                self.vouched(issued_at);
                let known = self.outbox.acked();
                let head = self.parts.head.borrow().next_index;
                if server.next_index > head {
                    self.parts.inlet.tell(Job::Acked { server, known });
                }
                self.outbox.acked_until(server.next_index, head);
                if let Err(error) = cursor::write(&self.parts.folder.acked(), server) {
                    tracing::debug!(%error, "the receipt was not noted; it comes again");
                }
            }
            Ok(Some(Order::Fetch { first, last })) => {
                if self.parts.wanted.try_send((first, last)).is_err() {
                    tracing::warn!(
                        first,
                        last,
                        "too many segments are wanted at once; the server asks again"
                    );
                }
            }
            Ok(Some(Order::Restart)) => {
                tracing::info!("the server orders a restart");
                self.parts.restart.send_replace(true);
            }
            Ok(Some(Order::Keys(signed))) => {
                self.keys_waiting = Some(signed);
                self.hand_over_keys();
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, topic, "a message from the broker is not obeyed"),
        }
    }

    fn hand_over_keys(&mut self) {
        if let Some(signed) = &self.keys_waiting
            && self.parts.inlet.tell(Job::Keys(signed.clone()))
        {
            self.keys_waiting = None;
        }
    }

    fn send_health(&self, client: &AsyncClient) -> Result<(), SessionError> {
        let (identity, pulse, now) = (&self.parts.identity, &self.parts.pulse, self.now());
        let health = Health {
            camera: identity.camera,
            at: now,
            recording: pulse.is_recording(),
            last_frame_age_s: pulse.last_frame_age_s(now),
            disk_free_days: pulse.disk_days(),
            clock: if crate::sys::clock_is_synchronised() {
                ClockSource::Ntp
            } else {
                ClockSource::Unsynchronised
            },
            keys_days: pulse.keys_days(),
            faults: pulse.faults(),
        };
        match health.seal(&identity.statement, &identity.server_transport) {
            Ok(sealed) if sealed.len() == HEALTH_LEN => {
                let topic = Topic::Health.path(identity.site, identity.camera);
                client.try_publish(topic, QoS::AtMostOnce, false, sealed)?;
            }
            Ok(_) => tracing::error!("a health message of another length than agreed is not sent"),
            Err(error) => tracing::warn!(%error, "health cannot be sealed"),
        }
        Ok(())
    }

    /// A clean end publishes what the last will would have said, and the last statements, as far as two seconds reach.
    async fn farewell(&mut self, client: &AsyncClient, pump: &mut Pump, since: UtcMicros) {
        let now = self.monotonic_us();
        self.outbox.flush(now);
        if let Err(error) = self.fill(client) {
            tracing::debug!(%error, "the last statements go with the next start");
        }
        let topic = Topic::Status.path(self.parts.identity.site, self.parts.identity.camera);
        let said = client
            .try_publish(topic, QoS::AtLeastOnce, true, self.status(false, since))
            .is_ok()
            && client.try_disconnect().is_ok();
        if said {
            let drain = async { while let Some(Ok(_)) = pump.events.recv().await {} };
            // Whoever does not answer in time learns it from the last will.
            let _ = timeout(Duration::from_secs(2), drain).await;
        }
    }
}

//! The link to the server: one MQTT connection after the other, statements up, receipts and orders down.
//!
//! Every attempt starts with a fresh client and a fresh session. What is to be said again is in the outbox on disk; a client's own memory of
//! unacknowledged publishes would only repeat, after every reconnect and for ever, what a broker refuses.

pub mod orders;
mod refusals;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use custody_shared::id::BootId;
use custody_shared::time::{SharedClock, UtcMicros};
use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::cursor;
use crate::https::Endpoint;
use crate::identity::Identity;
use crate::keeper::thread::{Inlet, Job};
use crate::keeper::{Head, Pulse};
use crate::outbox::Outbox;
use crate::paths::Folder;
use crate::statement_log::LogReader;
use orders::Orders;
use refusals::Refusals;

pub use session::SessionError;

/// How long a receipt may take before everything after the last one goes again.
const PATIENCE_US: i64 = 30_000_000;
/// A connection that stood this long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// A range of segments that the server wants.
pub type Wanted = (u64, u64);

/// Everything the link needs.
pub struct Parts {
    /// Who speaks.
    pub identity: Arc<Identity>,
    /// Where everything lies.
    pub folder: Folder,
    /// The wall clock.
    pub clock: SharedClock,
    /// The run that status messages name.
    pub boot: BootId,
    /// The way to the keeper.
    pub inlet: Inlet,
    /// The end of the durable chain.
    pub head: watch::Receiver<Head>,
    /// How things are.
    pub pulse: Arc<Pulse>,
    /// One batch per this long.
    pub cadence: Duration,
    /// Where fetch orders go.
    pub wanted: mpsc::Sender<Wanted>,
    /// Set when a restart is ordered.
    pub restart: watch::Sender<bool>,
    /// Becomes true when the agent ends.
    pub stop: watch::Receiver<bool>,
}

/// The link's state across connections.
struct Link {
    parts: Parts,
    reader: LogReader,
    outbox: Outbox,
    orders: Orders,
    refusals: Refusals,
    server_time: ServerTime,
    /// An announcement that the keeper was too busy for.
    keys_waiting: Option<Vec<u8>>,
    /// Where statements are missing that the server needs next; said once.
    unreadable: Option<u64>,
}

/// Keeps the link until the agent stops; returns early only where the stored counters cannot be read.
pub async fn run(parts: Parts) -> Result<(), crate::failure::Failure> {
    let identity = parts.identity.clone();
    let counters = parts.folder.counters();
    let orders = Orders::open(&counters, identity.server_command, identity.site, identity.camera).map_err(|error| {
        crate::failure::Failure::new(
            format!("file {}", counters.display()),
            "read the counter of commands",
            error,
            "restore it, or remove it after making sure that no old command can be replayed",
        )
    })?;
    let acked = cursor::read(&parts.folder.acked());
    let cadence_us = i64::try_from(parts.cadence.as_micros()).unwrap_or(i64::MAX);
    let said = parts.head.borrow().next_index;
    let mut link = Link {
        reader: LogReader::new(&parts.folder.statements()),
        outbox: Outbox::new(acked.next_index.min(said), cadence_us, PATIENCE_US),
        orders,
        refusals: Refusals::default(),
        server_time: ServerTime::default(),
        keys_waiting: None,
        unreadable: None,
        parts,
    };
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    let mut was_up = true;
    loop {
        let began = Instant::now();
        link.ask_time().await;
        let ended = link.session().await;
        link.outbox.disconnected();
        if *link.parts.stop.borrow() {
            return Ok(());
        }
        if let Err(error) = ended {
            let refused = link.refusals.ended(began.elapsed());
            if refused {
                tracing::error!(
                    %error,
                    first = link.outbox.acked(),
                    "the broker ends every connection at the same statements: compare its limits on packet size and topics with shared/spec/messages.md; recording goes on"
                );
            } else if was_up {
                tracing::warn!(
                    broker = format!("{}:{}", link.parts.identity.mqtt.host, link.parts.identity.mqtt.port),
                    %error,
                    "cannot keep the link to the server; recording goes on and the outbox keeps everything; check that the server runs and that the firewall lets this port through"
                );
            } else {
                tracing::debug!(%error, "still no link to the server");
            }
            was_up = began.elapsed() >= GOOD;
        }
        if began.elapsed() >= GOOD && !link.refusals.suspected() {
            backoff.reset();
        }
        let wait = backoff.wait();
        let mut stop = link.parts.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(&mut stop) => return Ok(()),
        }
    }
}

/// Resolves when the agent stops, or when nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The server's time as last heard, carried on by a clock that never steps: messages are judged by it, so that a wrong wall
/// clock does not make every receipt look expired or yet to come.
#[derive(Debug, Default)]
struct ServerTime {
    heard: Option<(UtcMicros, Instant)>,
}

impl ServerTime {
    fn heard(&mut self, at: UtcMicros) {
        if self.now().is_none_or(|now| at > now) {
            self.heard = Some((at, Instant::now()));
        }
    }

    fn now(&self) -> Option<UtcMicros> {
        self.heard.map(|(at, when)| at + when.elapsed())
    }
}

impl Link {
    fn now(&self) -> UtcMicros {
        self.parts.clock.now()
    }

    /// The time to judge messages by.
    fn trusted_now(&self) -> UtcMicros {
        self.server_time.now().unwrap_or_else(|| self.now())
    }

    /// Asks the server for its time over the authenticated connection. Without an answer the wall clock serves.
    async fn ask_time(&mut self) {
        let identity = &self.parts.identity;
        let Ok(endpoint) = Endpoint::parse(&identity.agents_url, identity.credentials.tls()) else {
            return;
        };
        match tokio::time::timeout(Duration::from_secs(5), server_time(&endpoint)).await {
            Ok(Ok(at)) => self.vouched(at),
            Ok(Err(error)) => tracing::debug!(%error, "the server does not tell the time"),
            Err(_) => tracing::debug!("the server does not tell the time in time"),
        }
    }

    fn vouched(&mut self, at: UtcMicros) {
        self.server_time.heard(at);
        // A missed one is followed by the next receipt's.
        self.parts.inlet.tell(Job::ServerTime(at));
    }
}

/// The server's time.
pub async fn server_time(endpoint: &Endpoint) -> Result<UtcMicros, String> {
    #[derive(serde::Deserialize)]
    struct Time {
        utc_us: i64,
    }
    let mut connection = endpoint.connect().await.map_err(|error| error.to_string())?;
    let answer = connection
        .send("GET", "/agent/v1/time", &[], crate::https::Payload::Empty)
        .await
        .map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("the server answered {}", answer.status));
    }
    let time: Time = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    Some(UtcMicros::new(time.utc_us))
        .filter(|at| at.is_plausible())
        .ok_or_else(|| "an impossible time".to_owned())
}

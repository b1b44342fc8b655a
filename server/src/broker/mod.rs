//! The embedded MQTT broker: rumqttd's router in process, and our own gate as the only way to it.
//!
//! The gate ends TLS, knows the certificate and the deny list, reads packets with rumqttd's own codec, checks each
//! against the few things a camera may do, and hands it to the router. rumqttd itself listens nowhere: a local process finds
//! no port to bypass the gate by. The server's own client comes in by a loopback door with a secret made at each start.
//!
//! Out of scope: what the messages mean. The broker sees sealed batches and short status words, nothing else.

mod counters;
mod door;
mod gate;
mod router;
mod rules;
mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use custody_shared::id::{CameraId, SiteId};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ca::DenyListHandle;

pub use counters::{GateCounters, GateSnapshot};
pub use door::ServerDoor;
pub use rules::MAX_PAYLOAD;

/// The client id of the server's own MQTT client.
pub const SERVER_CLIENT: &str = "custody-server";

/// Bounds of the gate.
#[derive(Debug, Clone, Copy)]
pub struct BrokerLimits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Connections that have not yet sent a valid CONNECT.
    pub handshakes: usize,
    /// Time for TLS and CONNECT together.
    pub handshake_time: Duration,
    /// Time one write to a client may take before it is cut off.
    pub write_time: Duration,
    /// Bytes of statements the router keeps in memory for the server's own client before the oldest are dropped (the agents
    /// send them again: nothing is acknowledged until it is durable).
    pub backlog_bytes: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            handshake_time: Duration::from_secs(10),
            write_time: Duration::from_secs(20),
            backlog_bytes: 32 << 20,
        }
    }
}

/// A running broker. Dropping it does not stop it; [`Broker::stop`] does.
pub struct Broker {
    gate: Arc<gate::Gate>,
    door: ServerDoor,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Serves cameras on `listener` (TLS as `tls` says, which must demand client certificates) and the server's own client
    /// on a loopback port.
    ///
    /// # Errors
    /// If no loopback port can be had.
    pub async fn start(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        site: SiteId,
        deny: DenyListHandle,
        limits: BrokerLimits,
    ) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let gate = Arc::new(gate::Gate::new(site, deny, limits, stop.clone()));
        let (door, door_listener, secret) = ServerDoor::open().await?;
        let tasks = vec![
            tokio::spawn(gate.clone().serve_cameras(listener, tls)),
            tokio::spawn(gate.clone().serve_own(door_listener, secret)),
        ];
        Ok(Self {
            gate,
            door,
            stop,
            tasks,
        })
    }

    /// Where and as whom the server's own client connects.
    pub fn door(&self) -> &ServerDoor {
        &self.door
    }

    /// What the gate has let in and refused.
    pub fn counters(&self) -> GateSnapshot {
        self.gate.counters.snapshot()
    }

    /// Whether a camera's agent is connected now.
    pub fn is_connected(&self, camera: CameraId) -> bool {
        self.gate.is_connected(camera)
    }

    /// Cuts every connection and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has nothing left to stop.
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod tests;

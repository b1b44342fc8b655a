//! The loopback door for the server's own MQTT client: a port of ours and a secret made at each start.

use std::net::{Ipv4Addr, SocketAddr};

use rumqttc::MqttOptions;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::{MAX_PAYLOAD, SERVER_CLIENT};

/// Where the server's own client connects, and as whom.
#[derive(Clone)]
pub struct ServerDoor {
    address: SocketAddr,
    secret: Zeroizing<String>,
}

impl ServerDoor {
    pub(super) async fn open() -> std::io::Result<(Self, TcpListener, Zeroizing<String>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(std::io::Error::other)?;
        let secret = Zeroizing::new(hex::encode(bytes.as_ref()));
        let door = Self {
            address: listener.local_addr()?,
            secret: secret.clone(),
        };
        Ok((door, listener, secret))
    }

    /// Settings of a client that comes in by this door.
    pub fn client_options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(SERVER_CLIENT, self.address.ip().to_string(), self.address.port());
        options.set_credentials(SERVER_CLIENT, self.secret.as_str());
        options.set_max_packet_size(MAX_PAYLOAD + 1024, MAX_PAYLOAD + 1024);
        options.set_keep_alive(std::time::Duration::from_secs(30));
        options
    }
}

impl std::fmt::Debug for ServerDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerDoor")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

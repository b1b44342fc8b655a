//! One connection: CONNECT, then packets both ways until somebody ends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, DisconnectReasonCode, LastWill, Login, Packet, Publish,
};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::SERVER_CLIENT;
use super::counters::add;
use super::gate::Gate;
use super::rules::{MAX_PAYLOAD, Refusal, Role, Rules};
use super::wire::{self, Reader, Version, WireError};
use crate::ca::DenyList;

/// Longest silence a client may ask for, in seconds; also what it gets if it asks for none.
const MAX_KEEP_ALIVE: u16 = 300;
/// Bytes gathered before a write.
const WRITE_BATCH: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("the client closed the connection")]
    Closed,
    #[error("connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Rule(#[from] Refusal),
    #[error("silent or too slow")]
    Timeout,
    #[error("on the deny list")]
    Denied,
    #[error("a newer connection of the same camera has come")]
    Superseded,
    #[error("the server is stopping")]
    Stopping,
    #[error("router: {0}")]
    Router(#[from] Box<LinkError>),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Router(Box::new(error))
    }
}

/// A connection whose CONNECT has been read and allowed.
pub(super) struct Opened {
    version: Version,
    keep_alive: Duration,
    will: Option<LastWill>,
    reader: Reader,
}

/// Reads CONNECT and checks it. The caller bounds the time.
pub(super) async fn open<S: AsyncRead + Unpin>(
    stream: &mut S,
    rules: &Rules,
    secret: Option<&str>,
) -> Result<Opened, End> {
    let mut reader = Reader::new();
    let packet = loop {
        if let Some(packet) = reader.next()? {
            break packet;
        }
        if stream.read_buf(&mut reader.buffer).await? == 0 {
            return Err(End::Closed);
        }
    };
    let (Packet::Connect(connect, _, will, _, login), Some(version)) = (packet, reader.version()) else {
        return Err(Refusal::Unexpected.into());
    };
    if let Some(secret) = secret {
        check_login(&connect, login.as_ref(), secret)?;
    }
    if let Some(will) = &will {
        rules.will(will)?;
    }
    let keep_alive = match connect.keep_alive {
        0 => MAX_KEEP_ALIVE,
        seconds => seconds.min(MAX_KEEP_ALIVE),
    };
    Ok(Opened {
        version,
        keep_alive: Duration::from_secs(u64::from(keep_alive)),
        will,
        reader,
    })
}

fn check_login(connect: &Connect, login: Option<&Login>, secret: &str) -> Result<(), Refusal> {
    let login = login.ok_or(Refusal::Secret)?;
    let right = login.password.as_bytes().ct_eq(secret.as_bytes());
    if connect.client_id == SERVER_CLIENT && login.username == SERVER_CLIENT && bool::from(right) {
        Ok(())
    } else {
        Err(Refusal::Secret)
    }
}

/// What ends a session from outside.
pub(super) struct Outside {
    pub(super) stop: CancellationToken,
    pub(super) superseded: CancellationToken,
    pub(super) deny: watch::Receiver<Arc<DenyList>>,
    /// Serial number of the client's certificate; none at the server's own door.
    pub(super) serial: Option<String>,
}

impl Outside {
    fn denied(&mut self, role: Role) -> bool {
        let list = self.deny.borrow_and_update();
        match (role, &self.serial) {
            (Role::Camera(camera), Some(serial)) => list.denies(camera, serial),
            _ => false,
        }
    }
}

/// Pipes packets between the client and the router until the end; then the router forgets the client, after its will where it is due.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    stream: &mut S,
    opened: Opened,
    rules: Rules,
    mut outside: Outside,
) -> End {
    // Registered first, deny list second: a revocation in between is seen by one of the two.
    if outside.denied(rules.role) {
        return End::Denied;
    }
    let client = match rules.role {
        Role::Camera(camera) => camera.to_string(),
        Role::Server => SERVER_CLIENT.to_owned(),
    };
    let (mut tx, mut rx) = match gate.hub.connect(&client) {
        Ok(link) => link,
        Err(error) => return error.into(),
    };
    let will = opened.will.clone();
    let end = pipe(gate, stream, opened, rules, &mut outside, client, &mut tx, &mut rx).await;
    // A client that is replaced by its own newer connection is not offline: no will then.
    if let Some(will) = will.filter(|_| !matches!(end, End::Goodbye | End::Superseded)) {
        let publish = Publish::new(will.topic, will.message, will.retain);
        let _ = tx.send(Packet::Publish(publish, None)).await;
    }
    let disconnect = rumqttd::protocol::Disconnect {
        reason_code: DisconnectReasonCode::NormalDisconnection,
    };
    // A router that is gone has forgotten the client already.
    let _ = tx.send(Packet::Disconnect(disconnect, None)).await;
    end
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two halves of one function; the other half is `run`"
)]
async fn pipe<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    stream: &mut S,
    opened: Opened,
    rules: Rules,
    outside: &mut Outside,
    client: String,
    tx: &mut LinkTx,
    rx: &mut LinkRx,
) -> End {
    let Opened {
        version,
        keep_alive,
        mut reader,
        ..
    } = opened;
    let mut out = BytesMut::with_capacity(4096);
    let hello = Packet::ConnAck(
        ConnAck {
            session_present: false,
            code: ConnectReturnCode::Success,
        },
        (version == Version::V5).then(|| hello_properties(client, keep_alive)),
    );
    if let Err(error) = wire::write(version, hello, &mut out) {
        return error.into();
    }
    // Packets may have come together with CONNECT.
    if let Err(end) = take(gate, &mut reader, &rules, tx).await {
        return end;
    }
    loop {
        if !out.is_empty() {
            match tokio::time::timeout(gate.limits.write_time, write(stream, &mut out)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return End::Timeout,
            }
        }
        tokio::select! {
            biased;
            () = outside.stop.cancelled() => return End::Stopping,
            () = outside.superseded.cancelled() => return End::Superseded,
            changed = outside.deny.changed() => {
                if changed.is_err() || outside.denied(rules.role) {
                    return End::Denied;
                }
            }
            notification = rx.next() => {
                let mut next = Some(notification);
                while let Some(notification) = next {
                    match notification {
                        Ok(Some(notification)) => match notification.into() {
                            Some(packet) => {
                                add(&gate.counters.messages_out);
                                if let Err(error) = wire::write(version, packet, &mut out) {
                                    return error.into();
                                }
                            }
                            // The router paused this client until it says that it is ready again.
                            None => if let Err(error) = rx.wake().await {
                                return error.into();
                            },
                        },
                        Ok(None) => {}
                        Err(error) => return error.into(),
                    }
                    next = (out.len() < WRITE_BATCH).then(|| rx.next().now_or_never()).flatten();
                }
            }
            read = tokio::time::timeout(keep_alive.mul_f32(1.5), stream.read_buf(&mut reader.buffer)) => {
                match read {
                    Ok(Ok(0)) => return End::Closed,
                    Ok(Ok(_)) => if let Err(end) = take(gate, &mut reader, &rules, tx).await {
                        return end;
                    },
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return End::Timeout,
                }
            }
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, out: &mut BytesMut) -> std::io::Result<()> {
    stream.write_all(out).await?;
    stream.flush().await?;
    out.clear();
    Ok(())
}

/// Hands every whole packet that has come to the router, each checked first.
async fn take(gate: &Gate, reader: &mut Reader, rules: &Rules, tx: &mut LinkTx) -> Result<(), End> {
    let mut last = None;
    let end = loop {
        let packet = match reader.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        match check(rules, packet) {
            Ok(Some(packet)) => {
                add(&gate.counters.messages_in);
                // One event for all of them: only the last one wakes the router.
                if let Some(earlier) = last.replace(packet) {
                    tx.buffer().push_back(earlier);
                }
            }
            Ok(None) => break Err(End::Goodbye),
            Err(refusal) => break Err(refusal.into()),
        }
    };
    if let Some(packet) = last {
        tx.send(packet).await?;
    }
    end
}

/// The packet as the router may see it; `None` is the client's goodbye.
fn check(rules: &Rules, packet: Packet) -> Result<Option<Packet>, Refusal> {
    match wire::plain(packet) {
        Packet::Publish(mut publish, _) => {
            rules.publish(&publish)?;
            // A short message must not keep the whole read buffer alive for as long as the router keeps it.
            publish.topic = Bytes::copy_from_slice(&publish.topic);
            publish.payload = Bytes::copy_from_slice(&publish.payload);
            Ok(Some(Packet::Publish(publish, None)))
        }
        Packet::Subscribe(subscribe, _) => {
            rules.subscribe(&subscribe.filters)?;
            Ok(Some(Packet::Subscribe(subscribe, None)))
        }
        Packet::Unsubscribe(unsubscribe, _) => {
            rules.unsubscribe(&unsubscribe.filters)?;
            Ok(Some(Packet::Unsubscribe(unsubscribe, None)))
        }
        packet @ (Packet::PubAck(..) | Packet::PingReq(_)) => Ok(Some(packet)),
        Packet::Disconnect(disconnect, _)
            if disconnect.reason_code == DisconnectReasonCode::DisconnectWithWillMessage =>
        {
            Err(Refusal::Unexpected)
        }
        Packet::Disconnect(..) => Ok(None),
        Packet::Connect(..) => Err(Refusal::SecondConnect),
        _ => Err(Refusal::Unexpected),
    }
}

fn hello_properties(client: String, keep_alive: Duration) -> ConnAckProperties {
    ConnAckProperties {
        assigned_client_identifier: Some(client),
        server_keep_alive: u16::try_from(keep_alive.as_secs()).ok(),
        session_expiry_interval: Some(0),
        max_qos: Some(1),
        max_packet_size: u32::try_from(MAX_PAYLOAD + 512).ok(),
        topic_alias_max: Some(0),
        wildcard_subscription_available: Some(0),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        ..ConnAckProperties::default()
    }
}

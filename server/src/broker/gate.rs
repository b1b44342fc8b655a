//! The gate: accepting, TLS, who it is, and how many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use custody_shared::id::{CameraId, SiteId};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::BrokerLimits;
use super::counters::{GateCounters, add};
use super::router::Hub;
use super::rules::{Role, Rules};
use super::session::{self, End, Outside};
use crate::ca::{AgentIdentity, DenyListHandle};

/// Connections at the loopback door: the server's own client, and one that is replacing it.
const OWN_CONNECTIONS: usize = 8;

pub(super) struct Gate {
    site: SiteId,
    deny: DenyListHandle,
    pub(super) limits: BrokerLimits,
    pub(super) hub: Hub,
    pub(super) counters: GateCounters,
    stop: CancellationToken,
    room: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    open: Mutex<HashMap<Role, (u64, CancellationToken)>>,
    registrations: AtomicU64,
}

impl Gate {
    pub(super) fn new(site: SiteId, deny: DenyListHandle, limits: BrokerLimits, stop: CancellationToken) -> Self {
        Self {
            site,
            deny,
            limits,
            hub: Hub::new(site, &limits),
            counters: GateCounters::default(),
            stop,
            room: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            open: Mutex::default(),
            registrations: AtomicU64::new(0),
        }
    }

    pub(super) fn is_connected(&self, camera: CameraId) -> bool {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&Role::Camera(camera))
    }

    pub(super) async fn serve_cameras(self: Arc<Self>, listener: TcpListener, tls: Arc<ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        while let Some(stream) = self.accept(&listener).await {
            // Full is said by closing at once: a queue of strangers would only hide it.
            let permits = (
                self.room.clone().try_acquire_owned(),
                self.handshakes.clone().try_acquire_owned(),
            );
            let (Ok(room), Ok(handshake)) = permits else {
                add(&self.counters.full);
                continue;
            };
            let gate = self.clone();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _room = room;
                gate.camera(stream, &acceptor, handshake).await;
            });
        }
    }

    pub(super) async fn serve_own(self: Arc<Self>, listener: TcpListener, secret: Zeroizing<String>) {
        let room = Arc::new(Semaphore::new(OWN_CONNECTIONS));
        let secret = Arc::new(secret);
        while let Some(stream) = self.accept(&listener).await {
            let Ok(permit) = room.clone().try_acquire_owned() else {
                add(&self.counters.full);
                continue;
            };
            let gate = self.clone();
            let secret = secret.clone();
            tokio::spawn(async move {
                let _permit = permit;
                gate.session(stream, Role::Server, None, Some(&secret), None).await;
            });
        }
    }

    async fn accept(&self, listener: &TcpListener) -> Option<TcpStream> {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return None,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Small packets both ways: waiting for more to come costs more than it saves.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                Err(error) => {
                    // Out of file descriptors, mostly: a pause instead of a busy loop.
                    tracing::warn!(%error, "the gate cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn camera(&self, stream: TcpStream, acceptor: &TlsAcceptor, handshake: OwnedSemaphorePermit) {
        let started = tokio::time::timeout(self.limits.handshake_time, acceptor.accept(stream)).await;
        let stream = match started {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                add(&self.counters.tls_failed);
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Err(_) => return add(&self.counters.timed_out),
        };
        let identity = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| AgentIdentity::read(chain.first()?));
        let Some((identity, serial)) = identity.filter(|(identity, _)| identity.site == self.site) else {
            return add(&self.counters.foreign_certificate);
        };
        self.session(
            stream,
            Role::Camera(identity.camera),
            Some(serial),
            None,
            Some(handshake),
        )
        .await;
    }

    async fn session<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        role: Role,
        serial: Option<String>,
        secret: Option<&str>,
        handshake: Option<OwnedSemaphorePermit>,
    ) {
        let rules = Rules { site: self.site, role };
        let opened = tokio::time::timeout(self.limits.handshake_time, session::open(&mut stream, &rules, secret)).await;
        drop(handshake);
        let end = match opened {
            Err(_) => End::Timeout,
            Ok(Err(end)) => end,
            Ok(Ok(opened)) => {
                let registration = self.register(role);
                let outside = Outside {
                    stop: self.stop.clone(),
                    superseded: registration.superseded.clone(),
                    deny: self.deny.watch(),
                    serial,
                };
                add(&self.counters.connected);
                session::run(self, &mut stream, opened, rules, outside).await
            }
        };
        self.count(role, &end);
    }

    fn count(&self, role: Role, end: &End) {
        let counter = match end {
            End::Rule(_) => &self.counters.rule_broken,
            End::Wire(_) => &self.counters.malformed,
            End::Timeout => &self.counters.timed_out,
            End::Denied => &self.counters.denied,
            End::Superseded => &self.counters.superseded,
            End::Goodbye | End::Closed | End::Io(_) | End::Stopping => {
                tracing::debug!(?role, %end, "connection ended");
                return;
            }
            End::Router(error) => {
                tracing::error!(?role, %error, "connection ended by the router");
                return;
            }
        };
        add(counter);
        tracing::warn!(?role, %end, "connection cut off");
    }

    /// Enters a connection as the one of its client; an older one is told to go.
    fn register(&self, role: Role) -> Registration<'_> {
        let superseded = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.registrations.fetch_add(1, Ordering::Relaxed);
        if let Some((_, older)) = open.insert(role, (number, superseded.clone())) {
            older.cancel();
        }
        Registration {
            gate: self,
            role,
            number,
            superseded,
        }
    }
}

struct Registration<'a> {
    gate: &'a Gate,
    role: Role,
    number: u64,
    superseded: CancellationToken,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(&self.role).is_some_and(|(number, _)| *number == self.number) {
            open.remove(&self.role);
        }
    }
}

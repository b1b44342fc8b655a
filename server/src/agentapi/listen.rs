//! TLS and HTTP for agents: who is on the other end is known before a byte of the request is read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use custody_shared::id::SiteId;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Peer, PeerIdentity};
use crate::ca::AgentIdentity;

/// Bounds of the listener.
#[derive(Debug, Clone, Copy)]
pub struct AgentLimits {
    /// Open connections.
    pub connections: usize,
    /// Time for the TLS handshake, and for each request's head.
    pub handshake_time: Duration,
    /// Time for one request with its body.
    pub request_time: Duration,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake_time: Duration::from_secs(10),
            request_time: Duration::from_secs(300),
        }
    }
}

/// Serves `router` on `listener` until `stop`. `tls` asks for client certificates without demanding them, as joining has none.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    site: SiteId,
    router: Router,
    limits: AgentLimits,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the agents' interface cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Full is said by closing: agents try again later by themselves.
        let Ok(permit) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, &acceptor, site, router, limits, stop).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    site: SiteId,
    router: Router,
    limits: AgentLimits,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(limits.handshake_time, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake with an agent failed"),
        Err(_) => return,
    };
    let peer = match stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
        None => Peer(None),
        Some(certificate) => match AgentIdentity::read(certificate) {
            Some((identity, serial)) if identity.site == site => Peer(Some(PeerIdentity {
                camera: identity.camera,
                serial,
            })),
            // A certificate of ours that is no agent's of this site has no business here.
            _ => return,
        },
    };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (router, peer) = (router.clone(), peer.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let answered = tokio::time::timeout(limits.request_time, router.oneshot(request)).await;
            Ok::<_, Infallible>(match answered {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => {
                    let mut response = axum::response::Response::new(Body::empty());
                    *response.status_mut() = axum::http::StatusCode::REQUEST_TIMEOUT;
                    response
                }
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_time)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection with an agent ended");
        },
        () = stop.cancelled() => {}
    }
}

//! Accepts connections: bounded in number, TLS where set, slow headers cut off, drained at shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Time for a TLS handshake and for the headers of a request.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that running answers get at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(std::net::SocketAddr);

impl Peer {
    /// Whether a request comes from a program on this machine, and not through a proxy that speaks for somebody else.
    pub fn is_local(request: &axum::extract::Request) -> bool {
        let forwarded = ["forwarded", "x-forwarded-for", "via"]
            .iter()
            .any(|name| request.headers().contains_key(*name));
        !forwarded
            && request
                .extensions()
                .get::<Self>()
                .is_some_and(|peer| peer.0.ip().is_loopback())
    }
}

/// Serves `router` until `shutdown`; then lets running answers end for at most three seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    max_connections: usize,
    shutdown: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let slots = Arc::new(Semaphore::new(max_connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: waiting is better than spinning.
                tracing::warn!("pages: cannot accept a connection ({error}); check the limit of open files");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let router = router.clone().layer(axum::Extension(Peer(peer)));
        let (acceptor, shutdown) = (acceptor.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => connection(stream, router, shutdown).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HELLO_TIMEOUT, acceptor.accept(stream)).await {
                        connection(stream, router, shutdown).await;
                    }
                }
            }
        });
    }
    // Every connection holds a slot, so holding all of them means that none is left.
    let all = u32::try_from(max_connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(all)).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    shutdown: CancellationToken,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = shutdown.cancelled() => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

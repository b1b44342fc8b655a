//! A small HTTPS client: one connection, requests one after the other, bounded answers, a time-out on everything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An answer's body may be this long at most.
pub const MAX_ANSWER: usize = 512 * 1024;
/// Time for name, connection and handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for one request; an upload moves at least a segment within it even on a poor line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const PIECE: usize = 64 * 1024;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The address is not `https://HOST[:PORT]`.
    #[error("{0} is not an https:// address")]
    Address(String),
    /// No connection.
    #[error("{0}")]
    Connect(#[from] io::Error),
    /// Too slow.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Not HTTP, or broken off.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be built.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// A body longer than [`MAX_ANSWER`].
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

/// Whom to talk to, and how to know them.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Endpoint {
    /// Parses `https://HOST[:PORT]`; a path is refused, since paths are ours.
    pub fn parse(address: &str, tls: Arc<ClientConfig>) -> Result<Self, HttpsError> {
        let refused = || HttpsError::Address(crate::failure::redact(address));
        let url = url::Url::parse(address).map_err(|_| refused())?;
        if url.scheme() != "https" || url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err(refused());
        }
        let host = url.host_str().ok_or_else(refused)?.trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: url.port().unwrap_or(443),
            tls,
        })
    }

    /// An endpoint from its parts.
    pub fn new(host: &str, port: u16, tls: Arc<ClientConfig>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
        }
    }

    /// Opens a TLS connection and nothing more.
    pub async fn handshake(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HttpsError> {
        let connect = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
            tokio_rustls::TlsConnector::from(self.tls.clone())
                .connect(name, stream)
                .await
        };
        Ok(timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| HttpsError::Timeout(CONNECT_TIMEOUT))??)
    }

    /// Opens a connection for requests.
    pub async fn connect(&self) -> Result<Connection, HttpsError> {
        let stream = self.handshake().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // Its error also reaches the request in flight.
            let _ = connection.await;
        });
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        Ok(Connection {
            sender,
            driver,
            authority: format!("{host}:{}", self.port),
        })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Payload>,
    driver: JoinHandle<()>,
    authority: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`MAX_ANSWER`] bytes.
    pub body: Bytes,
}

impl Connection {
    /// Sends one request and reads the whole answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Answer, HttpsError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(payload)?;
        let exchange = async {
            let response = self.sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|_| HttpsError::TooLong)?;
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            })
        };
        timeout(REQUEST_TIMEOUT, exchange)
            .await
            .map_err(|_| HttpsError::Timeout(REQUEST_TIMEOUT))?
    }

    /// Posts JSON.
    pub async fn post_json(&mut self, path: &str, body: Vec<u8>) -> Result<Answer, HttpsError> {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            Payload::Bytes(body.into()),
        )
        .await
    }
}

/// A request's body: nothing, bytes, or a part of a file read as it is sent.
#[derive(Debug)]
pub enum Payload {
    /// No body.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// The bytes of a file from `offset` up to `end`.
    File {
        /// The file.
        file: File,
        /// First byte not sent yet.
        offset: u64,
        /// Byte after the last one to send.
        end: u64,
    },
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Bytes(bytes) => std::mem::take(bytes),
            Self::File { file, offset, end } => {
                let length = (*end - *offset).min(PIECE as u64) as usize;
                let mut piece = vec![0; length];
                // A piece comes from the page cache or one read of the disk; a thread for it would cost more.
                if let Err(error) = file.read_exact_at(&mut piece, *offset) {
                    return Poll::Ready(Some(Err(error)));
                }
                *offset += length as u64;
                piece.into()
            }
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { offset, end, .. } => end - offset,
        })
    }
}

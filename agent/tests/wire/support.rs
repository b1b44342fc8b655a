//! A server for agents, made up: TLS of its own authority, HTTP by hand, and answers that each test chooses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use custody_shared::cose::SigningKey;
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{CameraId, KeyId, SiteId};
use custody_shared::join::{JoinResponse, MqttEndpoint};
use custody_shared::keys::KeyDescriptor;
use custody_shared::message::{Downlink, KeyAnnouncement};
use custody_shared::time::UtcMicros;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the agent showed a certificate.
    pub(crate) known: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection ends after this many bytes of the request's body.
    BreakAfter(usize),
}

pub(crate) fn status(code: u16) -> Answer {
    Answer::Status(code, vec![], vec![])
}

type Answers = Arc<Mutex<Box<dyn FnMut(&Request) -> Answer + Send>>>;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) pin: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let pin = format!("sha256:{}", Sha256Hash::of(certificate.der()));
        Self {
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
            pin,
        }
    }

    pub(crate) fn sign(&self, csr_pem: &str) -> String {
        let request = CertificateSigningRequestParams::from_pem(csr_pem).expect("a signing request");
        request.signed_by(&self.issuer).expect("signed").pem()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    answers: Answers,
}

pub(crate) const SITE: SiteId = SiteId::from_bytes([1; 16]);
pub(crate) const CAMERA: CameraId = CameraId::from_bytes([2; 16]);

pub(crate) fn command_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

impl Server {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &authority.issuer).expect("certificate");
        let chain: Vec<_> = [certificate.pem(), authority.pem.clone()]
            .iter()
            .flat_map(|pem| custody_agent::tls::certificates(pem).expect("pem"))
            .collect();
        let mut roots = RootCertStore::empty();
        roots.add(chain[1].clone()).expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .expect("verifier");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).expect("key"))
            .expect("config");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_: &Request| status(404))));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            address,
            authority,
            requests: requests.clone(),
            answers: answers.clone(),
        };
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answers, requests) = (acceptor.clone(), answers.clone(), requests.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let known = stream.get_ref().1.peer_certificates().is_some();
                        serve(stream, known, answers, requests).await;
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Answers like this from now on.
    pub(crate) fn answer(&self, each: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.answers.lock().expect("answers") = Box::new(each);
    }

    /// What a join is answered with.
    pub(crate) fn welcome(&self, csr_pem: &str) -> JoinResponse {
        JoinResponse {
            site: SITE,
            camera: CAMERA,
            camera_name: "Gate".to_owned(),
            certificate_pem: self.authority.sign(csr_pem),
            ca_pem: self.authority.pem.clone(),
            mqtt: MqttEndpoint {
                host: "127.0.0.1".to_owned(),
                port: 1,
            },
            agents_url: self.url(),
            server_transport_public: RecipientSecret::from_seed(&[8; 32]).public(),
            server_command_public: command_key().public(),
            keys: announcement(),
        }
    }

    /// The requests so far, as `METHOD path`.
    pub(crate) fn seen(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("requests");
        requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

/// One key for every time.
fn announcement() -> Vec<u8> {
    let key = KeyDescriptor {
        key_id: KeyId::from_bytes([6; 16]),
        camera: CAMERA,
        valid_from: UtcMicros::MIN,
        valid_until: UtcMicros::new(1 << 52),
        destroy_at: UtcMicros::new(1 << 52),
        reserve: false,
        public: RecipientSecret::from_seed(&[5; 32]).public(),
    };
    let message = Downlink {
        site: SITE,
        camera: CAMERA,
        counter: 1,
        issued_at: UtcMicros::new(1),
        expires_at: UtcMicros::new(1 << 52),
        body: KeyAnnouncement {
            issue: 1,
            keys: vec![key],
        },
    };
    message.sign(&command_key()).expect("signed")
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWriteExt + Unpin,
    known: bool,
    answers: Answers,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut words = head.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request {
            method,
            path,
            head,
            body: vec![],
            known,
        };
        let length: usize = request
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        // Small bodies are read before the answer is chosen; long ones only as far as the answer wants.
        let mut wanted = length;
        let mut answer = None;
        if length > 100_000 {
            let chosen = (answers.lock().expect("answers"))(&request);
            if let Answer::BreakAfter(bytes) = chosen {
                wanted = bytes.min(length);
            }
            answer = Some(chosen);
        }
        while buffer.len() < end + wanted {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        request.body = buffer[end..end + wanted].to_vec();
        let answer = answer.unwrap_or_else(|| (answers.lock().expect("answers"))(&request));
        let is_head = request.method == "HEAD";
        requests.lock().expect("requests").push(request);
        let Answer::Status(code, headers, body) = answer else {
            return;
        };
        let mut out = format!("HTTP/1.1 {code} Status\r\n");
        for (name, value) in headers {
            out += &format!("{name}: {value}\r\n");
        }
        if code != 204 {
            out += &format!("content-length: {}\r\n", body.len());
        }
        out += "\r\n";
        if stream.write_all(out.as_bytes()).await.is_err() {
            return;
        }
        if !is_head && stream.write_all(&body).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
        buffer.drain(..end + wanted);
    }
}

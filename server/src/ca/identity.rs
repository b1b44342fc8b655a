//! The server's certificate as its listeners present it, reissued while the process runs.

use std::sync::{Arc, RwLock};

use custody_shared::time::UtcMicros;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::{Ca, CaError, SERVER_DAYS};

/// Whether a listener demands a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    Required,
    Optional,
}

/// The server's certificate and key for one list of host names.
pub struct ServerIdentity {
    ca: Arc<Ca>,
    hosts: Vec<String>,
    current: RwLock<(Arc<CertifiedKey>, UtcMicros)>,
}

impl ServerIdentity {
    /// Issues the first certificate for `hosts`: DNS names and IP addresses.
    pub fn new(ca: Arc<Ca>, hosts: &[String]) -> Result<Arc<Self>, CaError> {
        let first = issue(&ca, hosts)?;
        Ok(Arc::new(Self {
            ca,
            hosts: hosts.to_vec(),
            current: RwLock::new(first),
        }))
    }

    /// TLS settings for the camera gate: a client certificate is required.
    pub fn mqtt_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        self.config(ClientCertificate::Required, &[])
    }

    /// TLS settings for the agents' HTTPS interface: joining has no certificate yet, everything else needs one.
    pub fn agents_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        self.config(ClientCertificate::Optional, &[b"http/1.1"])
    }

    /// TLS settings for people's browsers, who show no certificate.
    pub fn web_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CaError> {
        let mut config = builder()?.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn config(self: &Arc<Self>, client: ClientCertificate, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, CaError> {
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(self.ca.roots(), Arc::new(ring::default_provider()));
        if client == ClientCertificate::Optional {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier.build().map_err(|error| CaError::Request(error.to_string()))?;
        let mut config = builder()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // A resumed session would skip the certificate, and with it the deny list.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn key(&self) -> Arc<CertifiedKey> {
        let third = i64::try_from(SERVER_DAYS / 3 * 24 * 3600 * 1_000_000).unwrap_or(i64::MAX);
        let due = |end: UtcMicros| self.ca.now().get() > end.get().saturating_sub(third);
        {
            let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !due(current.1) {
                return current.0.clone();
            }
        }
        let mut current = self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if due(current.1) {
            match issue(&self.ca, &self.hosts) {
                Ok(next) => *current = next,
                // The old one is still good for a third of its life; every handshake tries again.
                Err(error) => tracing::error!(%error, "cannot renew the server's certificate"),
            }
        }
        current.0.clone()
    }
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, CaError> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| CaError::Request(error.to_string()))
}

fn issue(ca: &Ca, hosts: &[String]) -> Result<(Arc<CertifiedKey>, UtcMicros), CaError> {
    let (chain, key, not_after) = ca.issue_server(hosts)?;
    let key = ring::sign::any_supported_type(&key).map_err(|error| CaError::Request(error.to_string()))?;
    Ok((Arc::new(CertifiedKey::new(chain, key)), not_after))
}

//! TLS as the agent speaks it: to a pinned authority when joining, with its own certificate ever after.

use std::sync::Arc;

use custody_shared::hash::Sha256Hash;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// Why TLS material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text is no certificate.
    #[error("a certificate cannot be read ({0})")]
    Certificate(String),
    /// The PEM text is no private key.
    #[error("the private key cannot be read")]
    Key,
    /// rustls refuses it.
    #[error("{0}")]
    Rustls(#[from] Error),
    /// The pin is not `sha256:` and 64 hexadecimal digits.
    #[error("the pin is not sha256: and 64 hexadecimal digits")]
    Pin,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates in a PEM text, at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| TlsError::Certificate(error.to_string()))?;
    if found.is_empty() {
        Err(TlsError::Certificate("no certificate in the text".into()))
    } else {
        Ok(found)
    }
}

/// Trusts `ca_pem` alone and presents `certificate_pem`.
pub fn mutual(ca_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate)?;
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TlsError::Key)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(certificate_pem)?, key)?;
    // A revoked certificate must be cut off at the next connection: no session outlives the check.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts whichever authority in the server's chain has this SHA-256 (of its DER), and nothing else.
pub fn pinned(pin: &Pin) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(PinnedAuthority {
        pin: *pin,
        provider: provider(),
    });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// SHA-256 of a certificate authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(Sha256Hash);

impl Pin {
    /// Whether this is the authority that was meant.
    pub fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        Sha256Hash::of(certificate.as_ref()) == self.0
    }
}

impl std::str::FromStr for Pin {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let digits = text.trim().strip_prefix("sha256:").ok_or(TlsError::Pin)?;
        let bytes: [u8; 32] = hex::decode(digits)
            .ok()
            .and_then(|b| b.try_into().ok())
            .ok_or(TlsError::Pin)?;
        Ok(Self(Sha256Hash::from_bytes(bytes)))
    }
}

#[derive(Debug)]
struct PinnedAuthority {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| self.pin.matches(certificate))
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        // The pin says who may sign; name, validity and signature are checked as ever.
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

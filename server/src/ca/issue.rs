//! The authority itself: made once by `init`, opened at every start, asked for certificates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use custody_shared::id::{CameraId, SiteId};
use custody_shared::time::{SharedClock, UtcMicros};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use super::files::{private_dir, replace};
use super::{AGENT_DAYS, AgentIdentity, DenyListHandle, IssuedCertificate, MAX_CSR, SERVER_DAYS};

/// Years the root and the issuing certificate last.
const AUTHORITY_DAYS: u64 = 20 * 365;
/// Certificates begin a day early, so that a camera whose clock lags does not refuse them.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// What can go wrong with the authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority could not be read or written.
    #[error("certificate authority: cannot {step} {path} ({source}); check the folder's owner and free space")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `init` found an authority already there.
    #[error("certificate authority: {0} already holds one; a second would lock every enrolled agent out")]
    Exists(PathBuf),
    /// A stored certificate or key is not what it should be.
    #[error("certificate authority: {file} is not a usable certificate or key ({reason}); restore it from the backup")]
    Damaged {
        /// Name of the file within the authority's folder.
        file: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// The request for a certificate was refused.
    #[error("certificate request refused: {0}")]
    Request(String),
    /// A configured host name cannot stand in a certificate.
    #[error("host name {0:?} cannot stand in a certificate; use a DNS name or an IP address")]
    Host(String),
    /// Signing failed.
    #[error("certificate authority: signing failed ({0})")]
    Signing(#[from] rcgen::Error),
}

/// The site's certificate authority.
pub struct Ca {
    site: SiteId,
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    clock: SharedClock,
    deny: DenyListHandle,
}

impl Ca {
    /// Makes a new authority for `site` in `dir`, with keys only their owner can read.
    pub fn init(dir: &Path, site: SiteId, clock: SharedClock) -> Result<Self, CaError> {
        let io = |step, path: PathBuf| move |source| CaError::Io { step, path, source };
        if dir.join("root.crt").exists() || dir.join("issuing.crt").exists() {
            return Err(CaError::Exists(dir.to_owned()));
        }
        private_dir(dir).map_err(io("make", dir.to_owned()))?;
        let now = clock.now();

        let root_key = KeyPair::generate()?;
        let mut root_params = authority(site, "Custody root", now, 1);
        root_params.use_authority_key_identifier_extension = false;
        let root = root_params.self_signed(&root_key)?;
        let root_issuer = Issuer::new(root_params, &root_key);
        let issuing_key = KeyPair::generate()?;
        let issuing = authority(site, "Custody issuing", now, 0).signed_by(&issuing_key, &root_issuer)?;

        // The root's certificate comes last: without it nothing was made, and `init` may run again.
        for (name, content, mode) in [
            ("site", site.to_string(), 0o600),
            ("root.key", root_key.serialize_pem(), 0o600),
            ("issuing.key", issuing_key.serialize_pem(), 0o600),
            ("issuing.crt", issuing.pem(), 0o644),
            ("root.crt", root.pem(), 0o644),
        ] {
            let path = dir.join(name);
            replace(&path, content.as_bytes(), mode).map_err(io("write", path))?;
        }
        Self::open(dir, clock)
    }

    /// Opens the authority in `dir`. The root's key is not read and may be kept elsewhere.
    pub fn open(dir: &Path, clock: SharedClock) -> Result<Self, CaError> {
        let read = |name: &'static str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| CaError::Io {
                step: "read",
                path,
                source,
            })
        };
        let damaged = |file: &'static str| move |reason: String| CaError::Damaged { file, reason };
        let site = read("site")?
            .trim()
            .parse::<SiteId>()
            .map_err(|error| damaged("site")(error.to_string()))?;
        let certificate = |name: &'static str| -> Result<CertificateDer<'static>, CaError> {
            CertificateDer::from_pem_slice(read(name)?.as_bytes()).map_err(|error| damaged(name)(error.to_string()))
        };
        let root = certificate("root.crt")?;
        let issuing = certificate("issuing.crt")?;
        let key =
            KeyPair::from_pem(&read("issuing.key")?).map_err(|error| damaged("issuing.key")(error.to_string()))?;
        let issuer =
            Issuer::from_ca_cert_der(&issuing, key).map_err(|error| damaged("issuing.crt")(error.to_string()))?;
        let deny = DenyListHandle::open(&dir.join("deny"))?;
        Ok(Self {
            site,
            root,
            issuing,
            issuer,
            clock,
            deny,
        })
    }

    /// The site this authority serves.
    pub fn site(&self) -> SiteId {
        self.site
    }

    /// The pin that installers type: `sha256:` and the hash of the root certificate's DER.
    pub fn pin(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(&self.root)))
    }

    /// Root and issuing certificate as PEM, root first: what an agent trusts from now on.
    pub fn bundle_pem(&self) -> String {
        format!("{}{}", pem(&self.root), pem(&self.issuing))
    }

    /// The root as a trust store: for the gates, and for clients in tests.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        // A certificate that `open` has parsed is accepted here; were it not, nobody would be.
        roots.add_parsable_certificates([self.root.clone()]);
        Arc::new(roots)
    }

    /// The list of certificates and cameras that no gate lets in.
    pub fn deny_list(&self) -> &DenyListHandle {
        &self.deny
    }

    /// Issues a certificate for `camera` over the key in `csr_pem`. Only the key is taken from the request: names,
    /// usages and dates are ours.
    pub fn issue_agent(&self, camera: CameraId, csr_pem: &str) -> Result<IssuedCertificate, CaError> {
        if csr_pem.len() > MAX_CSR {
            return Err(CaError::Request(format!("longer than {MAX_CSR} bytes")));
        }
        let csr =
            CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| CaError::Request(error.to_string()))?;
        let now = self.clock.now();
        let (mut params, serial) = leaf(now, AGENT_DAYS)?;
        params.distinguished_name = AgentIdentity {
            site: self.site,
            camera,
        }
        .distinguished_name();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&csr.public_key, &self.issuer)?;
        Ok(IssuedCertificate {
            pem: format!("{}{}", certificate.pem(), pem(&self.issuing)),
            serial,
            not_after: plus_days(now, AGENT_DAYS),
        })
    }

    /// Issues the server's own certificate for `hosts` (DNS names and addresses): chain with the root last, so that
    /// a joining agent can compare it with its pin, the key, and the end of its life.
    pub(super) fn issue_server(
        &self,
        hosts: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, UtcMicros), CaError> {
        let now = self.clock.now();
        let (mut params, _) = leaf(now, SERVER_DAYS)?;
        params.distinguished_name.push(DnType::CommonName, "Custody server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for host in hosts {
            params.subject_alt_names.push(match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(|_| CaError::Host(host.clone()))?),
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.issuing.clone(), self.root.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((chain, key, plus_days(now, SERVER_DAYS)))
    }

    pub(super) fn now(&self) -> UtcMicros {
        self.clock.now()
    }
}

fn authority(site: SiteId, name: &str, now: UtcMicros, path_len: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("{name} {}", &site.to_string()[..8]));
    subject.push(DnType::OrganizationName, site.to_string());
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now).saturating_sub(BACKDATE);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(plus_days(now, AUTHORITY_DAYS));
    params
}

fn leaf(now: UtcMicros, days: u64) -> Result<(CertificateParams, String), CaError> {
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(|error| CaError::Request(error.to_string()))?;
    // A serial number is a positive integer: the top bit stays clear, and the next one set keeps its length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now).saturating_sub(BACKDATE);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(plus_days(now, days));
    Ok((params, hex::encode(serial)))
}

fn since_epoch(at: UtcMicros) -> Duration {
    Duration::from_micros(u64::try_from(at.get()).unwrap_or(0))
}

fn plus_days(at: UtcMicros, days: u64) -> UtcMicros {
    let micros = i64::try_from(days * 24 * 3600 * 1_000_000).unwrap_or(i64::MAX);
    UtcMicros::new(at.get().saturating_add(micros))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

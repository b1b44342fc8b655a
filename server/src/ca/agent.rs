//! What an agent's certificate says: which camera, of which site.

use custody_shared::id::{CameraId, SiteId};
use custody_shared::time::UtcMicros;
use rcgen::{DistinguishedName, DnType};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate just issued to an agent.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate and the issuing one, as PEM.
    pub pem: String,
    /// Serial number, 32 lowercase hex digits.
    pub serial: String,
    /// First moment at which it is no longer valid.
    pub not_after: UtcMicros,
}

/// The names in an agent's certificate. Only a certificate whose chain has been verified is asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The site: the subject's organisation.
    pub site: SiteId,
    /// The camera: the subject's common name.
    pub camera: CameraId,
}

impl AgentIdentity {
    pub(super) fn distinguished_name(self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, self.camera.to_string());
        name.push(DnType::OrganizationName, self.site.to_string());
        name
    }

    /// Reads the names and the serial number (lowercase hex) from a verified end-entity certificate.
    /// `None` means that it is no agent's: a name missing, doubled or malformed.
    pub fn read(certificate: &[u8]) -> Option<(Self, String)> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let mut names = subject.iter_common_name();
        let camera = names.next()?.as_str().ok()?.parse().ok()?;
        let mut organizations = subject.iter_organization();
        let site = organizations.next()?.as_str().ok()?.parse().ok()?;
        if names.next().is_some() || organizations.next().is_some() {
            return None;
        }
        let serial = certificate.raw_serial();
        let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
        Some((Self { site, camera }, hex::encode(serial)))
    }
}

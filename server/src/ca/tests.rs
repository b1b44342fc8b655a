//! The authority from outside: what it issues is accepted where it should be, and nowhere else.

use std::sync::Arc;

use custody_shared::id::{CameraId, SiteId};
use custody_shared::time::{ManualClock, UtcMicros};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{AgentIdentity, Ca, CaError};

const DAY: i64 = 24 * 3600 * 1_000_000;
const NOW: i64 = 1_800_000_000_000_000;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UtcMicros::new(NOW)))
}

fn csr(key: &KeyPair, wish: &str) -> String {
    let mut params = CertificateParams::new(vec![wish.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, wish);
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

fn accepted(roots: Arc<RootCertStore>, chain: &[CertificateDer<'static>], at: i64) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_micros(at.try_into().unwrap()));
    verifier.verify_client_cert(&chain[0], &chain[1..], at).is_ok()
}

#[test]
fn an_agent_certificate_names_camera_and_site_and_lasts_thirty_days() {
    let dir = tempfile::tempdir().unwrap();
    let (site, camera) = (SiteId::random(), CameraId::random());
    let ca = Ca::init(dir.path(), site, clock()).unwrap();
    // Whatever the request wishes to be called, it becomes this camera.
    let issued = ca
        .issue_agent(camera, &csr(&KeyPair::generate().unwrap(), "someone-else"))
        .unwrap();
    let chain = chain(&issued.pem);
    let (identity, serial) = AgentIdentity::read(&chain[0]).unwrap();
    assert_eq!(identity, AgentIdentity { site, camera });
    assert_eq!(serial, issued.serial);
    assert_eq!(issued.not_after.get(), NOW + 30 * DAY);
    for (at, good) in [
        (NOW, true),
        (NOW - DAY / 2, true),
        (NOW + 29 * DAY, true),
        (NOW + 31 * DAY, false),
        (NOW - 2 * DAY, false),
    ] {
        assert_eq!(accepted(ca.roots(), &chain, at), good, "{at}");
    }
}

#[test]
fn certificates_of_another_authority_or_purpose_are_refused() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let site = SiteId::random();
    let ca = Ca::init(dir.path(), site, clock()).unwrap();
    let other = Ca::init(other_dir.path(), site, clock()).unwrap();
    let request = csr(&KeyPair::generate().unwrap(), "agent");
    let foreign = chain(&other.issue_agent(CameraId::random(), &request).unwrap().pem);
    assert!(!accepted(ca.roots(), &foreign, NOW));
    let (server, _, _) = ca.issue_server(&["localhost".to_owned()]).unwrap();
    assert!(
        !accepted(ca.roots(), &server, NOW),
        "the server's certificate is no client's"
    );
    assert_eq!(AgentIdentity::read(&server[0]), None);
}

#[test]
fn the_authority_is_made_once_and_opened_without_the_roots_key() {
    let dir = tempfile::tempdir().unwrap();
    let site = SiteId::random();
    let pin = Ca::init(dir.path(), site, clock()).unwrap().pin();
    assert!(matches!(Ca::init(dir.path(), site, clock()), Err(CaError::Exists(_))));
    std::fs::remove_file(dir.path().join("root.key")).unwrap();
    let ca = Ca::open(dir.path(), clock()).unwrap();
    assert_eq!((ca.pin(), ca.site()), (pin.clone(), site));
    assert!(pin.starts_with("sha256:") && pin.len() == 7 + 64);
    // The chain a joining agent is shown ends with the certificate that the pin names.
    let (server, _, _) = ca
        .issue_server(&["127.0.0.1".to_owned(), "nvr.example".to_owned()])
        .unwrap();
    use sha2::Digest as _;
    assert_eq!(
        pin,
        format!("sha256:{}", hex::encode(sha2::Sha256::digest(server.last().unwrap())))
    );
}

#[test]
fn bad_requests_and_damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::init(dir.path(), SiteId::random(), clock()).unwrap();
    let good = csr(&KeyPair::generate().unwrap(), "agent");
    let flipped = {
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        let last = lines.len() - 2;
        let swapped = if lines[last].starts_with('A') { "B" } else { "A" };
        lines[last].replace_range(0..1, swapped);
        lines.join("\n")
    };
    for (name, request) in [
        ("empty", String::new()),
        ("not PEM", "hello".to_owned()),
        ("oversized", "x".repeat(super::MAX_CSR + 1)),
        ("signature of another key", flipped),
    ] {
        assert!(
            matches!(ca.issue_agent(CameraId::random(), &request), Err(CaError::Request(_))),
            "{name}"
        );
    }
    assert!(matches!(
        ca.issue_server(&["no spaces, please".to_owned()]),
        Ok(_) | Err(CaError::Host(_))
    ));
    std::fs::write(dir.path().join("issuing.key"), "garbage").unwrap();
    let error = Ca::open(dir.path(), clock()).err().unwrap();
    assert!(error.to_string().contains("issuing.key"), "{error}");
}

#[test]
fn the_deny_list_is_durable_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::init(dir.path(), SiteId::random(), clock()).unwrap();
    let camera = CameraId::random();
    let watch = ca.deny_list().watch();
    ca.deny_list().deny_serial("00ff").unwrap();
    ca.deny_list().deny_camera(camera).unwrap();
    assert!(watch.has_changed().unwrap());
    assert!(ca.deny_list().deny_serial("not hex").is_err());
    let again = Ca::open(dir.path(), clock()).unwrap();
    let list = again.deny_list().watch().borrow().clone();
    assert!(list.denies(camera, "11") && list.denies(CameraId::random(), "00ff"));
    assert!(!list.denies(CameraId::random(), "11"));
    again.deny_list().allow_camera(camera).unwrap();
    assert!(!again.deny_list().watch().borrow().denies(camera, "11"));
    // A damaged list must not become an empty one.
    std::fs::write(dir.path().join("deny"), "serial 00\nrubbish\n").unwrap();
    assert!(matches!(
        Ca::open(dir.path(), clock()),
        Err(CaError::Damaged { file: "deny", .. })
    ));
}

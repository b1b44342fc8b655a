//! The settings file as written. `deploy/server.toml` documents every key; the defaults here are the ones it shows.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The place that is filmed.
    pub site: Site,
    /// Pages and API.
    #[serde(default)]
    pub web: Web,
    /// What cameras connect to.
    #[serde(default)]
    pub agents: Agents,
    /// Sealed files on the server.
    #[serde(default)]
    pub footage: Footage,
}

/// `[site]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Name on pages and notices.
    pub name: String,
    /// IANA time zone.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// `ko` or `en`.
    #[serde(default = "language")]
    pub language: String,
    /// Dated rules that replace the built-in ones.
    pub rules: Option<PathBuf>,
}

fn time_zone() -> String {
    "Asia/Seoul".into()
}

fn language() -> String {
    "ko".into()
}

/// `[web]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// Address of pages and API.
    pub listen: SocketAddr,
    /// `none`, `own-ca` or `files`.
    pub tls: Tls,
    /// Certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Private key, PEM.
    pub key: Option<PathBuf>,
    /// Host names that browsers may use.
    pub hosts: Vec<String>,
    /// Connections held at once.
    pub max_connections: u32,
}

/// How the pages are protected on the wire.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Plain HTTP, loopback only.
    None,
    /// A certificate from the site's own CA.
    OwnCa,
    /// A supplied certificate.
    Files,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: Tls::None,
            certificate: None,
            key: None,
            hosts: vec!["localhost".into(), "127.0.0.1".into()],
            max_connections: 512,
        }
    }
}

/// `[agents]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// HTTPS address for agents.
    pub listen: SocketAddr,
    /// MQTT address for agents.
    pub mqtt_listen: SocketAddr,
    /// Names in the certificate; the first is told to agents.
    pub hosts: Vec<String>,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            mqtt_listen: SocketAddr::from(([0, 0, 0, 0], 8883)),
            hosts: vec!["localhost".into(), "127.0.0.1".into()],
        }
    }
}

/// `[footage]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Footage {
    /// Bound of the sealed cache.
    pub cache_bytes: u64,
}

impl Default for Footage {
    fn default() -> Self {
        Self { cache_bytes: 8 << 30 }
    }
}

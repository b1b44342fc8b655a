//! The checked settings.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::{ConfigError, file};
use crate::web::text::Language;

/// Everything the server needs to know before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// The place that is filmed.
    pub site: Site,
    /// Pages and API.
    pub web: Web,
    /// What cameras connect to.
    pub agents: Agents,
    /// Sealed files on the server.
    pub footage: Footage,
}

/// The place that is filmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Name on pages and notices, 1–64 characters.
    pub name: String,
    /// Zone of filming days, deadlines and shown times.
    pub time_zone: TimeZone,
    /// Its IANA name.
    pub time_zone_name: String,
    /// Language where nobody says.
    pub language: Language,
    /// Dated rules that replace the built-in ones.
    pub rules: Option<PathBuf>,
}

/// Pages and API.
#[derive(Debug, Clone, PartialEq)]
pub struct Web {
    /// Address.
    pub listen: SocketAddr,
    /// Protection on the wire.
    pub tls: WebTls,
    /// Host names that a request may carry, lower case, without port.
    pub hosts: Vec<String>,
    /// Connections held at once.
    pub max_connections: usize,
}

/// Protection of pages and API on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebTls {
    /// Plain, on a loopback address only.
    None,
    /// From the site's own CA.
    OwnCa,
    /// Supplied PEM files.
    Files {
        /// Chain, the server's certificate first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// What cameras connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Agents {
    /// HTTPS.
    pub listen: SocketAddr,
    /// MQTT over TLS.
    pub mqtt_listen: SocketAddr,
    /// Names and addresses in the certificate, at least one.
    pub hosts: Vec<String>,
}

/// Sealed files on the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Footage {
    /// Bound of the sealed cache, at least 64 MiB.
    pub cache_bytes: u64,
}

pub(super) fn check(data: &Path, path: &Path, file: file::File) -> Result<Config, ConfigError> {
    let bad = |key: &'static str, reason: String| ConfigError::Value {
        path: path.to_path_buf(),
        key,
        reason,
    };
    let between = |key: &'static str, value: u64, low: u64, high: u64| {
        if (low..=high).contains(&value) {
            Ok(())
        } else {
            Err(bad(key, format!("{value} is outside {low}–{high}")))
        }
    };

    let name = file.site.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(bad("site.name", "needs 1 to 64 printable characters".into()));
    }
    let time_zone = TimeZone::get(&file.site.time_zone).map_err(|_| {
        bad(
            "site.time_zone",
            format!(
                "{:?} is no IANA time zone; for example \"Asia/Seoul\"",
                file.site.time_zone
            ),
        )
    })?;
    let language = Language::from_tag(&file.site.language).ok_or_else(|| {
        bad(
            "site.language",
            format!("{:?} is not offered; \"ko\" or \"en\"", file.site.language),
        )
    })?;

    let tls = match (file.web.tls, file.web.certificate, file.web.key) {
        (file::Tls::None, None, None) => WebTls::None,
        (file::Tls::OwnCa, None, None) => WebTls::OwnCa,
        (file::Tls::Files, Some(certificate), Some(key)) => WebTls::Files { certificate, key },
        (file::Tls::Files, ..) => {
            return Err(bad(
                "web.certificate",
                "tls = \"files\" needs both certificate and key".into(),
            ));
        }
        _ => {
            return Err(bad(
                "web.certificate",
                "certificate and key go only with tls = \"files\"".into(),
            ));
        }
    };
    if tls == WebTls::None && !file.web.listen.ip().is_loopback() {
        return Err(bad(
            "web.tls",
            format!(
                "{} is reachable from elsewhere, and plain HTTP would show passwords; use tls = \"own-ca\" or \"files\"",
                file.web.listen
            ),
        ));
    }
    let web_hosts = hosts(&file.web.hosts).map_err(|reason| bad("web.hosts", reason))?;
    let agent_hosts = hosts(&file.agents.hosts).map_err(|reason| bad("agents.hosts", reason))?;
    between("web.max_connections", file.web.max_connections.into(), 8, 65_536)?;
    between("footage.cache_bytes", file.footage.cache_bytes, 64 << 20, 1 << 50)?;

    Ok(Config {
        data: data.to_path_buf(),
        site: Site {
            name,
            time_zone,
            time_zone_name: file.site.time_zone,
            language,
            rules: file.site.rules,
        },
        web: Web {
            listen: file.web.listen,
            tls,
            hosts: web_hosts,
            max_connections: file.web.max_connections as usize,
        },
        agents: Agents {
            listen: file.agents.listen,
            mqtt_listen: file.agents.mqtt_listen,
            hosts: agent_hosts,
        },
        footage: Footage {
            cache_bytes: file.footage.cache_bytes,
        },
    })
}

/// Host names without scheme, port or path, in lower case; one to sixteen of them.
fn hosts(given: &[String]) -> Result<Vec<String>, String> {
    if given.is_empty() || given.len() > 16 {
        return Err("needs one to sixteen names or addresses".into());
    }
    given
        .iter()
        .map(|host| {
            let host = host.trim().to_ascii_lowercase();
            let is_name = !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
            if is_name || host.parse::<IpAddr>().is_ok() {
                Ok(host)
            } else {
                Err(format!("{host:?} is no host name or address (no scheme, no port)"))
            }
        })
        .collect()
}

//! Settings: one documented file, read once at start.
//!
//! [`file`] is the text as written (unknown keys refused); [`Config`] is what the rest of the server sees: parsed, checked,
//! without leftover options. `deploy/server.toml` names every key and is loaded by a test.

pub mod file;
mod valid;

pub use valid::{Agents, Config, Footage, Site, Web, WebTls};

use std::path::{Path, PathBuf};

/// Why the settings cannot be used; the message names the file, the key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("settings {path}: cannot be read ({source}); `custody-server init` writes one, or give --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, or an unknown or missing key.
    #[error("settings {path}: cannot be understood ({message}); deploy/server.toml shows every key")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A value that cannot work.
    #[error("settings {path}: {key}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: &'static str,
        /// Why not, and what would do.
        reason: String,
    },
}

/// Reads and checks the settings of the data folder `data`; `path` stands in for `data/custody.toml`.
pub fn load(data: &Path, path: Option<&Path>) -> Result<Config, ConfigError> {
    let path = path.map_or_else(|| data.join("custody.toml"), Path::to_path_buf);
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read {
        path: path.clone(),
        source,
    })?;
    parse(data, &path, &text)
}

/// Checks the settings in `text`; `path` only names them in messages.
pub fn parse(data: &Path, path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: file::File = toml::from_str(text).map_err(|error| ConfigError::Parse {
        path: path.to_path_buf(),
        message: error.to_string().trim_end().replace('\n', "\n  "),
    })?;
    valid::check(data, path, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<Config, String> {
        parse(Path::new("/data"), Path::new("custody.toml"), text).map_err(|error| error.to_string())
    }

    const SITE: &str = "[site]\nname = \"Clinic\"\n";

    #[test]
    fn the_documented_example_is_valid_and_holds_the_defaults() {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/server.toml")).unwrap();
        let documented = from(&text).unwrap();
        let short = from("[site]\nname = \"Example clinic\"\n").unwrap();
        assert_eq!(documented, short);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        for (text, expected) in [
            ("", "site"),
            ("[site]\nname = \"\"\n", "site.name"),
            (
                "[site]\nname = \"Clinic\"\ntime_zone = \"Asia/Soul\"\n",
                "site.time_zone",
            ),
            ("[site]\nname = \"Clinic\"\nlanguage = \"fr\"\n", "site.language"),
            ("[site]\nname = \"Clinic\"\nnaem = 1\n", "naem"),
            ("[site]\nname = \"Clinic\"\n[web]\nlisten = \"0.0.0.0:80\"\n", "web.tls"),
            ("[site]\nname = \"Clinic\"\n[web]\ntls = \"files\"\n", "web.certificate"),
            ("[site]\nname = \"Clinic\"\n[web]\nhosts = []\n", "web.hosts"),
            (
                "[site]\nname = \"Clinic\"\n[web]\nhosts = [\"http://x\"]\n",
                "web.hosts",
            ),
            ("[site]\nname = \"Clinic\"\n[agents]\nhosts = []\n", "agents.hosts"),
            (
                "[site]\nname = \"Clinic\"\n[footage]\ncache_bytes = 0\n",
                "footage.cache_bytes",
            ),
            ("[site\n", "line 1"),
        ] {
            let message = from(text).expect_err(text);
            assert!(
                message.contains(expected),
                "{text:?} gave {message:?}, which does not name {expected}"
            );
        }
    }

    #[test]
    fn tls_is_a_choice_of_three() {
        assert_eq!(from(SITE).unwrap().web.tls, WebTls::None);
        assert_eq!(
            from(&format!("{SITE}[web]\ntls = \"own-ca\"\n")).unwrap().web.tls,
            WebTls::OwnCa
        );
        let files = from(&format!(
            "{SITE}[web]\ntls = \"files\"\ncertificate = \"/c\"\nkey = \"/k\"\n"
        ))
        .unwrap();
        assert_eq!(
            files.web.tls,
            WebTls::Files {
                certificate: "/c".into(),
                key: "/k".into()
            }
        );
    }
}

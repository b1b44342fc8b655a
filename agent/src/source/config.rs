//! The `[source]` table of the configuration.

use std::path::PathBuf;

use custody_shared::capture;
use custody_shared::statement::GapCause;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::SourceError;

/// Where the video comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceConfig {
    /// A network camera with H.264 or H.265, read in this process.
    Rtsp(CameraAddress),
    /// A network camera that only FFmpeg can talk to.
    RtspFfmpeg(CameraAddress),
    /// A network camera that sends MJPEG over HTTP; encoded here.
    HttpMjpeg(MjpegCamera),
    /// A camera at this machine; encoded here.
    V4l2(VideoInput),
    /// A video file, for trials.
    File(VideoFile),
    /// A picture made up: wall clock, moving figures, the camera's name.
    TestPicture(TestPicture),
}

/// How RTP packets travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Inside the RTSP connection; nothing is lost on the way.
    #[default]
    Tcp,
    /// For cameras that cannot; lost packets show up as gaps.
    Udp,
}

/// A secret that never appears in logs.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Password {
    /// Takes a secret in.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself, for the moment it is sent.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A camera's address; its text form leaves out what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Takes an address in.
    ///
    /// # Errors
    /// No address, or one without a host.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.has_host() {
            Ok(Self(url))
        } else {
            Err("the address names no host".into())
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Display for Address {
    /// Without user name, password and query, which may carry tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bare = without_credentials(&self.0);
        bare.set_query(None);
        bare.set_fragment(None);
        f.write_str(bare.as_str())
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text itself may hold a password, so no error repeats it.
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn without_credentials(url: &Url) -> Url {
    let mut bare = url.clone();
    // Both fail only for addresses without a host, which are refused.
    let _ = (bare.set_username(""), bare.set_password(None));
    bare
}

/// A network camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraAddress {
    /// `rtsp://host[:port]/path`; user name and password may stand in it, but are better kept out.
    pub url: Address,
    /// User name, if the camera wants one.
    pub username: Option<String>,
    /// Password in the configuration itself.
    pub password: Option<Password>,
    /// Or the file it stands in, such as a systemd credential.
    pub password_file: Option<PathBuf>,
    /// How packets travel; not used by `rtsp-ffmpeg`, which always asks for TCP.
    #[serde(default)]
    pub transport: Transport,
    /// Time-outs.
    #[serde(default, rename = "timeouts")]
    pub timeouts: Timeouts,
}

/// How patient to be with a camera.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Seconds to connect and be answered.
    pub connect_s: u32,
    /// Seconds without a picture after which the camera counts as stalled.
    pub stall_s: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_s: 10,
            stall_s: 10,
        }
    }
}

/// Size and rate of a picture that is encoded here.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Picture {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Pictures a second.
    pub rate: u16,
    /// Aimed at, in kbit/s.
    pub kbit_s: u32,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            rate: 10,
            kbit_s: 1500,
        }
    }
}

/// An MJPEG camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MjpegCamera {
    /// `http://host[:port]/path`.
    pub url: Address,
    /// User name, if the camera wants one.
    pub username: Option<String>,
    /// Password in the configuration itself.
    pub password: Option<Password>,
    /// Or the file it stands in.
    pub password_file: Option<PathBuf>,
    /// Rate and quality to record at; the size is the camera's.
    #[serde(default)]
    pub picture: Picture,
    /// Time-outs.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// A camera at this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoInput {
    /// Such as `/dev/video0`.
    pub device: PathBuf,
    /// `mjpeg`, `yuyv422` or another pixel format of FFmpeg; left out, the driver chooses.
    pub format: Option<String>,
    /// The picture asked for.
    #[serde(default)]
    pub picture: Picture,
    /// Time-outs.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Whether a file is played once or for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileMode {
    /// In real time, then the source has ended.
    #[default]
    Once,
    /// In real time, again and again.
    Loop,
}

/// A video file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoFile {
    /// Where it lies.
    pub path: PathBuf,
    /// How it is played.
    #[serde(default)]
    pub mode: FileMode,
    /// Time-outs.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// A made-up picture.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPicture {
    /// Shown in the picture; at most 32 letters.
    #[serde(default)]
    pub name: String,
    /// The picture wanted.
    #[serde(default)]
    pub picture: Picture,
    /// Time-outs.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// What is needed to sign in to a camera.
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: Password,
}

/// Takes user name and password out of the file, the settings or the address, in this order.
pub(super) fn credentials(
    address: &Address,
    username: Option<&String>,
    password: Option<&Password>,
    file: Option<&PathBuf>,
) -> Result<(Url, Option<Credentials>), SourceError> {
    let url = address.url();
    let decoded = |text: &str| {
        percent_decode(text).ok_or_else(|| {
            let reason = "its user name or password is no UTF-8";
            SourceError::new(GapCause::CameraRefused, "use the address", &address.to_string(), reason)
        })
    };
    let username = match username {
        Some(username) => username.clone(),
        None if url.username().is_empty() => return Ok((without_credentials(url), None)),
        None => decoded(url.username())?,
    };
    let password = match (file, password, url.password()) {
        (Some(file), _, _) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let file = file.display().to_string();
                SourceError::new(GapCause::CameraRefused, "read the password file", &file, error)
            })?;
            Password::new(text.trim_end_matches(['\r', '\n']).into())
        }
        (None, Some(password), _) => password.clone(),
        (None, None, Some(text)) => Password::new(decoded(text)?),
        (None, None, None) => Password::new(String::new()),
    };
    Ok((without_credentials(url), Some(Credentials { username, password })))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

impl From<Picture> for capture::Picture {
    fn from(picture: Picture) -> Self {
        let Picture {
            width,
            height,
            rate,
            kbit_s,
        } = picture;
        Self {
            width,
            height,
            rate,
            kbit_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_texts() {
        let config: SourceConfig =
            toml::from_str("kind = \"rtsp\"\nurl = \"rtsp://u:s3cret@cam/a?token=s3cret\"\npassword = \"s3cret\"")
                .unwrap();
        let SourceConfig::Rtsp(address) = &config else {
            panic!("kind")
        };
        assert_eq!(address.url.to_string(), "rtsp://cam/a");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn credentials_come_from_the_most_private_place() {
        let address = Address::new("rtsp://us%40er:from%3Aurl@cam/a").unwrap();
        let check = |password: Option<&str>, file: Option<&PathBuf>, expected: &str| {
            let password = password.map(|text| Password::new(text.into()));
            let (bare, found) = credentials(&address, None, password.as_ref(), file).expect("credentials");
            let found = found.expect("a user name");
            assert_eq!(
                (bare.as_str(), &found.username[..], found.password.reveal()),
                ("rtsp://cam/a", "us@er", expected)
            );
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from file\n").unwrap();
        check(None, None, "from:url");
        check(Some("from setting"), None, "from setting");
        check(Some("from setting"), Some(&file), "from file");
        assert!(credentials(&address, None, None, Some(&folder.path().join("absent"))).is_err());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let check = |text: &str, good: bool| assert_eq!(toml::from_str::<SourceConfig>(text).is_ok(), good, "{text}");
        check("kind = \"rtsp\"\nurl = \"rtsp://cam/\"\ntransport = \"udp\"", true);
        check("kind = \"rtsp\"\nurl = \"rtsp://cam/\"\n[timeouts]\nstall_s = 5", true);
        check("kind = \"rtsp\"\nurl = \"rtsp://cam/\"\naudio = true", false);
        check("kind = \"rtsp\"\nurl = \"no address\"", false);
        check("kind = \"test-picture\"\nname = \"gate\"\n[picture]\nrate = 5", true);
        check("kind = \"file\"\npath = \"a.mp4\"\nmode = \"loop\"", true);
        check("kind = \"telepathy\"", false);
    }
}

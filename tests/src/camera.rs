//! RTSP cameras under the tests' control, and servers that only pretend to be cameras.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::binaries;
use crate::footage::Codec;
use crate::process::Process;

/// One mount point of the camera server.
#[derive(Clone, Debug)]
pub struct Mount(Value);

impl Mount {
    /// A looped elementary stream.
    pub fn stream(path: &str, codec: Codec, file: &Path, fps: u32) -> Self {
        Self(json!({"path": path, "file": file, "codec": codec.name(), "fps": fps}))
    }

    /// With a sound track beside the picture: `aac` or `pcmu`.
    pub fn with_audio(mut self, codec: &str) -> Self {
        self.0["audio"] = codec.into();
        self
    }

    /// Each n-th access unit is noise.
    pub fn damaged_every(mut self, n: u32) -> Self {
        self.0["damage_every"] = n.into();
        self
    }

    /// A codec that Custody does not record.
    pub fn unsupported(path: &str) -> Self {
        Self(json!({"path": path, "launch": "videotestsrc is-live=true ! jpegenc ! rtpjpegpay name=pay0"}))
    }
}

/// The name and password of a guarded camera server.
pub const LOGIN: (&str, &str) = ("operator", "lens-7-key");

/// A running camera server.
pub struct Cameras {
    process: Process,
    port: u16,
    spec: Value,
    log: PathBuf,
}

impl Cameras {
    /// Starts a server in `folder` (for its log) with the given mounts, on a free port.
    pub async fn start(folder: &Path, mounts: &[Mount]) -> Result<Self> {
        Self::launch(
            folder,
            json!({"cameras": mounts.iter().map(|m| &m.0).collect::<Vec<_>>()}),
        )
        .await
    }

    /// As [`Self::start`], asking for [`LOGIN`] by digest authentication.
    pub async fn start_guarded(folder: &Path, mounts: &[Mount]) -> Result<Self> {
        let cameras = mounts.iter().map(|m| &m.0).collect::<Vec<_>>();
        Self::launch(
            folder,
            json!({"user": LOGIN.0, "password": LOGIN.1, "cameras": cameras}),
        )
        .await
    }

    async fn launch(folder: &Path, mut spec: Value) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = folder.join(format!("cameras-{number}.log"));
        let (process, port) = Self::spawn(&log, &spec).await?;
        spec["port"] = port.into();
        Ok(Self {
            process,
            port,
            spec,
            log,
        })
    }

    async fn spawn(log: &Path, spec: &Value) -> Result<(Process, u16)> {
        // The system's own Python has GStreamer's bindings; another one on the path would not.
        let mut python = Command::new("/usr/bin/python3");
        python.arg(binaries::root().join("tests/cameras/rtsp_server.py"));
        let _ = std::fs::remove_file(log);
        let mut process = Process::start_with_input("cameras", python, log, spec.to_string().as_bytes())?;
        let said = process.wait_for("\"port\"", Duration::from_secs(20)).await?;
        let line = said
            .lines()
            .find(|l| l.starts_with('{'))
            .context("the line with the port")?;
        let port = serde_json::from_str::<Value>(line)?["port"]
            .as_u64()
            .context("a port")? as u16;
        Ok((process, port))
    }

    /// The address of a mount, without a password.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    /// Power cut of the cameras.
    pub fn unplug(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// The cameras come back on the same port.
    pub async fn plug_in(&mut self) -> Result<()> {
        (self.process, self.port) = Self::spawn(&self.log, &self.spec).await?;
        Ok(())
    }

    /// The cameras hang: connections stay open, nothing is sent any more.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// The cameras go on.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }
}

/// How a false camera behaves.
#[derive(Clone, Copy, Debug)]
pub enum Pretence {
    /// Answers everything with random bytes.
    Garbage,
    /// Accepts and never says a word.
    Silence,
    /// An endless header line.
    EndlessLine,
}

/// A listener that is no camera.
pub struct FalseCamera {
    port: u16,
    task: JoinHandle<()>,
}

impl FalseCamera {
    /// Listens on a free port of the loopback interface.
    pub async fn start(pretence: Pretence) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut heard = [0u8; 2048];
                    let _ = socket.read(&mut heard).await;
                    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
                    loop {
                        let block: Vec<u8> = match pretence {
                            Pretence::Silence => return tokio::time::sleep(Duration::from_secs(3600)).await,
                            Pretence::EndlessLine => vec![b'a'; 4096],
                            Pretence::Garbage => (0..4096).map(|_| step(&mut noise)).collect(),
                        };
                        if socket.write_all(&block).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { port, task })
    }

    /// Its address, looking like a camera's.
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/stream", self.port)
    }
}

fn step(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}

impl Drop for FalseCamera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

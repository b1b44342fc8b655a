//! Sources that need FFmpeg: the child `custody-capture`, believed as little as the camera.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custody_shared::capture::{self, ACCESS_UNIT_HEAD, Ending, FrameKind, HEAD, Input, Job};
use custody_shared::fmp4::nal::random_access;
use custody_shared::fmp4::{Codec, VideoParameters};
use custody_shared::statement::GapCause;
use custody_shared::time::SharedClock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::config::{Credentials, FileMode, SourceConfig, Timeouts, credentials};
use super::{AccessUnit, Moment, SourceError, SourceEvent};

/// The child's name; it is looked for beside this program, then in the path.
const PROGRAM: &str = "custody-capture";
/// How long the child may take beyond its own time-outs, and to exit after its pipe closed.
const GRACE: Duration = Duration::from_secs(3);

/// A running child.
pub struct ChildSource {
    child: Child,
    /// Held open: its end tells the child to end, even when this process is killed.
    _stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
    head: [u8; HEAD],
    head_filled: usize,
    subject: String,
    clock: SharedClock,
    codec: Option<Codec>,
    stall: Duration,
    deadline: Instant,
}

impl ChildSource {
    /// Starts the child and hands it its job through a pipe, so that no password shows in a list of processes.
    ///
    /// # Errors
    /// The child cannot be started, or the settings cannot be used.
    pub async fn start(config: &SourceConfig, clock: SharedClock) -> Result<Self, SourceError> {
        let (input, subject, timeouts) = job_input(config)?;
        let unable = |error: String| {
            let step = "start custody-capture for";
            let error = SourceError::new(GapCause::CameraUnreachable, step, &subject, error);
            SourceError {
                remedy: "install custody-capture beside custody-agent",
                ..error
            }
        };
        let job = Job {
            input,
            connect_s: timeouts.connect_s.clamp(1, 60),
            stall_s: timeouts.stall_s.clamp(1, 600),
        };
        let bytes = job.to_bytes().map_err(|error| unable(error.to_string()))?;
        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unable(error.to_string()))?;
        let (Some(mut stdin), Some(stdout), stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(unable("no pipes".into()));
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        let sent = async {
            stdin.write_all(&length).await?;
            stdin.write_all(&bytes).await?;
            stdin.flush().await
        };
        sent.await.map_err(|error| unable(error.to_string()))?;
        let connect = Duration::from_secs(job.connect_s.into());
        let stall = Duration::from_secs(job.stall_s.into());
        Ok(Self {
            child,
            _stdin: stdin,
            stdout: BufReader::with_capacity(64 * 1024, stdout),
            stderr,
            head: [0; HEAD],
            head_filled: 0,
            subject,
            clock,
            codec: None,
            stall,
            deadline: Instant::now() + connect + stall + GRACE,
        })
    }

    /// Reads the next frame. Not to be resumed after it was dropped half-way through a body: the caller drops the source.
    pub(super) async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            match timeout_at(self.deadline, self.frame()).await {
                Ok(Ok(Frame::Event(event))) => return Ok(event),
                Ok(Ok(Frame::Unfenced(what))) => say_unfenced(what),
                Ok(Ok(Frame::End)) => return Err(self.ended().await),
                Ok(Err(reason)) => return Err(self.failure(GapCause::CameraStalled, reason)),
                Err(_) => {
                    let reason = format!("no picture for {} s", self.stall.as_secs());
                    return Err(self.failure(GapCause::CameraStalled, reason));
                }
            }
        }
    }

    /// A text for what does not follow the protocol.
    async fn frame(&mut self) -> Result<Frame, String> {
        while self.head_filled < HEAD {
            match self.stdout.read(&mut self.head[self.head_filled..]).await {
                Ok(0) => return Ok(Frame::End),
                Ok(read) => self.head_filled += read,
                Err(error) => return Err(error.to_string()),
            }
        }
        let (kind, length) = capture::parse_head(self.head).map_err(|error| error.to_string())?;
        self.head_filled = 0;
        let mut body = Vec::with_capacity(length);
        let mut limited = (&mut self.stdout).take(length as u64);
        while body.len() < length {
            match limited.read_buf(&mut body).await {
                Ok(0) => return Ok(Frame::End),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        match kind {
            FrameKind::Parameters => {
                let parameters = VideoParameters::from_sample_entry(&body).map_err(|error| error.to_string())?;
                self.codec = Some(parameters.codec());
                Ok(Frame::Event(SourceEvent::Parameters(Arc::new(parameters))))
            }
            FrameKind::Loss => {
                let packets = body.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                Ok(Frame::Event(SourceEvent::Loss { packets }))
            }
            FrameKind::Unfenced => Ok(Frame::Unfenced(body.first().copied().unwrap_or_default())),
            FrameKind::AccessUnit => {
                let codec = self.codec.ok_or("a picture before its codec parameters")?;
                let body = Bytes::from(body);
                self.deadline = Instant::now() + self.stall + GRACE;
                Ok(Frame::Event(SourceEvent::AccessUnit(AccessUnit {
                    pts_90k: capture::access_unit_pts(&body),
                    arrival: Moment::now(&self.clock),
                    access: random_access(codec, &body[ACCESS_UNIT_HEAD..]),
                    data: body.slice(ACCESS_UNIT_HEAD..),
                })))
            }
        }
    }

    /// The pipe has closed: the exit code says why, the last line of standard error in words.
    async fn ended(&mut self) -> SourceError {
        let words = match self.stderr.take() {
            Some(stderr) => timeout(GRACE, last_line(stderr)).await.unwrap_or_default(),
            None => String::new(),
        };
        let status = match timeout(GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            _ => {
                return self.failure(
                    GapCause::CameraStalled,
                    "custody-capture closed its pipe but did not exit",
                );
            }
        };
        let ending = status.code().and_then(Ending::from_code);
        let cause = match ending {
            Some(Ending::Ended) => GapCause::SourceEnded,
            Some(Ending::Unreachable) => GapCause::CameraUnreachable,
            Some(Ending::Refused) => GapCause::CameraRefused,
            Some(Ending::Unsupported | Ending::Unable) => GapCause::UnsupportedCodec,
            // A crash is what hostile video looks like from here.
            Some(Ending::Stalled) | None => GapCause::CameraStalled,
        };
        match (ending, words.is_empty()) {
            (None, _) => self.failure(cause, format!("custody-capture crashed ({status})")),
            (Some(_), false) => self.failure(cause, words),
            (Some(Ending::Ended), true) => self.failure(cause, "it is over"),
            (Some(_), true) => self.failure(cause, status),
        }
    }

    fn failure(&self, cause: GapCause, reason: impl std::fmt::Display) -> SourceError {
        SourceError::new(cause, "read from", &self.subject, reason)
    }
}

/// What the child said next.
enum Frame {
    Event(SourceEvent),
    Unfenced(u8),
    End,
}

/// Said once: a missing fence is the machine's state, not this session's, and recording goes on.
fn say_unfenced(what: u8) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            files = what & capture::UNFENCED_FILES == 0,
            system_calls = what & capture::UNFENCED_CALLS == 0,
            "this kernel cannot confine custody-capture as it should be; recording goes on; use a kernel with landlock and seccomp"
        );
    });
}

async fn last_line(stderr: ChildStderr) -> String {
    let mut lines = BufReader::new(stderr.take(64 * 1024)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            last = line;
        }
    }
    last
}

fn program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|folder| folder.join(PROGRAM)));
    match beside {
        Some(path) if path.is_file() => path,
        _ => PROGRAM.into(),
    }
}

fn with_credentials(url: &Url, found: Option<Credentials>) -> String {
    let mut full = url.clone();
    if let Some(found) = found {
        let _ = full.set_username(&found.username);
        let _ = full.set_password(Some(found.password.reveal()));
    }
    full.into()
}

fn job_input(config: &SourceConfig) -> Result<(Input, String, Timeouts), SourceError> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    Ok(match config {
        SourceConfig::Rtsp(address) | SourceConfig::RtspFfmpeg(address) => {
            let (url, found) = credentials(
                &address.url,
                address.username.as_ref(),
                address.password.as_ref(),
                address.password_file.as_ref(),
            )?;
            (
                Input::Rtsp {
                    url: with_credentials(&url, found),
                },
                address.url.to_string(),
                address.timeouts,
            )
        }
        SourceConfig::HttpMjpeg(camera) => {
            let (url, found) = credentials(
                &camera.url,
                camera.username.as_ref(),
                camera.password.as_ref(),
                camera.password_file.as_ref(),
            )?;
            let input = Input::HttpMjpeg {
                url: with_credentials(&url, found),
                picture: camera.picture.into(),
            };
            (input, camera.url.to_string(), camera.timeouts)
        }
        SourceConfig::V4l2(input) => {
            let device = text(&input.device);
            let format = input.format.clone();
            (
                Input::V4l2 {
                    device: device.clone(),
                    format,
                    picture: input.picture.into(),
                },
                device,
                input.timeouts,
            )
        }
        SourceConfig::File(file) => {
            let path = text(&file.path);
            (
                Input::File {
                    path: path.clone(),
                    repeat: file.mode == FileMode::Loop,
                },
                path,
                file.timeouts,
            )
        }
        SourceConfig::TestPicture(test) => {
            let name: String = test.name.chars().take(32).collect();
            (
                Input::TestPicture {
                    name,
                    picture: test.picture.into(),
                },
                "the test picture".into(),
                test.timeouts,
            )
        }
    })
}

//! RTSP cameras with H.264 or H.265, read in this process by `retina`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custody_shared::fmp4::nal::random_access;
use custody_shared::fmp4::{Codec, VideoParameters};
use custody_shared::statement::GapCause;
use custody_shared::time::SharedClock;
use futures::StreamExt;
use retina::client::{
    Demuxed, InitialTimestampPolicy, PlayOptions, Session, SessionOptions, SetupOptions, TcpTransportOptions,
    UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::credentials;
use super::{AccessUnit, CameraAddress, MAX_ACCESS_UNIT, Moment, SourceError, SourceEvent, Transport};

/// Ticks per second of presentation times.
const TICKS: i128 = 90_000;

/// A playing session with its one video stream.
pub struct RtspSource {
    stream: Demuxed,
    index: usize,
    subject: String,
    clock: SharedClock,
    codec: Option<Codec>,
    stall: Duration,
    deadline: Instant,
    parameters: Option<Arc<VideoParameters>>,
    /// What one frame brought besides its first event.
    queued: Vec<SourceEvent>,
}

impl RtspSource {
    /// Connects, chooses the first H.264 or H.265 stream and plays it. No other stream is ever set up.
    ///
    /// # Errors
    /// No answer within the connect time-out, a refusal, or no stream of these codecs.
    pub async fn open(address: &CameraAddress, clock: SharedClock) -> Result<Self, SourceError> {
        let subject = address.url.to_string();
        let patience = Duration::from_secs(address.timeouts.connect_s.clamp(1, 60).into());
        match timeout(patience, Self::connect(address, clock, &subject)).await {
            Ok(result) => result,
            Err(_) => Err(SourceError::new(
                GapCause::CameraUnreachable,
                "connect to",
                &subject,
                format!("no answer within {} s", patience.as_secs()),
            )),
        }
    }

    async fn connect(address: &CameraAddress, clock: SharedClock, subject: &str) -> Result<Self, SourceError> {
        let fail = |step: &'static str| move |error: retina::Error| refused(step, subject, &error);
        let (url, found) = credentials(
            &address.url,
            address.username.as_ref(),
            address.password.as_ref(),
            address.password_file.as_ref(),
        )?;
        super::greet::greet(&url).await.map_err(|error| {
            let reason = format!("{error}");
            SourceError::new(GapCause::CameraUnreachable, "connect to", subject, reason)
        })?;
        let creds = found.map(|found| retina::client::Credentials {
            username: found.username,
            password: found.password.reveal().into(),
        });
        let options = SessionOptions::default().creds(creds).user_agent("custody".into());
        let mut session = Session::describe(url, options).await.map_err(fail("connect to"))?;
        let streams = session.streams();
        let index = streams
            .iter()
            .position(|stream| stream.media() == "video" && matches!(stream.encoding_name(), "h264" | "h265"));
        let Some(index) = index else {
            let offered: Vec<_> = streams
                .iter()
                .map(|stream| format!("{}/{}", stream.media(), stream.encoding_name()))
                .collect();
            return Err(SourceError::new(
                GapCause::UnsupportedCodec,
                "record from",
                subject,
                format!(
                    "it offers {}",
                    if offered.is_empty() {
                        "nothing".into()
                    } else {
                        offered.join(", ")
                    }
                ),
            ));
        };
        let transport = match address.transport {
            Transport::Tcp => retina::client::Transport::Tcp(TcpTransportOptions::default()),
            Transport::Udp => retina::client::Transport::Udp(UdpTransportOptions::default()),
        };
        let setup = SetupOptions::default()
            .transport(transport)
            .frame_format(FrameFormat::MP4);
        session.setup(index, setup).await.map_err(fail("set up"))?;
        // One stream needs no common clock with others, so a missing RTP-Info does no harm.
        let play = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
        let playing = session.play(play).await.map_err(fail("play"))?;
        let stream = playing
            .demuxed()
            .map_err(|error| SourceError::new(GapCause::UnsupportedCodec, "read the stream of", subject, error))?;
        let stall = Duration::from_secs(address.timeouts.stall_s.clamp(1, 600).into());
        let mut source = Self {
            stream,
            index,
            subject: subject.into(),
            clock,
            codec: None,
            stall,
            deadline: Instant::now() + stall,
            parameters: None,
            queued: Vec::new(),
        };
        if let Some(event) = source.new_parameters()? {
            source.queued.push(event);
        }
        Ok(source)
    }

    pub(super) async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(event) = self.queued.pop() {
                return Ok(event);
            }
            let item = match timeout_at(self.deadline, self.stream.next()).await {
                Ok(Some(Ok(item))) => item,
                Ok(Some(Err(error))) => return Err(refused("read from", &self.subject, &error)),
                Ok(None) => return Err(self.failure(GapCause::CameraUnreachable, "it ended the stream")),
                Err(_) => {
                    let reason = format!("no picture for {} s", self.stall.as_secs());
                    return Err(self.failure(GapCause::CameraStalled, reason));
                }
            };
            // Only pictures count as signs of life: RTCP goes on while an encoder hangs.
            if let CodecItem::VideoFrame(frame) = item {
                self.deadline = Instant::now() + self.stall;
                self.take(frame)?;
            }
        }
    }

    fn take(&mut self, frame: VideoFrame) -> Result<(), SourceError> {
        let new = if frame.has_new_parameters() || self.parameters.is_none() {
            self.new_parameters()?
        } else {
            None
        };
        let Some(codec) = self.codec else { return Ok(()) };
        let (loss, timestamp) = (frame.loss(), frame.timestamp());
        let data = frame.into_data();
        if data.len() > MAX_ACCESS_UNIT {
            let reason = format!("a picture of {} bytes", data.len());
            return Err(self.failure(GapCause::UnsupportedCodec, reason));
        }
        let rate = i128::from(timestamp.clock_rate().get());
        // Taken from the end: parameters first, then what was lost, then the picture.
        if !data.is_empty() {
            self.queued.push(SourceEvent::AccessUnit(AccessUnit {
                pts_90k: i64::try_from(i128::from(timestamp.elapsed()) * TICKS / rate).ok(),
                arrival: Moment::now(&self.clock),
                access: random_access(codec, &data),
                data: Bytes::from(data),
            }));
        }
        if loss > 0 {
            self.queued.push(SourceEvent::Loss { packets: loss.into() });
        }
        self.queued.extend(new);
        Ok(())
    }

    /// The stream's parameters, where they are known and differ from the last ones.
    fn new_parameters(&mut self) -> Result<Option<SourceEvent>, SourceError> {
        let Some(ParametersRef::Video(video)) = self.stream.streams()[self.index].parameters() else {
            return Ok(None);
        };
        let unsupported = |error: String| {
            SourceError::new(
                GapCause::UnsupportedCodec,
                "use the codec parameters of",
                &self.subject,
                error,
            )
        };
        let entry = video
            .mp4_sample_entry()
            .build()
            .map_err(|error| unsupported(error.to_string()))?;
        let parameters = VideoParameters::from_sample_entry(&entry).map_err(|error| unsupported(error.to_string()))?;
        if self.parameters.as_deref() == Some(&parameters) {
            return Ok(None);
        }
        self.codec = Some(parameters.codec());
        let parameters = Arc::new(parameters);
        self.parameters = Some(parameters.clone());
        Ok(Some(SourceEvent::Parameters(parameters)))
    }

    fn failure(&self, cause: GapCause, reason: impl std::fmt::Display) -> SourceError {
        SourceError::new(cause, "read from", &self.subject, reason)
    }
}

/// Sorts retina's errors: an answer with a status is a refusal, anything else is the way to the camera.
fn refused(step: &'static str, subject: &str, error: &retina::Error) -> SourceError {
    let cause = match error.status_code() {
        Some(_) => GapCause::CameraRefused,
        None => GapCause::CameraUnreachable,
    };
    SourceError::new(cause, step, subject, error)
}

//! Where video comes from: one stream of codec parameters and access units, whatever the camera is.
//!
//! RTSP with H.264 and H.265 is read in this process by `retina`, which is memory-safe. Everything else is read by the child
//! `custody-capture`, where FFmpeg may crash without taking the recorder along. Audio is never asked for.
//! Time-outs are our own and look at video frames only: a camera that keeps sending RTCP but no picture has stalled.

mod child;
mod config;
mod error;
mod greet;
mod rtsp;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use custody_shared::fmp4::VideoParameters;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::time::{SharedClock, UtcMicros};

pub use child::ChildSource;
pub use config::{
    Address, CameraAddress, FileMode, MjpegCamera, Password, Picture, SourceConfig, TestPicture, Timeouts, Transport,
    VideoFile, VideoInput,
};
pub use error::SourceError;
pub use rtsp::RtspSource;

/// The largest access unit that is taken from any source, in bytes: a 4K keyframe is about a tenth of it.
pub const MAX_ACCESS_UNIT: usize = custody_shared::capture::MAX_ACCESS_UNIT;

/// A moment on both clocks, so that a step of the wall clock can be told from the passing of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall clock.
    pub utc: UtcMicros,
    /// Microseconds on a clock that never steps; its zero means nothing.
    pub monotonic_us: i64,
}

impl Moment {
    /// Now, on the given wall clock and this process's monotonic one.
    pub fn now(clock: &SharedClock) -> Self {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        let elapsed = ZERO.get_or_init(Instant::now).elapsed().as_micros();
        Self {
            utc: clock.now(),
            monotonic_us: i64::try_from(elapsed).unwrap_or(i64::MAX),
        }
    }
}

/// One coded picture.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// Presentation time in ticks of 1/90 000 s on the camera's own clock, if it gave one.
    pub pts_90k: Option<i64>,
    /// When its last byte arrived.
    pub arrival: Moment,
    /// Whether decoding may begin here.
    pub access: RandomAccess,
    /// NAL units with four-byte lengths, parameter sets taken out.
    pub data: Bytes,
}

/// What a source yields.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// The access units from here on need these parameters; the first event of every session.
    Parameters(Arc<VideoParameters>),
    /// A picture.
    AccessUnit(AccessUnit),
    /// Packets were lost before the next picture.
    Loss {
        /// How many, as the transport counted them.
        packets: u32,
    },
}

/// An open source; dropping it closes the connection or ends the child.
pub enum Source {
    /// Read in this process.
    Rtsp(Box<RtspSource>),
    /// Read by `custody-capture`.
    Child(Box<ChildSource>),
}

impl Source {
    /// The next event. After an error the source is finished: drop it, and open a new one after a pause.
    ///
    /// # Errors
    /// The connection broke, the camera stalled, or it sends what cannot be recorded.
    pub async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        match self {
            Self::Rtsp(source) => source.next().await,
            Self::Child(source) => source.next().await,
        }
    }
}

/// Connects; returns once the source has said what it will send, or at the latest after its connect time-out.
///
/// # Errors
/// Unreachable, refused, unsupported, or a setting that cannot be used.
pub async fn open(config: &SourceConfig, clock: &SharedClock) -> Result<Source, SourceError> {
    match config {
        SourceConfig::Rtsp(address) => RtspSource::open(address, clock.clone())
            .await
            .map(|source| Source::Rtsp(Box::new(source))),
        other => ChildSource::start(other, clock.clone())
            .await
            .map(|source| Source::Child(Box::new(source))),
    }
}

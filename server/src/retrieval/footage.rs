//! What retrieval needs of the cameras' side: what is recorded, and sealed files on request.

use std::fs::File;
use std::future::Future;
use std::pin::Pin;

use custody_shared::id::CameraId;
use custody_shared::segment::Extent;
use custody_shared::time::TimeRange;

/// A boxed future, so that the boundary can be an object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One recorded segment, as its signed statement describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The camera's segment number.
    pub seq: u64,
    /// First to last picture.
    pub range: TimeRange,
    /// Bytes of the sealed file.
    pub file_len: u64,
    /// RFC 6381 codec string, such as `avc1.64001f`.
    pub rfc6381: String,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Whether the camera signed that the end is missing.
    pub truncated: bool,
    /// Whether every group of pictures can be decoded by itself; browsers seek only in those.
    pub closed_gop: bool,
}

impl SegmentInfo {
    /// Whether browsers play it: H.264 they do, H.265 they mostly do not.
    pub fn playable(&self) -> bool {
        self.rfc6381.starts_with("avc1") || self.rfc6381.starts_with("avc3")
    }
}

/// A sealed file whose hash is the signed one, and how long the camera signed it to be.
#[derive(Debug)]
pub struct Sealed {
    /// The file.
    pub file: File,
    /// Its length, and whether its end is missing.
    pub extent: Extent,
}

/// What is known of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// From when to when.
    pub range: TimeRange,
    /// What.
    pub kind: StretchKind,
}

/// What is known of a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StretchKind {
    /// Footage exists.
    Kept,
    /// A signed gap, with its cause in kebab-case.
    Gap(String),
    /// The key was destroyed at the end of retention.
    Destroyed,
    /// No statement covers it (yet).
    Unknown,
}

/// What is known of a camera's recorder now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraState {
    /// Connected and stating segments.
    Recording,
    /// Connected, but not recording.
    Late,
    /// Not connected.
    Away,
    /// No recorder joined yet.
    Never,
}

/// Why a sealed file could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FootageError {
    /// The recorder does not answer in time.
    #[error("the camera's recorder does not answer; look whether it is on and connected, then try again")]
    Away,
    /// The recorder no longer has it, or what it sent was not what it had signed.
    #[error("segment {seq} cannot be had from the camera's recorder ({reason})")]
    Lost {
        /// The segment.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// The index or the cache failed.
    #[error("{0}")]
    Store(String),
}

/// The cameras' side. One implementation joins index, fleet and cache; tests put footage of their own behind it.
///
/// Duties: `sealed` returns only files whose SHA-256 is the signed one; it waits for the camera, at most the given time, and
/// two waiters for one file fetch it once. `prefetch` never blocks and may forget.
pub trait Footage: Send + Sync + 'static {
    /// Segments that overlap `range`, in order of time, at most `limit`.
    fn segments(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentInfo>, FootageError>;
    /// One segment by its number; `None` where the camera stated none.
    fn segment(&self, camera: CameraId, seq: u64) -> Result<Option<SegmentInfo>, FootageError>;
    /// What is known of `range`, stretches touching, at most `limit`.
    fn coverage(&self, camera: CameraId, range: TimeRange, limit: usize) -> Result<Vec<Stretch>, FootageError>;
    /// The sealed file of a segment, fetched from the camera's recorder where it is not here yet.
    fn sealed(&self, camera: CameraId, seq: u64) -> Pending<'_, Result<Sealed, FootageError>>;
    /// Asks for sealed files ahead of their use.
    fn prefetch(&self, camera: CameraId, seqs: Vec<u64>);
    /// How the camera's recorder is.
    fn state(&self, camera: CameraId) -> CameraState;
    /// The signed statements that overlap `range`, as they were signed, for an export.
    fn statements(&self, camera: CameraId, range: TimeRange) -> Result<Vec<Vec<u8>>, FootageError>;
}

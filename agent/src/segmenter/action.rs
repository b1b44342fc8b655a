//! What the segmenter tells the recorder to do, in order.

use std::sync::Arc;

use bytes::Bytes;
use custody_shared::fmp4::VideoParameters;
use custody_shared::statement::{GapCause, Timing};
use custody_shared::time::{TimeRange, UtcMicros};

/// Limits of segments and fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmenterConfig {
    /// A segment ends at the first keyframe after this long, in µs.
    pub segment_us: i64,
    /// A segment ends here even without a keyframe, in µs; what follows until the next one is a gap.
    pub max_segment_us: i64,
    /// A fragment is cut here even without a keyframe, in µs.
    pub fragment_us: i64,
    /// A fragment is cut here even without a keyframe, in bytes.
    pub fragment_bytes: usize,
    /// A camera that sends pictures but no keyframe for this long has its gap stated as such, in µs.
    pub no_keyframe_us: i64,
}

impl Default for SegmenterConfig {
    fn default() -> Self {
        Self {
            segment_us: 10_000_000,
            max_segment_us: 120_000_000,
            fragment_us: 2_000_000,
            fragment_bytes: 4 << 20,
            no_keyframe_us: 10_000_000,
        }
    }
}

/// The bytes of one fragment, samples uncopied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FragmentData {
    /// `moof` and the header of `mdat`.
    pub head: Vec<u8>,
    /// The samples' bytes in order.
    pub samples: Vec<Bytes>,
}

impl FragmentData {
    /// The pieces in the order they are written.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.head[..]).chain(self.samples.iter().map(|sample| &sample[..]))
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether there is nothing to write; never so for a fragment the segmenter made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One step for the recorder.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Open a segment and write its init section.
    Begin {
        /// First presentation time; chooses the key.
        t_start: UtcMicros,
        /// `ftyp` and `moov`.
        init: Vec<u8>,
        /// The codec parameters of the whole segment.
        parameters: Arc<VideoParameters>,
    },
    /// Append a fragment to the open segment and make it durable.
    Fragment {
        /// What to write.
        data: FragmentData,
        /// First presentation time.
        t_start: UtcMicros,
        /// End of the last picture.
        t_end: UtcMicros,
        /// Pictures in it.
        frames: u32,
    },
    /// Close the open segment and state it.
    End {
        /// End of its last picture.
        t_end: UtcMicros,
        /// Pictures in all fragments.
        frames: u32,
        /// Number of fragments.
        fragments: u32,
        /// Whether every group in it can be decoded without the one before.
        closed_gop: bool,
        /// Whether pictures are shown in another order than they are decoded.
        b_frames: bool,
        /// Whether presentation times are the camera's or those of arrival.
        timing: Timing,
    },
    /// State a stretch that was not recorded. May come between fragments of one segment, and after a fragment for pictures that
    /// were lost within it.
    Gap {
        /// Which stretch.
        range: TimeRange,
        /// Why.
        cause: GapCause,
    },
    /// State that the wall clock was set.
    ClockStep {
        /// `after − before` in µs.
        offset_us: i64,
        /// What the clock would have shown.
        before: UtcMicros,
        /// What it showed.
        after: UtcMicros,
    },
}

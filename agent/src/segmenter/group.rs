//! A group of pictures: what becomes one fragment.

use std::sync::Arc;

use bytes::Bytes;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::{Fmp4Error, Sample, VideoParameters, fragment_head};
use custody_shared::statement::{GapCause, Timing};

use super::FragmentData;

/// What a picture lasts where nothing tells: 1/25 s in ticks.
pub(super) const DEFAULT_DURATION: i64 = 3600;

/// Holes in one group that are stated one by one.
const MAX_HOLES: usize = 4;

/// Whether a picture is missing between two that are `step` apart.
pub(super) fn is_hole(step: i64, typical: i64) -> bool {
    step > typical.saturating_mul(3) / 2
}

/// Pictures collected so far, in decode order, with presentation times in ticks since 1970.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) parameters: Arc<VideoParameters>,
    pub(super) timing: Timing,
    /// `None` for a group that continues another one.
    pub(super) access: RandomAccess,
    /// Why there is a gap right before it, where that is known.
    pub(super) gap: Option<GapCause>,
    /// Packets were lost before or between its pictures.
    pub(super) lost: bool,
    times: Vec<i64>,
    data: Vec<Bytes>,
    bytes: usize,
    least: i64,
    greatest: i64,
    reordered: bool,
}

impl Group {
    pub(super) fn new(parameters: Arc<VideoParameters>, access: RandomAccess, gap: Option<GapCause>) -> Self {
        Self {
            parameters,
            timing: Timing::Source,
            access,
            gap,
            lost: false,
            times: Vec::with_capacity(64),
            data: Vec::with_capacity(64),
            bytes: 0,
            least: i64::MAX,
            greatest: i64::MIN,
            reordered: false,
        }
    }

    pub(super) fn push(&mut self, time: i64, timing: Timing, data: Bytes) {
        self.reordered |= time < self.greatest;
        self.least = self.least.min(time);
        self.greatest = self.greatest.max(time);
        if timing == Timing::Arrival {
            self.timing = timing;
        }
        self.bytes += data.len();
        self.times.push(time);
        self.data.push(data);
    }

    pub(super) fn frames(&self) -> usize {
        self.times.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn least(&self) -> i64 {
        self.least
    }

    pub(super) fn greatest(&self) -> i64 {
        self.greatest
    }

    pub(super) fn reordered(&self) -> bool {
        self.reordered
    }

    /// Whether no later picture of this group can be shown before those already here: one shown after the first picture
    /// has been decoded, and pictures shown before it come first in both standards.
    pub(super) fn least_is_final(&self) -> bool {
        self.times.iter().skip(1).any(|time| *time > self.times[0])
    }

    /// Typical distance of two pictures in ticks: the middle one of all distances, which holes do not stretch.
    pub(super) fn typical_duration(&self) -> Option<i64> {
        let times = self.in_order();
        let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let middle = steps.len() / 2;
        (!steps.is_empty()).then(|| (*steps.select_nth_unstable(middle).1).max(1))
    }

    /// Where pictures are missing, as first and last ticks, if pictures usually last `typical`; beyond [`MAX_HOLES`] the last
    /// one reaches over all the rest.
    pub(super) fn holes(&self, typical: i64) -> Vec<(i64, i64)> {
        let times = self.in_order();
        let mut holes: Vec<(i64, i64)> = Vec::new();
        for pair in times.windows(2).filter(|pair| is_hole(pair[1] - pair[0], typical)) {
            match holes.get_mut(MAX_HOLES - 1) {
                Some(last) => last.1 = pair[1],
                None => holes.push((pair[0] + typical, pair[1])),
            }
        }
        holes
    }

    fn in_order(&self) -> Vec<i64> {
        let mut times = self.times.clone();
        if self.reordered {
            times.sort_unstable();
        }
        times
    }

    /// Lays the group out as a fragment whose first decode time is at least `floor` and which ends at `end`.
    ///
    /// Returns the bytes and the ticks at which the last picture really ends.
    pub(super) fn into_fragment(
        self,
        sequence: u32,
        floor: i64,
        end: i64,
    ) -> Result<(FragmentData, i64, i64), Fmp4Error> {
        let mut decode = self.in_order();
        // Broken timestamps cannot make decode time stand still or run backwards.
        let mut earliest = floor;
        for time in &mut decode {
            *time = (*time).max(earliest);
            earliest = time.saturating_add(1);
        }
        let start = decode[0];
        let end = end.max(earliest);
        let ends = decode.iter().skip(1).copied().chain([end]);
        let samples: Vec<Sample> = (decode.iter().zip(ends))
            .zip(self.times.iter().zip(&self.data))
            .enumerate()
            .map(|(index, ((time, next), (presentation, data)))| Sample {
                size: u32::try_from(data.len()).unwrap_or(u32::MAX),
                duration: u32::try_from(next - time).unwrap_or(u32::MAX),
                composition_offset: i32::try_from(presentation - time).unwrap_or(0),
                sync: index == 0 && self.access != RandomAccess::None,
            })
            .collect();
        let decode_time = u64::try_from(start).map_err(|_| Fmp4Error::TooLarge("decode time"))?;
        let head = fragment_head(sequence, decode_time, &samples)?;
        Ok((
            FragmentData {
                head,
                samples: self.data,
            },
            start,
            end,
        ))
    }
}

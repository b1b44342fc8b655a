//! Cutting an opened segment to a grant's window, and shifting its clock. Pure.

use std::ops::Range;

use custody_shared::fmp4::{self, Fmp4Error, TIMESCALE};
use custody_shared::time::{TimeRange, UtcMicros};

/// What of a segment lies in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Bytes of the init section.
    pub init: Range<usize>,
    /// Fragments inside the window: bytes, first decode time in ticks since 1970.
    pub fragments: Vec<(Range<usize>, u64)>,
}

impl Clip {
    /// When its first picture was taken; `None` where nothing lies in the window.
    pub fn start(&self) -> Option<UtcMicros> {
        self.fragments.first().map(|(_, ticks)| micros(*ticks))
    }
}

/// Ticks since 1970 of an instant; instants before 1970 are 0.
pub fn ticks(at: UtcMicros) -> u64 {
    let ticks = i128::from(at.get()) * i128::from(TIMESCALE) / 1_000_000;
    u64::try_from(ticks).unwrap_or(0)
}

/// The instant of a tick.
pub fn micros(ticks: u64) -> UtcMicros {
    let micros = u128::from(ticks) * 1_000_000 / u128::from(TIMESCALE);
    UtcMicros::new(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// The fragments of `segment` that `window` covers: from the last one at or before its start that decodes by itself, to the
/// one that holds its end.
///
/// # Errors
/// A segment that is not what the writer writes.
pub fn clip(segment: &[u8], window: TimeRange) -> Result<Clip, Fmp4Error> {
    let layout = fmp4::layout(segment)?;
    let (from, to) = (ticks(window.start()), ticks(window.end()));
    let mut begin = 0;
    for (index, fragment) in layout.fragments.iter().enumerate() {
        if fragment.decode_time > from {
            break;
        }
        // Only a fragment that begins with a picture of its own can be the first.
        if index == 0
            || fmp4::samples(&segment[fragment.range.clone()])?
                .first()
                .is_some_and(|sample| sample.sync)
        {
            begin = index;
        }
    }
    // A segment that ended before the window keeps nothing, even though its last fragment begins before it.
    if let Some(last) = layout.fragments.last() {
        let end = fmp4::samples(&segment[last.range.clone()])?
            .last()
            .map_or(last.decode_time, |sample| {
                sample.decode_time + u64::from(sample.duration)
            });
        if end <= from {
            begin = layout.fragments.len();
        }
    }
    let fragments = layout.fragments[begin..]
        .iter()
        .take_while(|fragment| fragment.decode_time < to)
        .map(|fragment| (fragment.range.clone(), fragment.decode_time))
        .collect();
    Ok(Clip {
        init: layout.init,
        fragments,
    })
}

/// Shifts a fragment so that `origin` is its time zero.
///
/// # Errors
/// A fragment without a decode time.
pub fn shift(fragment: &mut [u8], origin: u64) -> Result<(), Fmp4Error> {
    let time = fmp4::decode_time(fragment)?;
    fmp4::patch_decode_time(fragment, time.saturating_sub(origin))
}

#[cfg(test)]
mod tests {
    use custody_shared::fmp4::{Codec, ParameterSets, Sample, VideoParameters, fragment_head, free_box, init_section};

    use super::*;

    const SECOND: u64 = TIMESCALE as u64;
    const BASE: u64 = 1_795_305_600 * SECOND;

    fn fragment(sequence: u32, at: u64, sync: bool) -> Vec<u8> {
        let sample = |sync| Sample {
            size: 4,
            duration: TIMESCALE,
            composition_offset: 0,
            sync,
        };
        let mut out = fragment_head(sequence, at, &[sample(sync), sample(false)]).unwrap();
        out.extend([0, 0, 0, 0, 1, 1, 1, 1]);
        out
    }

    /// Five fragments of 2 s; those at 4 s and 8 s need what came before.
    fn segment() -> Vec<u8> {
        let mut sets = ParameterSets::new(Codec::H264);
        sets.offer(&[0x67, 66, 0, 10, 0x80]);
        sets.offer(&[0x68, 0x80]);
        let mut out = init_section(&VideoParameters::from_parameter_sets(&sets, 64, 48).unwrap()).unwrap();
        for (index, sync) in [true, true, false, true, false].into_iter().enumerate() {
            out.extend(fragment(index as u32 + 1, BASE + index as u64 * 2 * SECOND, sync));
            out.extend(free_box(24).unwrap());
        }
        out
    }

    #[test]
    fn a_window_gets_whole_fragments_that_can_be_decoded() {
        let segment = segment();
        for (name, from, to, expected) in [
            ("everything", -60, 60, &[0, 2, 4, 6, 8][..]),
            ("to the edge", 0, 10, &[0, 2, 4, 6, 8]),
            ("inside one", 3, 4, &[2]),
            ("begins where decoding cannot", 5, 7, &[2, 4, 6]),
            ("ends inside", 2, 5, &[2, 4]),
            ("before", -60, 0, &[]),
            ("after", 10, 60, &[]),
        ] {
            let at = |seconds: i64| UtcMicros::new((1_795_305_600 + seconds) * 1_000_000);
            let clip = clip(&segment, TimeRange::new(at(from), at(to)).unwrap()).unwrap();
            let seconds: Vec<u64> = clip
                .fragments
                .iter()
                .map(|(_, ticks)| (ticks - BASE) / SECOND)
                .collect();
            assert_eq!(seconds, expected, "{name}");
        }
    }

    #[test]
    fn shifting_makes_time_begin_at_the_origin() {
        let mut fragment = fragment(1, BASE + 7 * SECOND, true);
        shift(&mut fragment, BASE).unwrap();
        assert_eq!(fmp4::decode_time(&fragment), Ok(7 * SECOND));
        shift(&mut fragment, 9 * SECOND).unwrap();
        assert_eq!(
            fmp4::decode_time(&fragment),
            Ok(0),
            "what came before the origin is at it"
        );
    }
}

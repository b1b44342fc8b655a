//! Making a segment whole again whose tail a power cut took.

use mp4_atom::Decode;

use super::walker::{malformed, run};
use super::{Fmp4Error, Sample, SampleInfo, box_header, fragment_head, layout};

/// Makes a segment whole whose tail is missing (power cut): of its last fragment the pictures that are all there stay, and
/// what is cut off goes. A whole segment is left as it is. The bytes are changed in place: footage is never copied elsewhere.
///
/// # Errors
/// As [`layout`]; and a last `moof` that is not what the writer writes.
pub fn mend(segment: &mut Vec<u8>) -> Result<(), Fmp4Error> {
    let whole = layout(segment)?.complete;
    let tail = &segment[whole..];
    let starts_with = |data: &[u8], kind: &[u8; 4]| box_header(data).ok().flatten().filter(|found| found.kind == *kind);
    let moof = starts_with(tail, b"moof").filter(|moof| moof.length <= tail.len());
    let started = moof.filter(|moof| starts_with(&tail[moof.length..], b"mdat").is_some());
    let Some(header) = started else {
        segment.truncate(whole);
        return Ok(());
    };
    let moof = mp4_atom::Moof::decode(&mut &tail[..header.length])?;
    let there: Vec<SampleInfo> = run(&moof)?
        .into_iter()
        .take_while(|sample| sample.range.end <= tail.len())
        .collect();
    let (Some(first), Some(last)) = (there.first(), there.last()) else {
        segment.truncate(whole);
        return Ok(());
    };
    let kept: Vec<Sample> = there.iter().map(SampleInfo::to_write).collect::<Result<_, _>>()?;
    let head = fragment_head(moof.mfhd.sequence_number, first.decode_time, &kept)?;
    // Fewer samples never need a longer head; a writer that says otherwise is not ours.
    if first.range.start < header.length || head.len() > first.range.start {
        return Err(malformed());
    }
    let (from, to) = (whole + first.range.start, whole + last.range.end);
    segment[whole..whole + head.len()].copy_from_slice(&head);
    segment.copy_within(from..to, whole + head.len());
    segment.truncate(whole + head.len() + (to - from));
    Ok(())
}

impl SampleInfo {
    fn to_write(&self) -> Result<Sample, Fmp4Error> {
        let offset = i64::try_from(self.decode_time).map(|decode| self.presentation_time - decode);
        Ok(Sample {
            size: u32::try_from(self.range.len()).map_err(|_| malformed())?,
            duration: self.duration,
            composition_offset: offset.ok().and_then(|o| i32::try_from(o).ok()).ok_or_else(malformed)?,
            sync: self.sync,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, ParameterSets, VideoParameters, free_box, init_section, samples};
    use super::*;

    fn init() -> Vec<u8> {
        let mut sets = ParameterSets::new(Codec::H264);
        sets.offer(&[0x67, 66, 0, 10, 0x80]);
        sets.offer(&[0x68, 0x80]);
        let parameters = VideoParameters::from_parameter_sets(&sets, 64, 48).expect("valid sets");
        init_section(&parameters).expect("an init section")
    }

    fn fragment(sequence: u32, durations: [u32; 3], offset: i32) -> Vec<u8> {
        let sample = |size, duration, composition_offset, sync| Sample {
            size,
            duration,
            composition_offset,
            sync,
        };
        let [a, b, c] = durations;
        let listed = [
            sample(30, a, 0, true),
            sample(20, b, offset, false),
            sample(10, c, -offset, false),
        ];
        let mut out = fragment_head(sequence, u64::from(sequence) * 90_000, &listed).expect("a head");
        out.extend((0..60).map(|byte| byte + sequence as u8));
        out
    }

    /// The payloads of all samples, in order.
    fn payloads(segment: &[u8]) -> Vec<Vec<u8>> {
        let found = layout(segment).expect("a layout");
        assert_eq!(found.complete, segment.len(), "nothing is left over");
        let mut all = Vec::new();
        for fragment in found.fragments {
            let bytes = &segment[fragment.range];
            all.extend(
                samples(bytes)
                    .expect("samples")
                    .into_iter()
                    .map(|sample| bytes[sample.range].to_vec()),
            );
        }
        all
    }

    #[test]
    fn every_picture_that_is_all_there_stays_wherever_the_cut_is() {
        for (name, durations, offset) in [
            ("even", [3600; 3], 0),
            ("uneven", [3600, 3601, 3599], 0),
            ("reordered", [3600; 3], 7200),
        ] {
            let padding = free_box(40).expect("free");
            let parts = [
                init(),
                fragment(1, durations, offset),
                padding,
                fragment(2, durations, offset),
            ];
            let whole = parts.concat();
            let all = payloads(&whole);
            let mut before = 0;
            for length in parts[0].len()..=whole.len() {
                let mut cut = whole[..length].to_vec();
                mend(&mut cut).expect(name);
                let left = payloads(&cut);
                assert_eq!(left, all[..left.len()], "{name}, cut at {length}");
                assert!(left.len() >= before, "{name}: more bytes, fewer pictures, at {length}");
                before = left.len();
                // A picture may be missing only if a byte of it, or of what describes it, is.
                let described = length - parts[0].len();
                let first = parts[1].len() - 60;
                for (pictures, end) in [(1, first + 30), (2, first + 50), (3, first + 60)] {
                    assert!(
                        described < end || left.len() >= pictures,
                        "{name}: {pictures} at {length}"
                    );
                }
            }
            assert_eq!(before, 6, "{name}");
        }
    }

    #[test]
    fn a_tail_that_lies_is_refused_or_cut() {
        let mut segment = [init(), fragment(1, [3600; 3], 0)].concat();
        let moof = init().len();
        // A sample that claims more than any memory holds.
        let at = segment
            .windows(4)
            .position(|w| w == 30u32.to_be_bytes())
            .expect("the first sample's size");
        segment[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        segment.truncate(segment.len() - 5);
        mend(&mut segment).expect("nothing of it is there");
        assert_eq!(segment.len(), moof);
    }
}

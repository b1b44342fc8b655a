//! Reading: walking a finished segment, cutting it into init section and fragments, shifting its decode times.
//!
//! Segments come out of decryption authenticated, but a camera's agent may be hostile: nothing here panics or allocates
//! from a claimed length.

use std::ops::Range;

use mp4_atom::Decode;

use super::{Codec, Fmp4Error, MAX_FRAGMENT, MAX_FRAGMENT_SAMPLES, VideoParameters};

/// Kind and extent of a box, from its first 8 or 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxHeader {
    /// Four letters.
    pub kind: [u8; 4],
    /// Bytes of the header itself: 8 or 16.
    pub header: usize,
    /// Bytes of the whole box, header included.
    pub length: usize,
}

/// Reads a box header; `None` while too few bytes are there to tell.
///
/// # Errors
/// A length smaller than the header, "until the end of the file", or above [`MAX_FRAGMENT`].
pub fn box_header(data: &[u8]) -> Result<Option<BoxHeader>, Fmp4Error> {
    let Some((head, rest)) = data.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let [a, b, c, d, kind @ ..] = *head;
    let (header, length) = match u32::from_be_bytes([a, b, c, d]) {
        1 => match rest.first_chunk::<8>() {
            Some(long) => (16, u64::from_be_bytes(*long)),
            None => return Ok(None),
        },
        short => (8, u64::from(short)),
    };
    match usize::try_from(length) {
        Ok(length) if (header..=MAX_FRAGMENT).contains(&length) => Ok(Some(BoxHeader { kind, header, length })),
        _ => Err(Fmp4Error::BoxLength { at: 0 }),
    }
}

/// Iterates the boxes that fill `data`, each with its range; an incomplete last box is an error.
pub fn boxes(data: &[u8]) -> impl Iterator<Item = Result<(BoxHeader, Range<usize>), Fmp4Error>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= data.len() {
            return None;
        }
        let start = at;
        let found = match box_header(&data[start..]) {
            Ok(Some(header)) if header.length <= data.len() - start => {
                at = start + header.length;
                Ok((header, start..at))
            }
            _ => Err(Fmp4Error::BoxLength { at: start }),
        };
        if found.is_err() {
            at = data.len();
        }
        Some(found)
    })
}

/// One fragment of a segment: `moof` with its `mdat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentRef {
    /// Where it lies in the segment.
    pub range: Range<usize>,
    /// Decode time of its first sample, in ticks since 1970.
    pub decode_time: u64,
}

/// Where things lie in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `ftyp` and `moov`.
    pub init: Range<usize>,
    /// The fragments in order; `free` boxes between them are left out.
    pub fragments: Vec<FragmentRef>,
    /// Bytes that were understood: less than the segment's length only if its last box was cut off.
    pub complete: usize,
}

/// Cuts a segment into its init section and fragments.
///
/// A segment whose tail is missing (power cut) yields what is complete.
///
/// # Errors
/// No init section, a `moof` without `mdat` before another box, or boxes that do not belong here.
pub fn layout(segment: &[u8]) -> Result<Layout, Fmp4Error> {
    let mut init_end = None;
    let mut seen_ftyp = false;
    let mut fragments = Vec::new();
    let mut pending: Option<(usize, u64)> = None;
    let mut complete = 0;
    for found in boxes(segment) {
        let Ok((header, range)) = found else { break };
        match (&header.kind, pending.take()) {
            (b"ftyp", None) if range.start == 0 => seen_ftyp = true,
            (b"moov", None) if seen_ftyp && init_end.is_none() => init_end = Some(range.end),
            (b"moof", None) if init_end.is_some() => {
                pending = Some((range.start, decode_time(&segment[range.clone()])?));
                continue;
            }
            (b"mdat", Some((start, decode_time))) => {
                fragments.push(FragmentRef {
                    range: start..range.end,
                    decode_time,
                });
            }
            (b"free" | b"skip", None) => {}
            _ => return Err(Fmp4Error::Misplaced(String::from_utf8_lossy(&header.kind).into_owned())),
        }
        complete = range.end;
    }
    let init = 0..init_end.ok_or(Fmp4Error::Missing("moov"))?;
    Ok(Layout {
        init,
        fragments,
        complete,
    })
}

/// Follows a path of nested boxes and returns the last one's range.
fn descend(data: &[u8], path: &[&'static [u8; 4]]) -> Result<Range<usize>, Fmp4Error> {
    let mut within = 0..data.len();
    for (depth, kind) in path.iter().enumerate() {
        let name = std::str::from_utf8(*kind).unwrap_or("box");
        let (header, range) = boxes(&data[within.clone()])
            .map_while(Result::ok)
            .find(|(header, _)| header.kind == **kind)
            .ok_or(Fmp4Error::Missing(name))?;
        let start = within.start + range.start;
        let skip = if depth + 1 < path.len() { header.header } else { 0 };
        within = start + skip..within.start + range.end;
    }
    Ok(within)
}

/// Range of the decode time's field inside a fragment: 4 or 8 bytes.
fn decode_time_field(fragment: &[u8]) -> Result<Range<usize>, Fmp4Error> {
    let tfdt = descend(fragment, &[b"moof", b"traf", b"tfdt"])?;
    let width = match fragment.get(tfdt.start + 8) {
        Some(0) => 4,
        Some(1) => 8,
        _ => return Err(Fmp4Error::Malformed("tfdt version".into())),
    };
    let field = tfdt.start + 12..tfdt.start + 12 + width;
    if field.end > tfdt.end {
        return Err(Fmp4Error::BoxLength { at: tfdt.start });
    }
    Ok(field)
}

/// The decode time of a fragment's first sample, in ticks since 1970.
///
/// # Errors
/// No well-formed `moof/traf/tfdt` at the start.
pub fn decode_time(fragment: &[u8]) -> Result<u64, Fmp4Error> {
    let field = decode_time_field(fragment)?;
    Ok(fragment[field]
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Overwrites the decode time in place, for players and exports that want their time line to begin at zero.
///
/// # Errors
/// As [`decode_time`]; and a value that does not fit a 32-bit field.
pub fn patch_decode_time(fragment: &mut [u8], value: u64) -> Result<(), Fmp4Error> {
    let field = decode_time_field(fragment)?;
    let bytes = value.to_be_bytes();
    let skip = bytes.len() - field.len();
    if bytes[..skip].iter().any(|byte| *byte != 0) {
        return Err(Fmp4Error::TooLarge("decode time"));
    }
    fragment[field].copy_from_slice(&bytes[skip..]);
    Ok(())
}

/// One sample as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleInfo {
    /// Its bytes, as a range of the fragment.
    pub range: Range<usize>,
    /// Decode time in ticks since 1970.
    pub decode_time: u64,
    /// Presentation time in ticks since 1970.
    pub presentation_time: i64,
    /// Ticks until the next one.
    pub duration: u32,
    /// Whether decoding may begin here.
    pub sync: bool,
}

/// The samples of one fragment in decode order.
///
/// # Errors
/// A malformed `moof`, more than one run, or samples outside `mdat`.
pub fn samples(fragment: &[u8]) -> Result<Vec<SampleInfo>, Fmp4Error> {
    let moof_range = descend(fragment, &[b"moof"])?;
    let moof = mp4_atom::Moof::decode(&mut &fragment[moof_range])?;
    let mdat = descend(fragment, &[b"mdat"])?;
    let found = run(&moof)?;
    let inside = |sample: &SampleInfo| sample.range.start >= mdat.start && sample.range.end <= mdat.end;
    if found.iter().all(inside) {
        Ok(found)
    } else {
        Err(malformed())
    }
}

pub(super) fn malformed() -> Fmp4Error {
    Fmp4Error::Malformed("sample times or sizes".into())
}

/// The samples that a `moof` tells of, wherever they lie.
pub(super) fn run(moof: &mp4_atom::Moof) -> Result<Vec<SampleInfo>, Fmp4Error> {
    let [traf] = &moof.traf[..] else {
        return Err(Fmp4Error::Malformed("not exactly one track fragment".into()));
    };
    let [trun] = &traf.trun[..] else {
        return Err(Fmp4Error::Malformed("not exactly one run".into()));
    };
    if trun.samples.len() > MAX_FRAGMENT_SAMPLES {
        return Err(Fmp4Error::TooLarge("number of samples"));
    }
    let mut at = usize::try_from(trun.data_offset.unwrap_or(-1)).map_err(|_| malformed())?;
    let mut decode_time = traf
        .tfdt
        .as_ref()
        .ok_or(Fmp4Error::Missing("tfdt"))?
        .base_media_decode_time;
    let mut found = Vec::with_capacity(trun.samples.len());
    // A run that gives flags for its first sample only leaves the others to the default, which is "not sync".
    for entry in &trun.samples {
        let size = entry.size.or(traf.tfhd.default_sample_size).ok_or_else(malformed)?;
        let duration = entry.duration.or(traf.tfhd.default_sample_duration).unwrap_or(0);
        let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap_or(0x0001_0000);
        let end = at.checked_add(size as usize).ok_or_else(malformed)?;
        let presentation_time = i64::try_from(decode_time)
            .ok()
            .and_then(|time| time.checked_add(entry.cts.unwrap_or(0)))
            .ok_or_else(malformed)?;
        let sync = flags & 0x0001_0000 == 0;
        found.push(SampleInfo {
            range: at..end,
            decode_time,
            presentation_time,
            duration,
            sync,
        });
        decode_time = decode_time.checked_add(duration.into()).ok_or_else(malformed)?;
        at = end;
    }
    Ok(found)
}

/// The codec parameters an init section carries.
///
/// # Errors
/// No single video sample entry that [`VideoParameters`] accepts.
pub fn video_parameters(init: &[u8]) -> Result<VideoParameters, Fmp4Error> {
    let stsd = descend(init, &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"])?;
    // Version, flags and the number of entries stand before the entries.
    VideoParameters::from_sample_entry(init.get(stsd.start + 16..stsd.end).ok_or(Fmp4Error::Missing("stsd"))?)
}

/// The codec's NAL units of a sample, for readers that look inside.
impl SampleInfo {
    /// Whether and how decoding may begin at this sample, judged from its bytes rather than its flags.
    pub fn random_access(&self, codec: Codec, fragment: &[u8]) -> super::nal::RandomAccess {
        super::nal::random_access(codec, fragment.get(self.range.clone()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParameterSets, Sample, fragment_head, free_box, init_section};
    use super::*;
    use proptest::prelude::*;

    fn parameters() -> VideoParameters {
        let mut sets = ParameterSets::new(Codec::H264);
        sets.offer(&[0x67, 66, 0, 10, 0x80]);
        sets.offer(&[0x68, 0x80]);
        VideoParameters::from_parameter_sets(&sets, 64, 48).expect("valid sets")
    }

    fn fragment(sequence: u32, decode_time: u64) -> Vec<u8> {
        let sample = |size, composition_offset, sync| Sample {
            size,
            duration: 3600,
            composition_offset,
            sync,
        };
        let mut out = fragment_head(
            sequence,
            decode_time,
            &[sample(3, 0, true), sample(2, 7200, false), sample(1, -3600, false)],
        )
        .expect("a head");
        out.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
        out
    }

    fn segment() -> Vec<u8> {
        let init = init_section(&parameters()).expect("an init section");
        [
            init,
            fragment(1, 900_000),
            free_box(40).expect("free"),
            fragment(2, 910_800),
        ]
        .concat()
    }

    #[test]
    fn reads_back_what_was_written() {
        let segment = segment();
        let layout = layout(&segment).expect("a layout");
        assert_eq!(layout.complete, segment.len());
        assert_eq!(video_parameters(&segment[layout.init]), Ok(parameters()));
        assert_eq!(
            layout.fragments.iter().map(|f| f.decode_time).collect::<Vec<_>>(),
            [900_000, 910_800]
        );
        let first = &segment[layout.fragments[0].range.clone()];
        let samples = samples(first).expect("samples");
        let seen: Vec<_> = samples
            .iter()
            .map(|s| (&first[s.range.clone()], s.presentation_time, s.sync))
            .collect();
        assert_eq!(
            seen,
            [
                (&[1u8, 2, 3][..], 900_000, true),
                (&[4, 5][..], 910_800, false),
                (&[6][..], 903_600, false),
            ]
        );
    }

    #[test]
    fn shifts_decode_times_in_place() {
        let mut bytes = fragment(1, 1 << 40);
        patch_decode_time(&mut bytes, 90_000).expect("patched");
        assert_eq!(decode_time(&bytes), Ok(90_000));
        assert_eq!(bytes.len(), fragment(1, 1 << 40).len());
    }

    #[test]
    fn a_cut_off_tail_costs_only_the_last_fragment() {
        let segment = segment();
        for missing in 1..20 {
            let layout = layout(&segment[..segment.len() - missing]).expect("a layout");
            assert_eq!(layout.fragments.len(), 1);
        }
    }

    #[test]
    fn refuses_what_is_not_a_segment() {
        let init = init_section(&parameters()).expect("an init section");
        let check = |bytes: &[u8], expected: Fmp4Error| assert_eq!(layout(bytes), Err(expected));
        check(&[], Fmp4Error::Missing("moov"));
        check(&fragment(1, 0), Fmp4Error::Misplaced("moof".into()));
        check(&[&init[..], &init].concat(), Fmp4Error::Misplaced("ftyp".into()));
        check(
            &[&init[..], &[0, 0, 0, 8], b"mdat"].concat(),
            Fmp4Error::Misplaced("mdat".into()),
        );
        assert_eq!(
            box_header(&[0, 0, 0, 0, b'm', b'd', b'a', b't']),
            Err(Fmp4Error::BoxLength { at: 0 })
        );
        assert_eq!(
            box_header(&[0, 0, 0, 7, b'm', b'd', b'a', b't']),
            Err(Fmp4Error::BoxLength { at: 0 })
        );
        assert_eq!(box_header(&[0, 0, 0, 8, b'm', b'd', b'a']), Ok(None));
        assert_eq!(box_header(&[0, 0, 0, 1, b'm', b'd', b'a', b't', 0]), Ok(None));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = layout(&data);
            let _ = samples(&data);
            let _ = video_parameters(&data);
            let _ = patch_decode_time(&mut data.clone(), 1);
            let _ = VideoParameters::from_sample_entry(&data);
        }

        #[test]
        fn damaged_segments_never_panic(at in 0usize..2000, value: u8, cut in 0usize..2000) {
            let mut segment = segment();
            let length = segment.len();
            segment[at % length] = value;
            segment.truncate(length - cut % length);
            if let Ok(layout) = layout(&segment) {
                let _ = video_parameters(&segment[layout.init.clone()]);
                for fragment in layout.fragments {
                    let _ = samples(&segment[fragment.range]);
                }
            }
        }
    }
}

//! Writing: the init section once per segment, a head before each fragment's samples, `free` boxes as padding.

use mp4_atom::{Atom, Decode, Encode, FourCC};

use super::{Fmp4Error, MAX_FRAGMENT, MAX_FRAGMENT_SAMPLES, TIMESCALE, TRACK, VideoParameters};

/// Flags of a sample at which decoding may begin: depends on no other.
const SYNC: u32 = 0x0200_0000;
/// Flags of every other sample: depends on others, not a sync sample.
const NOT_SYNC: u32 = 0x0101_0000;

/// One sample of a fragment, in decode order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Bytes in `mdat`.
    pub size: u32,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Presentation time minus decode time in ticks; negative for reordered pictures.
    pub composition_offset: i32,
    /// Whether decoding may begin here.
    pub sync: bool,
}

/// `ftyp` and `moov` for one video track.
///
/// # Errors
/// Parameters whose sample entry does not decode; cannot happen for a [`VideoParameters`] that was built.
pub fn init_section(parameters: &VideoParameters) -> Result<Vec<u8>, Fmp4Error> {
    let codec = mp4_atom::Codec::decode(&mut parameters.sample_entry())?;
    let mut out = Vec::with_capacity(1024);
    mp4_atom::Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: [b"iso6", b"cmfc", b"mp41"].map(FourCC::new).to_vec(),
    }
    .encode(&mut out)?;
    mp4_atom::Moov {
        mvhd: mp4_atom::Mvhd {
            timescale: TIMESCALE,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK + 1,
            ..Default::default()
        },
        mvex: Some(mp4_atom::Mvex {
            mehd: None,
            trex: vec![mp4_atom::Trex {
                track_id: TRACK,
                default_sample_description_index: 1,
                default_sample_duration: 0,
                default_sample_size: 0,
                default_sample_flags: NOT_SYNC,
            }],
        }),
        trak: vec![mp4_atom::Trak {
            tkhd: mp4_atom::Tkhd {
                track_id: TRACK,
                enabled: true,
                in_movie: true,
                width: parameters.width().into(),
                height: parameters.height().into(),
                ..Default::default()
            },
            mdia: mp4_atom::Mdia {
                mdhd: mp4_atom::Mdhd {
                    timescale: TIMESCALE,
                    language: "und".into(),
                    ..Default::default()
                },
                hdlr: mp4_atom::Hdlr {
                    handler: FourCC::new(b"vide"),
                    name: "video".into(),
                },
                minf: mp4_atom::Minf {
                    vmhd: Some(mp4_atom::Vmhd::default()),
                    dinf: mp4_atom::Dinf {
                        dref: mp4_atom::Dref {
                            entries: vec![mp4_atom::DrefEntry::Url(mp4_atom::Url::default())],
                        },
                    },
                    stbl: mp4_atom::Stbl {
                        stsd: mp4_atom::Stsd { codecs: vec![codec] },
                        stco: Some(mp4_atom::Stco::default()),
                        ..Default::default()
                    },
                    ..Default::default()
                },
            },
            ..Default::default()
        }],
        ..Default::default()
    }
    .encode(&mut out)?;
    Ok(out)
}

/// `moof` and the header of `mdat`; the caller writes the samples' bytes after it, so that no sample is copied.
///
/// `decode_time` is the first sample's, in ticks since 1970.
///
/// # Errors
/// No samples, too many, or more bytes than a fragment may hold.
pub fn fragment_head(sequence: u32, decode_time: u64, samples: &[Sample]) -> Result<Vec<u8>, Fmp4Error> {
    if samples.is_empty() {
        return Err(Fmp4Error::Missing("sample"));
    }
    if samples.len() > MAX_FRAGMENT_SAMPLES {
        return Err(Fmp4Error::TooLarge("number of samples"));
    }
    let bytes: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    let mdat = u32::try_from(bytes + 8)
        .ok()
        .filter(|mdat| (*mdat as usize) < MAX_FRAGMENT);
    let mdat = mdat.ok_or(Fmp4Error::TooLarge("fragment"))?;

    let uniform = samples.iter().all(|sample| sample.duration == samples[0].duration);
    // The container has a form for a different first sample only; anything else needs flags on each.
    let each = samples.iter().skip(1).any(|sample| sample.sync);
    let reordered = samples.iter().any(|sample| sample.composition_offset != 0);
    let entries: Vec<_> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| mp4_atom::TrunEntry {
            duration: (!uniform).then_some(sample.duration),
            size: Some(sample.size),
            flags: (index == 0 || each).then_some(if sample.sync { SYNC } else { NOT_SYNC }),
            cts: reordered.then_some(sample.composition_offset.into()),
        })
        .collect();
    let mut moof = mp4_atom::Moof {
        mfhd: mp4_atom::Mfhd {
            sequence_number: sequence,
        },
        traf: vec![mp4_atom::Traf {
            tfhd: mp4_atom::Tfhd {
                track_id: TRACK,
                default_sample_duration: uniform.then_some(samples[0].duration),
                default_base_is_moof: true,
                ..Default::default()
            },
            tfdt: Some(mp4_atom::Tfdt {
                base_media_decode_time: decode_time,
            }),
            trun: vec![mp4_atom::Trun {
                data_offset: Some(0),
                samples: entries.into(),
            }],
            ..Default::default()
        }],
    };
    // The offset is of fixed width, so the first pass tells the length of the second.
    let mut out = Vec::with_capacity(128 + 16 * samples.len());
    moof.encode(&mut out)?;
    let offset = i32::try_from(out.len() + 8).map_err(|_| Fmp4Error::TooLarge("moof"))?;
    moof.traf[0].trun[0].data_offset = Some(offset);
    out.clear();
    moof.encode(&mut out)?;
    out.extend_from_slice(&mdat.to_be_bytes());
    out.extend_from_slice(mp4_atom::Mdat::KIND.as_ref());
    Ok(out)
}

/// A `free` box of exactly `length` bytes of zeros; `None` below 8, which no box can fill.
pub fn free_box(length: usize) -> Option<Vec<u8>> {
    let size = u32::try_from(length).ok().filter(|size| *size >= 8)?;
    let mut out = vec![0; length];
    out[..4].copy_from_slice(&size.to_be_bytes());
    out[4..8].copy_from_slice(b"free");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: u32) -> Sample {
        Sample {
            size,
            duration: 3600,
            composition_offset: 0,
            sync: false,
        }
    }

    #[test]
    fn heads_are_bounded() {
        assert_eq!(fragment_head(1, 0, &[]), Err(Fmp4Error::Missing("sample")));
        let full = vec![sample(1); MAX_FRAGMENT_SAMPLES];
        assert!(fragment_head(1, 0, &full).is_ok());
        let over = vec![sample(1); MAX_FRAGMENT_SAMPLES + 1];
        assert_eq!(
            fragment_head(1, 0, &over),
            Err(Fmp4Error::TooLarge("number of samples"))
        );
        assert_eq!(
            fragment_head(1, 0, &[sample(u32::MAX)]),
            Err(Fmp4Error::TooLarge("fragment"))
        );
        assert_eq!(
            fragment_head(1, 0, &[sample(u32::MAX), sample(u32::MAX)]),
            Err(Fmp4Error::TooLarge("fragment"))
        );
    }

    #[test]
    fn free_boxes_fill_exactly() {
        assert_eq!(free_box(7), None);
        assert_eq!(free_box(8).as_deref(), Some(&[0, 0, 0, 8, b'f', b'r', b'e', b'e'][..]));
        assert_eq!(free_box(100).map(|free| free.len()), Some(100));
    }
}

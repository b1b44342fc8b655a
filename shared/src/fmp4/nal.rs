//! NAL units inside access units: splitting byte streams and finding the pictures at which decoding may begin.
//!
//! Everything here takes hostile bytes: no panic, no allocation from a claimed length.

use super::{Codec, Fmp4Error, ParameterSets};

/// Whether decoding may begin at an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomAccess {
    /// It may not.
    None,
    /// It may, but pictures shown before this one may need earlier ones (open GOP, gradual refresh).
    Open,
    /// It may, and nothing after it refers to anything before it (IDR).
    Closed,
}

/// Iterates the NAL units of an access unit whose units have four-byte lengths; stops at the first broken length.
pub fn length_prefixed(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let unit = rest.get(..length)?;
        data = &rest[length..];
        Some(unit)
    })
}

/// As [`length_prefixed`] for lengths of 1 to 4 bytes, as other writers' files may have.
pub fn with_lengths_of(width: usize, mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let prefix = data.get(..width.clamp(1, 4))?;
        let length = prefix
            .iter()
            .fold(0usize, |value, byte| value << 8 | usize::from(*byte));
        let unit = data.get(prefix.len()..)?.get(..length)?;
        data = &data[prefix.len() + length..];
        Some(unit)
    })
}

/// Iterates the NAL units of a byte stream with start codes (H.264 and H.265, annex B).
pub fn annex_b(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(data).map(|(_, after)| &data[after..]);
    std::iter::from_fn(move || {
        loop {
            let here = rest?;
            let unit = match start_code(here) {
                Some((before, after)) => {
                    rest = Some(&here[after..]);
                    &here[..before]
                }
                None => {
                    rest = None;
                    here
                }
            };
            // Zero bytes before a start code belong to no unit.
            let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if end > 0 {
                return Some(&unit[..end]);
            }
        }
    })
}

/// Offsets of the first start code's beginning and end.
fn start_code(data: &[u8]) -> Option<(usize, usize)> {
    let mut at = 2;
    while at < data.len() {
        match data[at] {
            0 => at += 1,
            1 if data[at - 1] == 0 && data[at - 2] == 0 => return Some((at - 2, at + 1)),
            _ => at += 3,
        }
    }
    None
}

/// Decides from the NAL units before and including the first picture slice of an access unit.
///
/// H.264: an IDR slice, or a recovery point SEI before a slice. H.265: unit types 16 to 21.
pub fn random_access(codec: Codec, access_unit: &[u8]) -> RandomAccess {
    let mut recovery_point = false;
    for unit in length_prefixed(access_unit) {
        let Some(&first) = unit.first() else { continue };
        match codec {
            Codec::H264 => match first & 0x1f {
                5 => return RandomAccess::Closed,
                1..=4 if recovery_point => return RandomAccess::Open,
                1..=4 => return RandomAccess::None,
                6 => recovery_point |= has_recovery_point(&unit[1..]),
                _ => {}
            },
            Codec::H265 => match (first >> 1) & 0x3f {
                19 | 20 => return RandomAccess::Closed,
                16..=18 | 21 => return RandomAccess::Open,
                0..=31 => return RandomAccess::None,
                _ => {}
            },
        }
    }
    RandomAccess::None
}

/// Walks the messages of an H.264 SEI unit and looks for payload type 6.
///
/// Escape bytes are not removed: they can lengthen a payload but cannot occur in the type and size bytes of messages that
/// encoders place before a recovery point; a miss costs a later keyframe, never a wrong one.
fn has_recovery_point(mut sei: &[u8]) -> bool {
    fn value(sei: &mut &[u8]) -> Option<usize> {
        let mut sum = 0usize;
        loop {
            let (&byte, rest) = sei.split_first()?;
            *sei = rest;
            sum += usize::from(byte);
            if byte != 0xff {
                return Some(sum);
            }
        }
    }
    while sei.len() > 2 {
        let (Some(kind), Some(size)) = (value(&mut sei), value(&mut sei)) else {
            return false;
        };
        if kind == 6 {
            return true;
        }
        // Escaped bytes inside the payload come on top of its size.
        let Some(payload) = sei.get(..size) else { return false };
        let escaped = payload.windows(3).filter(|window| window == &[0, 0, 3]).count();
        match sei.get(size + escaped..) {
            Some(rest) => sei = rest,
            None => return false,
        }
    }
    false
}

/// Rewrites one access unit into four-byte lengths and takes its parameter sets out, as `avc1` and `hvc1` demand.
///
/// `out` is appended to; parameter sets, delimiters and filler are left out, the sets are offered to `sets`.
/// Returns whether the sets changed.
///
/// # Errors
/// A unit larger than 4 GiB cannot be expressed.
pub fn rewrite<'a>(
    units: impl Iterator<Item = &'a [u8]>,
    sets: &mut ParameterSets,
    out: &mut Vec<u8>,
) -> Result<bool, Fmp4Error> {
    let mut changed = false;
    for unit in units {
        let Some(&first) = unit.first() else { continue };
        let (parameter, droppable) = match sets.codec() {
            Codec::H264 => (matches!(first & 0x1f, 7 | 8), matches!(first & 0x1f, 9..=12)),
            Codec::H265 => {
                let kind = (first >> 1) & 0x3f;
                (matches!(kind, 32..=34), matches!(kind, 35..=38))
            }
        };
        if parameter {
            changed |= sets.offer(unit);
        } else if !droppable {
            let length = u32::try_from(unit.len()).map_err(|_| Fmp4Error::TooLarge("NAL unit"))?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access_unit(units: &[&[u8]]) -> Vec<u8> {
        units
            .iter()
            .flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), *unit].concat())
            .collect()
    }

    #[test]
    fn finds_where_decoding_may_begin() {
        use RandomAccess::*;
        let check = |codec, units: &[&[u8]], expected| {
            assert_eq!(random_access(codec, &access_unit(units)), expected, "{units:02x?}");
        };
        check(Codec::H264, &[&[0x09, 0xf0], &[0x65, 0x88]], Closed);
        check(Codec::H264, &[&[0x41, 0x9a]], None);
        check(Codec::H264, &[&[0x06, 0x06, 0x01, 0xc4, 0x80], &[0x41, 0x9a]], Open);
        check(
            Codec::H264,
            &[&[0x06, 0x01, 0x02, 0xaa, 0xbb, 0x06, 0x01, 0xc4, 0x80], &[0x41, 0x9a]],
            Open,
        );
        // A recovery point announced after the slice belongs to the next picture.
        check(Codec::H264, &[&[0x41, 0x9a], &[0x06, 0x06, 0x01, 0xc4, 0x80]], None);
        // An SEI of another kind, and one that claims more than there is.
        check(
            Codec::H264,
            &[&[0x06, 0x05, 0x02, 0x06, 0x06, 0x80], &[0x41, 0x9a]],
            None,
        );
        check(Codec::H264, &[&[0x06, 0x05, 0xff, 0xff, 0xff], &[0x41, 0x9a]], None);
        check(Codec::H265, &[&[0x46, 0x01], &[0x26, 0x01]], Closed);
        check(Codec::H265, &[&[0x28, 0x01]], Closed);
        check(Codec::H265, &[&[0x2a, 0x01]], Open);
        check(Codec::H265, &[&[0x20, 0x01]], Open);
        check(Codec::H265, &[&[0x02, 0x01], &[0x26, 0x01]], None);
        check(Codec::H265, &[], None);
        check(Codec::H265, &[&[]], None);
    }

    #[test]
    fn splits_a_byte_stream() {
        let check = |stream: &[u8], expected: &[&[u8]]| {
            assert_eq!(annex_b(stream).collect::<Vec<_>>(), expected, "{stream:02x?}");
        };
        check(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2], &[&[0x67, 1], &[0x68, 2]]);
        check(&[9, 9, 0, 0, 1, 0x65, 3, 0, 0, 0, 0, 1, 0x41], &[&[0x65, 3], &[0x41]]);
        check(&[0, 0, 1, 0, 0, 1, 0, 0, 1], &[]);
        check(&[], &[]);
        check(&[1, 2, 3, 4, 5], &[]);
    }

    #[test]
    fn takes_parameter_sets_out_and_keeps_slices() {
        let mut sets = ParameterSets::new(Codec::H264);
        let mut out = Vec::new();
        let units: [&[u8]; 4] = [&[0x09, 0xf0], &[0x67, 66, 0, 10, 0x80], &[0x68, 0x80], &[0x65, 5, 6]];
        assert_eq!(rewrite(units.into_iter(), &mut sets, &mut out), Ok(true));
        assert_eq!(out, [0, 0, 0, 3, 0x65, 5, 6]);
        out.clear();
        assert_eq!(rewrite(units.into_iter(), &mut sets, &mut out), Ok(false));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..512)) {
            for codec in [Codec::H264, Codec::H265] {
                random_access(codec, &data);
                let mut sets = ParameterSets::new(codec);
                let mut out = Vec::new();
                let _ = rewrite(annex_b(&data), &mut sets, &mut out);
                let _ = rewrite(length_prefixed(&data), &mut sets, &mut out);
                let _ = with_lengths_of(usize::from(data.first().copied().unwrap_or(0)), &data).count();
                let _ = ParameterSets::from_record(codec, &data);
                let _ = super::super::VideoParameters::from_parameter_sets(&sets, 64, 64);
            }
        }

        #[test]
        fn what_is_written_splits_again(units in proptest::collection::vec(
            proptest::collection::vec(1u8.., 1..20), 0..8)) {
            let stream: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 1], &unit[..]].concat()).collect();
            prop_assert_eq!(annex_b(&stream).map(<[u8]>::to_vec).collect::<Vec<_>>(), units.clone());
            let refs: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let prefixed = access_unit(&refs);
            prop_assert_eq!(length_prefixed(&prefixed).map(<[u8]>::to_vec).collect::<Vec<_>>(), units);
        }
    }
}

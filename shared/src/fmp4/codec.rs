//! What a decoder must know before the first sample.

use mp4_atom::{Decode, Encode};

use super::{Codec, Fmp4Error, MAX_SAMPLE_ENTRY, ParameterSets};

/// Codec, picture size and parameter sets of a stream; equal values mean that samples may share a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoParameters {
    codec: Codec,
    width: u16,
    height: u16,
    rfc6381: String,
    sample_entry: Vec<u8>,
}

impl VideoParameters {
    /// Parses an `avc1` or `hvc1` box with four-byte NAL lengths.
    ///
    /// The box is decoded and encoded again, so that what is written holds nothing that was not understood.
    ///
    /// # Errors
    /// A box that is too large, of another codec, malformed, or without parameter sets.
    pub fn from_sample_entry(entry: &[u8]) -> Result<Self, Fmp4Error> {
        if entry.len() > MAX_SAMPLE_ENTRY {
            return Err(Fmp4Error::TooLarge("sample entry"));
        }
        let decoded = mp4_atom::Codec::decode(&mut &entry[..])?;
        let (codec, visual, rfc6381) = match &decoded {
            mp4_atom::Codec::Avc1(avc1) => {
                let avcc = &avc1.avcc;
                if avcc.length_size != 4 {
                    return Err(Fmp4Error::Malformed("avcC without four-byte lengths".into()));
                }
                if avcc.sequence_parameter_sets.is_empty() || avcc.picture_parameter_sets.is_empty() {
                    return Err(Fmp4Error::ParameterSet("avcC"));
                }
                let rfc6381 = format!(
                    "avc1.{:02X}{:02X}{:02X}",
                    avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication
                );
                (Codec::H264, &avc1.visual, rfc6381)
            }
            mp4_atom::Codec::Hvc1(hvc1) => {
                let hvcc = &hvc1.hvcc;
                if hvcc.length_size_minus_one & 3 != 3 {
                    return Err(Fmp4Error::Malformed("hvcC without four-byte lengths".into()));
                }
                for kind in [32, 33, 34] {
                    if !hvcc
                        .arrays
                        .iter()
                        .any(|array| array.nal_unit_type == kind && !array.nalus.is_empty())
                    {
                        return Err(Fmp4Error::ParameterSet("hvcC"));
                    }
                }
                (Codec::H265, &hvc1.visual, hevc_rfc6381(hvcc))
            }
            _ => return Err(Fmp4Error::UnsupportedCodec),
        };
        if visual.width == 0 || visual.height == 0 {
            return Err(Fmp4Error::Malformed("empty picture".into()));
        }
        let (width, height) = (visual.width, visual.height);
        let mut sample_entry = Vec::with_capacity(entry.len());
        decoded.encode(&mut sample_entry)?;
        Ok(Self {
            codec,
            width,
            height,
            rfc6381,
            sample_entry,
        })
    }

    /// Builds them from bare parameter sets (NAL units without start codes), as an encoder or a byte stream gives them.
    ///
    /// # Errors
    /// Missing or malformed parameter sets, or an empty picture.
    pub fn from_parameter_sets(sets: &ParameterSets, width: u16, height: u16) -> Result<Self, Fmp4Error> {
        let visual = mp4_atom::Visual {
            data_reference_index: 1,
            width,
            height,
            ..Default::default()
        };
        let codec: mp4_atom::Codec = match sets.codec() {
            Codec::H264 => mp4_atom::Avc1 {
                visual,
                avcc: sets.avcc()?,
                ..Default::default()
            }
            .into(),
            Codec::H265 => mp4_atom::Hvc1 {
                visual,
                hvcc: sets.hvcc()?,
                ..Default::default()
            }
            .into(),
        };
        let mut entry = Vec::new();
        codec.encode(&mut entry)?;
        Self::from_sample_entry(&entry)
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Width of the displayed picture in pixels.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height of the displayed picture in pixels.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// The codec as browsers want it named (RFC 6381), such as `avc1.64001F`.
    pub fn rfc6381(&self) -> &str {
        &self.rfc6381
    }

    /// The `avc1` or `hvc1` box.
    pub fn sample_entry(&self) -> &[u8] {
        &self.sample_entry
    }
}

/// ISO/IEC 14496-15, annex E: profile space and number, reversed compatibility flags, tier and level, constraint bytes.
fn hevc_rfc6381(hvcc: &mp4_atom::Hvcc) -> String {
    use std::fmt::Write;
    let space = ["", "A", "B", "C"][usize::from(hvcc.general_profile_space & 3)];
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let mut text = format!(
        "hvc1.{space}{}.{compatibility:X}.{tier}{}",
        hvcc.general_profile_idc & 31,
        hvcc.general_level_idc
    );
    let constraints = &hvcc.general_constraint_indicator_flags;
    let significant = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &constraints[..significant] {
        let _ = write!(text, ".{byte:X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // From x264 and x265 at 64×64; the names are what ffprobe and Chromium call these streams.
    pub(crate) const SPS_264: &[u8] = &[
        0x67, 0x64, 0x00, 0x0a, 0xac, 0xd9, 0x44, 0x26, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03,
        0x00, 0xc8, 0x3c, 0x48, 0x96, 0x58,
    ];
    pub(crate) const PPS_264: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn sets() -> ParameterSets {
        let mut sets = ParameterSets::new(Codec::H264);
        assert!(sets.offer(SPS_264) && sets.offer(PPS_264));
        sets
    }

    #[test]
    fn builds_and_parses_the_same_value() {
        let built = VideoParameters::from_parameter_sets(&sets(), 64, 64).expect("valid sets");
        assert_eq!(built.rfc6381(), "avc1.64000A");
        assert_eq!((built.width(), built.height()), (64, 64));
        assert_eq!(VideoParameters::from_sample_entry(built.sample_entry()), Ok(built));
    }

    #[test]
    fn refuses_what_it_cannot_write() {
        let oversize = vec![0; MAX_SAMPLE_ENTRY + 1];
        assert_eq!(
            VideoParameters::from_sample_entry(&oversize),
            Err(Fmp4Error::TooLarge("sample entry"))
        );
        assert!(VideoParameters::from_sample_entry(&[]).is_err());
        assert!(VideoParameters::from_parameter_sets(&sets(), 0, 64).is_err());
        assert!(VideoParameters::from_parameter_sets(&ParameterSets::new(Codec::H264), 64, 64).is_err());
        assert!(VideoParameters::from_parameter_sets(&ParameterSets::new(Codec::H265), 64, 64).is_err());
    }
}

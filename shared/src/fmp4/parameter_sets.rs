//! Parameter sets collected from a byte stream, and the decoder configuration records built from them.

use super::{Codec, Fmp4Error};

/// The most sets of one kind: the standards allow 256 PPS, cameras send one.
const MAX_SETS: usize = 16;
/// The largest single set in bytes.
const MAX_SET: usize = 1024;

/// Parameter sets of one stream in order of arrival, replaced by identifier's successor when the encoder changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSets {
    codec: Codec,
    sets: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// None yet.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            sets: Vec::new(),
        }
    }

    /// Takes them out of a decoder configuration record (`avcC`, `hvcC`) or, where there is none, a byte stream.
    ///
    /// Returns also the width of the lengths before NAL units; `None` means start codes.
    pub fn from_record(codec: Codec, record: &[u8]) -> (Self, Option<usize>) {
        let mut sets = Self::new(codec);
        if record.first() == Some(&1) && record.len() > 6 {
            let width = match codec {
                Codec::H264 => sets.read_avcc(record),
                Codec::H265 => sets.read_hvcc(record),
            };
            return (sets, width.map(|byte| usize::from(byte & 3) + 1).or(Some(4)));
        }
        for unit in super::nal::annex_b(record) {
            sets.offer(unit);
        }
        (sets, None)
    }

    fn read_avcc(&mut self, record: &[u8]) -> Option<u8> {
        let width = *record.get(4)?;
        let mut at = 5;
        for mask in [0x1f, 0xff] {
            let count = *record.get(at)? & mask;
            at += 1;
            for _ in 0..count {
                self.read_unit(record, &mut at);
            }
        }
        Some(width)
    }

    fn read_hvcc(&mut self, record: &[u8]) -> Option<u8> {
        let width = *record.get(21)?;
        let arrays = *record.get(22)?;
        let mut at = 23;
        for _ in 0..arrays {
            let count = u16::from_be_bytes(*record.get(at + 1..)?.first_chunk()?);
            at += 3;
            for _ in 0..count {
                self.read_unit(record, &mut at)?;
            }
        }
        Some(width)
    }

    fn read_unit(&mut self, record: &[u8], at: &mut usize) -> Option<()> {
        let length = usize::from(u16::from_be_bytes(*record.get(*at..)?.first_chunk()?));
        let unit = record.get(*at + 2..*at + 2 + length)?;
        *at += 2 + length;
        self.offer(unit);
        Some(())
    }

    /// Which codec they belong to.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Takes a NAL unit if it is a parameter set not known yet; returns whether anything changed.
    ///
    /// A set with the same kind and identifier as a known one replaces it. Oversize and surplus sets are ignored.
    pub fn offer(&mut self, unit: &[u8]) -> bool {
        if unit.len() > MAX_SET || self.sets.iter().any(|known| known == unit) {
            return false;
        }
        let Some(key) = self.key(unit) else { return false };
        if let Some(position) = self.sets.iter().position(|known| self.key(known) == Some(key)) {
            self.sets[position] = unit.to_vec();
            return true;
        }
        if self.of_kind(key.0).count() >= MAX_SETS {
            return false;
        }
        self.sets.push(unit.to_vec());
        true
    }

    /// Whether a decoder could start.
    pub fn complete(&self) -> bool {
        let kinds: &[u8] = match self.codec {
            Codec::H264 => &[7, 8],
            Codec::H265 => &[32, 33, 34],
        };
        kinds.iter().all(|kind| self.of_kind(*kind).next().is_some())
    }

    fn kind(&self, unit: &[u8]) -> Option<u8> {
        let first = *unit.first()?;
        Some(match self.codec {
            Codec::H264 => first & 0x1f,
            Codec::H265 => (first >> 1) & 0x3f,
        })
    }

    /// Kind and identifier; `None` for anything but a parameter set whose identifier can be read.
    fn key(&self, unit: &[u8]) -> Option<(u8, u32)> {
        let kind = self.kind(unit)?;
        let id = match (self.codec, kind) {
            (Codec::H264, 7) => Bits::new(unit.get(4..)?).ue()?,
            (Codec::H264, 8) => Bits::new(unit.get(1..)?).ue()?,
            (Codec::H265, 32) => u32::from(unit.get(2)? >> 4),
            (Codec::H265, 33) => HevcSps::parse(unit)?.id,
            (Codec::H265, 34) => Bits::new(unit.get(2..)?).ue()?,
            _ => return None,
        };
        Some((kind, id))
    }

    fn of_kind(&self, kind: u8) -> impl Iterator<Item = &Vec<u8>> {
        self.sets.iter().filter(move |set| self.kind(set) == Some(kind))
    }

    /// ISO/IEC 14496-15, 5.3.3.1.
    pub(super) fn avcc(&self) -> Result<mp4_atom::Avcc, Fmp4Error> {
        let (Some(sps), Some(pps)) = (self.of_kind(7).next(), self.of_kind(8).next()) else {
            return Err(Fmp4Error::ParameterSet("SPS or PPS"));
        };
        let mut avcc = mp4_atom::Avcc::new(sps, pps)?;
        avcc.sequence_parameter_sets = self.of_kind(7).cloned().collect();
        avcc.picture_parameter_sets = self.of_kind(8).cloned().collect();
        // The high profiles carry the sample format a second time.
        if matches!(sps[1], 100 | 110 | 122 | 144) {
            let mut bits = Bits::new(&sps[4..]);
            let mut read = || bits.ue();
            let (Some(_id), Some(chroma)) = (read(), read()) else {
                return Err(Fmp4Error::ParameterSet("SPS"));
            };
            if chroma == 3 {
                return Err(Fmp4Error::ParameterSet("SPS"));
            }
            let (Some(luma), Some(other)) = (read(), read()) else {
                return Err(Fmp4Error::ParameterSet("SPS"));
            };
            let depth = |minus8: u32| {
                u8::try_from(minus8)
                    .ok()
                    .filter(|minus8| *minus8 <= 6)
                    .map(|minus8| minus8 + 8)
            };
            let (Some(chroma_format), Some(bit_depth_luma), Some(bit_depth_chroma)) = (
                u8::try_from(chroma).ok().filter(|chroma| *chroma < 3),
                depth(luma),
                depth(other),
            ) else {
                return Err(Fmp4Error::ParameterSet("SPS"));
            };
            avcc.ext = Some(mp4_atom::AvccExt {
                chroma_format,
                bit_depth_luma,
                bit_depth_chroma,
                sequence_parameter_sets_ext: Vec::new(),
            });
        }
        Ok(avcc)
    }

    /// ISO/IEC 14496-15, 8.3.3.1.
    pub(super) fn hvcc(&self) -> Result<mp4_atom::Hvcc, Fmp4Error> {
        if !self.complete() {
            return Err(Fmp4Error::ParameterSet("VPS, SPS or PPS"));
        }
        let sps = self
            .of_kind(33)
            .next()
            .and_then(|sps| HevcSps::parse(sps))
            .ok_or(Fmp4Error::ParameterSet("SPS"))?;
        let arrays = [32u8, 33, 34].map(|nal_unit_type| mp4_atom::HvcCArray {
            completeness: true,
            nal_unit_type,
            nalus: self.of_kind(nal_unit_type).cloned().collect(),
        });
        Ok(mp4_atom::Hvcc {
            general_profile_space: sps.profile[0] >> 6,
            general_tier_flag: sps.profile[0] & 0x20 != 0,
            general_profile_idc: sps.profile[0] & 0x1f,
            general_profile_compatibility_flags: [sps.profile[1], sps.profile[2], sps.profile[3], sps.profile[4]],
            general_constraint_indicator_flags: [
                sps.profile[5],
                sps.profile[6],
                sps.profile[7],
                sps.profile[8],
                sps.profile[9],
                sps.profile[10],
            ],
            general_level_idc: sps.profile[11],
            chroma_format_idc: sps.chroma_format,
            bit_depth_luma_minus8: sps.luma_minus8,
            bit_depth_chroma_minus8: sps.chroma_minus8,
            num_temporal_layers: sps.temporal_layers,
            temporal_id_nested: sps.temporal_nested,
            length_size_minus_one: 3,
            arrays: arrays.into(),
            ..mp4_atom::Hvcc::new()
        })
    }
}

/// The part of an H.265 sequence parameter set that the configuration record repeats (H.265, 7.3.2.2).
struct HevcSps {
    id: u32,
    profile: [u8; 12],
    temporal_layers: u8,
    temporal_nested: bool,
    chroma_format: u8,
    luma_minus8: u8,
    chroma_minus8: u8,
}

impl HevcSps {
    fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(unit.get(2..)?);
        bits.skip(4)?;
        let sub_layers = bits.read(3)?;
        let temporal_nested = bits.read(1)? == 1;
        let mut profile = [0; 12];
        for byte in &mut profile {
            *byte = u8::try_from(bits.read(8)?).ok()?;
        }
        if sub_layers > 0 {
            let mut present = Vec::with_capacity(8);
            for _ in 0..8 {
                present.push((bits.read(1)?, bits.read(1)?));
            }
            for (profile_present, level_present) in present.into_iter().take(sub_layers as usize) {
                bits.skip(88 * profile_present + 8 * level_present)?;
            }
        }
        let id = bits.ue()?;
        let chroma_format = u8::try_from(bits.ue()?).ok().filter(|format| *format <= 3)?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        let (_width, _height) = (bits.ue()?, bits.ue()?);
        if bits.read(1)? == 1 {
            for _ in 0..4 {
                bits.ue()?;
            }
        }
        let mut depth = || {
            bits.ue()
                .and_then(|minus8| u8::try_from(minus8).ok())
                .filter(|minus8| *minus8 <= 7)
        };
        let (luma_minus8, chroma_minus8) = (depth()?, depth()?);
        let temporal_layers = u8::try_from(sub_layers).ok()? + 1;
        Some(Self {
            id,
            profile,
            temporal_layers,
            temporal_nested,
            chroma_format,
            luma_minus8,
            chroma_minus8,
        })
    }
}

/// Reads bits of a NAL unit, skipping its escape bytes.
struct Bits<'a> {
    data: &'a [u8],
    byte: usize,
    bit: u8,
    zeros: u8,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            byte: 0,
            bit: 0,
            zeros: 0,
        }
    }

    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            if self.bit == 0 && self.zeros >= 2 && self.data.get(self.byte) == Some(&3) {
                self.byte += 1;
                self.zeros = 0;
            }
            let byte = *self.data.get(self.byte)?;
            value = value << 1 | u32::from(byte >> (7 - self.bit) & 1);
            self.bit += 1;
            if self.bit == 8 {
                self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
                self.byte += 1;
                self.bit = 0;
            }
        }
        Some(value)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.read(1)?;
        }
        Some(())
    }

    /// Unsigned Exp-Golomb.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.read(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exp_golomb_and_skips_escapes() {
        let check = |bytes: &[u8], expected: Option<u32>| assert_eq!(Bits::new(bytes).ue(), expected, "{bytes:02x?}");
        check(&[0b1000_0000], Some(0));
        check(&[0b0100_0000], Some(1));
        check(&[0b0010_1000], Some(4));
        check(&[0, 0, 3, 0, 0, 3, 0, 0], None);
        check(&[], None);
        assert_eq!(Bits::new(&[0, 0, 3, 0xff]).read(24), Some(0xff));
    }

    #[test]
    fn a_changed_set_replaces_its_predecessor() {
        let mut sets = ParameterSets::new(Codec::H264);
        assert!(sets.offer(&[0x67, 100, 0, 10, 0x80]));
        assert!(!sets.offer(&[0x67, 100, 0, 10, 0x80]));
        assert!(sets.offer(&[0x67, 100, 0, 11, 0x80]), "same identifier, other level");
        assert_eq!(sets.of_kind(7).count(), 1);
        assert!(!sets.complete());
        assert!(sets.offer(&[0x68, 0x80]) && sets.complete());
    }

    #[test]
    fn surplus_and_oversize_sets_are_ignored() {
        let mut sets = ParameterSets::new(Codec::H265);
        assert!(!sets.offer(&[0x44; MAX_SET + 1]));
        assert!(!sets.offer(&[0x26, 1, 2]), "a slice is no parameter set");
        for id in 0..16u8 {
            assert!(sets.offer(&[0x40, 1, id << 4]));
        }
        assert_eq!(sets.sets.len(), MAX_SETS);
    }
}

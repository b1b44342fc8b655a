//! How kinds are encoded; the CDDL is in `shared/spec/statement.md`.

use super::{
    Boot, ClockStep, CodecParameters, Destroyed, Gap, Kind, MAX_RFC6381_LEN, MAX_SOFTWARE_LEN, SegmentStatement, Tamper,
};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};

impl Cbor for Kind {
    /// A list of the kind's number and its fields.
    fn write(&self, e: &mut Encoder) {
        e.array(2).uint(self.number());
        match self {
            Self::Segment(s) => {
                e.map(12)
                    .key(0)
                    .value(&s.preamble)
                    .key(1)
                    .value(&s.file_sha256)
                    .key(2)
                    .uint(s.file_len);
                e.key(3)
                    .value(&s.t_end)
                    .key(4)
                    .uint(s.frames.into())
                    .key(5)
                    .uint(s.fragments.into());
                e.key(6).value(&s.codec).key(7).bool(s.truncated).key(8).value(&s.clock);
                e.key(9)
                    .value(&s.timing)
                    .key(10)
                    .bool(s.closed_gop)
                    .key(11)
                    .bool(s.b_frames);
            }
            Self::Gap(g) => {
                e.map(2).key(0).value(&g.range).key(1).value(&g.cause);
            }
            Self::Tamper(t) => {
                e.map(2).key(0).value(&t.since).key(1).value(&t.kind);
            }
            Self::Boot(b) => {
                e.map(2).key(0).text(&b.software).key(1).value(&b.clock);
            }
            Self::Clock(c) => {
                e.map(4)
                    .key(0)
                    .int(c.offset_us)
                    .key(1)
                    .value(&c.source)
                    .key(2)
                    .value(&c.before)
                    .key(3)
                    .value(&c.after);
            }
            Self::KeyInUse { key_id } => {
                e.map(1).key(0).value(key_id);
            }
            Self::Destroyed(d) => {
                e.map(5).key(0).value(&d.key_id).key(1).value(&d.range);
                e.key(2)
                    .uint(d.first_seq)
                    .key(3)
                    .uint(d.last_seq)
                    .key(4)
                    .value(&d.reason);
            }
        }
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        if d.array(2)? != 2 {
            return Err(CborError::Limit);
        }
        let kind = match d.uint()? {
            0 => Self::Segment(Box::new(read_segment(d)?)),
            1 => {
                d.map(2)?;
                Self::Gap(Gap {
                    range: d.key(0)?.value()?,
                    cause: d.key(1)?.value()?,
                })
            }
            2 => {
                d.map(2)?;
                Self::Tamper(Tamper {
                    since: d.key(0)?.value()?,
                    kind: d.key(1)?.value()?,
                })
            }
            3 => {
                d.map(2)?;
                Self::Boot(Boot {
                    software: d.key(0)?.text(MAX_SOFTWARE_LEN)?.to_owned(),
                    clock: d.key(1)?.value()?,
                })
            }
            4 => {
                d.map(4)?;
                Self::Clock(ClockStep {
                    offset_us: d.key(0)?.int()?,
                    source: d.key(1)?.value()?,
                    before: d.key(2)?.value()?,
                    after: d.key(3)?.value()?,
                })
            }
            5 => {
                d.map(1)?;
                Self::KeyInUse {
                    key_id: d.key(0)?.value()?,
                }
            }
            6 => {
                d.map(5)?;
                Self::Destroyed(Destroyed {
                    key_id: d.key(0)?.value()?,
                    range: d.key(1)?.value()?,
                    first_seq: d.key(2)?.uint()?,
                    last_seq: d.key(3)?.uint()?,
                    reason: d.key(4)?.value()?,
                })
            }
            _ => return Err(CborError::Value("kind of statement")),
        };
        kind.check().map_err(CborError::Value)?;
        Ok(kind)
    }
}

fn read_segment(d: &mut Decoder<'_>) -> Result<SegmentStatement, CborError> {
    d.map(12)?;
    Ok(SegmentStatement {
        preamble: d.key(0)?.value()?,
        file_sha256: d.key(1)?.value()?,
        file_len: d.key(2)?.uint()?,
        t_end: d.key(3)?.value()?,
        frames: d.key(4)?.small()?,
        fragments: d.key(5)?.small()?,
        codec: d.key(6)?.value()?,
        truncated: d.key(7)?.bool()?,
        clock: d.key(8)?.value()?,
        timing: d.key(9)?.value()?,
        closed_gop: d.key(10)?.bool()?,
        b_frames: d.key(11)?.bool()?,
    })
}

impl Cbor for CodecParameters {
    fn write(&self, e: &mut Encoder) {
        e.array(4)
            .value(&self.codec)
            .text(&self.rfc6381)
            .uint(self.width.into())
            .uint(self.height.into());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        if d.array(4)? != 4 {
            return Err(CborError::Limit);
        }
        Ok(Self {
            codec: d.value()?,
            rfc6381: d.text(MAX_RFC6381_LEN)?.to_owned(),
            width: d.small()?,
            height: d.small()?,
        })
    }
}

//! Deterministic CBOR (RFC 8949, section 4.2.1) for the few shapes that Custody's formats use.
//!
//! One value has one encoding: shortest heads, definite lengths, map keys in ascending order. The
//! decoder is driven by the type it reads and accepts nothing else, so what decodes encodes to the
//! same bytes, nesting is as deep as the type and no deeper, and nothing is allocated before its
//! length has been compared with the field's limit.

mod decode;
mod encode;

pub use decode::Decoder;
pub use encode::Encoder;

/// Why bytes are not the encoding of the value asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end in the middle of a value.
    #[error("ends in the middle of a value")]
    Truncated,
    /// A head is longer than needed, of indefinite length, a tag or a float.
    #[error("is not in the deterministic form")]
    NotDeterministic,
    /// Another type stands where this one was expected.
    #[error("{0} expected")]
    Expected(&'static str),
    /// A string, list or number is over its field's limit, or of the wrong length.
    #[error("a length or count is outside its limit")]
    Limit,
    /// A map key is missing, unknown, doubled or out of order.
    #[error("map key {0} expected")]
    Key(u64),
    /// The value is well formed but means nothing in this place.
    #[error("the value of {0} is not allowed")]
    Value(&'static str),
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Trailing,
}

/// A type with one deterministic CBOR form.
pub trait Cbor: Sized {
    /// Appends the value.
    fn write(&self, e: &mut Encoder);

    /// Takes one value from the front.
    ///
    /// # Errors
    /// If the bytes are not exactly what [`Cbor::write`] writes for some value.
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError>;

    /// The encoding of the value alone.
    fn to_cbor(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        self.write(&mut e);
        e.finish()
    }

    /// The value that `bytes`, and nothing but `bytes`, encode.
    ///
    /// # Errors
    /// As [`Cbor::read`], and if bytes follow the value.
    fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        let mut d = Decoder::new(bytes);
        let value = Self::read(&mut d)?;
        d.finish()?;
        Ok(value)
    }
}

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_those_of_the_standard() {
        // RFC 8949, appendix A.
        for (value, hex) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (1000, "1903e8"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
            (-1, "20"),
            (-10, "29"),
            (-100, "3863"),
            (-1000, "3903e7"),
            (i64::MIN, "3b7fffffffffffffff"),
        ] {
            let mut e = Encoder::new();
            e.int(value);
            let bytes = e.finish();
            assert_eq!(hex::encode(&bytes), hex);
            assert_eq!(Decoder::new(&bytes).int(), Ok(value));
        }
    }

    #[test]
    fn what_is_not_deterministic_is_refused() {
        for (flaw, hex) in [
            ("one byte more than needed", "1817"),
            ("two bytes more than needed", "190017"),
            ("four bytes where two do", "1a000003e8"),
            ("eight bytes where four do", "1b00000000ffffffff"),
            ("indefinite length", "5f"),
            ("reserved head", "1c"),
        ] {
            let bytes = hex::decode(hex).unwrap();
            assert_eq!(Decoder::new(&bytes).uint(), Err(CborError::NotDeterministic), "{flaw}");
        }
        assert_eq!(
            Decoder::new(&hex::decode("c11a514b67b0").unwrap()).uint(),
            Err(CborError::Expected("unsigned integer"))
        );
        assert_eq!(
            Decoder::new(&hex::decode("f93c00").unwrap()).bool(),
            Err(CborError::Expected("true or false"))
        );
    }

    #[test]
    fn limits_come_before_contents() {
        let huge = hex::decode("5bffffffffffffffff").unwrap();
        assert_eq!(Decoder::new(&huge).bytes(usize::MAX - 1), Err(CborError::Limit));
        let huge_list = hex::decode("9affffffff").unwrap();
        assert_eq!(Decoder::new(&huge_list).array(10), Err(CborError::Limit));
        let over = hex::decode("4401020304").unwrap();
        assert_eq!(Decoder::new(&over).bytes(3), Err(CborError::Limit));
        assert_eq!(Decoder::new(&over).bytes(4), Ok(&[1, 2, 3, 4][..]));
        assert_eq!(Decoder::new(&over[..3]).bytes(4), Err(CborError::Truncated));
    }
}

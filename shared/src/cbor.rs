//! Deterministic CBOR (RFC 8949, section 4.2.1) for the few shapes that Custody's formats use.
//!
//! One value has one encoding: shortest heads, definite lengths, map keys in ascending order. The
//! decoder is driven by the type it reads and accepts nothing else, so what decodes encodes to the
//! same bytes, nesting is as deep as the type and no deeper, and nothing is allocated before its
//! length has been compared with the field's limit.

use std::fmt;

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

/// Writes values one after the other.
#[derive(Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({} bytes)", self.out.len())
    }
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    fn head(&mut self, major: u8, value: u64) {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        match value {
            0..=23 => self.out.push(major | bytes[7]),
            24..=0xff => self.out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..=0xffff => {
                self.out.push(major | 25);
                self.out.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value);
        self
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(UINT, value),
            Err(_) => self.head(NEGATIVE, !(value as u64)),
        }
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
        self
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.out.push(if value { TRUE } else { FALSE });
        self
    }

    /// The absent value of an optional field.
    pub fn null(&mut self) -> &mut Self {
        self.out.push(NULL);
        self
    }

    /// The head of a list of `len` values.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(ARRAY, len as u64);
        self
    }

    /// The head of a map of `len` entries; each is a [`key`](Self::key) and a value, keys ascending.
    pub fn map(&mut self, len: usize) -> &mut Self {
        self.head(MAP, len as u64);
        self
    }

    /// A map key.
    pub fn key(&mut self, key: u64) -> &mut Self {
        self.uint(key)
    }

    /// Another value's encoding.
    pub fn value<T: Cbor>(&mut self, value: &T) -> &mut Self {
        value.write(self);
        self
    }

    /// A list of values.
    pub fn list<T: Cbor>(&mut self, values: &[T]) -> &mut Self {
        self.array(values.len());
        values.iter().for_each(|value| value.write(self));
        self
    }

    /// A value or its absence.
    pub fn option<T: Cbor>(&mut self, value: Option<&T>) -> &mut Self {
        match value {
            Some(value) => self.value(value),
            None => self.null(),
        }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CborError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.take(1)?[0];
        let (len, least) = match first & 0x1f {
            short @ 0..=23 => return Ok((first >> 5, u64::from(short))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return Err(CborError::NotDeterministic),
        };
        let value = self
            .take(len)?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        if value < least {
            return Err(CborError::NotDeterministic);
        }
        Ok((first >> 5, value))
    }

    fn expect(&mut self, major: u8, name: &'static str) -> Result<u64, CborError> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(CborError::Expected(name)),
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// If something else is next.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(UINT, "unsigned integer")
    }

    /// An unsigned integer that fits a smaller type.
    ///
    /// # Errors
    /// If something else is next or the value does not fit.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, CborError> {
        T::try_from(self.uint()?).map_err(|_| CborError::Limit)
    }

    /// A signed integer.
    ///
    /// # Errors
    /// If something else is next or the value is outside 64 bits.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| CborError::Limit)?;
        match major {
            UINT => Ok(value),
            NEGATIVE => Ok(!value),
            _ => Err(CborError::Expected("integer")),
        }
    }

    /// A byte string of at most `max` bytes.
    ///
    /// # Errors
    /// If something else is next or it is longer.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], CborError> {
        let len = self.expect(BYTES, "byte string")?;
        self.limited(len, max)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// If something else is next or its length differs.
    pub fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.bytes(N)?.try_into().map_err(|_| CborError::Limit)
    }

    /// A text of at most `max` bytes of UTF-8.
    ///
    /// # Errors
    /// If something else is next, it is longer, or it is not UTF-8.
    pub fn text(&mut self, max: usize) -> Result<&'a str, CborError> {
        let len = self.expect(TEXT, "text")?;
        let bytes = self.limited(len, max)?;
        std::str::from_utf8(bytes).map_err(|_| CborError::Expected("UTF-8"))
    }

    fn limited(&mut self, len: u64, max: usize) -> Result<&'a [u8], CborError> {
        match usize::try_from(len) {
            Ok(len) if len <= max => self.take(len),
            _ => Err(CborError::Limit),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// If something else is next.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        match self.take(1)?[0] {
            FALSE => Ok(false),
            TRUE => Ok(true),
            _ => Err(CborError::Expected("true or false")),
        }
    }

    /// Takes a null if one is next, and says whether it was.
    pub fn null(&mut self) -> bool {
        let null = self.rest.first() == Some(&NULL);
        if null {
            self.rest = &self.rest[1..];
        }
        null
    }

    /// The head of a list of at most `max` values.
    ///
    /// # Errors
    /// If something else is next or it is longer.
    pub fn array(&mut self, max: usize) -> Result<usize, CborError> {
        let len = self.expect(ARRAY, "list")?;
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(CborError::Limit),
        }
    }

    /// The head of a map of exactly `len` entries.
    ///
    /// # Errors
    /// If something else is next or the count differs.
    pub fn map(&mut self, len: usize) -> Result<(), CborError> {
        match self.expect(MAP, "map")? {
            found if found == len as u64 => Ok(()),
            _ => Err(CborError::Limit),
        }
    }

    /// The map key `key`, and no other.
    ///
    /// # Errors
    /// If something else is next.
    pub fn key(&mut self, key: u64) -> Result<&mut Self, CborError> {
        match self.head() {
            Ok((UINT, found)) if found == key => Ok(self),
            Err(CborError::Truncated) => Err(CborError::Truncated),
            _ => Err(CborError::Key(key)),
        }
    }

    /// A value of a type that has one encoding.
    ///
    /// # Errors
    /// As [`Cbor::read`].
    pub fn value<T: Cbor>(&mut self) -> Result<T, CborError> {
        T::read(self)
    }

    /// A list of at most `max` values.
    ///
    /// # Errors
    /// As [`Decoder::array`] and [`Cbor::read`].
    pub fn list<T: Cbor>(&mut self, max: usize) -> Result<Vec<T>, CborError> {
        let len = self.array(max)?;
        // Grown as values arrive: a head alone, however large the count, allocates nothing.
        let mut values = Vec::new();
        for _ in 0..len {
            values.push(T::read(self)?);
        }
        Ok(values)
    }

    /// A value or null.
    ///
    /// # Errors
    /// As [`Cbor::read`].
    pub fn option<T: Cbor>(&mut self) -> Result<Option<T>, CborError> {
        if self.null() { Ok(None) } else { T::read(self).map(Some) }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// If bytes are left.
    pub fn finish(self) -> Result<(), CborError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CborError::Trailing)
        }
    }
}

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

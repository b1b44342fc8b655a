//! Reading.

use super::{ARRAY, BYTES, Cbor, CborError, FALSE, MAP, NEGATIVE, NULL, TEXT, TRUE, UINT};

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

//! Writing.

use super::{ARRAY, BYTES, Cbor, FALSE, MAP, NEGATIVE, NULL, TEXT, TRUE, UINT};
use std::fmt;

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

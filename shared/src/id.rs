//! Names of things: 16 random bytes each, shown as 32 lowercase hexadecimal digits.
//!
//! One type per kind of thing, so that a camera's name cannot be passed where a key's is meant.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use std::fmt;
use std::str::FromStr;

/// A text that is not 32 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is written as 32 lowercase hexadecimal digits")]
pub struct IdError;

fn parse_hex16(text: &str) -> Result<[u8; 16], IdError> {
    // Upper case is refused: one thing has one spelling, in file names and topics too.
    if text.len() != 32 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(IdError);
    }
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError)?;
    Ok(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh random id.
            ///
            /// # Panics
            /// If the operating system's random source fails, which ends every use of this crate.
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).expect("the system's random source works");
                Self(bytes)
            }

            /// The id with exactly these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, as written in binary formats.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex16(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                crate::id::text_visitor(d)
            }
        }

        impl Cbor for $name {
            fn write(&self, e: &mut Encoder) {
                e.bytes(&self.0);
            }
            fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
                d.byte_array().map(Self)
            }
        }
    };
}

id!(
    /// One installation: a clinic, a shop, a building.
    SiteId
);
id!(
    /// One camera and the agent that records it.
    CameraId
);
id!(
    /// One footage key pair, usually of one camera and one filming day.
    KeyId
);
id!(
    /// One start of an agent process.
    BootId
);
id!(
    /// A person with an account.
    PersonId
);
id!(
    /// A footage request.
    RequestId
);
id!(
    /// What a decision allowed.
    GrantId
);
id!(
    /// A copy prepared under a grant.
    ExportId
);

/// Reads a value that serde carries as its text form.
#[doc(hidden)]
pub fn text_visitor<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct Visitor<T>(std::marker::PhantomData<T>);
    impl<T: FromStr> serde::de::Visitor<'_> for Visitor<T>
    where
        T::Err: fmt::Display,
    {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    d.deserialize_str(Visitor(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let id = CameraId::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse::<CameraId>(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"000102030405060708090a0b0c0d0eff\"");
        assert_eq!(serde_json::from_str::<CameraId>(&json).unwrap(), id);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "00",
            "000102030405060708090A0B0C0D0EFF",
            "000102030405060708090a0b0c0d0ef",
            "000102030405060708090a0b0c0d0eff0",
            "g00102030405060708090a0b0c0d0eff",
            "00010203-0405-0607-0809-0a0b0c0d0e",
        ] {
            assert_eq!(text.parse::<SiteId>(), Err(IdError), "{text:?}");
        }
    }

    #[test]
    fn two_random_ids_differ() {
        assert_ne!(BootId::random(), BootId::random());
    }
}

//! Closed lists: a number in formats, a kebab-case word in texts, in JSON and in metrics.

/// A word that is not in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is none of the known words")]
pub struct UnknownWord(pub &'static str);

/// Defines an enumeration that is a number in formats and a word in texts; the caller has `serde`.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $number,)*
        }

        impl $name {
            /// All words of the list, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in texts.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, $crate::words::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::words::UnknownWord(stringify!($name))),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::id::text_visitor(d)
            }
        }

        impl $crate::cbor::Cbor for $name {
            fn write(&self, e: &mut $crate::cbor::Encoder) {
                e.uint(*self as u64);
            }
            fn read(d: &mut $crate::cbor::Decoder<'_>) -> Result<Self, $crate::cbor::CborError> {
                match d.uint()? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::cbor::CborError::Value(stringify!($name))),
                }
            }
        }
    };
}
pub use words;

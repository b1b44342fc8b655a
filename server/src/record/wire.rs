//! The bytes of a row: `[version, time, actor, row]` in CBOR, one version so far.

use ciborium::value::Value;
use custody_shared::time::UtcMicros;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::row::{Actor, Entry, Row};

/// Version of the encoding below.
pub(super) const VERSION: u8 = 1;
/// Largest body in bytes; the largest row holds the key descriptors of one camera.
pub(super) const MAX_BODY: usize = 256 * 1024;

/// Why a body cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Over [`MAX_BODY`].
    #[error("a row of {0} bytes is over the limit of {MAX_BODY}")]
    TooLong(usize),
    /// Written by a newer version of this program.
    #[error("a row has encoding version {0}, this program knows {VERSION}; install the version that wrote it")]
    Version(u8),
    /// Not a row.
    #[error("a row's body is malformed: {0}")]
    Malformed(String),
}

#[derive(Serialize)]
struct Out<'a>(u8, i64, Actor, &'a Row);

#[derive(Deserialize)]
struct In(u8, i64, Actor, Row);

/// Writes an entry. The same entry always gives the same bytes.
///
/// # Errors
/// [`WireError`], also for rows that would not come back the same.
pub fn encode(entry: &Entry) -> Result<Zeroizing<Vec<u8>>, WireError> {
    // Sized ahead so that growing leaves no copies of personal data behind.
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    ciborium::into_writer(&Out(VERSION, entry.at.get(), entry.actor, &entry.row), &mut *body)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    // A row that could not be read back would keep the record closed for ever: refuse it before it is written.
    if decode(&body)? != *entry {
        return Err(WireError::Malformed(
            "it would not come back as it was written".to_owned(),
        ));
    }
    Ok(body)
}

/// Reads an entry.
///
/// # Errors
/// [`WireError`]; bytes after the row are refused too.
pub fn decode(body: &[u8]) -> Result<Entry, WireError> {
    if body.len() > MAX_BODY {
        return Err(WireError::TooLong(body.len()));
    }
    // The second byte is the version: a short integer as first item of an array of four.
    match body {
        [0x84, VERSION, ..] => {}
        [0x84, version @ 0..=23, ..] => return Err(WireError::Version(*version)),
        _ => return Err(WireError::Malformed("no version".to_owned())),
    }
    let mut rest = body;
    let In(version, at, actor, row) = ciborium::de::from_reader_with_recursion_limit(&mut rest, 32)
        .map_err(|error: ciborium::de::Error<_>| WireError::Malformed(kind_of(&error)))?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    if !rest.is_empty() {
        return Err(WireError::Malformed(format!("{} bytes after the row", rest.len())));
    }
    Ok(Entry {
        at: UtcMicros::new(at),
        actor,
        row,
    })
}

/// The decoder's complaint without the data it quotes.
fn kind_of<T>(error: &ciborium::de::Error<T>) -> String {
    match error {
        ciborium::de::Error::Io(_) => "cut short".to_owned(),
        ciborium::de::Error::Syntax(at) => format!("no CBOR at byte {at}"),
        ciborium::de::Error::Semantic(at, _) => format!("no known row (byte {})", at.unwrap_or(0)),
        ciborium::de::Error::RecursionLimitExceeded => "nested too deeply".to_owned(),
    }
}

fn byte_string<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(serde::de::Error::custom("expected a byte string")),
    }
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Instants as microseconds.
pub(super) mod micros {
    use super::{Deserialize, UtcMicros};

    pub(in crate::record) fn serialize<S: serde::Serializer>(at: &UtcMicros, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(at.get())
    }

    pub(in crate::record) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<UtcMicros, D::Error> {
        i64::deserialize(d).map(UtcMicros::new)
    }
}

/// Ranges as `[start, end]` in microseconds.
pub(super) mod range {
    use custody_shared::time::TimeRange;

    use super::{Deserialize, Serialize, UtcMicros};

    pub(in crate::record) fn serialize<S: serde::Serializer>(range: &TimeRange, s: S) -> Result<S::Ok, S::Error> {
        (range.start().get(), range.end().get()).serialize(s)
    }

    pub(in crate::record) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<TimeRange, D::Error> {
        let (start, end) = <(i64, i64)>::deserialize(d)?;
        TimeRange::new(UtcMicros::new(start), UtcMicros::new(end)).map_err(serde::de::Error::custom)
    }
}

/// Public keys as byte strings.
pub(super) mod bytes32 {
    pub(in crate::record) fn serialize<S: serde::Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        super::as_bytes(bytes, s)
    }

    pub(in crate::record) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        super::byte_string(d)?
            .try_into()
            .map_err(|_| serde::de::Error::custom("expected 32 bytes"))
    }
}

/// Grants in their own deterministic encoding, as a byte string.
pub(super) mod grant {
    use custody_shared::cbor::Cbor as _;
    use custody_shared::grant::Grant;

    pub(in crate::record) fn serialize<S: serde::Serializer>(grant: &Grant, s: S) -> Result<S::Ok, S::Error> {
        super::as_bytes(&grant.to_cbor(), s)
    }

    pub(in crate::record) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Grant, D::Error> {
        Grant::from_cbor(&super::byte_string(d)?).map_err(serde::de::Error::custom)
    }
}

/// Key descriptors in their own encoding, as byte strings.
pub(super) mod descriptors {
    use custody_shared::cbor::Cbor as _;
    use custody_shared::keys::KeyDescriptor;

    use super::{Deserialize, Value};

    pub(in crate::record) fn serialize<S: serde::Serializer>(list: &[KeyDescriptor], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|descriptor| Value::Bytes(descriptor.to_cbor())))
    }

    pub(in crate::record) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<KeyDescriptor>, D::Error> {
        Vec::<Value>::deserialize(d)?
            .into_iter()
            .map(|value| match value {
                Value::Bytes(bytes) => KeyDescriptor::from_cbor(&bytes).map_err(serde::de::Error::custom),
                _ => Err(serde::de::Error::custom("expected a byte string")),
            })
            .collect()
    }
}

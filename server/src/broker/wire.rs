//! Bytes to packets and back, with rumqttd's own codec, so that gate and router cannot read one byte string two ways.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Error, Packet, Protocol};

use super::rules::MAX_PAYLOAD;

/// Largest CONNECT, in bytes: names, a will and a login need far less.
const MAX_CONNECT: usize = 8 * 1024;
/// Largest packet after it.
const MAX_PACKET: usize = MAX_PAYLOAD + 512;

/// Which of the two protocol versions a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V5,
}

/// Bytes that no client of ours sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("packet type {0} is not taken here")]
    Type(u8),
    #[error("QoS 2 is not served")]
    ExactlyOnce,
    #[error("longer than the bound")]
    TooLong,
    #[error("not MQTT 3.1.1 or 5: {0}")]
    Malformed(String),
}

/// Takes packets off a connection's bytes.
pub(super) struct Reader {
    pub(super) buffer: BytesMut,
    version: Option<Version>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::with_capacity(4096),
            version: None,
        }
    }

    /// The version of the CONNECT that has been read.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    /// The next whole packet, or `None` if more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, WireError> {
        let Some(&first) = self.buffer.first() else {
            return Ok(None);
        };
        let (version, bound) = match self.version {
            // The type is looked at before the codec is: it panics on some that only a server sends.
            Some(version) => {
                allowed_after_connect(first)?;
                (version, MAX_PACKET)
            }
            None => {
                if first != 0x10 {
                    return Err(WireError::Type(first >> 4));
                }
                match connect_version(&self.buffer)? {
                    Some(version) => (version, MAX_CONNECT),
                    None => return Ok(None),
                }
            }
        };
        let buffer = &mut self.buffer;
        let read = catch_unwind(AssertUnwindSafe(|| match version {
            Version::V4 => V4.read_mut(buffer, bound),
            Version::V5 => V5.read_mut(buffer, bound),
        }));
        match read {
            Ok(Ok(packet)) => {
                self.version = Some(version);
                Ok(Some(packet))
            }
            Ok(Err(Error::InsufficientBytes(more))) => {
                self.buffer.reserve(more.min(MAX_PACKET));
                Ok(None)
            }
            Ok(Err(Error::PayloadSizeLimitExceeded(_))) => Err(WireError::TooLong),
            Ok(Err(error)) => Err(WireError::Malformed(error.to_string())),
            Err(_) => Err(WireError::Malformed("the codec gave up".to_owned())),
        }
    }
}

/// Types a client may send once connected: PUBLISH (QoS 0 and 1), PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT.
fn allowed_after_connect(first: u8) -> Result<(), WireError> {
    match first >> 4 {
        3 if first & 0b0110 >= 0b0100 => Err(WireError::ExactlyOnce),
        3 | 4 | 8 | 10 | 12 | 14 => Ok(()),
        other => Err(WireError::Type(other)),
    }
}

/// The protocol level in a CONNECT's first bytes; `None` if they have not all come.
fn connect_version(bytes: &[u8]) -> Result<Option<Version>, WireError> {
    let mut length = 0_usize;
    let mut at = 1;
    loop {
        let Some(&byte) = bytes.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if at > 4 {
            return Err(WireError::Malformed("length of a CONNECT".to_owned()));
        }
    }
    if length > MAX_CONNECT {
        return Err(WireError::TooLong);
    }
    let name = b"\0\x04MQTT";
    let have = bytes.get(at..).unwrap_or_default();
    let seen = have.len().min(name.len());
    if have[..seen] != name[..seen] {
        return Err(WireError::Malformed("protocol name".to_owned()));
    }
    match have.get(name.len()) {
        None => Ok(None),
        Some(4) => Ok(Some(Version::V4)),
        Some(5) => Ok(Some(Version::V5)),
        Some(level) => Err(WireError::Malformed(format!("protocol level {level}"))),
    }
}

/// Appends a packet for the client. Properties are dropped: the version 3.1.1 writer has no place for them, and nothing of ours needs them.
pub(super) fn write(version: Version, packet: Packet, out: &mut BytesMut) -> Result<(), WireError> {
    let written = catch_unwind(AssertUnwindSafe(|| match (version, packet) {
        (Version::V4, packet) => V4.write(plain(packet), out),
        (Version::V5, packet @ Packet::ConnAck(..)) => V5.write(packet, out),
        (Version::V5, packet) => V5.write(plain(packet), out),
    }));
    match written {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(WireError::Malformed(error.to_string())),
        Err(_) => Err(WireError::Malformed("the codec gave up".to_owned())),
    }
}

/// The packet without version 5 properties: topic aliases, subscription identifiers and the like never pass.
pub(super) fn plain(packet: Packet) -> Packet {
    match packet {
        Packet::Publish(publish, _) => Packet::Publish(publish, None),
        Packet::PubAck(ack, _) => Packet::PubAck(ack, None),
        Packet::Subscribe(subscribe, _) => Packet::Subscribe(subscribe, None),
        Packet::SubAck(ack, _) => Packet::SubAck(ack, None),
        Packet::Unsubscribe(unsubscribe, _) => Packet::Unsubscribe(unsubscribe, None),
        Packet::UnsubAck(ack, _) => Packet::UnsubAck(ack, None),
        Packet::Disconnect(disconnect, _) => Packet::Disconnect(disconnect, None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_connect(version: Version, bytes: &[u8]) -> Result<Option<Packet>, WireError> {
        let mut reader = Reader::new();
        reader.version = Some(version);
        reader.buffer.extend_from_slice(bytes);
        reader.next()
    }

    #[test]
    fn types_that_only_a_server_sends_never_reach_the_codec() {
        // Both made the version 5 codec panic.
        for (text, kind) in [
            ("2f1700044d5154be00000000000000000000000000000000000000", 2),
            ("b50c0000044d5154540502000505", 11),
        ] {
            let bytes = hex::decode(text).unwrap();
            for version in [Version::V4, Version::V5] {
                assert_eq!(after_connect(version, &bytes), Err(WireError::Type(kind)), "{text}");
            }
            let mut reader = Reader::new();
            reader.buffer.extend_from_slice(&bytes);
            assert_eq!(reader.next(), Err(WireError::Type(kind)), "{text} as the first packet");
        }
        for kind in [0_u8, 1, 2, 5, 6, 7, 9, 11, 13, 15] {
            assert_eq!(after_connect(Version::V5, &[kind << 4, 0]), Err(WireError::Type(kind)));
        }
    }

    #[test]
    fn bounds_hold_before_anything_is_stored() {
        let long = [0x30, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(after_connect(Version::V4, &long), Err(WireError::TooLong));
        assert_eq!(after_connect(Version::V5, &long), Err(WireError::TooLong));
        assert_eq!(
            after_connect(Version::V4, &[0x34, 2, 0, 0]),
            Err(WireError::ExactlyOnce)
        );
        let mut reader = Reader::new();
        reader.buffer.extend_from_slice(&[0x10, 0xff, 0xff, 0x7f]);
        assert_eq!(reader.next(), Err(WireError::TooLong));
    }

    #[test]
    fn every_byte_string_up_to_a_few_bytes_is_answered_without_a_panic() {
        // Each allowed type with short and lying bodies: the codec's error, never its panic, ends the connection.
        for first in 0..=255_u8 {
            for body in [
                &[][..],
                &[0],
                &[0, 1],
                &[0xff, 0xff],
                &[0, 1, b'a', 0, 0, 0, 0, 0],
                &[0xff; 12],
            ] {
                let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
                bytes.extend_from_slice(body);
                for version in [Version::V4, Version::V5] {
                    let _ = after_connect(version, &bytes);
                }
            }
        }
    }

    #[test]
    fn versions_are_told_apart_by_the_level() {
        for (level, expected) in [(4, Ok(Some(Version::V4))), (5, Ok(Some(Version::V5)))] {
            let bytes = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', level];
            assert_eq!(connect_version(&bytes), expected);
            assert_eq!(connect_version(&bytes[..8]), Ok(None));
        }
        assert!(connect_version(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 3]).is_err());
        assert!(connect_version(&[0x10, 12, 0, 6, b'M', b'Q']).is_err());
    }
}

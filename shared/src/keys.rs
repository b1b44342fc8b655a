//! Public footage keys, sent ahead, and which of them a segment uses.
//!
//! Normative text: `shared/spec/keys.md`.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::hpke::RecipientPublic;
use crate::id::{CameraId, KeyId};
use crate::time::UtcMicros;

/// An announcement has at most this many keys.
pub const MAX_KEYS: usize = 90;

/// One footage key: what it is for and when it dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescriptor {
    /// The key's name.
    pub key_id: KeyId,
    /// The camera that seals with it.
    pub camera: CameraId,
    /// First instant at which a segment that uses it may start.
    pub valid_from: UtcMicros,
    /// First instant at which none may start any more.
    pub valid_until: UtcMicros,
    /// When every holder destroys the secret half and the agent its files.
    pub destroy_at: UtcMicros,
    /// For times without a day key only.
    pub reserve: bool,
    /// The public half.
    pub public: RecipientPublic,
}

impl KeyDescriptor {
    /// Whether a segment that starts at `t_start` may use the key.
    pub fn covers(&self, t_start: UtcMicros) -> bool {
        self.valid_from <= t_start && t_start < self.valid_until
    }

    /// Whether its instants are in order: valid for a while, destroyed not before that is over.
    pub fn is_consistent(&self) -> bool {
        self.valid_from < self.valid_until && self.valid_until <= self.destroy_at
    }
}

impl Cbor for KeyDescriptor {
    fn write(&self, e: &mut Encoder) {
        e.map(7)
            .key(0)
            .value(&self.key_id)
            .key(1)
            .value(&self.camera)
            .key(2)
            .value(&self.valid_from);
        e.key(3)
            .value(&self.valid_until)
            .key(4)
            .value(&self.destroy_at)
            .key(5)
            .bool(self.reserve)
            .key(6)
            .value(&self.public);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(7)?;
        let descriptor = Self {
            key_id: d.key(0)?.value()?,
            camera: d.key(1)?.value()?,
            valid_from: d.key(2)?.value()?,
            valid_until: d.key(3)?.value()?,
            destroy_at: d.key(4)?.value()?,
            reserve: d.key(5)?.bool()?,
            public: d.key(6)?.value()?,
        };
        if descriptor.is_consistent() {
            Ok(descriptor)
        } else {
            Err(CborError::Value("key descriptor"))
        }
    }
}

/// The key for a segment that starts at `t_start`: the day's, else a reserve key, else none.
///
/// Of several that would do, the one that is destroyed first, then the least id: everybody who
/// holds the same list chooses the same key.
pub fn choose(keys: &[KeyDescriptor], t_start: UtcMicros) -> Option<&KeyDescriptor> {
    let fitting = keys.iter().filter(|k| k.covers(t_start));
    fitting.min_by_key(|k| (k.reserve, k.destroy_at, k.key_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpke::RecipientSecret;

    fn key(n: u8, from: i64, until: i64, destroy: i64, reserve: bool) -> KeyDescriptor {
        KeyDescriptor {
            key_id: KeyId::from_bytes([n; 16]),
            camera: CameraId::from_bytes([9; 16]),
            valid_from: UtcMicros::new(from),
            valid_until: UtcMicros::new(until),
            destroy_at: UtcMicros::new(destroy),
            reserve,
            public: RecipientSecret::from_seed(&[n; 32]).public(),
        }
    }

    #[test]
    fn day_key_first_then_reserve_then_none() {
        let keys = [
            key(1, 0, 1000, 5000, true),
            key(2, 0, 100, 300, false),
            key(3, 100, 200, 400, false),
        ];
        for (t, expected) in [
            (0, Some(2)),
            (99, Some(2)),
            (100, Some(3)),
            (199, Some(3)),
            (200, Some(1)),
            (999, Some(1)),
            (1000, None),
        ] {
            let chosen = choose(&keys, UtcMicros::new(t)).map(|k| k.key_id.as_bytes()[0]);
            assert_eq!(chosen, expected, "at {t}");
        }
    }

    #[test]
    fn of_two_day_keys_the_one_that_dies_first() {
        let keys = [key(1, 0, 100, 400, false), key(2, 0, 100, 300, false)];
        assert_eq!(choose(&keys, UtcMicros::new(5)).map(|k| k.key_id), Some(keys[1].key_id));
    }

    #[test]
    fn inconsistent_descriptors_are_refused() {
        let good = key(1, 0, 100, 300, false);
        assert_eq!(KeyDescriptor::from_cbor(&good.to_cbor()), Ok(good));
        for (flaw, bad) in [
            ("never valid", key(1, 100, 100, 300, false)),
            ("dies while valid", key(1, 0, 100, 99, false)),
        ] {
            assert_eq!(
                KeyDescriptor::from_cbor(&bad.to_cbor()),
                Err(CborError::Value("key descriptor")),
                "{flaw}"
            );
        }
    }
}

//! What the keyring holds, and its bytes before they are encrypted. Fixed-size records, so that no secret is copied
//! about by a growing buffer.

use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{CameraId, KeyId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::time::{TimeRange, UtcMicros};
use zeroize::Zeroizing;

use super::{Destroyed, KeyPlan, KeyholderError};

const MAGIC: &[u8; 4] = b"CKR1";
const HEAD: usize = 4 + 8 + 4 + 4 + 4;
const PAIR: usize = 16 + 16 + 8 + 8 + 8 + 1 + 32;
const WRAP: usize = 16 + 16 + 16 + 8 + 8 + 8 + 32;
const OUTCOME: usize = 16 + 16 + 8 + 8 + 8 + 8 + 1;
/// Records of each kind a keyring may hold: 10 000 cameras with 76 days, and room.
pub(super) const MAX_RECORDS: usize = 2_000_000;

/// A footage key pair.
pub(super) struct Pair {
    pub(super) key_id: KeyId,
    pub(super) plan: KeyPlan,
    pub(super) secret: RecipientSecret,
}

impl Pair {
    pub(super) fn descriptor(&self) -> KeyDescriptor {
        KeyDescriptor {
            key_id: self.key_id,
            camera: self.plan.camera,
            valid_from: self.plan.valid_from,
            valid_until: self.plan.valid_until,
            destroy_at: self.plan.destroy_at,
            reserve: self.plan.reserve,
            public: self.secret.public(),
        }
    }
}

/// A key that wraps segment keys which outlive their pair.
pub(super) struct Wrap {
    pub(super) wrap_id: KeyId,
    pub(super) camera: CameraId,
    pub(super) of: KeyId,
    pub(super) range: TimeRange,
    pub(super) destroy_at: UtcMicros,
    pub(super) key: Zeroizing<[u8; 32]>,
}

/// Everything in the keyring.
#[derive(Default)]
pub(super) struct Keyring {
    /// No earlier time is believed for the life of a key.
    pub(super) high_water: UtcMicros,
    pub(super) pairs: Vec<Pair>,
    pub(super) wraps: Vec<Wrap>,
    /// Destructions whose rows may not be in the record yet.
    pub(super) outcomes: Vec<Destroyed>,
}

impl Keyring {
    pub(super) fn pair(&self, key: KeyId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.key_id == key)
    }

    /// The bytes; `extra` outcomes are written behind the ring's own.
    pub(super) fn to_bytes(&self, extra: &[Destroyed]) -> Zeroizing<Vec<u8>> {
        let outcomes = self.outcomes.len() + extra.len();
        let len = HEAD + self.pairs.len() * PAIR + self.wraps.len() * WRAP + outcomes * OUTCOME;
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(MAGIC);
        put_time(&mut out, self.high_water);
        for count in [self.pairs.len(), self.wraps.len(), outcomes] {
            out.extend_from_slice(&u32::try_from(count).expect("bounded by MAX_RECORDS").to_be_bytes());
        }
        for pair in &self.pairs {
            out.extend_from_slice(pair.key_id.as_bytes());
            out.extend_from_slice(pair.plan.camera.as_bytes());
            put_time(&mut out, pair.plan.valid_from);
            put_time(&mut out, pair.plan.valid_until);
            put_time(&mut out, pair.plan.destroy_at);
            out.push(u8::from(pair.plan.reserve));
            out.extend_from_slice(pair.secret.seed());
        }
        for wrap in &self.wraps {
            out.extend_from_slice(wrap.wrap_id.as_bytes());
            out.extend_from_slice(wrap.camera.as_bytes());
            out.extend_from_slice(wrap.of.as_bytes());
            put_time(&mut out, wrap.range.start());
            put_time(&mut out, wrap.range.end());
            put_time(&mut out, wrap.destroy_at);
            out.extend_from_slice(&*wrap.key);
        }
        for outcome in self.outcomes.iter().chain(extra) {
            out.extend_from_slice(outcome.key.as_bytes());
            out.extend_from_slice(outcome.camera.as_bytes());
            put_time(&mut out, outcome.range.start());
            put_time(&mut out, outcome.range.end());
            put_time(&mut out, outcome.due);
            put_time(&mut out, outcome.done);
            out.push(u8::from(outcome.reserve));
        }
        debug_assert_eq!(out.len(), len);
        out
    }

    /// Reads the bytes back; `method` is what the holder claims of outcomes.
    pub(super) fn parse(bytes: &[u8], method: &str) -> Result<Self, KeyholderError> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != *MAGIC {
            return Err(KeyholderError::Damaged("its content has another format"));
        }
        let high_water = fields.time()?;
        let (pairs, wraps, outcomes) = (fields.count()?, fields.count()?, fields.count()?);
        if fields.0.len() != pairs * PAIR + wraps * WRAP + outcomes * OUTCOME {
            return Err(KeyholderError::Damaged("its content has another length than it says"));
        }
        let mut ring = Self {
            high_water,
            ..Self::default()
        };
        ring.pairs.reserve_exact(pairs);
        for _ in 0..pairs {
            let key_id = KeyId::from_bytes(fields.take()?);
            let plan = KeyPlan {
                camera: CameraId::from_bytes(fields.take()?),
                valid_from: fields.time()?,
                valid_until: fields.time()?,
                destroy_at: fields.time()?,
                reserve: fields.take::<1>()? == [1],
            };
            let seed = Zeroizing::new(fields.take::<32>()?);
            ring.pairs.push(Pair {
                key_id,
                plan,
                secret: RecipientSecret::from_seed(&seed),
            });
        }
        for _ in 0..wraps {
            ring.wraps.push(Wrap {
                wrap_id: KeyId::from_bytes(fields.take()?),
                camera: CameraId::from_bytes(fields.take()?),
                of: KeyId::from_bytes(fields.take()?),
                range: fields.range()?,
                destroy_at: fields.time()?,
                key: Zeroizing::new(fields.take()?),
            });
        }
        for _ in 0..outcomes {
            ring.outcomes.push(Destroyed {
                key: KeyId::from_bytes(fields.take()?),
                camera: CameraId::from_bytes(fields.take()?),
                range: fields.range()?,
                due: fields.time()?,
                done: fields.time()?,
                reserve: fields.take::<1>()? == [1],
                method: method.to_owned(),
            });
        }
        Ok(ring)
    }
}

fn put_time(out: &mut Vec<u8>, at: UtcMicros) {
    out.extend_from_slice(&at.get().to_be_bytes());
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyholderError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(KeyholderError::Damaged("its content is cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn time(&mut self) -> Result<UtcMicros, KeyholderError> {
        Ok(UtcMicros::new(i64::from_be_bytes(self.take()?)))
    }

    fn range(&mut self) -> Result<TimeRange, KeyholderError> {
        TimeRange::new(self.time()?, self.time()?).map_err(|_| KeyholderError::Damaged("a range in it is empty"))
    }

    fn count(&mut self) -> Result<usize, KeyholderError> {
        let count = u32::from_be_bytes(self.take()?) as usize;
        if count > MAX_RECORDS {
            Err(KeyholderError::Damaged("it says it holds too much"))
        } else {
            Ok(count)
        }
    }
}

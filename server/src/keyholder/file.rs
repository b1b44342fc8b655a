//! The file holder: four operations on a keyring that lies in a file.
//!
//! Memory and disk are kept apart on purpose: a key that is due is gone from memory before the disk is asked, and after
//! a failed write the disk is read again before anything else is done.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{GrantId, KeyId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::segment::{Preamble, SegmentKey, unseal_key};
use custody_shared::time::{SharedClock, UtcMicros};
use zeroize::Zeroizing;

use super::disk::{Fault, KeyringFile, failed};
use super::evidence::{VerifiedGrant, VerifiedOrder};
use super::ring::{Keyring, MAX_RECORDS, Pair, Wrap};
use super::{Destroyed, KeyPlan, Keyholder, KeyholderError, MAX_SEGMENT_US, Rewrapped};
use crate::record::ReleaseUse;

const DAY_US: i64 = 86_400_000_000;
/// Grants whose first opening is remembered.
const MAX_GRANTS: usize = 65_536;

/// A keyholder on files.
pub struct FileHolder {
    clock: SharedClock,
    disk: KeyringFile,
    inner: Mutex<Inner>,
    /// Two holders on one folder would destroy each other's epoch keys.
    _lock: File,
}

struct Inner {
    ring: Keyring,
    epoch: u64,
    /// Keys gone from memory whose destruction the disk has not taken yet.
    pending: Vec<Destroyed>,
    /// The disk may hold another keyring than `ring`.
    unsure: bool,
    /// First viewing of each grant, for its minutes.
    first_play: HashMap<GrantId, UtcMicros>,
}

impl FileHolder {
    /// Opens the holder in a folder, or makes a new one with an empty keyring, and finishes an interrupted write.
    ///
    /// # Errors
    /// [`KeyholderError`].
    pub fn open(folder: &Path, clock: SharedClock) -> Result<Self, KeyholderError> {
        Self::open_with(folder, clock, Arc::new(|_| Ok(())))
    }

    pub(super) fn open_with(folder: &Path, clock: SharedClock, fault: Fault) -> Result<Self, KeyholderError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| failed("make the folder", folder, source))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| failed("open", &lock_path, source))?;
        lock.try_lock().map_err(|error| KeyholderError::Io {
            step: "lock",
            subject: lock_path.display().to_string(),
            remedy: "another process holds this keyring; stop it first",
            source: error.into(),
        })?;
        let inner = Inner {
            ring: Keyring::default(),
            epoch: 0,
            pending: Vec::new(),
            unsure: true,
            first_play: HashMap::new(),
        };
        let holder = Self {
            clock,
            disk: KeyringFile::new(folder, fault),
            inner: Mutex::new(inner),
            _lock: lock,
        };
        {
            let mut inner = holder.lock();
            holder.load(&mut inner)?;
        }
        Ok(holder)
    }

    /// Number of key pairs held.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.lock().ring.pairs.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what is on disk.
    fn load(&self, inner: &mut Inner) -> Result<(), KeyholderError> {
        let Some((ring, epoch)) = self.disk.load()? else {
            inner.epoch = 0;
            return self.save(inner, Keyring::default(), &[]);
        };
        inner.ring = ring;
        inner.epoch = epoch;
        // Whatever was destroyed in memory alone stays destroyed.
        let Inner { ring, pending, .. } = inner;
        let durable: HashSet<KeyId> = ring.outcomes.iter().map(|gone| gone.key).collect();
        pending.retain(|gone| !durable.contains(&gone.key));
        let gone: HashSet<KeyId> = pending.iter().map(|gone| gone.key).collect();
        ring.pairs.retain(|pair| !gone.contains(&pair.key_id));
        ring.wraps.retain(|wrap| !gone.contains(&wrap.wrap_id));
        inner.unsure = false;
        Ok(())
    }

    /// Before anything is changed: what is on disk is what is in memory.
    fn settle_disk(&self, inner: &mut Inner) -> Result<(), KeyholderError> {
        if inner.unsure { self.load(inner) } else { Ok(()) }
    }

    /// Makes `ring` and the outcomes `done` the keyring, in memory once it is so on disk.
    fn save(&self, inner: &mut Inner, ring: Keyring, done: &[Destroyed]) -> Result<(), KeyholderError> {
        // Until the end of this function memory and disk may differ; the next operation reads the disk first.
        inner.unsure = true;
        self.disk.save(&ring, done, inner.epoch + 1)?;
        inner.ring = ring;
        inner.ring.outcomes.extend_from_slice(done);
        inner.epoch += 1;
        inner.unsure = false;
        Ok(())
    }

    /// As [`FileHolder::save`], together with what memory has forgotten and the disk has not.
    fn save_with_pending(&self, inner: &mut Inner, ring: Keyring, now: UtcMicros) -> Result<(), KeyholderError> {
        let pending = std::mem::take(&mut inner.pending);
        // The time of a destruction is when the disk took it.
        let done: Vec<Destroyed> = pending
            .iter()
            .map(|gone| Destroyed {
                done: now.max(gone.due),
                ..gone.clone()
            })
            .collect();
        self.save(inner, ring, &done).inspect_err(|_| inner.pending = pending)
    }

    /// The time by which keys live: never earlier than what was seen before.
    fn now(&self, inner: &Inner) -> UtcMicros {
        self.clock.now().max(inner.ring.high_water)
    }

    /// Whether a release reaches a segment now.
    fn covers(&self, inner: &mut Inner, grant: &VerifiedGrant, preamble: &Preamble) -> Result<(), KeyholderError> {
        let header = &preamble.header;
        if header.camera != grant.camera() {
            return Err(KeyholderError::NotCovered("another camera"));
        }
        let start = header.t_start.get();
        if start >= grant.range().end().get() || start.saturating_add(MAX_SEGMENT_US) <= grant.range().start().get() {
            return Err(KeyholderError::NotCovered("another time"));
        }
        let now = self.clock.now();
        let facts = grant.grant();
        if now < facts.not_before {
            return Err(KeyholderError::NotNow("it has not begun"));
        }
        if now >= facts.not_after || now >= grant.until() {
            return Err(KeyholderError::NotNow("it has ended"));
        }
        if grant.purpose() == ReleaseUse::View {
            let minutes = i64::from(facts.play_minutes) * 60_000_000;
            if inner.first_play.len() >= MAX_GRANTS {
                let ended = |first: &UtcMicros| first.get().saturating_add(7 * DAY_US) < now.get();
                inner.first_play.retain(|_, first| !ended(first));
            }
            if inner.first_play.len() >= MAX_GRANTS && !inner.first_play.contains_key(&facts.id) {
                return Err(KeyholderError::NotNow("too many grants are in use"));
            }
            let first = *inner.first_play.entry(facts.id).or_insert(now);
            if now.get() >= first.get().saturating_add(minutes) {
                return Err(KeyholderError::NotNow("its minutes have passed"));
            }
        }
        Ok(())
    }
}

impl Keyholder for FileHolder {
    fn announce(&self, plans: &[KeyPlan]) -> Result<Vec<KeyDescriptor>, KeyholderError> {
        let mut inner = self.lock();
        self.settle_disk(&mut inner)?;
        let now = self.now(&inner);
        for plan in plans {
            if plan.valid_from >= plan.valid_until || plan.destroy_at < plan.valid_until {
                return Err(KeyholderError::Plan(
                    "a key must cover some time and live until its end",
                ));
            }
            if plan.destroy_at <= now {
                return Err(KeyholderError::Plan("a key would be due already"));
            }
        }
        let mut made = Vec::new();
        let mut chosen = Vec::with_capacity(plans.len());
        {
            let known: HashMap<_, _> = inner
                .ring
                .pairs
                .iter()
                .map(|pair| (slot(&pair.plan), pair.key_id))
                .collect();
            let mut fresh = HashMap::new();
            for plan in plans {
                let id = known.get(&slot(plan)).or_else(|| fresh.get(&slot(plan))).copied();
                let id = match id {
                    Some(id) => id,
                    None => {
                        let (secret, _) = RecipientSecret::generate()
                            .map_err(|_| KeyholderError::Plan("the system's random source failed"))?;
                        let key_id = KeyId::random();
                        fresh.insert(slot(plan), key_id);
                        made.push(Pair {
                            key_id,
                            plan: *plan,
                            secret,
                        });
                        key_id
                    }
                };
                chosen.push(id);
            }
        }
        if inner.ring.pairs.len() + made.len() > MAX_RECORDS {
            return Err(KeyholderError::Plan("the keyring is full"));
        }
        if !made.is_empty() {
            let mut ring = std::mem::take(&mut inner.ring);
            ring.pairs.append(&mut made);
            // On an error the ring is dropped, new keys with it; the next call reads the disk again.
            let now = self.clock.now();
            self.save_with_pending(&mut inner, ring, now)?;
        }
        let by_id: HashMap<KeyId, &Pair> = inner.ring.pairs.iter().map(|pair| (pair.key_id, pair)).collect();
        Ok(chosen
            .iter()
            .filter_map(|id| by_id.get(id))
            .map(|pair| pair.descriptor())
            .collect())
    }

    fn open(&self, grant: &VerifiedGrant, preamble: &Preamble) -> Result<SegmentKey, KeyholderError> {
        let mut inner = self.lock();
        self.settle_disk(&mut inner)?;
        self.covers(&mut inner, grant, preamble)?;
        let key_id = preamble.header.key_id;
        let now = self.now(&inner);
        let pair = inner.ring.pair(key_id).ok_or(KeyholderError::NoKey(key_id))?;
        let (plan, start) = (&pair.plan, preamble.header.t_start);
        if plan.camera != grant.camera() {
            return Err(KeyholderError::NotCovered("the key is another camera's"));
        }
        if start < plan.valid_from || start >= plan.valid_until {
            return Err(KeyholderError::NotCovered("the segment lies outside its key's time"));
        }
        // A reserve key covers many days; what was filmed on the first of them is not readable until the last is due.
        let life = plan
            .destroy_at
            .get()
            .saturating_sub(plan.valid_until.get())
            .saturating_add(DAY_US);
        if now >= plan.destroy_at || now.get() >= start.get().saturating_add(life) {
            return Err(KeyholderError::NoKey(key_id));
        }
        unseal_key(&pair.secret, preamble).map_err(|_| KeyholderError::NotSealedToIt(key_id))
    }

    fn open_rewrapped(
        &self,
        grant: &VerifiedGrant,
        preamble: &Preamble,
        rewrapped: &Rewrapped,
    ) -> Result<SegmentKey, KeyholderError> {
        let mut inner = self.lock();
        self.settle_disk(&mut inner)?;
        self.covers(&mut inner, grant, preamble)?;
        let id = rewrapped.wrap_id;
        let now = self.now(&inner);
        let wrap = inner
            .ring
            .wraps
            .iter()
            .find(|wrap| wrap.wrap_id == id)
            .ok_or(KeyholderError::NoKey(id))?;
        if wrap.camera != grant.camera() || wrap.of != preamble.header.key_id {
            return Err(KeyholderError::NotCovered("the wrap key is for another key pair"));
        }
        if now >= wrap.destroy_at {
            return Err(KeyholderError::NoKey(id));
        }
        let aad = wrap_aad(id, preamble);
        let plain = XChaCha20Poly1305::new((&*wrap.key).into())
            .decrypt(
                &rewrapped.nonce.into(),
                Payload {
                    msg: &rewrapped.sealed,
                    aad: &aad,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| KeyholderError::NotSealedToIt(id))?;
        let bytes: &[u8; 32] = plain
            .as_slice()
            .try_into()
            .map_err(|_| KeyholderError::NotSealedToIt(id))?;
        Ok(SegmentKey::from_bytes(bytes))
    }

    fn rewrap(&self, order: &VerifiedOrder, preambles: &[Preamble]) -> Result<Vec<Rewrapped>, KeyholderError> {
        let mut inner = self.lock();
        self.settle_disk(&mut inner)?;
        let now = self.now(&inner);
        if now >= order.destroy_at() {
            return Err(KeyholderError::NotNow("what it would keep is due already"));
        }
        let pair = inner.ring.pair(order.key()).ok_or(KeyholderError::NoKey(order.key()))?;
        if now >= pair.plan.destroy_at {
            return Err(KeyholderError::NoKey(order.key()));
        }
        if pair.plan.camera != order.camera() {
            return Err(KeyholderError::NotCovered("the key is another camera's"));
        }
        let wrap_id = KeyId::random();
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *key).map_err(|_| KeyholderError::Plan("the system's random source failed"))?;
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let mut wrapped = Vec::with_capacity(preambles.len());
        for preamble in preambles {
            let header = &preamble.header;
            if header.camera != order.camera()
                || header.key_id != order.key()
                || !order.range().contains(header.t_start)
            {
                return Err(KeyholderError::NotCovered("a segment is not part of the order"));
            }
            let segment_key =
                unseal_key(&pair.secret, preamble).map_err(|_| KeyholderError::NotSealedToIt(order.key()))?;
            let mut nonce = [0_u8; 24];
            getrandom::fill(&mut nonce).map_err(|_| KeyholderError::Plan("the system's random source failed"))?;
            let sealed = cipher
                .encrypt(
                    &nonce.into(),
                    Payload {
                        msg: segment_key.as_bytes(),
                        aad: &wrap_aad(wrap_id, preamble),
                    },
                )
                .ok()
                .and_then(|sealed| sealed.try_into().ok())
                .ok_or(KeyholderError::Plan("a key could not be wrapped"))?;
            wrapped.push(Rewrapped { wrap_id, nonce, sealed });
        }
        if inner.ring.wraps.len() >= MAX_RECORDS {
            return Err(KeyholderError::Plan("the keyring is full"));
        }
        let mut ring = std::mem::take(&mut inner.ring);
        ring.wraps.push(Wrap {
            wrap_id,
            camera: order.camera(),
            of: order.key(),
            range: order.range(),
            destroy_at: order.destroy_at(),
            key,
        });
        let now = self.clock.now();
        self.save_with_pending(&mut inner, ring, now)?;
        Ok(wrapped)
    }

    fn destroy(&self, now: UtcMicros) -> Result<Vec<Destroyed>, KeyholderError> {
        let mut inner = self.lock();
        // Memory forgets first: from here on the keys open nothing, whatever the disk does.
        self.forget_due(&mut inner, now);
        self.settle_disk(&mut inner)?;
        self.forget_due(&mut inner, now);
        inner.ring.high_water = inner.ring.high_water.max(now);
        if !inner.pending.is_empty() {
            let ring = std::mem::take(&mut inner.ring);
            self.save_with_pending(&mut inner, ring, now)?;
        }
        Ok(inner.ring.outcomes.clone())
    }

    fn settle(&self, keys: &[KeyId]) {
        let settled: HashSet<&KeyId> = keys.iter().collect();
        self.lock()
            .ring
            .outcomes
            .retain(|outcome| !settled.contains(&outcome.key));
    }

    fn lost(&self, keys: &[KeyId]) -> Vec<KeyId> {
        let mut inner = self.lock();
        // Where the disk cannot be read nothing is known to be lost; every other operation says what is wrong.
        if self.settle_disk(&mut inner).is_err() {
            return Vec::new();
        }
        let held: HashSet<KeyId> = inner.ring.pairs.iter().map(|pair| pair.key_id).collect();
        keys.iter().filter(|key| !held.contains(key)).copied().collect()
    }
}

impl FileHolder {
    fn forget_due(&self, inner: &mut Inner, now: UtcMicros) {
        let now = now.max(inner.ring.high_water);
        let Inner { ring, pending, .. } = inner;
        let claim = self.disk.claim();
        ring.pairs.retain(|pair| {
            let due = pair.plan.destroy_at <= now;
            if due && let Ok(range) = custody_shared::time::TimeRange::new(pair.plan.valid_from, pair.plan.valid_until)
            {
                pending.push(Destroyed {
                    key: pair.key_id,
                    camera: pair.plan.camera,
                    range,
                    due: pair.plan.destroy_at,
                    done: now,
                    reserve: pair.plan.reserve,
                    method: claim.to_owned(),
                });
            }
            !due
        });
        ring.wraps.retain(|wrap| {
            let due = wrap.destroy_at <= now;
            if due {
                pending.push(Destroyed {
                    key: wrap.wrap_id,
                    camera: wrap.camera,
                    range: wrap.range,
                    due: wrap.destroy_at,
                    done: now,
                    reserve: false,
                    method: claim.to_owned(),
                });
            }
            !due
        });
    }
}

/// What makes two plans the same key.
fn slot(plan: &KeyPlan) -> (custody_shared::id::CameraId, UtcMicros, UtcMicros, bool) {
    (plan.camera, plan.valid_from, plan.valid_until, plan.reserve)
}

/// Binds a wrapped key to its wrap key and its segment.
fn wrap_aad(wrap_id: KeyId, preamble: &Preamble) -> Vec<u8> {
    let segment = Sha256Hash::of(&preamble.key_aad());
    [b"custody/rewrap/v1", &wrap_id.as_bytes()[..], &segment.as_bytes()[..]].concat()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

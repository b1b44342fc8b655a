//! The file holder: the keyring in one small file, encrypted under an epoch key of its own for every write.
//!
//! Order of a write, and what a crash after each step leaves:
//! 1. new epoch key durable in the free slot — the old keyring under the old key;
//! 2. new keyring written and synced beside the old one — the same;
//! 3. renamed over the old one, folder synced — the new keyring under the new key, the old epoch key still there;
//! 4. old epoch key overwritten and removed — the new keyring alone.
//!
//! Opening the holder finishes what a crash interrupted: whichever keyring is in place names its epoch, every other
//! epoch key goes.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{GrantId, KeyId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::segment::{Preamble, SegmentKey, unseal_key};
use custody_shared::time::{SharedClock, UtcMicros};
use zeroize::Zeroizing;

use super::epoch::{EpochKeyHolder, FileEpochs};
use super::evidence::{VerifiedGrant, VerifiedOrder};
use super::ring::{Keyring, MAX_RECORDS, Pair, Wrap};
use super::{Destroyed, KeyPlan, Keyholder, KeyholderError, MAX_SEGMENT_US, Rewrapped};
use crate::record::ReleaseUse;

const MAGIC: &[u8; 4] = b"CKF1";
const HEAD: usize = 4 + 8 + 24;
/// Largest keyring file; more is refused before it is read.
const MAX_FILE: u64 = 512 << 20;
const DAY_US: i64 = 86_400_000_000;
/// Grants whose first opening is remembered.
const MAX_GRANTS: usize = 65_536;

/// Steps of a write, in their order; tests stop at each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The new epoch key is written, not synced.
    EpochWritten,
    /// The new epoch key is durable.
    EpochDurable,
    /// The new keyring is written beside the old one, not synced.
    KeyringWritten,
    /// The new keyring is synced.
    KeyringSynced,
    /// The new keyring has the old one's name.
    KeyringRenamed,
    /// The rename is durable.
    FolderSynced,
    /// The old epoch key is overwritten.
    OldEpochOverwritten,
    /// The old epoch key is gone.
    OldEpochRemoved,
}

/// What happens at a step: nothing, except in tests.
pub(super) type Fault = Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// A keyholder on files.
pub struct FileHolder {
    folder: PathBuf,
    clock: SharedClock,
    epochs: Box<dyn EpochKeyHolder>,
    fault: Fault,
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
        let epochs = FileEpochs::new(folder, Arc::clone(&fault));
        let inner = Inner {
            ring: Keyring::default(),
            epoch: 0,
            pending: Vec::new(),
            unsure: true,
            first_play: HashMap::new(),
        };
        let holder = Self {
            folder: folder.to_owned(),
            clock,
            epochs: Box::new(epochs),
            fault,
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

    fn path(&self) -> PathBuf {
        self.folder.join("keyring")
    }

    /// Reads what is on disk, then removes what no keyring in force needs.
    fn load(&self, inner: &mut Inner) -> Result<(), KeyholderError> {
        let path = self.path();
        let new = self.folder.join("keyring.new");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let len = file.metadata().map_err(|source| failed("read", &path, source))?.len();
                if len > MAX_FILE {
                    return Err(KeyholderError::Damaged("its file is over the limit"));
                }
                file.take(MAX_FILE)
                    .read_to_end(&mut bytes)
                    .map_err(|source| failed("read", &path, source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A first write that never finished holds no key that was announced.
                inner.ring = Keyring::default();
                inner.epoch = 0;
                self.save(inner, Keyring::default(), &[])?;
                return Ok(());
            }
            Err(source) => return Err(failed("read", &path, source)),
        }
        let (head, sealed) = bytes
            .split_at_checked(HEAD)
            .ok_or(KeyholderError::Damaged("its file is cut short"))?;
        if head[..4] != *MAGIC {
            return Err(KeyholderError::Damaged("its file has another format"));
        }
        let epoch = u64::from_be_bytes(head[4..12].try_into().expect("eight bytes"));
        let key = self
            .epochs
            .get(epoch)
            .map_err(|source| failed("read the epoch key of", &path, source))?
            .ok_or(KeyholderError::Damaged("its epoch key is gone"))?;
        let nonce = XNonce::try_from(&head[12..HEAD]).expect("24 bytes");
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let plain = cipher
            .decrypt(&nonce, Payload { msg: sealed, aad: head })
            .map(Zeroizing::new)
            .map_err(|_| KeyholderError::Damaged("its file was altered"))?;
        inner.ring = Keyring::parse(&plain, self.epochs.claim())?;
        inner.epoch = epoch;
        // Whatever was destroyed in memory alone stays destroyed.
        let Inner { ring, pending, .. } = inner;
        let durable: HashSet<KeyId> = ring.outcomes.iter().map(|gone| gone.key).collect();
        pending.retain(|gone| !durable.contains(&gone.key));
        ring.pairs
            .retain(|pair| !pending.iter().any(|gone| gone.key == pair.key_id));
        ring.wraps
            .retain(|wrap| !pending.iter().any(|gone| gone.key == wrap.wrap_id));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new, error)),
            _ => {}
        }
        // The rename must be durable before the epoch key of the keyring it replaced goes.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| failed("sync the folder of", &path, source))?;
        self.epochs
            .destroy_except(epoch)
            .map_err(|source| failed("destroy an old epoch key of", &path, source))?;
        inner.unsure = false;
        Ok(())
    }

    /// Before anything is changed: what is on disk is what is in memory.
    fn settle_disk(&self, inner: &mut Inner) -> Result<(), KeyholderError> {
        if inner.unsure { self.load(inner) } else { Ok(()) }
    }

    /// Makes `ring` the keyring, durably, under a new epoch key, and destroys the old one.
    fn save(&self, inner: &mut Inner, ring: Keyring, done: &[Destroyed]) -> Result<(), KeyholderError> {
        // Until the end of this function memory and disk may differ; the next operation reads the disk first.
        inner.unsure = true;
        let (path, new) = (self.path(), self.folder.join("keyring.new"));
        let epoch = inner.epoch + 1;
        let mut key = Zeroizing::new([0_u8; 32]);
        let mut head = [0_u8; HEAD];
        head[..4].copy_from_slice(MAGIC);
        head[4..12].copy_from_slice(&epoch.to_be_bytes());
        for random in [&mut key[..], &mut head[12..]] {
            getrandom::fill(random).map_err(|error| failed("draw a key for", &path, io::Error::other(error)))?;
        }
        let nonce = XNonce::try_from(&head[12..]).expect("24 bytes");
        let plain = ring.to_bytes(done);
        let sealed = XChaCha20Poly1305::new((&*key).into())
            .encrypt(
                &nonce,
                Payload {
                    msg: &plain,
                    aad: &head,
                },
            )
            .map_err(|_| KeyholderError::Damaged("its content is too long"))?;

        self.epochs
            .put(epoch, &key)
            .map_err(|source| failed("write an epoch key for", &path, source))?;
        // A crash here leaves the old keyring and a spare epoch key; opening removes the spare.
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&head)?;
            file.write_all(&sealed)?;
            (self.fault)(Step::KeyringWritten)?;
            file.sync_all()?;
            (self.fault)(Step::KeyringSynced)?;
            std::fs::rename(&new, &path)?;
            (self.fault)(Step::KeyringRenamed)?;
            File::open(&self.folder)?.sync_all()?;
            (self.fault)(Step::FolderSynced)
        })();
        written.map_err(|source| failed("write", &path, source))?;
        // A crash here leaves the new keyring and both epoch keys; opening destroys the old one.
        self.epochs
            .destroy_except(epoch)
            .map_err(|source| failed("destroy the old epoch key of", &path, source))?;
        inner.ring = ring;
        inner.ring.outcomes.extend_from_slice(done);
        inner.epoch = epoch;
        inner.unsure = false;
        Ok(())
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
            let pending = std::mem::take(&mut inner.pending);
            let done = finished(&pending, self.clock.now());
            // On an error the ring is dropped, new keys with it; the next call reads the disk again.
            if let Err(error) = self.save(&mut inner, ring, &done) {
                inner.pending = pending;
                return Err(error);
            }
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
        let pending = std::mem::take(&mut inner.pending);
        let done = finished(&pending, self.clock.now());
        if let Err(error) = self.save(&mut inner, ring, &done) {
            inner.pending = pending;
            return Err(error);
        }
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
            let pending = std::mem::take(&mut inner.pending);
            let done = finished(&pending, now);
            if let Err(error) = self.save(&mut inner, ring, &done) {
                inner.pending = pending;
                return Err(error);
            }
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
        let claim = self.epochs.claim();
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

/// The time of a destruction is when the disk took it.
fn finished(pending: &[Destroyed], now: UtcMicros) -> Vec<Destroyed> {
    pending
        .iter()
        .map(|gone| Destroyed {
            done: now.max(gone.due),
            ..gone.clone()
        })
        .collect()
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

fn failed(step: &'static str, path: &Path, source: io::Error) -> KeyholderError {
    KeyholderError::Io {
        step,
        subject: path.display().to_string(),
        remedy: "free disk space, check the disk and the folder's owner; keys that are due open nothing meanwhile",
        source,
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

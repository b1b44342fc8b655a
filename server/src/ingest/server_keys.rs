//! The server's message keys: the one that agents seal batches to, and the one that signs everything to agents.
//!
//! They open no footage. They lie in a folder of their own, readable by their owner only, beside the counter that numbers signed messages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hpke::{RecipientPublic, RecipientSecret};
use custody_shared::id::{CameraId, SiteId};
use custody_shared::message::{Body, Downlink, MessageError};
use custody_shared::time::UtcMicros;
use zeroize::Zeroizing;

use crate::ca::files::{private_dir, replace};

/// Numbers taken from the file at a time: one durable write for so many messages.
const COUNTER_BLOCK: u64 = 1 << 16;

/// What can go wrong with the server's message keys.
#[derive(Debug, thiserror::Error)]
pub enum ServerKeysError {
    /// A file could not be read or written.
    #[error("server keys: cannot {step} {path} ({source}); check the folder's owner and free space")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("server keys: {0} is damaged; restore it from the backup, or agents must join again")]
    Damaged(PathBuf),
    /// The system gives no randomness.
    #[error("server keys: no randomness ({0})")]
    Random(String),
    /// The message cannot be signed.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// The server's message keys.
pub struct ServerKeys {
    transport: RecipientSecret,
    transport_public: RecipientPublic,
    command: SigningKey,
    counter: Mutex<Counter>,
}

struct Counter {
    path: PathBuf,
    next: u64,
    reserved: u64,
}

impl ServerKeys {
    /// Opens the keys in `dir`, making them if there are none.
    pub fn open(dir: &Path) -> Result<Self, ServerKeysError> {
        let io = |step, path: &Path| {
            let path = path.to_owned();
            move |source| ServerKeysError::Io { step, path, source }
        };
        private_dir(dir).map_err(io("make", dir))?;
        let random = |error: getrandom::Error| ServerKeysError::Random(error.to_string());
        let seed = |name: &str| -> Result<Zeroizing<[u8; 32]>, ServerKeysError> {
            let path = dir.join(name);
            let mut seed = Zeroizing::new([0; 32]);
            match fs::read(&path).map(Zeroizing::new) {
                Ok(text) => hex::decode_to_slice(text.trim_ascii(), seed.as_mut())
                    .map_err(|_| ServerKeysError::Damaged(path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    getrandom::fill(seed.as_mut()).map_err(random)?;
                    let text = Zeroizing::new(hex::encode(seed.as_ref()));
                    replace(&path, text.as_bytes(), 0o600).map_err(io("write", &path))?;
                }
                Err(error) => return Err(io("read", &path)(error)),
            }
            Ok(seed)
        };
        let transport = RecipientSecret::from_seed(&*seed("transport.key")?);
        let command = SigningKey::from_seed(&*seed("command.key")?);
        let path = dir.join("counter");
        let next = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| ServerKeysError::Damaged(path.clone()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 1,
            Err(error) => return Err(io("read", &path)(error)),
        };
        let counter = Mutex::new(Counter {
            path,
            next,
            reserved: next,
        });
        Ok(Self {
            transport_public: transport.public(),
            transport,
            command,
            counter,
        })
    }

    /// What agents seal batches and health to.
    pub fn transport_public(&self) -> &RecipientPublic {
        &self.transport_public
    }

    /// What agents check the server's messages with.
    pub fn command_public(&self) -> VerifyingKey {
        self.command.public()
    }

    pub(crate) fn transport(&self) -> &RecipientSecret {
        &self.transport
    }

    /// Signs a message to one camera, good for `valid_us` microseconds from `now`. Its number is higher than every earlier one's, also after a crash.
    pub fn sign<B: Body>(
        &self,
        site: SiteId,
        camera: CameraId,
        body: B,
        now: UtcMicros,
        valid_us: i64,
    ) -> Result<Vec<u8>, ServerKeysError> {
        let counter = self.number()?;
        let message = Downlink {
            site,
            camera,
            counter,
            issued_at: now,
            expires_at: now.saturating_add(valid_us),
            body,
        };
        Ok(message.sign(&self.command)?)
    }

    fn number(&self) -> Result<u64, ServerKeysError> {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        if counter.next >= counter.reserved {
            let reserved = counter.next + COUNTER_BLOCK;
            replace(&counter.path, reserved.to_string().as_bytes(), 0o600).map_err(|source| ServerKeysError::Io {
                step: "write",
                path: counter.path.clone(),
                source,
            })?;
            // A crash from here on skips the rest of the block; a number is never used twice.
            counter.reserved = reserved;
        }
        let number = counter.next;
        counter.next += 1;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody_shared::hash::Sha256Hash;
    use custody_shared::message::{Acked, Command};

    #[test]
    fn keys_stay_and_numbers_rise_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let (site, camera, now) = (
            SiteId::random(),
            CameraId::random(),
            UtcMicros::new(1_800_000_000_000_000),
        );
        let (mut highest, mut publics) = (0, Vec::new());
        for _ in 0..3 {
            let keys = ServerKeys::open(dir.path()).unwrap();
            publics.push((keys.command_public(), keys.transport_public().as_bytes().to_vec()));
            for _ in 0..3 {
                let signed = keys.sign(site, camera, Command::Restart, now, 1_000_000).unwrap();
                let opened = Downlink::<Command>::open(&keys.command_public(), &signed, site, camera, now).unwrap();
                assert!(opened.counter > highest);
                highest = opened.counter;
            }
        }
        assert!(publics.windows(2).all(|pair| pair[0] == pair[1]));
        let keys = ServerKeys::open(dir.path()).unwrap();
        let acked = Acked {
            next_index: 0,
            last_hash: Sha256Hash::ZERO,
        };
        keys.sign(site, camera, acked, now, 1_000_000).unwrap();
        fs::write(dir.path().join("command.key"), "zz").unwrap();
        assert!(matches!(ServerKeys::open(dir.path()), Err(ServerKeysError::Damaged(_))));
    }
}

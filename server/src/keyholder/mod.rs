//! The keyholder: the only part that holds footage keys.
//!
//! In scope: the footage keyring, its epoch keys, checking the evidence of a release, opening one segment at a time,
//! rewrapping, destroying. Out of scope: who may see what (`access`), what was decided (`record`), footage itself.
//!
//! Invariants, as absences: no segment key leaves without a [`VerifiedGrant`] or [`VerifiedOrder`]; neither can be
//! made without a row that is proven to stand under the log's signed checkpoint; a destroyed key is in no file that
//! can still be decrypted. [`evidence`] → [`VerifiedGrant`] → [`Keyholder::open`].

mod disk;
mod epoch;
mod evidence;
mod file;
mod plan;
mod ring;

use custody_shared::id::{CameraId, KeyId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::segment::{Preamble, SegmentKey};
use custody_shared::time::{TimeRange, UtcMicros};

pub use evidence::{EvidenceError, ReleaseEvidence, VerifiedGrant, VerifiedOrder, verify_order, verify_release};
pub use file::FileHolder;
pub use plan::{KeyPlan, missing, wanted};

/// Longest segment: one that began this long before a window may still reach into it.
pub use custody_shared::statement::MAX_SEGMENT_US;

/// Why the keyholder did nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyholderError {
    /// The evidence does not reach this segment.
    #[error("the release does not cover this segment: {0}")]
    NotCovered(&'static str),
    /// The release's time has passed, or has not come.
    #[error("the release is not good now: {0}; ask for another")]
    NotNow(&'static str),
    /// The key is not in the keyring: destroyed, or never announced here.
    #[error("key {0} is not held: its day has passed, or another keyholder made it")]
    NoKey(KeyId),
    /// The key is there and does not open this segment.
    #[error("the segment was not sealed to key {0}, or it was altered")]
    NotSealedToIt(KeyId),
    /// A plan that cannot be.
    #[error("keys cannot be planned like this: {0}")]
    Plan(&'static str),
    /// The keyring cannot be read or written.
    #[error("keyring: cannot {step} {subject} ({source}); {remedy}")]
    Io {
        /// What failed.
        step: &'static str,
        /// On which file.
        subject: String,
        /// What to do.
        remedy: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The keyring's file cannot be decrypted or parsed.
    #[error(
        "keyring: {0}; it is lost if no standby holds it: footage until now cannot be opened, new keys can be laid with a new keyring"
    )]
    Damaged(&'static str),
}

/// A segment key wrapped symmetrically, to survive its key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The wrap key in the keyring.
    pub wrap_id: KeyId,
    /// Nonce of XChaCha20-Poly1305.
    pub nonce: [u8; 24],
    /// The wrapped segment key.
    pub sealed: [u8; 48],
}

/// A destroyed key, until the record has its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// The key.
    pub key: KeyId,
    /// Its camera.
    pub camera: CameraId,
    /// The filming time it covered.
    pub range: TimeRange,
    /// When it was due.
    pub due: UtcMicros,
    /// When the destruction was durable.
    pub done: UtcMicros,
    /// Whether it was a reserve key.
    pub reserve: bool,
    /// What the holder can claim.
    pub method: String,
}

/// A holder of footage keys.
///
/// Duties: what `announce` returns is durable; after `destroy` returns without error the due keys are in no file
/// that can still be decrypted; from `destroy_at` on, or once `destroy` was asked for, a key opens nothing even
/// where the disk refuses to forget it. Calls block for as long as the disk takes.
pub trait Keyholder: Send + Sync {
    /// Makes the planned key pairs that do not exist yet, and describes all of them in the plan's order.
    ///
    /// # Errors
    /// [`KeyholderError`]; then nothing new is announced.
    fn announce(&self, plans: &[KeyPlan]) -> Result<Vec<KeyDescriptor>, KeyholderError>;

    /// The key of one segment, for a release.
    ///
    /// # Errors
    /// [`KeyholderError`].
    fn open(&self, grant: &VerifiedGrant, preamble: &Preamble) -> Result<SegmentKey, KeyholderError>;

    /// The key of one segment that was rewrapped, for a release.
    ///
    /// # Errors
    /// [`KeyholderError`].
    fn open_rewrapped(
        &self,
        grant: &VerifiedGrant,
        preamble: &Preamble,
        rewrapped: &Rewrapped,
    ) -> Result<SegmentKey, KeyholderError>;

    /// Wraps segment keys under one fresh wrap key, durable before this returns.
    ///
    /// # Errors
    /// [`KeyholderError`]; then no segment key left.
    fn rewrap(&self, order: &VerifiedOrder, preambles: &[Preamble]) -> Result<Vec<Rewrapped>, KeyholderError>;

    /// Destroys every key due at `now`, and returns all destructions that were not settled yet.
    ///
    /// # Errors
    /// [`KeyholderError`]; the keys open nothing any more, and the next call tries the disk again.
    fn destroy(&self, now: UtcMicros) -> Result<Vec<Destroyed>, KeyholderError>;

    /// Forgets outcomes whose rows are in the record. Takes effect with the next write of the keyring; an outcome
    /// that comes back after a crash is settled again.
    fn settle(&self, keys: &[KeyId]);

    /// Which of these keys this holder does not have.
    fn lost(&self, keys: &[KeyId]) -> Vec<KeyId>;
}

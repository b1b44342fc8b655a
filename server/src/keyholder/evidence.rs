//! From rows of the ledger to the right to open: nothing else makes a [`VerifiedGrant`] or a [`VerifiedOrder`].

use custody_shared::grant::{Form, Grant};
use custody_shared::id::{CameraId, KeyId};
use custody_shared::time::{TimeRange, UtcMicros};
use custody_shared::tlog::{LogVerifier, RowEvidence};

use crate::record::{self, Actor, Entry, ReleaseUse, RewrapReason, Row};

/// An intent is good for at most this much opening, whatever its row says.
const MAX_INTENT_US: i64 = 10 * 60 * 1_000_000;
/// A row may be dated this far ahead of the keyholder's clock.
const AHEAD_US: i64 = 60_000_000;

/// The rows that allow a release, each with its proof.
#[derive(Clone)]
pub struct ReleaseEvidence {
    /// The row that issued the grant.
    pub grant: RowEvidence,
    /// The row that announced this release.
    pub intent: RowEvidence,
}

/// Why evidence was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A row is not proven to be in the log.
    #[error("a row is not proven: {0}")]
    Unproven(#[from] custody_shared::tlog::EvidenceError),
    /// A row cannot be read.
    #[error(transparent)]
    Unreadable(#[from] record::WireError),
    /// The rows do not say what they should.
    #[error("the rows allow no release: {0}")]
    Contradicts(&'static str),
    /// The time of the rows has passed or has not come.
    #[error("the release is not good now: {0}")]
    NotNow(&'static str),
}

/// A release that stands in the ledger. Its fields are private and this module alone fills them.
#[derive(Debug, Clone)]
pub struct VerifiedGrant {
    grant: Grant,
    camera: CameraId,
    range: TimeRange,
    purpose: ReleaseUse,
    until: UtcMicros,
    intent_row: u64,
}

impl VerifiedGrant {
    /// The grant.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The camera of this release.
    #[must_use]
    pub fn camera(&self) -> CameraId {
        self.camera
    }

    /// The window of this release. Segments at its edges reach beyond it; what lies outside is cut off after opening.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> ReleaseUse {
        self.purpose
    }

    /// Its end.
    #[must_use]
    pub fn until(&self) -> UtcMicros {
        self.until
    }

    /// The row of its intent, for the row of its outcome.
    #[must_use]
    pub fn intent_row(&self) -> u64 {
        self.intent_row
    }
}

/// An order of the system that stands in the ledger: to rewrap segment keys of one key pair.
#[derive(Debug, Clone)]
pub struct VerifiedOrder {
    camera: CameraId,
    key: KeyId,
    range: TimeRange,
    destroy_at: UtcMicros,
    reason: RewrapReason,
}

impl VerifiedOrder {
    /// The camera.
    #[must_use]
    pub fn camera(&self) -> CameraId {
        self.camera
    }

    /// The key pair.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The filming time whose segment keys survive.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// When the wrap key is destroyed.
    #[must_use]
    pub fn destroy_at(&self) -> UtcMicros {
        self.destroy_at
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> RewrapReason {
        self.reason
    }
}

/// Checks the evidence of a release: both rows are in the log under its signed checkpoint, they belong together,
/// different people asked and decided, and their time is now.
///
/// # Errors
/// [`EvidenceError`].
pub fn verify_release(
    evidence: &ReleaseEvidence,
    log: &LogVerifier,
    now: UtcMicros,
) -> Result<VerifiedGrant, EvidenceError> {
    let contradicts = |what| Err(EvidenceError::Contradicts(what));
    let (issued_row, issued) = proven(&evidence.grant, log)?;
    let (intent_row, intent) = proven(&evidence.intent, log)?;
    let Row::GrantIssued { grant } = issued.row else {
        return contradicts("the first row issues no grant");
    };
    let Row::ReleaseIntended {
        grant: of,
        camera,
        range,
        purpose,
        until,
    } = intent.row
    else {
        return contradicts("the second row intends no release");
    };
    if of != grant.id {
        return contradicts("the release is under another grant");
    }
    if intent_row <= issued_row {
        return contradicts("the release stands before its grant");
    }
    match (issued.actor, intent.actor) {
        (Actor::Person(decider), Actor::Person(viewer)) if decider != viewer && viewer == grant.viewer => {}
        _ => return contradicts("the viewer must be who asked, and somebody else must have decided"),
    }
    if !grant.cameras.contains(&camera) || !grant.range.covers(&range) {
        return contradicts("the release lies outside the grant");
    }
    match (grant.form, purpose) {
        (Form::View | Form::Copy, ReleaseUse::View) | (Form::Copy, ReleaseUse::Export(_)) => {}
        _ => return contradicts("the grant's form does not allow this"),
    }
    if until > grant.not_after || until.get() > intent.at.get().saturating_add(MAX_INTENT_US) {
        return contradicts("the release lasts longer than it may");
    }
    if intent.at.get() > now.get().saturating_add(AHEAD_US) || now < grant.not_before {
        return Err(EvidenceError::NotNow("its time has not come"));
    }
    if now >= until {
        return Err(EvidenceError::NotNow("its time has passed"));
    }
    Ok(VerifiedGrant {
        grant,
        camera,
        range,
        purpose,
        until,
        intent_row,
    })
}

/// Checks the evidence of an order.
///
/// # Errors
/// [`EvidenceError`].
pub fn verify_order(evidence: &RowEvidence, log: &LogVerifier, now: UtcMicros) -> Result<VerifiedOrder, EvidenceError> {
    let (_, entry) = proven(evidence, log)?;
    let Row::RewrapOrdered {
        camera,
        key,
        range,
        destroy_at,
        reason,
    } = entry.row
    else {
        return Err(EvidenceError::Contradicts("the row orders nothing"));
    };
    if destroy_at <= now {
        return Err(EvidenceError::NotNow("what it would keep is due already"));
    }
    Ok(VerifiedOrder {
        camera,
        key,
        range,
        destroy_at,
        reason,
    })
}

fn proven(evidence: &RowEvidence, log: &LogVerifier) -> Result<(u64, Entry), EvidenceError> {
    let row = evidence.verify(log)?;
    Ok((row.index(), record::decode(row.body())?))
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;

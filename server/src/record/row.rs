//! Rows: everything a person or the system decided, in the order in which it was decided.

use custody_shared::grant::Grant;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, ExportId, KeyId, PersonId, RequestId, SiteId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::time::{TimeRange, UtcMicros};
use serde::{Deserialize, Serialize};

use super::rules::RetentionClass;
use super::terms::{LocationClass, Outcome, RefusalGround, RequestGround, RequestKind};
use super::wire;
use crate::access::{Grade, Rule};

/// Who did what a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A signed-in person.
    Person(PersonId),
    /// A camera's agent.
    Camera(CameraId),
    /// Somebody with a shell on the server, through its command line.
    Console,
    /// The system on its own: destruction on the due day, keys laid ahead.
    System,
}

/// A row with its time and its actor: what a ledger body holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When it was decided.
    pub at: UtcMicros,
    /// Who decided.
    pub actor: Actor,
    /// What was decided.
    pub row: Row,
}

/// Whom footage is handed to, for a provision; all three are required by law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The agency.
    pub agency: String,
    /// The officer's name.
    pub officer: String,
    /// Number of the document.
    pub document: String,
}

/// What a decision says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verdict {
    /// Everything asked for.
    Approve,
    /// Fewer cameras or a shorter window.
    ApproveInPart {
        /// The cameras that remain.
        cameras: Vec<CameraId>,
        /// The window that remains.
        #[serde(with = "wire::range")]
        range: TimeRange,
    },
    /// Nothing, for a ground from the list.
    Refuse {
        /// The ground.
        ground: RefusalGround,
    },
}

/// What a release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseUse {
    /// Watching under the grant.
    View,
    /// Preparing a copy.
    Export(ExportId),
}

/// Why surviving segment keys are rewrapped before a key pair is destroyed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewrapReason {
    /// Some minutes of the day are deleted; the rest survives.
    Deletion,
    /// A legal hold keeps some minutes beyond the day.
    Hold,
}

/// One kind of decision or event each. Numbers of kinds are in [`Row::kind`] and never reused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "fields are named in the glossary's words and described in the record's text"
)]
pub enum Row {
    /// First row of every ledger.
    SiteCreated { site: SiteId, name: String, zone: String },
    /// An account; `verifier` is an Argon2id PHC string.
    PersonAdded {
        person: PersonId,
        name: String,
        display: String,
        grade: Grade,
        verifier: String,
    },
    /// What changed of an account; `None` is unchanged. `unlock` ends a lock-out.
    PersonChanged {
        person: PersonId,
        grade: Option<Grade>,
        verifier: Option<String>,
        active: Option<bool>,
        unlock: bool,
    },
    /// A camera may exist.
    CameraAdded {
        camera: CameraId,
        name: String,
        location: String,
        class: LocationClass,
        purpose: String,
        legal_ground: String,
    },
    /// A work-order token: one slot for each camera, each usable once.
    JoinTokenIssued {
        token: String,
        secret: Sha256Hash,
        cameras: Vec<CameraId>,
        #[serde(with = "wire::micros")]
        expires_at: UtcMicros,
    },
    /// An agent joined for a camera; earlier certificates of that camera end.
    CameraEnrolled {
        camera: CameraId,
        token: String,
        #[serde(with = "wire::bytes32")]
        statement_public: [u8; 32],
        #[serde(with = "wire::bytes32")]
        witness_public: [u8; 32],
        certificate: String,
    },
    /// A renewed certificate; `certificate` is its serial in hexadecimal.
    CertificateRenewed {
        camera: CameraId,
        certificate: String,
        #[serde(with = "wire::micros")]
        not_after: UtcMicros,
    },
    /// A certificate that ends now.
    CertificateRevoked {
        camera: CameraId,
        certificate: String,
        reason: String,
    },
    /// Public halves laid ahead for a camera; their private halves are durable with every holder.
    KeysAnnounced {
        camera: CameraId,
        #[serde(with = "wire::descriptors")]
        descriptors: Vec<KeyDescriptor>,
    },
    /// A private half was destroyed.
    KeyDestroyed {
        camera: CameraId,
        key: KeyId,
        #[serde(with = "wire::range")]
        range: TimeRange,
        reserve: bool,
        #[serde(with = "wire::micros")]
        due: UtcMicros,
        #[serde(with = "wire::micros")]
        done: UtcMicros,
        method: String,
    },
    /// Some segment keys of a key pair shall survive it.
    RewrapOrdered {
        camera: CameraId,
        key: KeyId,
        #[serde(with = "wire::range")]
        range: TimeRange,
        #[serde(with = "wire::micros")]
        destroy_at: UtcMicros,
        reason: RewrapReason,
    },
    /// A footage request.
    RequestFiled {
        request: RequestId,
        kind: RequestKind,
        requester: PersonId,
        cameras: Vec<CameraId>,
        #[serde(with = "wire::range")]
        range: TimeRange,
        purpose: String,
        ground: RequestGround,
        copy: bool,
        recipient: Option<Recipient>,
        #[serde(with = "wire::micros")]
        due: UtcMicros,
    },
    /// The requester took it back.
    RequestWithdrawn { request: RequestId },
    /// A decision.
    RequestDecided {
        request: RequestId,
        verdict: Verdict,
        note: String,
    },
    /// What an approval allows.
    GrantIssued {
        #[serde(with = "wire::grant")]
        grant: Grant,
    },
    /// A grant that ends before its time.
    GrantEnded {
        grant: custody_shared::id::GrantId,
        reason: String,
    },
    /// Footage is about to be opened; good until `until`.
    ReleaseIntended {
        grant: custody_shared::id::GrantId,
        camera: CameraId,
        #[serde(with = "wire::range")]
        range: TimeRange,
        purpose: ReleaseUse,
        #[serde(with = "wire::micros")]
        until: UtcMicros,
    },
    /// What came of the intent in row `intent`.
    ReleaseDone {
        intent: u64,
        segments: u32,
        bytes: u64,
        outcome: Outcome,
    },
    /// A copy is about to be prepared.
    ExportIntended {
        export: ExportId,
        grant: custody_shared::id::GrantId,
    },
    /// What came of it.
    ExportDone {
        export: ExportId,
        outcome: Outcome,
        bytes: u64,
        sha256: Option<Sha256Hash>,
    },
    /// Somebody signed in.
    SignedIn { person: PersonId },
    /// Somebody failed to; unknown names are not kept, people type passwords there.
    SignInRefused { person: Option<PersonId>, locked: bool },
    /// Somebody was refused an act.
    AccessRefused { rule: Rule, act: String, subject: String },
}

impl Row {
    /// The number of this kind in the ledger.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::SiteCreated { .. } => 1,
            Self::PersonAdded { .. } => 10,
            Self::PersonChanged { .. } => 11,
            Self::CameraAdded { .. } => 20,
            Self::JoinTokenIssued { .. } => 21,
            Self::CameraEnrolled { .. } => 22,
            Self::CertificateRenewed { .. } => 23,
            Self::CertificateRevoked { .. } => 24,
            Self::KeysAnnounced { .. } => 30,
            Self::KeyDestroyed { .. } => 31,
            Self::RewrapOrdered { .. } => 32,
            Self::RequestFiled { .. } => 40,
            Self::RequestWithdrawn { .. } => 41,
            Self::RequestDecided { .. } => 42,
            Self::GrantIssued { .. } => 43,
            Self::GrantEnded { .. } => 44,
            Self::ReleaseIntended { .. } => 50,
            Self::ReleaseDone { .. } => 51,
            Self::ExportIntended { .. } => 52,
            Self::ExportDone { .. } => 53,
            Self::SignedIn { .. } => 60,
            Self::SignInRefused { .. } => 61,
            Self::AccessRefused { .. } => 62,
        }
    }

    /// What the body is kept for.
    #[must_use]
    pub const fn retention(&self) -> RetentionClass {
        match self {
            Self::SiteCreated { .. }
            | Self::CameraAdded { .. }
            | Self::JoinTokenIssued { .. }
            | Self::CameraEnrolled { .. }
            | Self::CertificateRenewed { .. }
            | Self::CertificateRevoked { .. }
            | Self::KeysAnnounced { .. } => RetentionClass::Standing,
            Self::PersonAdded { .. } | Self::PersonChanged { .. } => RetentionClass::GrantHistory,
            Self::KeyDestroyed { .. }
            | Self::RewrapOrdered { .. }
            | Self::RequestFiled { .. }
            | Self::RequestWithdrawn { .. }
            | Self::RequestDecided { .. }
            | Self::GrantIssued { .. }
            | Self::GrantEnded { .. }
            | Self::ReleaseIntended { .. }
            | Self::ReleaseDone { .. }
            | Self::ExportIntended { .. }
            | Self::ExportDone { .. } => RetentionClass::Register,
            Self::SignedIn { .. } | Self::SignInRefused { .. } | Self::AccessRefused { .. } => {
                RetentionClass::HandlerAccess
            }
        }
    }
}

//! The present state: the fold of all rows. Readers hold a snapshot; it never changes under them.

use std::collections::BTreeMap;
use std::sync::Arc;

use custody_shared::grant::Grant;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, ExportId, GrantId, KeyId, PersonId, RequestId, SiteId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::time::{TimeRange, UtcMicros};
use jiff::tz::TimeZone;

use super::row::{Recipient, ReleaseUse, RewrapReason, Verdict};
use super::terms::{LocationClass, Outcome, RequestGround, RequestKind, RequestState};
use crate::access::{Grade, GrantFacts, Principal};

/// A table of the state; cloning it is cheap, changing a clone copies one table of pointers.
pub(super) type Table<K, V> = Arc<BTreeMap<K, Arc<V>>>;

/// The site, from the first row.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// Its time zone.
    pub zone: TimeZone,
    /// The zone's IANA name.
    pub zone_name: String,
}

/// An account.
#[derive(Clone, PartialEq)]
pub struct Person {
    /// Its id.
    pub id: PersonId,
    /// The name typed at sign-in, lower case.
    pub name: String,
    /// The name shown.
    pub display: String,
    /// What it may do.
    pub grade: Grade,
    /// Whether it is open.
    pub active: bool,
    /// Argon2id PHC string.
    pub verifier: String,
    /// When the password was set.
    pub password_set_at: UtcMicros,
    /// Failed sign-ins since the last success or unlocking.
    pub failures: u32,
    /// When the last of them happened.
    pub failed_at: Option<UtcMicros>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither names nor the verifier belong in a log.
        f.debug_struct("Person")
            .field("id", &self.id)
            .field("grade", &self.grade)
            .finish_non_exhaustive()
    }
}

impl Person {
    /// This person as somebody who acts.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal {
            person: self.id,
            grade: self.grade,
            active: self.active,
        }
    }
}

/// One agent's enrolment for a camera; a replaced agent adds another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Ed25519 key that signs statements.
    pub statement_public: [u8; 32],
    /// Ed25519 key that cosigns checkpoints.
    pub witness_public: [u8; 32],
    /// Serial of the certificate in force, hexadecimal.
    pub certificate: String,
    /// Earlier or revoked serials of this enrolment.
    pub ended_certificates: Vec<String>,
    /// Whether `certificate` was revoked.
    pub revoked: bool,
    /// When it joined.
    pub enrolled_at: UtcMicros,
}

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Its id.
    pub id: CameraId,
    /// Its name, unique, used as the slot's name.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// What kind of place that is.
    pub class: LocationClass,
    /// What it films for.
    pub purpose: String,
    /// On which ground.
    pub legal_ground: String,
    /// When it was added.
    pub added_at: UtcMicros,
    /// Agents, the present one last.
    pub enrolments: Vec<Enrolment>,
}

impl Camera {
    /// The agent that records it now.
    #[must_use]
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolments.last()
    }

    /// The key that verifies its statements now.
    #[must_use]
    pub fn statement_public(&self) -> Option<&[u8; 32]> {
        self.enrolment().map(|enrolment| &enrolment.statement_public)
    }

    /// Whether a certificate serial speaks for this camera now.
    #[must_use]
    pub fn accepts_certificate(&self, serial: &str) -> bool {
        self.enrolment()
            .is_some_and(|enrolment| !enrolment.revoked && enrolment.certificate == serial)
    }
}

/// A work-order token.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinToken {
    /// Public part.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret: Sha256Hash,
    /// End of its life.
    pub expires_at: UtcMicros,
    /// One slot for each camera; `true` once used.
    pub slots: BTreeMap<CameraId, bool>,
}

/// A destroyed key.
#[derive(Debug, Clone, PartialEq)]
pub struct DestroyedKey {
    /// The key.
    pub key: KeyId,
    /// The filming time it covered.
    pub range: TimeRange,
    /// Whether it was a reserve key.
    pub reserve: bool,
    /// When it was due.
    pub due: UtcMicros,
    /// When it was done.
    pub done: UtcMicros,
    /// How, in the holder's words.
    pub method: String,
}

/// Keys of one camera.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CameraKeys {
    /// Descriptors of keys that are not destroyed.
    pub live: BTreeMap<KeyId, Arc<KeyDescriptor>>,
    /// Destroyed keys, in the order of destruction.
    pub destroyed: Vec<Arc<DestroyedKey>>,
    /// How often keys were announced; the issue number of the next announcement.
    pub issue: u64,
}

/// An order to rewrap, by the row that gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct RewrapOrder {
    /// The camera.
    pub camera: CameraId,
    /// The key pair that will go.
    pub key: KeyId,
    /// The time whose segment keys survive.
    pub range: TimeRange,
    /// When the rewrapped keys are destroyed.
    pub destroy_at: UtcMicros,
    /// Why.
    pub reason: RewrapReason,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Who decided.
    pub by: PersonId,
    /// When.
    pub at: UtcMicros,
    /// What.
    pub verdict: Verdict,
    /// In further words.
    pub note: String,
}

/// A footage request.
#[derive(Debug, Clone, PartialEq)]
pub struct FootageRequest {
    /// Its id.
    pub id: RequestId,
    /// Its number in the register, from 1.
    pub number: u64,
    /// What it asks for.
    pub kind: RequestKind,
    /// Who filed it.
    pub requester: PersonId,
    /// Cameras asked for.
    pub cameras: Vec<CameraId>,
    /// Window asked for.
    pub range: TimeRange,
    /// What for.
    pub purpose: String,
    /// On which ground.
    pub ground: RequestGround,
    /// Whether a copy is asked for, or viewing alone.
    pub copy: bool,
    /// Whom it is handed to.
    pub recipient: Option<Recipient>,
    /// When it was filed.
    pub filed_at: UtcMicros,
    /// When it must be answered.
    pub due: UtcMicros,
    /// Where it stands.
    pub state: RequestState,
    /// What was decided.
    pub decision: Option<Decision>,
    /// What the decision allowed.
    pub grant: Option<GrantId>,
}

/// A grant and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRecord {
    /// The grant.
    pub grant: Grant,
    /// Index of its row.
    pub row: u64,
    /// First release for viewing; the minutes count from here.
    pub first_play: Option<UtcMicros>,
    /// Releases so far.
    pub releases: u64,
    /// Whether it was ended.
    pub ended: bool,
}

impl GrantRecord {
    /// When the minutes end, once playing began.
    #[must_use]
    pub fn minutes_end(&self) -> Option<UtcMicros> {
        let minutes = i64::from(self.grant.play_minutes) * 60_000_000;
        self.first_play
            .map(|at| UtcMicros::new(at.get().saturating_add(minutes)))
    }

    /// Whether the grant allows a copy.
    #[must_use]
    pub fn copy(&self) -> bool {
        self.grant.form == custody_shared::grant::Form::Copy
    }

    /// The facts that rules need.
    #[must_use]
    pub fn facts(&self, wanted: Option<(CameraId, TimeRange)>) -> GrantFacts<'_> {
        GrantFacts {
            grant: self.grant.id,
            viewer: self.grant.viewer,
            copy: self.copy(),
            cameras: &self.grant.cameras,
            range: self.grant.range,
            not_before: self.grant.not_before,
            not_after: self.grant.not_after,
            minutes_end: self.minutes_end(),
            ended: self.ended,
            wanted,
        }
    }
}

/// A release that was intended and whose outcome is not recorded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRelease {
    /// The grant.
    pub grant: GrantId,
    /// The camera.
    pub camera: CameraId,
    /// The window.
    pub range: TimeRange,
    /// What for.
    pub purpose: ReleaseUse,
    /// Good until.
    pub until: UtcMicros,
}

/// An export.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRecord {
    /// Its id.
    pub id: ExportId,
    /// The grant.
    pub grant: GrantId,
    /// When it began.
    pub at: UtcMicros,
    /// How it ended: outcome, bytes and hash.
    pub done: Option<(Outcome, u64, Option<Sha256Hash>)>,
}

/// Everything that is decided, as of the last folded row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(super) rows: u64,
    pub(super) site: Option<Arc<Site>>,
    pub(super) people: Table<PersonId, Person>,
    pub(super) cameras: Table<CameraId, Camera>,
    pub(super) tokens: Table<String, JoinToken>,
    pub(super) keys: Table<CameraId, CameraKeys>,
    pub(super) orders: Table<u64, RewrapOrder>,
    pub(super) requests: Table<RequestId, FootageRequest>,
    pub(super) grants: Table<GrantId, GrantRecord>,
    pub(super) open_releases: Table<u64, OpenRelease>,
    pub(super) exports: Table<ExportId, ExportRecord>,
}

macro_rules! by_id {
    ($($(#[$doc:meta])* $one:ident, $(#[$alldoc:meta])* $all:ident: $table:ident [$key:ty => $value:ty];)+) => {
        impl State {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $one(&self, id: $key) -> Option<&$value> {
                    self.$table.get(&id).map(|value| &**value)
                }

                $(#[$alldoc])*
                pub fn $all(&self) -> impl Iterator<Item = &$value> {
                    self.$table.values().map(|value| &**value)
                }
            )+
        }
    };
}

by_id! {
    /// A person.
    person, /// Everybody, closed accounts too.
    people: people [PersonId => Person];
    /// A camera.
    camera, /// All cameras.
    cameras: cameras [CameraId => Camera];
    /// A request.
    request, /// All requests.
    requests: requests [RequestId => FootageRequest];
    /// A grant.
    grant, /// All grants.
    grants: grants [GrantId => GrantRecord];
    /// An export.
    export, /// All exports.
    exports: exports [ExportId => ExportRecord];
    /// A release whose outcome is not recorded yet, by the row of its intent.
    open_release, /// All of them.
    open_releases: open_releases [u64 => OpenRelease];
}

impl State {
    /// Rows of intents whose outcome is not recorded yet.
    pub fn open_release_rows(&self) -> impl Iterator<Item = u64> {
        self.open_releases.keys().copied()
    }

    /// Number of rows folded.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The site; `None` before the first row.
    #[must_use]
    pub fn site(&self) -> Option<&Site> {
        self.site.as_deref()
    }

    /// The site's zone; UTC before the first row.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        self.site.as_ref().map_or(TimeZone::UTC, |site| site.zone.clone())
    }

    /// A person by sign-in name, in any case.
    #[must_use]
    pub fn person_by_name(&self, name: &str) -> Option<&Person> {
        let name = name.trim().to_lowercase();
        self.people().find(|person| person.name == name)
    }

    /// A camera by name.
    #[must_use]
    pub fn camera_by_name(&self, name: &str) -> Option<&Camera> {
        self.cameras().find(|camera| camera.name == name)
    }

    /// A token by its public part.
    #[must_use]
    pub fn join_token(&self, id: &str) -> Option<&JoinToken> {
        self.tokens.get(id).map(|token| &**token)
    }

    /// The keys of a camera.
    #[must_use]
    pub fn keys(&self, camera: CameraId) -> Option<&CameraKeys> {
        self.keys.get(&camera).map(|keys| &**keys)
    }

    /// Descriptors of a camera's keys that are not destroyed, by start and id: what its agent is sent.
    #[must_use]
    pub fn descriptors(&self, camera: CameraId) -> Vec<KeyDescriptor> {
        let mut list: Vec<KeyDescriptor> = self
            .keys(camera)
            .into_iter()
            .flat_map(|keys| keys.live.values())
            .map(|descriptor| (**descriptor).clone())
            .collect();
        list.sort_by_key(|descriptor| (descriptor.valid_from, descriptor.key_id));
        list
    }

    /// An order to rewrap, by its row.
    #[must_use]
    pub fn rewrap_order(&self, row: u64) -> Option<&RewrapOrder> {
        self.orders.get(&row).map(|order| &**order)
    }

    /// The grant of a request.
    #[must_use]
    pub fn grant_of(&self, request: RequestId) -> Option<&GrantRecord> {
        self.request(request)
            .and_then(|request| request.grant)
            .and_then(|grant| self.grant(grant))
    }
}

//! Acts on cameras: adding, join tokens, joining, renewing and revoking certificates.

use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::join::JoinToken;
use custody_shared::time::UtcMicros;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cases::{principal, typed};
use super::fold::{NAME_CHARS, unknown};
use super::row::{Actor, Row};
use super::state::State;
use super::store::{Record, RecordError};
use super::terms::LocationClass;
use super::text;
use crate::access::{Action, Context, Refusal, Resource, Rule, decide};

/// Cameras one token may have slots for.
pub const MAX_SLOTS: usize = 64;

/// A camera as typed.
#[derive(Debug, Clone)]
pub struct CameraDraft {
    /// Its name, unique.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// What kind of place that is.
    pub class: LocationClass,
    /// What it films for.
    pub purpose: String,
    /// On which ground.
    pub legal_ground: String,
}

/// What an agent brings when it joins.
#[derive(Debug, Clone)]
pub struct AgentKeys {
    /// Ed25519 key of its statements.
    pub statement_public: [u8; 32],
    /// Ed25519 key of its cosignatures.
    pub witness_public: [u8; 32],
    /// Serial of the certificate that will be handed out once this is recorded, hexadecimal.
    pub certificate: String,
}

impl Record {
    /// Adds a camera.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn add_camera(&self, actor: Actor, draft: CameraDraft) -> Result<CameraId, RecordError> {
        let camera = CameraId::random();
        self.commit(actor, |state, now| {
            let act = allowed(state, actor, Action::ConfigureCamera, Resource::Site, now)?;
            let name = typed(text::checked(&draft.name, NAME_CHARS), "the name", act)?;
            let row = Row::CameraAdded {
                camera,
                name,
                location: typed(text::checked(&draft.location, NAME_CHARS), "the location", act)?,
                class: draft.class,
                purpose: typed(text::checked(&draft.purpose, 256), "the purpose", act)?,
                legal_ground: typed(text::checked(&draft.legal_ground, 256), "the legal ground", act)?,
            };
            Ok((vec![row], ()))
        })
        .await?;
        Ok(camera)
    }

    /// Issues a token with one slot for each camera. Its text, `id.secret`, exists only in the answer.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn issue_token(
        &self,
        actor: Actor,
        cameras: Vec<CameraId>,
    ) -> Result<(Zeroizing<String>, UtcMicros), RecordError> {
        let rules = self.rules().clone();
        let token = JoinToken::generate().expect("the system's random source works");
        let committed = self
            .commit(actor, |state, now| {
                let act = allowed(state, actor, Action::IssueJoinToken, Resource::Site, now)?;
                if cameras.is_empty() || cameras.len() > MAX_SLOTS {
                    return Err(
                        Refusal::new(Rule::Malformed, format!("a token has 1 to {MAX_SLOTS} slots")).of(act, "site"),
                    );
                }
                let hours = i64::from(rules.at(now, &state.zone()).join_token_hours);
                let expires_at = UtcMicros::new(now.get().saturating_add(hours * 3_600_000_000));
                Ok((
                    vec![Row::JoinTokenIssued {
                        token: token.id(),
                        secret: token.hash(),
                        cameras,
                        expires_at,
                    }],
                    expires_at,
                ))
            })
            .await?;
        Ok((token.reveal(), committed.value))
    }

    /// Records that an agent joined with a token. Certificates are handed out only after this returns.
    ///
    /// # Errors
    /// [`RecordError::Refused`]: `token-invalid`, `slot-taken`, or `taken` for keys seen before.
    pub async fn enrol(&self, token: &str, slot: Option<&str>, agent: AgentKeys) -> Result<CameraId, RecordError> {
        // The actor is the camera that joins, known only after the token was read.
        let camera = slot_of(&self.state(), token, slot, self.clock().now())?;
        let committed = self
            .commit(Actor::Camera(camera), |state, now| {
                let again = slot_of(state, token, slot, now)?;
                if again != camera {
                    return Err(taken());
                }
                let id = token.parse::<JoinToken>().map_err(|_| invalid())?.id();
                let row = Row::CameraEnrolled {
                    camera,
                    token: id,
                    statement_public: agent.statement_public,
                    witness_public: agent.witness_public,
                    certificate: agent.certificate,
                };
                Ok((vec![row], camera))
            })
            .await?;
        Ok(committed.value)
    }

    /// Records a renewed certificate.
    ///
    /// # Errors
    /// [`RecordError::Refused`] where the camera's certificate was revoked.
    pub async fn renew_certificate(
        &self,
        camera: CameraId,
        certificate: String,
        not_after: UtcMicros,
    ) -> Result<(), RecordError> {
        self.commit(Actor::Camera(camera), |_, _| {
            Ok((
                vec![Row::CertificateRenewed {
                    camera,
                    certificate,
                    not_after,
                }],
                (),
            ))
        })
        .await?;
        Ok(())
    }

    /// Ends a camera's certificate.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn revoke_certificate(&self, actor: Actor, camera: CameraId, reason: &str) -> Result<(), RecordError> {
        self.commit(actor, |state, now| {
            let act = allowed(state, actor, Action::RevokeCertificate, Resource::Camera(camera), now)?;
            let reason = typed(text::checked(reason, 256), "the reason", act)?;
            let found = state.camera(camera).ok_or_else(|| unknown("camera"))?;
            let certificate = found
                .enrolment()
                .ok_or_else(|| unknown("certificate"))?
                .certificate
                .clone();
            Ok((
                vec![Row::CertificateRevoked {
                    camera,
                    certificate,
                    reason,
                }],
                (),
            ))
        })
        .await?;
        Ok(())
    }
}

/// The camera whose slot a token text opens now: the named one, or the only free one.
///
/// # Errors
/// `token-invalid` for anything unknown, wrong or expired, all alike; `slot-taken` otherwise.
pub fn slot_of(state: &State, token: &str, slot: Option<&str>, now: UtcMicros) -> Result<CameraId, Refusal> {
    if token.len() > 128 {
        return Err(invalid());
    }
    let token = token.parse::<JoinToken>().map_err(|_| invalid())?;
    let given = token.hash();
    let known = state.join_token(&token.id());
    // Unknown ids compare with something too.
    let expected = known.map_or(Sha256Hash::ZERO, |token| token.secret);
    let equal = bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
    let known = known
        .filter(|token| equal && now < token.expires_at)
        .ok_or_else(invalid)?;
    let mut free = known
        .slots
        .iter()
        .filter(|(_, used)| !**used)
        .map(|(camera, _)| *camera);
    match slot {
        Some(name) => free
            .find(|camera| {
                state
                    .camera(*camera)
                    .is_some_and(|camera| camera.name == name || camera.id.to_string() == name)
            })
            .ok_or_else(taken),
        None => match (free.next(), free.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(taken()),
            (Some(_), Some(_)) => Err(Refusal::new(
                Rule::SlotTaken,
                "the token has several free slots; name the camera",
            )
            .of("join", "token")),
        },
    }
}

fn invalid() -> Refusal {
    Refusal::new(
        Rule::TokenInvalid,
        "the token is unknown, wrong or expired; ask for a new one",
    )
}

fn taken() -> Refusal {
    Refusal::new(
        Rule::SlotTaken,
        "the token has no free slot for this camera; ask for a new one",
    )
    .of("join", "token")
}

/// Whether an actor may act: people by their grade, the console always, nobody else.
pub(super) fn allowed(
    state: &State,
    actor: Actor,
    action: Action,
    what: Resource<'_>,
    now: UtcMicros,
) -> Result<&'static str, Refusal> {
    match actor {
        Actor::Console => Ok(action.word()),
        Actor::Person(person) => {
            decide(&principal(state, person)?, action, what, Context { now })?;
            Ok(action.word())
        }
        Actor::Camera(_) | Actor::System => {
            Err(Refusal::new(Rule::GradeMayNot, "only people do this").of(action.word(), "site"))
        }
    }
}

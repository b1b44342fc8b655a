//! How each row changes the state, and which rows may not follow it.
//!
//! The same function folds rows at start and tries rows before they are appended, so that a row that would not
//! fold is never written.

use std::collections::BTreeMap;
use std::sync::Arc;

use custody_shared::id::PersonId;
use custody_shared::time::UtcMicros;

use super::row::{Actor, Entry, Row};
use super::state::{Camera, Enrolment, JoinToken, Person, Site, State};
use super::terms::LocationClass;
use super::{days, fold_cases, fold_keys};
use crate::access::{Refusal, Rule};

/// A row that may not follow the state.
pub type FoldError = Refusal;

/// Limits of names, in characters.
pub(super) const NAME_CHARS: usize = 64;

pub(super) fn illegal(message: impl Into<String>) -> FoldError {
    Refusal::new(Rule::IllegalTransition, message)
}

pub(super) fn unknown(what: &str) -> FoldError {
    Refusal::new(Rule::Unknown, format!("there is no such {what}"))
}

pub(super) fn taken(what: &str) -> FoldError {
    Refusal::new(Rule::Taken, format!("this {what} is taken; choose another"))
}

/// The value of a table for changing.
pub(super) fn change<'a, K: Ord + Clone, V: Clone>(
    table: &'a mut Arc<BTreeMap<K, Arc<V>>>,
    key: &K,
    what: &str,
) -> Result<&'a mut V, FoldError> {
    if !table.contains_key(key) {
        return Err(unknown(what));
    }
    Ok(Arc::make_mut(
        Arc::make_mut(table).get_mut(key).expect("it was just found"),
    ))
}

/// Adds a value under a new key.
pub(super) fn add<K: Ord + Clone, V: Clone>(
    table: &mut Arc<BTreeMap<K, Arc<V>>>,
    key: K,
    value: V,
    what: &str,
) -> Result<(), FoldError> {
    if table.contains_key(&key) {
        return Err(taken(what));
    }
    Arc::make_mut(table).insert(key, Arc::new(value));
    Ok(())
}

impl State {
    /// Folds the row at `index` in. On an error the state may be half changed: fold into a clone.
    ///
    /// # Errors
    /// [`FoldError`] where the row may not follow this state.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Result<(), FoldError> {
        if index != self.rows {
            return Err(illegal(format!("row {index} does not follow row {}", self.rows)));
        }
        if self.site.is_none() && !matches!(entry.row, Row::SiteCreated { .. }) {
            return Err(illegal("the first row names the site"));
        }
        let at = entry.at;
        match &entry.row {
            Row::SiteCreated { site, name, zone } => {
                if self.site.is_some() {
                    return Err(illegal("the site exists already"));
                }
                let known = days::zone(zone).map_err(|message| Refusal::new(Rule::Malformed, message))?;
                self.site = Some(Arc::new(Site {
                    id: *site,
                    name: name.clone(),
                    zone: known,
                    zone_name: zone.clone(),
                }));
            }
            Row::PersonAdded { .. } | Row::PersonChanged { .. } => self.fold_person(at, entry.actor, &entry.row)?,
            Row::SignedIn { person } => {
                let person = change(&mut self.people, person, "person")?;
                person.failures = 0;
                person.failed_at = None;
            }
            Row::SignInRefused {
                person: Some(person),
                locked: false,
            } => {
                let person = change(&mut self.people, person, "person")?;
                person.failures = person.failures.saturating_add(1);
                person.failed_at = Some(at);
            }
            Row::SignInRefused { .. } | Row::AccessRefused { .. } => {}
            Row::CameraAdded { .. }
            | Row::JoinTokenIssued { .. }
            | Row::CameraEnrolled { .. }
            | Row::CertificateRenewed { .. }
            | Row::CertificateRevoked { .. } => self.fold_camera(at, &entry.row)?,
            Row::KeysAnnounced { .. } | Row::KeyDestroyed { .. } | Row::RewrapOrdered { .. } => {
                fold_keys::fold(self, index, &entry.row)?;
            }
            Row::RequestFiled { .. }
            | Row::RequestWithdrawn { .. }
            | Row::RequestDecided { .. }
            | Row::GrantIssued { .. }
            | Row::GrantEnded { .. }
            | Row::ReleaseIntended { .. }
            | Row::ReleaseDone { .. }
            | Row::ExportIntended { .. }
            | Row::ExportDone { .. } => fold_cases::fold(self, index, entry)?,
        }
        self.rows += 1;
        Ok(())
    }

    fn fold_person(&mut self, at: UtcMicros, actor: Actor, row: &Row) -> Result<(), FoldError> {
        match row {
            Row::PersonAdded {
                person,
                name,
                display,
                grade,
                verifier,
            } => {
                if self.person_by_name(name).is_some() {
                    return Err(taken("name"));
                }
                let added = Person {
                    id: *person,
                    name: name.clone(),
                    display: display.clone(),
                    grade: *grade,
                    active: true,
                    verifier: verifier.clone(),
                    password_set_at: at,
                    failures: 0,
                    failed_at: None,
                };
                add(&mut self.people, *person, added, "person")
            }
            Row::PersonChanged {
                person,
                grade,
                verifier,
                active,
                unlock,
            } => {
                own_password_only(actor, *person, grade.is_none() && active.is_none() && !unlock)?;
                let changed = change(&mut self.people, person, "person")?;
                changed.grade = grade.unwrap_or(changed.grade);
                changed.active = active.unwrap_or(changed.active);
                if let Some(verifier) = verifier {
                    changed.verifier.clone_from(verifier);
                    changed.password_set_at = at;
                }
                if *unlock {
                    changed.failures = 0;
                    changed.failed_at = None;
                }
                Ok(())
            }
            _ => Err(illegal("no row about people")),
        }
    }

    fn fold_camera(&mut self, at: UtcMicros, row: &Row) -> Result<(), FoldError> {
        match row {
            Row::CameraAdded {
                camera,
                name,
                location,
                class,
                purpose,
                legal_ground,
            } => {
                match class {
                    LocationClass::Prohibited => {
                        return Err(Refusal::new(
                            Rule::ProhibitedPlace,
                            "no camera may film in such a place",
                        ));
                    }
                    LocationClass::Private => {
                        return Err(Refusal::new(
                            Rule::PrivatePlace,
                            "a camera in a private room films only under consent sessions, which this version does not have",
                        ));
                    }
                    LocationClass::Open | LocationClass::Waiting => {}
                }
                if self.camera_by_name(name).is_some() {
                    return Err(taken("camera name"));
                }
                let added = Camera {
                    id: *camera,
                    name: name.clone(),
                    location: location.clone(),
                    class: *class,
                    purpose: purpose.clone(),
                    legal_ground: legal_ground.clone(),
                    added_at: at,
                    enrolments: Vec::new(),
                };
                add(&mut self.cameras, *camera, added, "camera")
            }
            Row::JoinTokenIssued {
                token,
                secret,
                cameras,
                expires_at,
            } => {
                if cameras.is_empty() || cameras.iter().any(|camera| !self.cameras.contains_key(camera)) {
                    return Err(unknown("camera"));
                }
                // Tokens long past their end are of no use to anybody; the rows keep their history.
                let day = 86_400_000_000;
                if self
                    .tokens
                    .values()
                    .any(|old| old.expires_at.get().saturating_add(day) < at.get())
                {
                    Arc::make_mut(&mut self.tokens)
                        .retain(|_, old| old.expires_at.get().saturating_add(day) >= at.get());
                }
                let slots = cameras.iter().map(|camera| (*camera, false)).collect();
                let issued = JoinToken {
                    id: token.clone(),
                    secret: *secret,
                    expires_at: *expires_at,
                    slots,
                };
                add(&mut self.tokens, token.clone(), issued, "token")
            }
            Row::CameraEnrolled {
                camera,
                token,
                statement_public,
                witness_public,
                certificate,
            } => {
                let invalid = || Refusal::new(Rule::TokenInvalid, "the token is unknown or expired; ask for a new one");
                let spent = change(&mut self.tokens, token, "token").map_err(|_| invalid())?;
                if at >= spent.expires_at {
                    return Err(invalid());
                }
                match spent.slots.get_mut(camera) {
                    Some(used @ false) => *used = true,
                    Some(true) => {
                        return Err(Refusal::new(
                            Rule::SlotTaken,
                            "this camera has joined with this token already",
                        ));
                    }
                    None => return Err(Refusal::new(Rule::SlotTaken, "the token has no slot for this camera")),
                }
                // Restored or replaced agents make new keys; a known key means a copied identity.
                if self
                    .cameras()
                    .flat_map(|camera| &camera.enrolments)
                    .any(|known| known.statement_public == *statement_public || known.witness_public == *witness_public)
                {
                    return Err(taken("statement or witness key"));
                }
                change(&mut self.cameras, camera, "camera")?.enrolments.push(Enrolment {
                    statement_public: *statement_public,
                    witness_public: *witness_public,
                    certificate: certificate.clone(),
                    ended_certificates: Vec::new(),
                    revoked: false,
                    enrolled_at: at,
                });
                Ok(())
            }
            Row::CertificateRenewed {
                camera, certificate, ..
            } => {
                let enrolment = change(&mut self.cameras, camera, "camera")?
                    .enrolments
                    .last_mut()
                    .ok_or_else(|| illegal("the camera has not joined"))?;
                if enrolment.revoked {
                    return Err(illegal(
                        "the camera's certificate was revoked; join again with a new token",
                    ));
                }
                let ended = std::mem::replace(&mut enrolment.certificate, certificate.clone());
                enrolment.ended_certificates.push(ended);
                Ok(())
            }
            Row::CertificateRevoked {
                camera, certificate, ..
            } => {
                let camera = change(&mut self.cameras, camera, "camera")?;
                let enrolment = camera
                    .enrolments
                    .iter_mut()
                    .find(|enrolment| enrolment.certificate == *certificate)
                    .ok_or_else(|| unknown("certificate"))?;
                if enrolment.revoked {
                    return Err(illegal("the certificate was revoked already"));
                }
                enrolment.revoked = true;
                Ok(())
            }
            _ => Err(illegal("no row about cameras")),
        }
    }
}

/// A person may set their own password and nothing else of their account.
fn own_password_only(actor: Actor, person: PersonId, only_password: bool) -> Result<(), FoldError> {
    if actor == Actor::Person(person) && !only_password {
        return Err(Refusal::new(
            Rule::OwnAccount,
            "nobody changes their own grade or account",
        ));
    }
    Ok(())
}

//! Acts on the site and its accounts.

use custody_shared::id::{PersonId, SiteId};

use super::cases::typed;
use super::enrolment::allowed;
use super::fold::{NAME_CHARS, unknown};
use super::row::{Actor, Row};
use super::store::{Record, RecordError};
use super::text;
use crate::access::{Action, Grade, Refusal, Resource, Rule, password};

/// An account as typed.
pub struct PersonDraft {
    /// Sign-in name; made lower case.
    pub name: String,
    /// Name shown.
    pub display: String,
    /// What it may do.
    pub grade: Grade,
    /// Its first password.
    pub password: zeroize::Zeroizing<String>,
}

/// What changes of an account; `None` leaves it as it is.
#[derive(Default)]
pub struct PersonChange {
    /// New grade.
    pub grade: Option<Grade>,
    /// New password.
    pub password: Option<zeroize::Zeroizing<String>>,
    /// Open or closed.
    pub active: Option<bool>,
    /// End a lock-out.
    pub unlock: bool,
}

impl Record {
    /// Writes the first row.
    ///
    /// # Errors
    /// [`RecordError::Refused`] where there is a site already, or the zone is unknown.
    pub async fn create_site(&self, name: &str, zone: &str) -> Result<SiteId, RecordError> {
        self.create_site_as(SiteId::random(), name, zone).await
    }

    /// [`Record::create_site`] under an id that other parts of the site already carry.
    ///
    /// # Errors
    /// As [`Record::create_site`].
    pub async fn create_site_as(&self, site: SiteId, name: &str, zone: &str) -> Result<SiteId, RecordError> {
        self.commit(Actor::Console, |_, _| {
            let name = typed(text::checked(name, NAME_CHARS), "the site's name", "create-site")?;
            Ok((
                vec![Row::SiteCreated {
                    site,
                    name,
                    zone: zone.to_owned(),
                }],
                (),
            ))
        })
        .await?;
        Ok(site)
    }

    /// Adds an account. Hashing takes about 20 ms; it runs on a blocking thread.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn add_person(&self, actor: Actor, draft: PersonDraft) -> Result<PersonId, RecordError> {
        let act = Action::ManagePeople.word();
        // Refused before the work, and again under the lock.
        if let Err(refusal) = allowed(
            &self.state(),
            actor,
            Action::ManagePeople,
            Resource::Site,
            self.clock().now(),
        ) {
            return self
                .commit(actor, |_, _| Err(refusal))
                .await
                .map(|never: super::Committed<PersonId>| never.value);
        }
        let name = typed(text::checked(&draft.name, NAME_CHARS), "the name", act)?.to_lowercase();
        if name.chars().any(char::is_whitespace) {
            return Err(Refusal::new(Rule::Malformed, "a sign-in name holds no white space")
                .of(act, "site")
                .into());
        }
        let display = typed(text::checked(&draft.display, NAME_CHARS), "the shown name", act)?;
        let verifier = hashed(name.clone(), draft.password).await?;
        let person = PersonId::random();
        self.commit(actor, |state, now| {
            allowed(state, actor, Action::ManagePeople, Resource::Site, now)?;
            Ok((
                vec![Row::PersonAdded {
                    person,
                    name,
                    display,
                    grade: draft.grade,
                    verifier,
                }],
                (),
            ))
        })
        .await?;
        Ok(person)
    }

    /// Changes an account. People may set their own password; anything else of an account is for others.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn change_person(&self, actor: Actor, person: PersonId, change: PersonChange) -> Result<(), RecordError> {
        let own = actor == Actor::Person(person) && change.grade.is_none() && change.active.is_none() && !change.unlock;
        let name = self
            .state()
            .person(person)
            .ok_or_else(|| unknown("account"))?
            .name
            .clone();
        let verifier = match change.password {
            Some(password) => Some(hashed(name, password).await?),
            None => None,
        };
        self.commit(actor, |state, now| {
            if !own {
                allowed(state, actor, Action::ManagePeople, Resource::Person(person), now)?;
            }
            let (grade, active, unlock) = (change.grade, change.active, change.unlock);
            Ok((
                vec![Row::PersonChanged {
                    person,
                    grade,
                    verifier,
                    active,
                    unlock,
                }],
                (),
            ))
        })
        .await?;
        Ok(())
    }
}

async fn hashed(name: String, password: zeroize::Zeroizing<String>) -> Result<String, RecordError> {
    tokio::task::spawn_blocking(move || password::hash(&name, &password))
        .await
        .map_err(|_| RecordError::Stopping)?
        .map_err(|error| {
            Refusal::new(Rule::Malformed, error.to_string())
                .of(Action::ManagePeople.word(), "site")
                .into()
        })
}

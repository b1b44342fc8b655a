//! Signing in: one answer for every failure, the same work for every name, a lock after too many.

use std::sync::Arc;

use custody_shared::id::PersonId;
use custody_shared::time::UtcMicros;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::session::{SessionToken, Sessions};
use super::{Refusal, Rule, password};
use crate::record::rules::RuleSet;
use crate::record::{Actor, Person, Record, RecordError, Row};

/// Passwords verified at once; each takes 19 MiB. More wait, at most [`WAITING`].
const AT_ONCE: usize = 2;
const WAITING: usize = 64;
/// Refusals of unknown names that get a row of their own in any one minute.
const STRANGERS_PER_MINUTE: u32 = 30;

/// The door.
pub struct Door {
    record: Record,
    sessions: Arc<Sessions>,
    work: Arc<Semaphore>,
    queue: Semaphore,
    strangers: std::sync::Mutex<(i64, u32)>,
}

impl Door {
    /// A door to the accounts of a record. Makes the stranger's verifier, which takes 20 ms.
    #[must_use]
    pub fn new(record: Record, sessions: Arc<Sessions>) -> Self {
        password::prepare();
        Self {
            record,
            sessions,
            work: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Semaphore::new(WAITING),
            strangers: std::sync::Mutex::new((0, 0)),
        }
    }

    /// The sessions behind the door.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Signs a person in. The row is durable before the session exists.
    ///
    /// # Errors
    /// [`Rule::SignIn`] with one message for every cause, [`Rule::TooMany`] under load, or the ledger's error.
    pub async fn sign_in(
        &self,
        name: &str,
        password: Zeroizing<String>,
    ) -> Result<(PersonId, SessionToken), RecordError> {
        let _place = self.queue.try_acquire().map_err(|_| too_many())?;
        let state = self.record.state();
        let now = self.record.clock().now();
        let rules = self.record.rules().at(now, &state.zone()).clone();
        let person = state.person_by_name(name).filter(|person| person.active);
        let locked = person.is_some_and(|person| is_locked(person, &rules, now));
        // A locked name is verified against the stranger: same time, never a yes.
        let verifier = person.filter(|_| !locked).map(|person| person.verifier.clone());
        let slot = Arc::clone(&self.work)
            .acquire_owned()
            .await
            .map_err(|_| RecordError::Stopping)?;
        let fits = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            password::verify(verifier.as_deref(), &password)
        })
        .await
        .map_err(|_| RecordError::Stopping)?;
        let who = person.map(|person| person.id);
        match who.filter(|_| fits) {
            Some(person) => {
                // Decided again under the lock: guesses sent at once must not outrun the counter.
                self.record
                    .commit(Actor::Person(person), |state, now| match state.person(person) {
                        Some(found) if found.active && !is_locked(found, &rules, now) => {
                            Ok((vec![Row::SignedIn { person }], ()))
                        }
                        _ => Err(refused()),
                    })
                    .await?;
                let token = self
                    .sessions
                    .begin(person, self.record.clock().now())
                    .ok_or_else(too_many)?;
                Ok((person, token))
            }
            None => {
                self.note_failure(who, locked, &rules).await?;
                Err(refused().into())
            }
        }
    }

    /// Records a failure. Attempts on a locked name and floods of unknown names are answered without a row, so that
    /// nobody without an account can fill the ledger.
    async fn note_failure(&self, person: Option<PersonId>, locked: bool, rules: &RuleSet) -> Result<(), RecordError> {
        if locked || (person.is_none() && !self.stranger_fits()) {
            return Ok(());
        }
        let actor = person.map_or(Actor::System, Actor::Person);
        self.record
            .commit(actor, |state, now| {
                let already = person
                    .and_then(|id| state.person(id))
                    .is_some_and(|found| is_locked(found, rules, now));
                let rows = if already {
                    Vec::new()
                } else {
                    vec![Row::SignInRefused { person, locked: false }]
                };
                Ok((rows, ()))
            })
            .await?;
        Ok(())
    }

    fn stranger_fits(&self) -> bool {
        let minute = self.record.clock().now().get() / 60_000_000;
        let mut strangers = self.strangers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if strangers.0 != minute {
            *strangers = (minute, 0);
        }
        strangers.1 += 1;
        strangers.1 <= STRANGERS_PER_MINUTE
    }
}

/// Whether a name is locked: too many failures, the last one not long enough ago.
#[must_use]
pub fn is_locked(person: &Person, rules: &RuleSet, now: UtcMicros) -> bool {
    let lock = i64::from(rules.lockout_minutes) * 60_000_000;
    // Every further round of failures after a lock has passed starts where the count stopped: one more failure
    // locks again, until a success or a manager clears it.
    person.failures >= rules.lockout_failures
        && person
            .failed_at
            .is_some_and(|at| now.get() < at.get().saturating_add(lock))
}

fn refused() -> Refusal {
    Refusal::new(
        Rule::SignIn,
        "name or password is wrong, or the name is locked for a while; wait 15 minutes or ask a manager",
    )
}

fn too_many() -> Refusal {
    Refusal::new(Rule::TooMany, "too many people are signing in; try again in a minute")
}

#[cfg(test)]
#[path = "signin_tests.rs"]
mod tests;

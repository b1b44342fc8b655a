//! What handlers share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use custody_shared::id::PersonId;
use custody_shared::time::{SharedClock, UtcMicros};

use super::metrics::Counters;
use super::problem::Problem;
use super::text::Language;
use crate::access::Refusal;
use crate::access::signin::Door;
use crate::config::Config;
use crate::export::Exports;
use crate::ledger::Ledger;
use crate::record::{Actor, Record};
use crate::retrieval::{Footage, Retrieval};

/// What the handlers are given.
pub struct AppParts {
    /// Settings.
    pub config: Arc<Config>,
    /// The clock.
    pub clock: SharedClock,
    /// The record.
    pub record: Record,
    /// The ledger behind it, for checkpoints and tiles.
    pub ledger: Ledger,
    /// Whether the last append failed.
    pub ledger_failing: Arc<AtomicBool>,
    /// Signing in.
    pub door: Door,
    /// The cameras' side.
    pub footage: Arc<dyn Footage>,
    /// Opening footage.
    pub retrieval: Arc<Retrieval>,
    /// Copies.
    pub exports: Arc<Exports>,
    /// Counters of the other parts for `/metrics`, in the Prometheus text format.
    pub other_metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// What handlers share.
pub struct App {
    /// The parts.
    pub parts: AppParts,
    /// Requests by route and status.
    pub counters: Counters,
    /// Languages that people chose; a restart forgets them, as it does sessions.
    languages: Mutex<HashMap<PersonId, Language>>,
}

impl std::ops::Deref for App {
    type Target = AppParts;
    fn deref(&self) -> &AppParts {
        &self.parts
    }
}

impl App {
    /// Joins the parts.
    pub fn new(parts: AppParts) -> Self {
        Self {
            parts,
            counters: Counters::default(),
            languages: Mutex::default(),
        }
    }

    /// The present instant.
    pub fn now(&self) -> UtcMicros {
        self.clock.now()
    }

    /// Whether the ledger could be written when it was last tried.
    pub fn ledger_works(&self) -> bool {
        !self.ledger_failing.load(Ordering::Relaxed)
    }

    /// The language a person chose.
    pub fn language_of(&self, person: PersonId) -> Option<Language> {
        self.languages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&person)
            .copied()
    }

    /// Remembers the language a person chose.
    pub fn choose_language(&self, person: PersonId, language: Language) {
        self.languages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(person, language);
    }

    /// Turns a refusal into a problem after its row is written; where the row cannot be, that is the problem.
    pub async fn refuse(&self, person: PersonId, refusal: Refusal) -> Problem {
        match self
            .record
            .commit(Actor::Person(person), |_, _| Err::<(Vec<_>, ()), _>(refusal))
            .await
        {
            Ok(_) => Problem::internal("refuse", "a refusal was accepted"),
            Err(error) => error.into(),
        }
    }
}

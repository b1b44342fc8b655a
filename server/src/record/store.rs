//! The record: decides on the state, appends to the ledger, then folds. In this order, one at a time.

use std::sync::{Arc, PoisonError, RwLock};

use custody_shared::time::{SharedClock, UtcMicros};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::days;
use super::port::LedgerPort;
use super::row::{Actor, Entry, Row};
use super::rules::Rules;
use super::state::State;
use super::wire::{self, WireError};
use crate::access::{Refusal, Rule};
use crate::ledger::{LedgerError, NewRow, RowEvidence, RowKind};

/// Rows one commit may hold.
pub const MAX_ROWS: usize = 1024;

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A rule refused; the refusal itself is a row.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger cannot be written or read: nothing may happen.
    #[error("the record cannot be written, so nothing is done or released: {0}")]
    Ledger(#[from] LedgerError),
    /// A row cannot be encoded or decoded.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A row of the ledger does not follow from those before it.
    #[error(
        "row {index} of the ledger does not follow from those before it ({refusal}); run `custody-server ledger verify`"
    )]
    Fold {
        /// The row.
        index: u64,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A row's body is gone, and the state with it.
    #[error("row {0} has no body; restore it from the backup or the standby")]
    Purged(u64),
    /// The server is stopping.
    #[error("the server is stopping; try again when it runs")]
    Stopping,
}

impl RecordError {
    /// The refusal, where a rule refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// What a commit came to: the rows' indices and what the decision returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// Index of each row, in order.
    pub rows: Vec<u64>,
    /// What the decision returned.
    pub value: T,
}

/// The record of a site. Cheap to clone.
#[derive(Clone)]
pub struct Record {
    ledger: Arc<dyn LedgerPort>,
    clock: SharedClock,
    rules: Arc<Rules>,
    state: Arc<RwLock<Arc<State>>>,
    /// Held from deciding to folding. The flag says that the ledger may hold rows that are not folded.
    writing: Arc<Mutex<bool>>,
}

impl Record {
    /// Folds every row of a ledger.
    ///
    /// # Errors
    /// [`RecordError`] names the row that cannot be read or does not follow.
    pub fn open(ledger: Arc<dyn LedgerPort>, rules: Rules, clock: SharedClock) -> Result<Self, RecordError> {
        let mut state = State::default();
        catch_up(&*ledger, &mut state)?;
        Ok(Self {
            ledger,
            clock,
            rules: Arc::new(rules),
            state: Arc::new(RwLock::new(Arc::new(state))),
            writing: Arc::new(Mutex::new(false)),
        })
    }

    /// The state as of the last committed row. The snapshot does not change.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The dated rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The clock by which rows are dated.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Decides, appends, folds. Commits are serialised: `decide` sees every earlier row, and its own rows are
    /// visible to nobody before they are durable. Dropping the future does not undo or split a commit.
    ///
    /// A refusal by `decide` is itself appended as [`Row::AccessRefused`] where it names an act.
    ///
    /// # Errors
    /// [`RecordError`]. After an error of the ledger the rows may or may not be written; the next commit finds out
    /// before it decides.
    pub async fn commit<T, F>(&self, actor: Actor, decide: F) -> Result<Committed<T>, RecordError>
    where
        F: FnOnce(&State, UtcMicros) -> Result<(Vec<Row>, T), Refusal>,
    {
        let mut unsure = Arc::clone(&self.writing).lock_owned().await;
        if *unsure {
            let mut state = (*self.state()).clone();
            catch_up(&*self.ledger, &mut state)?;
            self.publish(state);
            *unsure = false;
        }
        let now = self.clock.now();
        let state = self.state();
        let decided = decide(&state, now).and_then(|(rows, value)| {
            let (trial, entries) = tried(&state, now, actor, rows)?;
            Ok((trial, entries, value))
        });
        match decided {
            Ok((_, entries, value)) if entries.is_empty() => Ok(Committed {
                rows: Vec::new(),
                value,
            }),
            Ok((trial, entries, value)) => {
                let rows = self.append(unsure, trial, entries).await?;
                Ok(Committed { rows, value })
            }
            Err(refusal) => {
                if !refusal.act.is_empty() && state.site().is_some() {
                    let row = Row::AccessRefused {
                        rule: refusal.rule,
                        act: refusal.act.to_owned(),
                        subject: refusal.subject.clone(),
                    };
                    if let Ok((trial, entries)) = tried(&state, now, actor, vec![row]) {
                        // Refused either way: an unwritable record changes the error, not the answer.
                        self.append(unsure, trial, entries).await?;
                    }
                }
                Err(refusal.into())
            }
        }
    }

    /// A row with its proof of inclusion, for the keyholder.
    ///
    /// # Errors
    /// The ledger's own.
    pub fn evidence(&self, row: u64) -> Result<RowEvidence, RecordError> {
        Ok(self.ledger.evidence(row)?)
    }

    /// The entry of a row; `None` once its body was purged.
    ///
    /// # Errors
    /// [`RecordError`] where it cannot be read.
    pub fn entry(&self, row: u64) -> Result<Option<Entry>, RecordError> {
        match self.ledger.body(row)? {
            Some(body) => Ok(Some(wire::decode(&body)?)),
            None => Ok(None),
        }
    }

    /// Appends in a task of its own, so that a caller who goes away leaves nothing half done.
    async fn append(
        &self,
        mut unsure: OwnedMutexGuard<bool>,
        trial: State,
        entries: Vec<Entry>,
    ) -> Result<Vec<u64>, RecordError> {
        let zone = trial.zone();
        let rows = entries
            .iter()
            .map(|entry| {
                let day = days::local_day(entry.at, &zone);
                let purge_on_day = self.rules.on(day).purge_day(entry.row.retention(), day);
                Ok(NewRow {
                    kind: RowKind(entry.row.kind()),
                    purge_on_day,
                    body: wire::encode(entry)?,
                })
            })
            .collect::<Result<Vec<_>, WireError>>()?;
        let record = self.clone();
        let task = tokio::spawn(async move {
            // Until the ledger answers, nobody knows; a crash of this task leaves the flag up.
            *unsure = true;
            let first = trial.rows() - entries.len() as u64;
            let indices = record.ledger.append(rows).await?;
            let expected: Vec<u64> = (first..trial.rows()).collect();
            if indices == expected {
                record.publish(trial);
                *unsure = false;
            }
            // Otherwise somebody else writes this ledger: leave the flag up, so that the next commit folds first.
            Ok(indices)
        });
        task.await.map_err(|_| RecordError::Stopping)?
    }

    fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

/// Folds rows into a copy of the state before they are written.
fn tried(state: &State, now: UtcMicros, actor: Actor, rows: Vec<Row>) -> Result<(State, Vec<Entry>), Refusal> {
    if rows.len() > MAX_ROWS {
        return Err(Refusal::new(
            Rule::TooMany,
            format!("one commit holds at most {MAX_ROWS} rows"),
        ));
    }
    let mut trial = state.clone();
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let entry = Entry { at: now, actor, row };
        trial.apply(trial.rows(), &entry)?;
        entries.push(entry);
    }
    Ok((trial, entries))
}

/// Folds the rows a state does not know yet.
fn catch_up(ledger: &dyn LedgerPort, state: &mut State) -> Result<(), RecordError> {
    for index in state.rows()..ledger.len() {
        let body = ledger.body(index)?.ok_or(RecordError::Purged(index))?;
        let entry = wire::decode(&body)?;
        state
            .apply(index, &entry)
            .map_err(|refusal| RecordError::Fold { index, refusal })?;
    }
    Ok(())
}

//! The record: every decision as a row of the ledger, and the present state as their fold.
//!
//! In scope: rows and their bytes, the state, the acts that write rows (people, cameras, cases, releases), dated
//! rules. Out of scope: how the ledger keeps rows, who may do what (`access`), opening footage (`keyholder`).
//!
//! The way of an act: what was typed → `access::decide` → rows → tried on a copy of the state → ledger, durable and
//! under a signed checkpoint → state. So nothing is visible that is not recorded.

pub mod cases;
pub mod days;
pub mod enrolment;
mod fold;
mod fold_cases;
mod fold_keys;
pub mod people;
pub mod port;
mod row;
pub mod rules;
mod state;
mod store;
pub mod terms;
pub mod text;
mod wire;

pub use fold::FoldError;
pub use row::{Actor, Entry, Recipient, ReleaseUse, RewrapReason, Row, Verdict};
pub use rules::Rules;
pub use state::{
    Camera, CameraKeys, Decision, DestroyedKey, Enrolment, ExportRecord, FootageRequest, GrantRecord, JoinToken,
    OpenRelease, Person, RewrapOrder, Site, State,
};
pub use store::{Committed, MAX_ROWS, Record, RecordError};
pub use wire::{WireError, decode, encode};

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

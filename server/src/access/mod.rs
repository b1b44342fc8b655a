//! Who may do what: one `decide` in front of every act, default deny.
//!
//! In scope: grades, rules, refusals, passwords, sessions, signing in. Out of scope: HTTP, pages, the record's
//! rows (the acts in `record` call `decide` and write what came of it).

mod decide;
mod grade;
pub mod password;
pub mod session;
pub mod signin;

pub use decide::{Action, Context, GrantFacts, Permit, Principal, Resource, decide};
pub use grade::Grade;
pub use refusal::{Refusal, Rule};

mod refusal;

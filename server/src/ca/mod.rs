//! The site's private certificate authority: one root, one issuing certificate, server and agent certificates.
//!
//! In scope: making and opening the authority's folder, issuing, the pin that agents are given, the deny list.
//! Out of scope: who may join (the record decides) and what a certificate may do (the gates decide).

mod agent;
mod deny;
pub(crate) mod files;
mod identity;
mod issue;

pub use agent::{AgentIdentity, IssuedCertificate};
pub use deny::{DenyList, DenyListHandle};
pub use identity::ServerIdentity;
pub use issue::{Ca, CaError};

/// Days an agent certificate lasts; agents renew at two thirds of it.
pub const AGENT_DAYS: u64 = 30;
/// Days the server's own certificate lasts; it is reissued from the running process at two thirds.
pub const SERVER_DAYS: u64 = 90;
/// Largest certificate signing request taken, in bytes of PEM.
pub const MAX_CSR: usize = 8 * 1024;

#[cfg(test)]
mod tests;

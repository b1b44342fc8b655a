//! The server: broker, ingest, index, record, keys and pages of one site.
#![forbid(unsafe_code)]

pub mod access;
pub mod broker;
pub mod ca;
pub mod index;
pub mod keyholder;
pub mod ledger;
pub mod record;
pub mod retention;
pub mod statements;

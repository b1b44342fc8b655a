//! The server: broker, ingest, index, record, keys and pages of one site.
#![forbid(unsafe_code)]

pub mod broker;
pub mod ca;
pub mod statements;

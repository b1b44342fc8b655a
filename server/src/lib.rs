//! The server of one site, in the order of the flow.
//!
//! In scope: taking in what cameras state, keeping the record, deciding who may see what, opening footage for exactly that.
//! Out of scope: recording (the agent), formats (`custody_shared`).
//!
//! cameras → [`broker`] → [`ingest`] → [`statements`] + [`index`]; sealed files over [`agentapi`] into [`fleet`] → (people: [`web`]) → [`access`] → [`record`] on [`ledger`] →
//! [`keyholder`] → [`retrieval`] → the player, or [`export`]. [`retention`] ends everything on its day. [`run`] composes them.
#![forbid(unsafe_code)]

pub mod access;
pub mod agentapi;
pub mod broker;
pub mod ca;
pub mod cli;
pub mod config;
pub mod export;
pub mod fleet;
pub mod index;
pub mod ingest;
pub mod keyholder;
pub mod ledger;
pub mod record;
pub mod retention;
pub mod retrieval;
pub mod run;
pub mod statements;
pub mod web;

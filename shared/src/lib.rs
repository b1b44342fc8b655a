//! Formats and rules that the agent and the server share.
//!
//! In scope: what is written to disk or sent over a wire, how it is sealed, signed and checked,
//! and the limits of every field. Out of scope: files, sockets, threads and settings. Everything
//! here is a function of its arguments and, where a key or a nonce is made, of the system's
//! random source. The normative texts are in `shared/spec`.
//!
//! In the order of the flow:
//! - [`id`], [`hash`], [`time`], [`mod@words`]: names, digests, instants, closed lists
//! - [`cbor`], [`cose`], [`hpke`]: deterministic encoding, signatures, sealing to a public key
//! - [`capture`]: what the recorder and its capture child say to each other
//! - [`fmp4`]: fragmented MP4, written and walked
//! - [`segment`]: one sealed file of about ten seconds of video
//! - [`statement`]: what a camera says, signed and chained
//! - [`batch`], [`message`], [`topic`], [`keys`]: how statements, receipts, orders and public keys travel
//! - [`join`]: how an agent gets its identity
//! - [`grant`]: what a decision allows
//! - [`tlog`]: the record's Merkle tree
#![forbid(unsafe_code)]

pub mod batch;
pub mod capture;
pub mod cbor;
pub mod cose;
pub mod fmp4;
pub mod grant;
pub mod hash;
pub mod hpke;
pub mod id;
pub mod join;
pub mod keys;
pub mod message;
pub mod segment;
pub mod statement;
pub mod time;
pub mod tlog;
pub mod topic;
pub mod words;

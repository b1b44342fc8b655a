//! The recorder of one camera.
//!
//! In scope: reading one camera, cutting its pictures into sealed segments on this machine's own disk, stating each segment and each gap, sending
//! the statements and, when asked, the sealed files; enforcing retention alone. Out of scope: opening anything it has sealed
//! (it has no key for that), deciding anything, talking to any other agent.
//!
//! In the order of the flow:
//! - [`source`]: pictures from a camera; [`segmenter`]: pictures into segments, fragments and gaps
//! - [`keeper`]: sealing, storing, stating, recovering, destroying; with [`statement_log`], [`key_shelf`], [`trusted_time`]
//! - [`outbox`], [`cursor`], [`link`]: statements to the server, receipts and orders back; [`counters`]
//! - [`upload`], [`https`]: sealed files to the server
//! - [`identity`], [`join`], [`renew`], [`tls`]: who this agent is
//! - [`run`], [`check`], [`cli`], [`config`], [`failure`]: what a person meets
//! - [`paths`], [`files`], [`lock`], [`disk`], [`backoff`], [`sys`]: small things
// `sys` alone is allowed to be otherwise.
#![deny(unsafe_code)]

pub mod backoff;
pub mod check;
pub mod cli;
pub mod config;
pub mod counters;
pub mod cursor;
pub mod disk;
pub mod failure;
pub mod files;
pub mod https;
pub mod identity;
pub mod join;
pub mod keeper;
pub mod key_shelf;
pub mod link;
pub mod lock;
pub mod outbox;
pub mod paths;
pub mod renew;
pub mod run;
pub mod segmenter;
pub mod source;
pub mod statement_log;
pub mod sys;
pub mod tls;
pub mod trusted_time;
pub mod upload;

#[cfg(test)]
mod testing;

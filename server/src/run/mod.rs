//! The server as a whole: parts opened in one order, composed, ended in the other.
//!
//! A crash anywhere leaves files that the next start recovers by its normal way: the ledger its journal, the statement log its
//! torn frame, the index what it lacks, the keyring its interrupted write, releases without an outcome their row.

mod folder;
mod server;
mod watched;

pub use folder::{Folder, FolderError, Opened, create};
pub(crate) use server::in_url;
pub use server::{Listeners, Server};

use thiserror::Error;

/// Why the server does not start. Each message names the step, its subject and the remedy.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A listening address.
    #[error(
        "{what}: cannot listen on {address} ({source}); is another server running, or the port taken or below 1024?"
    )]
    Listen {
        /// Which one.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part that did not start.
    #[error("{part}: {reason}")]
    Part {
        /// Which one.
        part: &'static str,
        /// Why, with its remedy.
        reason: String,
    },
}

/// Makes this process leave no core dump and be no target of a debugger: its memory holds keys and pictures.
pub fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!("core dumps could not be switched off ({error})");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("the process could not be made undumpable ({error})");
    }
}

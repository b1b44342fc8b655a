//! The only way from a grant to pictures: intent in the record, evidence to the keyholder, one segment opened in memory.
//!
//! In scope: the order of a release, opening and clipping segments, playlists, fetching sealed files ahead. Out of scope:
//! who may do what (`access`), how a key is kept (`keyholder`), how files come from cameras (`fleet`).
//!
//! No footage here touches a disk. A grant covers whole fragments: pictures depend on the ones before them, so a window
//! begins with the last fragment that can be decoded by itself before its start and ends with the fragment that holds its end.

pub mod clip;
pub mod footage;
mod open;
pub mod playlist;
mod probe;
mod releases;

pub use footage::{CameraState, Footage, FootageError, Sealed, SegmentInfo};
pub use open::{OpenError, Opened, Reader, Retrieval};
pub use releases::Releases;

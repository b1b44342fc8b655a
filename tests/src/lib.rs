//! Custody from outside: the whole system, with real cameras, a real browser and real damage.
//!
//! In scope: what only the assembled programs can show. Out of scope: what a unit test beside the code shows better.
//!
//! - [`binaries`], [`process`]: the programs under test, and children that never outlive a test
//! - [`footage`], [`camera`]: what is filmed, and RTSP cameras (true, broken and false ones) that film it
//! - [`http`]: a person's requests
//! - [`frames`], [`search`], [`strace`]: the judges: bit-exact frames, no plaintext on a disk, no write unseen
#![forbid(unsafe_code)]

pub mod binaries;
pub mod camera;
pub mod footage;
pub mod frames;
pub mod http;
pub mod process;
pub mod search;
pub mod strace;

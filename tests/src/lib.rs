//! Custody from outside: the whole system, with real cameras, a real browser and real damage.
//!
//! In scope: what only the assembled programs can show. Out of scope: what a unit test beside the code shows better.
//!
//! - [`binaries`], [`process`]: the programs under test, and children that never outlive a test
//! - [`footage`], [`camera`]: what is filmed, and RTSP cameras (true, broken and false ones) that film it; [`proxy`]: a wire that can be cut
//! - [`clock`], [`small_disk`]: a clock that jumps and a disk that fills up, for one process
//! - [`site`], [`agent`], [`journey`]: a server with people and cameras, and what the people do
//! - [`http`], [`browser`]: a person's requests, and the person's browser
//! - [`frames`], [`search`], [`strace`]: the judges: bit-exact frames, no plaintext on a disk, no write unseen
//! - [`promise`]: what is promised, each with its check
//! - [`bench`]: ours beside a peer or a floor
#![forbid(unsafe_code)]

pub mod agent;
pub mod bench;
pub mod binaries;
pub mod browser;
pub mod camera;
pub mod clock;
pub mod footage;
pub mod frames;
pub mod http;
pub mod journey;
pub mod process;
pub mod promise;
pub mod proxy;
pub mod search;
pub mod site;
pub mod small_disk;
pub mod strace;

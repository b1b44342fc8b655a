//! What server and agent tell each other beside statements.
//!
//! Normative text: `shared/spec/messages.md`. Everything from the server is signed by its command
//! key for one site and camera, with a counter and an expiry ([`Downlink`]). From the agent come
//! [`Status`], signed, and [`Health`], signed, sealed and of fixed length.

mod body;
mod counter;
mod downlink;
mod uplink;

pub use body::{Acked, Command, KeyAnnouncement, MAX_FETCH};
pub use counter::{CounterGuard, Replayed};
pub use downlink::{Body, Downlink, MAX_DOWNLINK_LEN, MessageError};
pub use uplink::{Faults, HEALTH_LEN, Health, MAX_STATUS_LEN, Status};

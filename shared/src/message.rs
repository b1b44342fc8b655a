//! What server and agent tell each other beside statements.
//!
//! Normative text: `shared/spec/messages.md`. Everything from the server is signed by its command
//! key for one site and camera, with a counter and an expiry ([`Downlink`]). From the agent come
//! [`Status`], signed, and [`Health`], signed, sealed and of fixed length.

mod downlink;
mod uplink;

pub use downlink::{
    Acked, Body, Command, CounterGuard, Downlink, KeyAnnouncement, MAX_DOWNLINK_LEN, MAX_FETCH, MessageError, Replayed,
};
pub use uplink::{Faults, HEALTH_LEN, Health, MAX_STATUS_LEN, Status};

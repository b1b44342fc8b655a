//! The keeper on a real folder, with a camera in memory.

mod clock;
mod crashes;
mod disk;
mod ending;
mod recording;
pub(super) mod rig;

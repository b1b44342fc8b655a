//! The fence around FFmpeg, which parses what strangers send.
//!
//! In two steps. Before any thread starts and before anything of the job is read: `landlock` leaves only the paths and TCP
//! ports that this job needs, and a first system call filter refuses programs, other processes, and, for jobs without a network
//! camera, sockets of every kind. After the first picture, when everything is open: a second filter leaves what reading,
//! decoding and writing need. It answers `EPERM` instead of killing, because a harmless call that nobody foresaw must not stop
//! a recording.
//!
//! A network camera's job keeps its sockets and gets no new one; reconnecting is a new child. Kernels before 6.7 cannot
//! confine TCP by port, and none can confine a host: until the first picture such a job can reach what this machine reaches.
//! A kernel without these means is told to the recorder once, and recording goes on.

mod calls;
mod needs;
mod paths;

use custody_shared::capture::{Input, UNFENCED_CALLS, UNFENCED_FILES};

use needs::Needs;

/// A fence whose first half stands.
pub(crate) struct Fence {
    needs: Needs,
    missing: u8,
}

impl Fence {
    /// Call it before any thread starts: landlock confines the calling thread and those it starts.
    pub(crate) fn raise(input: &Input) -> Self {
        let needs = Needs::of(input);
        let mut missing = 0;
        if !paths::confine(&needs) {
            missing |= UNFENCED_FILES;
        }
        if calls::before_the_first_picture(&needs)
            .and_then(|program| calls::confine_all_threads(&program))
            .is_none()
        {
            missing |= UNFENCED_CALLS;
        }
        Self { needs, missing }
    }

    /// Call it after the first picture; what the kernel could not do comes back, as the protocol words it.
    pub(crate) fn close(self) -> u8 {
        let closed =
            calls::after_the_first_picture(&self.needs).and_then(|program| calls::confine_all_threads(&program));
        self.missing | if closed.is_some() { 0 } else { UNFENCED_CALLS }
    }
}

//! The few questions that only the kernel answers, and the process's own protection.
//!
//! The one module of the agent with `unsafe`: `adjtimex` has no safe wrapper among our dependencies.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps and attaching debuggers: keys and plaintext frames live in this memory.
pub fn protect_process() -> io::Result<()> {
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: maximum.map(|_| 0).or(Some(0)),
        },
    )?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Bytes that this process may still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// The kernel's identity of this boot; changes with every start of the machine.
pub fn kernel_boot() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Whether a time service disciplines the clock, as the kernel was told by it (NTP, PTP or a radio clock).
pub fn clock_is_synchronised() -> bool {
    // SAFETY: `timex` is plain integers for which all-zero is valid, and modes = 0 makes the call read only.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&mut timex)
    };
    (0..libc::TIME_ERROR).contains(&state)
}

//! The highest counter obeyed on the command topic, durable before the command is acted on: a replay is refused even after a restart.

use std::io;
use std::path::{Path, PathBuf};

use custody_shared::message::CounterGuard;

use crate::files;

/// The stored counter.
#[derive(Debug)]
pub struct Counters {
    path: PathBuf,
    guard: CounterGuard,
}

impl Counters {
    /// Reads the counter. A missing file means that no command was ever obeyed; a damaged one is an error, because forgetting
    /// would let old commands in again.
    pub fn open(path: &Path) -> io::Result<Self> {
        let highest = match files::read_bounded(path, 64) {
            Ok(bytes) => {
                let number = std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|text| text.trim().parse().ok());
                Some(number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a number"))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            guard: CounterGuard::new(highest),
        })
    }

    /// The guard to check a message with; call [`Self::store`] before acting on it.
    pub fn guard(&self) -> CounterGuard {
        self.guard
    }

    /// Makes an advanced guard durable.
    pub fn store(&mut self, guard: CounterGuard) -> io::Result<()> {
        if let Some(highest) = guard.highest() {
            files::write_atomic(&self.path, format!("{highest}\n").as_bytes())?;
        }
        self.guard = guard;
        Ok(())
    }
}

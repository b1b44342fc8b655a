//! A clock for one process that can be moved while it runs (libfaketime). The monotonic clock stays true, as on a machine whose
//! time is set.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Puts `command` under the clock that `file` describes.
pub fn fake(command: &mut Command, file: &Path) -> Result<()> {
    let folders = std::fs::read_dir("/usr/lib").context("/usr/lib")?.flatten();
    let library = folders
        .map(|f| f.path().join("faketime/libfaketimeMT.so.1"))
        .find(|p| p.exists());
    let library = library.context("libfaketime is missing; deploy/install-deps installs it")?;
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
    command
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_RESET", "1");
    Ok(())
}

/// Moves the clock to `offset_s` seconds from the true time.
pub fn set(file: &Path, offset_s: i64) -> Result<()> {
    // Renamed into place, so that a process that looks meanwhile never reads half a number.
    let draft = file.with_extension("draft");
    std::fs::write(&draft, format!("{offset_s:+}"))?;
    Ok(std::fs::rename(draft, file)?)
}

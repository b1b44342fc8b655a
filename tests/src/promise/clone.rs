//! A fresh clone is enough.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Scale;
use crate::binaries;
use crate::process::run;

/// The most that a cold `make test` may take, in seconds.
const LIMIT_S: u64 = 40 * 60;

/// In full: clones the last commit and runs `.ci/run` there, with nothing built before. In short: what the clone holds is complete.
pub(super) async fn is_enough(scale: Scale) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("custody-clone-").tempdir()?;
    let clone = folder.path().join("custody");
    run(Command::new("git")
        .args(["clone", "--quiet"])
        .arg(binaries::root())
        .arg(&clone))?;
    let ci = std::fs::read_to_string(clone.join(".ci/run")).context(".ci/run is not in the clone")?;
    ensure!(ci.contains("make test"), ".ci/run does not call make test");
    run(Command::new("make").args(["--dry-run", "test"]).current_dir(&clone))?;
    run(Command::new("cargo")
        .args(["tree", "--locked", "--workspace", "--depth", "0"])
        .current_dir(&clone))?;
    if scale.times(0, 1) == 0 {
        return Ok("the clone has its lock file, its Makefile and .ci/run".into());
    }
    let began = Instant::now();
    let mut ci = Command::new(clone.join(".ci/run"));
    run(ci
        .current_dir(&clone)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO")
        .env_remove("RUSTFLAGS"))?;
    let took = began.elapsed().as_secs();
    ensure!(took < LIMIT_S, "the tests of a fresh clone took {took} s");
    Ok(format!("cold, .ci/run took {} min {} s", took / 60, took % 60))
}

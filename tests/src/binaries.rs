//! Where the programs under test lie: beside the test that runs, in the same profile's folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The profile folder (`target/debug`, `target/release`) of the running test or tool.
pub fn folder() -> PathBuf {
    let mut path = std::env::current_exe().expect("a running program has a path");
    path.pop();
    if path.ends_with("deps") || path.ends_with("examples") {
        path.pop();
    }
    path
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf()
}

/// The target folder, where made footage is kept between runs.
pub fn target() -> PathBuf {
    folder()
        .parent()
        .expect("a profile folder lies in the target folder")
        .to_path_buf()
}

/// Path of a program of the workspace, building all of them once where it is absent.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let path = folder().join(name);
    if path.exists() {
        return Ok(path);
    }
    BUILT
        .get_or_init(|| build().map_err(|e| format!("{e:#}")))
        .clone()
        .map_err(anyhow::Error::msg)?;
    ensure!(
        path.exists(),
        "{} was not built; does the workspace still have a program of that name?",
        path.display()
    );
    Ok(path)
}

fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["build", "--workspace", "--bins", "--quiet"]);
    command.arg("--target-dir").arg(target());
    if folder().ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .status()
        .context("cargo could not be started to build the programs under test")?;
    ensure!(
        status.success(),
        "cargo build --workspace --bins failed; build it by hand to see why"
    );
    Ok(())
}

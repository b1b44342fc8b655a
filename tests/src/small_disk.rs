//! A small disk for one process: a tmpfs over its folder, in a mount namespace that ends with it.

use std::path::Path;
use std::process::Command;

const SCRIPT: &str = r#"
set -e
data=$1 mib=$2; shift 2
cp -a "$data" "$data.before"
mount -t tmpfs -o "size=${mib}M,mode=0700" none "$data"
cp -a "$data.before/." "$data/"
exec "$@"
"#;

/// Runs `command` where `data` is a disk of `mib` MiB that holds what the folder held.
pub fn wrap(command: &Command, data: &Path, mib: u32) -> Command {
    let mut unshare = Command::new("unshare");
    // The mapped root may mount inside its own namespace, where user namespaces are allowed; a real root may anyway.
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "small-disk"]);
    unshare
        .arg(data)
        .arg(mib.to_string())
        .arg(command.get_program())
        .args(command.get_args());
    unshare.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    if let Some(folder) = command.get_current_dir() {
        unshare.current_dir(folder);
    }
    unshare
}

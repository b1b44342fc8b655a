//! Checks that the player library was fetched, so that a missing file is a sentence and not a compiler's riddle.

use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let ui = std::env::var_os("CUSTODY_UI_DIR").map_or_else(|| root.join("../target/ui"), PathBuf::from);
    println!("cargo::rerun-if-env-changed=CUSTODY_UI_DIR");
    for name in ["hls.light.min.js", "hls.LICENSE"] {
        let file = ui.join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        if !file.is_file() {
            println!(
                "cargo::error=the viewer's player library is missing ({}); run `make ui` (or deploy/fetch-ui) once, with network access",
                file.display()
            );
            return;
        }
    }
    let ui = ui.canonicalize().expect("the folder was just seen");
    println!("cargo::rustc-env=CUSTODY_UI={}", ui.display());
    for name in ["ui", "templates", "locales"] {
        println!("cargo::rerun-if-changed={name}");
    }
}

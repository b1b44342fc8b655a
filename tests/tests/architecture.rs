//! The invariants that ARCHITECTURE.md lists as absences, checked by reading the sources: what must not be there is not there.

use std::path::{Path, PathBuf};

use custody_tests::binaries::root;

/// Files below a folder with this extension, the generated and fetched ones left out.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if !path.ends_with("target") && !path.ends_with(".git") => folders.push(path),
                false if path.extension().is_some_and(|e| e == extension) => found.push(path),
                _ => {}
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no {extension} file: has it moved?");
    found
}

/// The code of a file: comments, and the tests at its end, may name what the code may not.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source file is text");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn never(folder: &str, words: &[&str], except: &[&str], reason: &str) {
    for path in files(folder, "rs") {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if except.iter().any(|e| shown.contains(e)) || shown.ends_with("tests.rs") || shown.contains("/tests/") {
            continue;
        }
        let code = code(&path);
        for word in words {
            assert!(!code.contains(word), "{shown} says {word:?}, but {reason}");
        }
    }
}

#[test]
fn what_is_shared_is_pure() {
    let io = [
        "tokio::",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "SystemTime::now",
        "Instant::now",
    ];
    // The one place where the system's clock is read stands behind the Clock trait.
    never(
        "shared/src",
        &io,
        &["shared/src/time"],
        "formats and rules know no socket, disk or clock",
    );
}

#[test]
fn agent_and_server_know_only_what_is_shared() {
    never(
        "agent/src",
        &["custody_server"],
        &[],
        "agent and server never import each other",
    );
    never(
        "server/src",
        &["custody_agent", "ffmpeg"],
        &[],
        "agent and server never import each other, and video is parsed in no server",
    );
    never(
        "agent/src",
        &["ffmpeg_next"],
        &[],
        "the agent is one static file; FFmpeg lives in custody-capture",
    );
}

#[test]
fn the_agent_cannot_open_what_it_sealed() {
    let opening = ["RecipientSecret", "unseal_key", "open_all", "Opener"];
    never(
        "agent/src",
        &opening,
        &["agent/src/testing.rs"],
        "the agent has no way back from what it sealed",
    );
    never("agent/capture/src", &opening, &[], "the child has no keys at all");
}

#[test]
fn footage_is_reached_by_one_way() {
    let opening = [
        "unseal_key",
        "Opener::",
        "SegmentKey",
        "crate::keyholder::holder",
        "VerifiedGrant {",
    ];
    never(
        "server/src/web",
        &opening,
        &[],
        "pages reach footage only through retrieval",
    );
    never(
        "server/src/export",
        &["unseal_key", "VerifiedGrant {"],
        &[],
        "a copy opens only what a verified grant opens",
    );
    never(
        "server/src",
        &["unseal_key"],
        &["server/src/keyholder"],
        "only the keyholder holds footage keys",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("#[ig", "nore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    for folder in ["shared", "agent", "server", "tests"] {
        for path in files(folder, "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            for mark in marks {
                assert!(!text.contains(mark), "{} holds {mark}", path.display());
            }
            let lines = text.lines().count();
            assert!(
                lines <= 500,
                "{} has {lines} lines: is there a second noun inside?",
                path.display()
            );
        }
    }
}

#[test]
fn no_crate_allows_unsafe_code_beyond_its_sys_module() {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has its root");
    assert!(workspace.contains("unsafe_code = \"deny\""));
    for manifest in ["shared", "agent", "agent/capture", "server", "tests"] {
        let text = std::fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a crate has its manifest");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{manifest} has left the workspace's lints"
        );
    }
    for folder in ["shared/src", "agent", "server/src", "tests"] {
        never(
            folder,
            &["allow(unsafe_code)"],
            &["/sys.rs", "/sys/", "tests/architecture.rs"],
            "unsafe code lives in one small sys module",
        );
    }
}

#[test]
fn pages_ask_no_other_host() {
    for extension in ["html", "ts", "js", "css"] {
        for folder in ["server/templates", "server/ui"] {
            let here = root().join(folder);
            let of_this_kind = std::fs::read_dir(&here)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path());
            for path in of_this_kind.filter(|p| p.extension().is_some_and(|e| e == extension)) {
                let text = std::fs::read_to_string(&path).expect("a page is text");
                let foreign = [
                    "src=\"http",
                    "href=\"http",
                    "url(http",
                    "fetch(\"http",
                    "fetch('http",
                    "@import",
                ];
                for word in foreign {
                    assert!(
                        !text.contains(word),
                        "{} loads from another host: {word}",
                        path.display()
                    );
                }
            }
        }
    }
}

//! Encoders in hardware that this machine has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::sys;

/// Graphics processors without a screen attached, in order.
pub(crate) fn render_nodes() -> Vec<PathBuf> {
    nodes(Path::new("/dev/dri"), "renderD")
}

/// Video devices that turn pictures into other pictures, as opposed to cameras.
pub(crate) fn codec_nodes() -> Vec<PathBuf> {
    let mut found = nodes(Path::new("/dev"), "video");
    found.retain(|path| {
        let opened = File::options().read(true).write(true).open(path);
        opened.is_ok_and(|device| sys::is_memory_to_memory(&device))
    });
    found
}

fn nodes(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            number.is_some_and(|number| number.parse::<u16>().is_ok())
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_nodes_count() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["renderD129", "renderD128", "card0", "renderDx", "by-path"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let found = nodes(folder.path(), "renderD");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["renderD128", "renderD129"]);
        assert!(nodes(&folder.path().join("absent"), "renderD").is_empty());
    }

    #[test]
    fn a_file_is_no_codec() {
        assert!(!sys::is_memory_to_memory(&tempfile::tempfile().expect("a file")));
    }
}

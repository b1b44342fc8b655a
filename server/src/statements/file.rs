//! Names of the log's files, and frames.

use std::path::{Path, PathBuf};

/// Bytes before a frame's body.
pub(super) const HEAD: usize = 8;

/// One file of the log: `{number:08}-{yyyymmdd}.log`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogFile {
    pub(super) number: u32,
    pub(super) day: String,
}

impl LogFile {
    pub(super) fn name(&self) -> String {
        format!("{:08}-{}.log", self.number, self.day)
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, day) = name.strip_suffix(".log")?.split_once('-')?;
        let digits = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(number, 8) || !digits(day, 8) {
            return None;
        }
        Some(Self {
            number: number.parse().ok()?,
            day: day.to_owned(),
        })
    }

    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    /// All files of the log in order. Anything else in the folder is left alone.
    pub(super) fn list(dir: &Path) -> std::io::Result<Vec<Self>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            if let Some(file) = entry?.file_name().to_str().and_then(Self::parse) {
                files.push(file);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Appends the frame of `body`, whose length the caller has bounded.
pub(super) fn push_frame(out: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, body).to_be_bytes());
    out.extend_from_slice(body);
}

pub(super) fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_and_foreign_files_are_not_ours() {
        let file = LogFile {
            number: 7,
            day: "20261122".to_owned(),
        };
        assert_eq!(file.name(), "00000007-20261122.log");
        assert_eq!(LogFile::parse(&file.name()), Some(file));
        for name in [
            "7-20261122.log",
            "00000007-2026112.log",
            "00000007-20261122.log.bak",
            "notes.txt",
            "0000000x-20261122.log",
        ] {
            assert_eq!(LogFile::parse(name), None, "{name}");
        }
    }
}

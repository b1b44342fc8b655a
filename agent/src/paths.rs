//! The agent's folder: which file lies where. No other module spells a file name.
//!
//! ```text
//! identity/    agent.json, tls.key, tls.crt, ca.crt, statement.key, witness.key   (0600)
//! keys.cose    the highest key announcement accepted so far
//! segments/    YYYYMMDD-{key_id}/{seq:012}.csg      sealed files; the day is the UTC day of t_start
//! statements/  YYYYMMDD.log                          append-only, in the order of the chain
//! state/       running, recording, acked, counters, clock
//! lock
//! ```

use std::path::{Path, PathBuf};

use custody_shared::id::KeyId;
use custody_shared::time::UtcMicros;

/// A UTC calendar day as the number YYYYMMDD: sorts as it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day that `at` falls on in UTC.
    pub fn of(at: UtcMicros) -> Self {
        // RFC 3339 starts with YYYY-MM-DD; the shared crate is the one place that computes it.
        let text = at.to_string();
        let digits = text.bytes().take(10).filter(u8::is_ascii_digit);
        Self(digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// Reads `YYYYMMDD`; anything else is not a day.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok().map(Self))?
    }

    /// The first instant after this day; `None` where the calendar ends.
    pub fn end(self) -> Option<UtcMicros> {
        let (year, month, day) = (self.0 / 10_000, self.0 / 100 % 100, self.0 % 100);
        let midnight: UtcMicros = format!("{year:04}-{month:02}-{day:02}T00:00:00Z").parse().ok()?;
        Some(UtcMicros::new(midnight.get().checked_add(DAY_US)?))
    }
}

/// Microseconds in a day of UTC.
pub const DAY_US: i64 = 86_400_000_000;

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

/// The agent's folder on disk.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// A sealed file's folder: one per filming day and key, so that a key's end is the end of whole folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentFolder {
    /// UTC day of the first `t_start` inside.
    pub day: Day,
    /// The key that every file inside is sealed to.
    pub key_id: KeyId,
}

impl SegmentFolder {
    /// Reads `YYYYMMDD-{key_id}`.
    pub fn parse(name: &str) -> Option<Self> {
        let (day, key) = name.split_once('-')?;
        Some(Self {
            day: Day::parse(day)?,
            key_id: key.parse().ok()?,
        })
    }
}

impl std::fmt::Display for SegmentFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.day, self.key_id)
    }
}

/// The name of a sealed file inside its folder.
pub fn segment_name(seq: u64) -> String {
    format!("{seq:012}.csg")
}

/// The sequence number a sealed file's name carries.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".csg")?;
    (digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Folder {
    /// The folder at `root`; nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Private keys and certificates.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// One file of the identity.
    pub fn identity_file(&self, name: &str) -> PathBuf {
        self.identity().join(name)
    }

    /// The key announcement in force.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys.cose")
    }

    /// All sealed files.
    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// The statement log's folder.
    pub fn statements(&self) -> PathBuf {
        self.root.join("statements")
    }

    /// Small files that speed up or explain a start; every one of them may be lost.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Present while the agent runs; left behind by a crash.
    pub fn running(&self) -> PathBuf {
        self.state().join("running")
    }

    /// What is known of the segment being written.
    pub fn recording(&self) -> PathBuf {
        self.state().join("recording")
    }

    /// The highest receipt seen.
    pub fn acked(&self) -> PathBuf {
        self.state().join("acked")
    }

    /// The last counter of each signed topic.
    pub fn counters(&self) -> PathBuf {
        self.state().join("counters")
    }

    /// The highest time the server has signed.
    pub fn clock(&self) -> PathBuf {
        self.state().join("clock")
    }

    /// Held by the one process that may write here.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_utc() {
        for (at, day) in [
            ("1970-01-01T00:00:00Z", "19700101"),
            ("2026-11-22T23:59:59.999999Z", "20261122"),
            ("2028-02-29T12:00:00Z", "20280229"),
        ] {
            let at: UtcMicros = at.parse().expect("a time");
            assert_eq!(Day::of(at).to_string(), day);
            assert_eq!(Day::parse(day), Some(Day::of(at)));
            assert!(Day::of(at).end().expect("an end").get() > at.get());
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "",
            "2026112",
            "202611222",
            "2026112x",
            "20261122-",
            "20261122-xyz",
            "lost+found",
        ] {
            assert_eq!(SegmentFolder::parse(name), None, "{name}");
        }
        for name in ["1.csg", "00000000000x.csg", "000000000001.mp4", "000000000001.csg.new"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
        assert_eq!(parse_segment_name(&segment_name(7)), Some(7));
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
    }
}

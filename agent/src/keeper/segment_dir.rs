//! Folders of sealed files: one per filming day and key, each with a note of its own end.
//!
//! The end (`due`) lies beside the files, so that retention is enforced with the server away and even after the key is no
//! longer announced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use custody_shared::keys::KeyDescriptor;
use custody_shared::time::UtcMicros;

use crate::disk::Release;
use crate::files;
use crate::paths::{DAY_US, Day, Folder, SegmentFolder, parse_segment_name, segment_name};

/// File in a segment folder that says when the folder ends.
const DUE: &str = "due";
/// How long after its day footage lives where nothing else is known, µs: the longest the policy page promises.
const DEFAULT_RETENTION_US: i64 = 30 * DAY_US;

/// When a folder's files are to be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The key's own end.
    pub destroy_at: UtcMicros,
    /// Whether it is a reserve key: then the footage ends earlier, by its filming day.
    pub reserve: bool,
}

impl Due {
    /// As the key's descriptor says.
    pub(super) fn of(key: &KeyDescriptor) -> Self {
        Self {
            destroy_at: key.destroy_at,
            reserve: key.reserve,
        }
    }

    /// The end of a folder of `day`, where day keys live `retention_us` beyond their day.
    pub(super) fn end(self, day: Day, retention_us: Option<i64>) -> UtcMicros {
        if !self.reserve {
            return self.destroy_at;
        }
        let by_day = default_end(day, retention_us);
        by_day.map_or(self.destroy_at, |by_day| by_day.min(self.destroy_at))
    }

    fn parse(text: &str) -> Option<Self> {
        let (word, at) = text.trim().split_once(' ')?;
        let reserve = match word {
            "day" => false,
            "reserve" => true,
            _ => return None,
        };
        Some(Self {
            destroy_at: at.parse().ok()?,
            reserve,
        })
    }
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}",
            if self.reserve { "reserve" } else { "day" },
            self.destroy_at
        )
    }
}

/// The end of footage of `day` where only the day is known.
pub(super) fn default_end(day: Day, retention_us: Option<i64>) -> Option<UtcMicros> {
    Some(day.end()?.saturating_add(retention_us.unwrap_or(DEFAULT_RETENTION_US)))
}

/// Makes a folder, and its end durable before the first file in it.
pub(super) fn make(place: &Path, due: &Due) -> io::Result<()> {
    let path = place.join(DUE);
    if path.exists() {
        return Ok(());
    }
    files::make_private_folder(place)?;
    if let Some(parent) = place.parent() {
        files::sync_folder(parent)?;
    }
    files::write_atomic(&path, format!("{due}\n").as_bytes())
}

/// The end that a folder notes for itself.
pub(super) fn read_due(place: &Path) -> Option<Due> {
    let bytes = files::read_bounded(&place.join(DUE), 128).ok()?;
    Due::parse(std::str::from_utf8(&bytes).ok()?)
}

/// All folders of sealed files, oldest day first.
pub(super) fn list(folder: &Folder) -> io::Result<Vec<SegmentFolder>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.segments())? {
        if let Some(place) = entry?.file_name().to_str().and_then(SegmentFolder::parse) {
            found.push(place);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where segment `seq` lies, newest folder first.
pub fn find(folder: &Folder, seq: u64) -> io::Result<Option<PathBuf>> {
    let name = segment_name(seq);
    let places = list(folder)?;
    Ok(places
        .iter()
        .rev()
        .map(|place| folder.segments().join(place.to_string()).join(&name))
        .find(|path| path.exists()))
}

/// Numbers of the sealed files in a folder, ascending.
pub(super) fn sequence(place: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        if let Some(seq) = entry?.file_name().to_str().and_then(parse_segment_name) {
            found.push(seq);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What lies on the disk and when it comes free.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// One per folder.
    pub releases: Vec<Release>,
    /// Bytes written per day, judged by the last day's files; 0 where there is too little to judge.
    pub bytes_per_day: u64,
}

/// Looks at every sealed file's size and age: a second's work for thirty days, to be done seldom and off the hot path.
pub fn survey(folder: &Folder, now: SystemTime, retention_us: Option<i64>) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut recent = 0_u64;
    let mut oldest = 0_u64;
    for place in list(folder)? {
        let path = folder.segments().join(place.to_string());
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&path)? {
            let Ok(metadata) = entry?.metadata() else { continue };
            bytes += metadata.len();
            let age = metadata.modified().ok().and_then(|at| now.duration_since(at).ok());
            let age = age.map_or(0, |age| age.as_secs());
            if age < 86_400 {
                recent += metadata.len();
                oldest = oldest.max(age);
            }
        }
        let at = read_due(&path).map(|due| due.end(place.day, retention_us));
        if let Some(at) = at.or_else(|| default_end(place.day, retention_us)) {
            survey.releases.push(Release { at, bytes });
        }
    }
    // Less than ten minutes of recording says nothing about a day.
    if oldest >= 600 {
        survey.bytes_per_day = u64::try_from(u128::from(recent) * 86_400 / u128::from(oldest)).unwrap_or(u64::MAX);
    }
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_note_is_read_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("20261122-06060606060606060606060606060606");
        let due = Due {
            destroy_at: UtcMicros::new(1_800_000_000_000_000),
            reserve: true,
        };
        make(&place, &due).expect("make");
        make(&place, &Due { reserve: false, ..due }).expect("the first one stays");
        assert_eq!(read_due(&place), Some(due));
        for damaged in ["", "day", "week 2027-01-15T08:00:00Z", "day tomorrow"] {
            fs::write(place.join(DUE), damaged).expect("write");
            assert_eq!(read_due(&place), None, "{damaged}");
        }
    }

    #[test]
    fn a_reserve_key_never_keeps_a_day_longer_than_a_day_key_would() {
        let day = Day::parse("20261101").expect("a day");
        let far = Due {
            destroy_at: UtcMicros::MAX,
            reserve: true,
        };
        assert_eq!(far.end(day, None).to_string()[..10], *"2026-12-02");
        assert_eq!(far.end(day, Some(7 * DAY_US)).to_string()[..10], *"2026-11-09");
        let own = Due {
            destroy_at: UtcMicros::new(0),
            reserve: false,
        };
        assert_eq!(own.end(day, None), UtcMicros::new(0));
    }
}

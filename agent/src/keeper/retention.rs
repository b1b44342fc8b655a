//! The end of retention: whole folders go at their time, without asking anybody.
//!
//! Order: the summary is durable, the files are deleted, the destruction is stated, the folder goes. A crash anywhere in
//! between is taken up where it was; at worst the same destruction is stated twice.

use std::fs;
use std::io;
use std::path::Path;

use custody_shared::segment::{PREAMBLE_LEN, Preamble};
use custody_shared::statement::{DestroyReason, Destroyed, Kind, SignedStatement};
use custody_shared::time::{TimeRange, UtcMicros};
use serde::{Deserialize, Serialize};

use super::Keeper;
use super::segment_dir::{self, Due};
use crate::files;
use crate::paths::{DAY_US, SegmentFolder, segment_name};

/// File in a segment folder that is being destroyed.
const SUMMARY: &str = "destroying";
/// Files deleted in one go, so that recording never waits for a whole day's.
const SLICE: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    first_seq: u64,
    last_seq: u64,
    start: UtcMicros,
    end: UtcMicros,
}

impl Keeper {
    /// Destroys what is due, one slice at a time. Returns whether there is more to do at once.
    pub fn enforce_retention(&mut self) -> bool {
        let due_by = self.time.for_destruction(self.clock.now());
        let places = match segment_dir::list(&self.folder) {
            Ok(places) => places,
            Err(error) => {
                tracing::error!(%error, "the segment folders cannot be listed; retention is tried again");
                return false;
            }
        };
        for place in places {
            let path = self.folder.segments().join(place.to_string());
            if self.end_of(place, &path) > due_by && !path.join(SUMMARY).exists() {
                continue;
            }
            match self.destroy_slice(place, &path) {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, folder = %place, "a folder past its end cannot be destroyed; it is tried again")
                }
            }
        }
        false
    }

    fn end_of(&self, place: SegmentFolder, path: &Path) -> UtcMicros {
        let retention = self.keys.retention_us();
        // The announcement in force has the last word; the folder's own note serves when the key is announced no more.
        let due = self
            .keys
            .find(place.key_id)
            .map(Due::of)
            .or_else(|| segment_dir::read_due(path));
        due.map(|due| due.end(place.day, retention))
            .or_else(|| segment_dir::default_end(place.day, retention))
            .unwrap_or(UtcMicros::MAX)
    }

    fn destroy_slice(&mut self, place: SegmentFolder, path: &Path) -> io::Result<bool> {
        if self
            .recording
            .as_ref()
            .is_some_and(|recording| recording.file.path().starts_with(path))
        {
            // A folder ends a month after its last segment began; only a clock stepped by weeks leads here.
            self.end_abandoned();
        }
        let seqs = segment_dir::sequence(path)?;
        let summary = match read_summary(path) {
            Some(summary) => Some(summary),
            None => self.summarise(place, path, &seqs)?,
        };
        if let Some(summary) = &summary {
            let text = serde_json::to_vec(summary).map_err(io::Error::other)?;
            if !path.join(SUMMARY).exists() {
                files::write_atomic(&path.join(SUMMARY), &text)?;
            }
            for seq in seqs.iter().take(SLICE) {
                fs::remove_file(path.join(segment_name(*seq)))?;
            }
            if seqs.len() > SLICE {
                return Ok(true);
            }
            files::sync_folder(path)?;
            if let Ok(range) = TimeRange::new(summary.start, summary.end) {
                let destroyed = Destroyed {
                    key_id: place.key_id,
                    range,
                    first_seq: summary.first_seq,
                    last_seq: summary.last_seq,
                    reason: DestroyReason::Retention,
                };
                self.chain.state(self.clock.now(), Kind::Destroyed(destroyed))?;
                tracing::info!(folder = %place, first = summary.first_seq, last = summary.last_seq, "retention ended; files destroyed");
            }
        }
        fs::remove_dir_all(path)?;
        files::sync_folder(&self.folder.segments())?;
        Ok(false)
    }

    fn summarise(&self, place: SegmentFolder, path: &Path, seqs: &[u64]) -> io::Result<Option<Summary>> {
        let (Some(&first_seq), Some(&last_seq)) = (seqs.first(), seqs.last()) else {
            return Ok(None);
        };
        // A file whose head is damaged must not outlive its day for that: the folder's day stands in.
        let day = place.day.end().unwrap_or(UtcMicros::MIN).saturating_sub(DAY_US);
        let start = t_start(&path.join(segment_name(first_seq))).unwrap_or(day);
        let last = t_start(&path.join(segment_name(last_seq))).unwrap_or(day);
        let stated = self.chain.log().reader().find_segment(last_seq)?;
        let end = stated
            .and_then(|bytes| SignedStatement::from_bytes(bytes).ok()?.parse_unverified().ok())
            .and_then(|statement| match statement.kind {
                Kind::Segment(segment) => Some(segment.t_end),
                _ => None,
            });
        // With a clock that was stepped inside the folder the ends may be out of order; the range still names both.
        let end = end.unwrap_or(last).max(last.saturating_add(1));
        Ok(Some(Summary {
            first_seq,
            last_seq,
            start: start.min(last),
            end: end.max(start.saturating_add(1)),
        }))
    }
}

fn read_summary(path: &Path) -> Option<Summary> {
    serde_json::from_slice(&files::read_bounded(&path.join(SUMMARY), 1024).ok()?).ok()
}

fn t_start(path: &Path) -> io::Result<UtcMicros> {
    use std::io::Read as _;
    let mut start = vec![0; PREAMBLE_LEN];
    fs::File::open(path)?.read_exact(&mut start)?;
    let preamble = Preamble::parse(&start).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(preamble.header.t_start)
}

//! Verification: reads everything, trusts nothing but the signatures, and names what is not as it was written.

use std::path::Path;

use super::error::LedgerError;
use super::files::{Disk, Files, read_optional};
use super::layout::{CHECKPOINT, JOURNAL};
use super::verify_head::Pass;

/// Findings that are kept word for word; the rest is only counted.
const MAX_FINDINGS: usize = 1000;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The commitment of a row in its entry bundle.
    Leaf(u64),
    /// The encrypted body of a row.
    Body(u64),
    /// A tile of hashes or an entry bundle as a whole.
    Tile,
    /// The signed checkpoint, or a tree that does not lead to it.
    Checkpoint,
    /// The journal of rows that are not settled yet.
    Journal,
    /// The log's own key.
    Key,
    /// The record keys of one day (days since 1970).
    RecordKeys(u32),
}

/// One thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// The file, relative to the ledger's directory.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.subject {
            Subject::Leaf(index) => write!(f, "leaf {index}")?,
            Subject::Body(index) => write!(f, "body {index}")?,
            Subject::Tile => f.write_str("tile")?,
            Subject::Checkpoint => f.write_str("checkpoint")?,
            Subject::Journal => f.write_str("journal")?,
            Subject::Key => f.write_str("log key")?,
            Subject::RecordKeys(day) => write!(f, "record keys of day {day}")?,
        }
        write!(f, ": {}: {}", self.path, self.what)
    }
}

/// What verification saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's origin, once its key was read.
    pub origin: String,
    /// Rows covered by the last signed checkpoint that was found.
    pub rows: u64,
    /// Bodies that were opened and are what the log committed to.
    pub bodies: u64,
    /// Bodies whose keys have been destroyed on their day.
    pub purged: u64,
    /// What is not as it was written, at most 1000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

impl Report {
    /// Whether everything is as it was written.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    pub(super) fn add(&mut self, subject: Subject, path: &str, what: impl Into<String>) {
        let finding = Finding {
            subject,
            path: path.to_owned(),
            what: what.into(),
        };
        if self.findings.contains(&finding) {
            return;
        }
        match self.findings.len() {
            0..MAX_FINDINGS => self.findings.push(finding),
            _ => self.more += 1,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        let verdict = if self.is_clean() { "intact" } else { "NOT intact" };
        let (rows, bodies, purged) = (self.rows, self.bodies, self.purged);
        write!(
            f,
            "ledger {}: {rows} rows, {bodies} bodies checked, {purged} purged: {verdict}",
            self.origin
        )
    }
}

/// Verifies the ledger in a directory, also while a server runs on it. An error means that it could not be read at all;
/// damage is in the report.
pub fn verify(dir: &Path) -> Result<Report, LedgerError> {
    verify_files(&Disk::new(dir))
}

pub(super) fn verify_files(files: &dyn Files) -> Result<Report, LedgerError> {
    let heads = || {
        let read = |path| read_optional(files, path).map_err(|e| LedgerError::unreadable(path, e));
        Ok::<_, LedgerError>((read(CHECKPOINT)?, read(JOURNAL)?))
    };
    let mut before = heads()?;
    if before.0.is_none() && before.1.is_none() {
        return Err(LedgerError::Missing);
    }
    for _ in 0..4 {
        let report = Pass::new(files).run(&before);
        let after = heads()?;
        if report.is_clean() || before == after {
            return Ok(report);
        }
        // The server moved on meanwhile: what looked damaged may have been on its way.
        before = after;
    }
    Ok(Pass::new(files).run(&before))
}

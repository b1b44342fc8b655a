//! Verification: reads everything, trusts nothing but the signatures, and names what is not as it was written.
//!
//! Every leaf stands in three places: in its entry bundle, as a hash in its tile, and beside its body. Where one of
//! them differs from the other two, it is the damaged one.

use std::collections::BTreeMap;
use std::path::Path;

use custody_shared::tlog::commitment::LEAF_LEN;
use custody_shared::tlog::tile::{EntryBundle, MAX_LEVEL, Tile};
use custody_shared::tlog::tree::{self, NodeHash};
use custody_shared::tlog::{Checkpoint, Leaf, LogSigner, LogVerifier};
use zeroize::Zeroizing;

use super::body::{self, Record};
use super::edge::Edge;
use super::error::LedgerError;
use super::files::{Disk, Files, read_optional};
use super::journal::{self, Tail};
use super::keyring::{self, Day};
use super::layout::{self, CHECKPOINT, JOURNAL, KEY, KEYRING, VERIFIER};

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

    fn add(&mut self, subject: Subject, path: &str, what: impl Into<String>) {
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
        let report = Pass {
            files,
            report: Report::default(),
            days: BTreeMap::new(),
            with_keys: true,
        }
        .run(&before);
        let after = heads()?;
        if report.is_clean() || before == after {
            return Ok(report);
        }
        // The server moved on meanwhile: what looked damaged may have been on its way.
        before = after;
    }
    Ok(Pass {
        files,
        report: Report::default(),
        days: BTreeMap::new(),
        with_keys: true,
    }
    .run(&before))
}

/// One reading of everything.
struct Pass<'a> {
    files: &'a dyn Files,
    report: Report,
    days: BTreeMap<u32, Option<Day>>,
    with_keys: bool,
}

impl Pass<'_> {
    fn run(mut self, (checkpoint, journal): &(Option<Vec<u8>>, Option<Vec<u8>>)) -> Report {
        self.keyring();
        let Some(log) = self.log_key() else { return self.report };
        self.report.origin = log.origin().to_owned();

        let shown = self.checkpoint(&log, checkpoint.as_deref());
        let parsed = journal.as_deref().and_then(journal::parse);
        if parsed.is_none() {
            self.report.add(
                Subject::Journal,
                JOURNAL,
                "it is gone or its header is not as it was written",
            );
        }
        let base = parsed
            .as_ref()
            .map(|j| j.header.base)
            .or(shown.as_ref().map(|c| c.size))
            .unwrap_or(0);
        let Some(mut edge) = self.settled(base, parsed.as_ref().is_none_or(|j| j.batches.is_empty())) else {
            return self.report;
        };
        let mut roots = BTreeMap::from([(base, edge.root())]);
        if let Some(journal) = &parsed {
            self.note(&log, journal.header.note, &roots, JOURNAL, base);
            for batch in &journal.batches {
                for record in &batch.records {
                    edge.push(record.head.leaf.hash(), &mut Vec::new());
                    self.body(record, JOURNAL);
                }
                roots.insert(edge.size(), edge.root());
                self.note(&log, batch.note, &roots, JOURNAL, edge.size());
            }
            let (at, next) = (journal.whole, edge.size());
            match journal.tail {
                Tail::None => {}
                Tail::Torn => self.report.add(
                    Subject::Journal,
                    JOURNAL,
                    format!("what starts at byte {at}, with row {next}, is no whole batch: damaged, or cut off by a crash and never acknowledged"),
                ),
                Tail::Damaged => self.report.add(
                    Subject::Journal,
                    JOURNAL,
                    format!("the batch at byte {at}, with row {next}, is not as it was written, and later ones follow it"),
                ),
            }
        }
        self.report.rows = edge.size();
        if let Some(shown) = shown {
            match roots.get(&shown.size) {
                Some(root) if *root == shown.root => {}
                Some(_) => self.report.add(
                    Subject::Checkpoint,
                    CHECKPOINT,
                    format!("the tree of {} rows does not lead to the signed root", shown.size),
                ),
                None => self.report.add(
                    Subject::Checkpoint,
                    CHECKPOINT,
                    format!(
                        "it speaks of {} rows, the files of {base} to {}",
                        shown.size,
                        edge.size()
                    ),
                ),
            }
        }
        self.report
    }

    fn keyring(&mut self) {
        let Ok(names) = self.files.list(KEYRING) else {
            // A copy without keys, as an auditor may hold it: the tree is checked, bodies stay closed.
            self.with_keys = false;
            return;
        };
        for name in names {
            let Ok(day) = name.parse::<u32>() else {
                if ![".tomb", ".dead", ".new"].iter().any(|end| name.ends_with(end)) {
                    self.report.add(
                        Subject::RecordKeys(0),
                        &format!("{KEYRING}/{name}"),
                        "no file of the ledger",
                    );
                }
                continue;
            };
            let state = self
                .files
                .read(&layout::keys(day))
                .ok()
                .map(Zeroizing::new)
                .and_then(|b| keyring::parse(day, &b));
            if state.is_none() {
                self.report
                    .add(Subject::RecordKeys(day), &layout::keys(day), "not as it was written");
            }
            self.days.insert(day, state);
        }
    }

    fn log_key(&mut self) -> Option<LogVerifier> {
        let text = |path: &str| {
            let bytes = Zeroizing::new(read_optional(self.files, path).ok()??);
            Some(Zeroizing::new(String::from_utf8(bytes.to_vec()).unwrap_or_default()))
        };
        let (private, public) = (text(KEY), text(VERIFIER));
        let private = private.map(|t| {
            t.strip_suffix('\n')
                .and_then(|t| LogSigner::parse(t).ok())
                .map(|s| s.verifier())
        });
        let public = public.map(|t| t.strip_suffix('\n').and_then(|t| LogVerifier::parse(t).ok()));
        if let Some(None) = private {
            self.report.add(Subject::Key, KEY, "not the key it was");
        }
        match public {
            None => self.report.add(Subject::Key, VERIFIER, "it is gone"),
            Some(None) => self.report.add(Subject::Key, VERIFIER, "not the key it was"),
            Some(Some(_)) => {}
        }
        match (private.flatten(), public.flatten()) {
            (Some(private), Some(public)) if private != public => {
                self.report
                    .add(Subject::Key, VERIFIER, "it is not the public half of log.key");
                Some(public)
            }
            (private, public) => public.or(private),
        }
    }

    fn checkpoint(&mut self, log: &LogVerifier, bytes: Option<&[u8]>) -> Option<Checkpoint> {
        let opened = match bytes.map(std::str::from_utf8) {
            None => Err("it is gone".to_owned()),
            Some(Err(_)) => Err("not text".to_owned()),
            // The file holds the log's own signature and nothing else.
            Some(Ok(text)) => log.open(text).map_err(|e| e.to_string()),
        };
        opened
            .map_err(|what| self.report.add(Subject::Checkpoint, CHECKPOINT, what))
            .ok()
    }

    /// Checks a signed checkpoint in the journal against the roots that the rows lead to.
    fn note(&mut self, log: &LogVerifier, note: &str, roots: &BTreeMap<u64, NodeHash>, path: &str, size: u64) {
        match log.open(note) {
            Err(e) => self
                .report
                .add(Subject::Journal, path, format!("its checkpoint of {size} rows: {e}")),
            Ok(c) if c.size != size || roots.get(&size) != Some(&c.root) => self.report.add(
                Subject::Checkpoint,
                path,
                format!("the tree of {size} rows does not lead to the signed root"),
            ),
            Ok(_) => {}
        }
    }

    /// Checks everything before `base`; gives the tree that most copies of the leaves agree on.
    fn settled(&mut self, base: u64, nothing_follows: bool) -> Option<Edge> {
        let mut level: Vec<NodeHash> = Vec::new();
        let mut last: Vec<NodeHash> = Vec::new();
        for bundle in 0..base.div_ceil(256) {
            let hashes = self.bundle(EntryBundle::in_tree(bundle, base)?, nothing_follows);
            match hashes.len() {
                256 => level.push(tree::perfect(hashes)),
                _ => last = hashes,
            }
        }
        // Level by level: what the level below leads to, against the tiles as they lie.
        let mut partial = BTreeMap::from([(0, last)]);
        for height in 1..=MAX_LEVEL {
            for (index, want) in level.chunks(256).enumerate() {
                let tile = Tile::in_tree(height, index as u64, base)?;
                self.tile(tile, want);
            }
            let full = level.len() / 256 * 256;
            partial.insert(height, level[full..].to_vec());
            level = level[..full].chunks(256).map(|c| tree::perfect(c.to_vec())).collect();
        }
        Edge::from_tiles(base, |tile| Some(partial[&tile.level()].concat()))
    }

    /// Checks a tile above the leaves.
    fn tile(&mut self, tile: Tile, want: &[NodeHash]) {
        let path = tile.path();
        let bytes = match self.files.read(&path) {
            Ok(bytes) => bytes,
            Err(e) => return self.report.add(Subject::Tile, &path, e.to_string()),
        };
        if bytes.len() != want.len() * 32 {
            return self.report.add(
                Subject::Tile,
                &path,
                format!("{} bytes instead of {}", bytes.len(), want.len() * 32),
            );
        }
        for (at, (have, want)) in bytes.as_chunks::<32>().0.iter().zip(want).enumerate() {
            if have != want {
                self.report.add(
                    Subject::Tile,
                    &path,
                    format!("hash {at} is not that of the tile below it"),
                );
            }
        }
    }

    /// Checks the three copies of up to 256 leaves and their bodies; gives the leaf hashes.
    fn bundle(&mut self, bundle: EntryBundle, nothing_follows: bool) -> Vec<NodeHash> {
        let (first, width) = (bundle.index() * 256, usize::from(bundle.width()));
        let leaves = self.leaves(bundle);
        let tile = Tile::new(0, bundle.index(), bundle.width()).expect("a bundle has the bounds of a tile");
        let tile_path = tile.path();
        let tile_bytes = self.files.read(&tile_path).unwrap_or_default();
        if tile_bytes.len() != width * 32 {
            let what = format!("{} bytes instead of {}", tile_bytes.len(), width * 32);
            self.report.add(Subject::Tile, &tile_path, what);
        }
        let hashes = tile_bytes.as_chunks::<32>().0;
        let body_path = layout::bodies(bundle.index());
        let bodies = self.files.read(&body_path).unwrap_or_default();
        let records = self.records(&body_path, &bodies, first, width, nothing_follows || bundle.is_full());

        let mut agreed = Vec::with_capacity(width);
        for at in 0..width {
            let index = first + at as u64;
            let (leaf, hash) = (leaves[at].map(|l| l.hash()), hashes.get(at).copied());
            let beside = records[at].as_ref().map(|r| r.head.leaf.hash());
            if let Some(record) = &records[at] {
                self.body(record, &body_path);
            }
            let truth = match (leaf, hash, beside) {
                (Some(l), Some(h), _) if l == h => l,
                (Some(l), _, Some(b)) if l == b => l,
                (_, Some(h), Some(b)) if h == b => h,
                (l, h, b) => h.or(l).or(b).unwrap_or_default(),
            };
            agreed.push(truth);
            if leaf.is_some_and(|l| l != truth) {
                self.report.add(
                    Subject::Leaf(index),
                    &bundle.path(),
                    "not the leaf that the tree was built on",
                );
            }
            if hash.is_some_and(|h| h != truth) {
                self.report.add(
                    Subject::Tile,
                    &tile_path,
                    format!("hash {at} is not that of leaf {index}"),
                );
            }
            if beside.is_some_and(|b| b != truth) {
                self.report.add(
                    Subject::Body(index),
                    &body_path,
                    "it belongs to another leaf than the tree's",
                );
            }
        }
        agreed
    }

    fn leaves(&mut self, bundle: EntryBundle) -> Vec<Option<Leaf>> {
        const ENTRY: usize = 2 + LEAF_LEN;
        let (first, width, path) = (bundle.index() * 256, usize::from(bundle.width()), bundle.path());
        let bytes = self.files.read(&path).unwrap_or_default();
        if bytes.len() != width * ENTRY {
            let what = format!("{} bytes instead of {}", bytes.len(), width * ENTRY);
            self.report.add(Subject::Tile, &path, what);
        }
        let mut leaves: Vec<Option<Leaf>> = Vec::with_capacity(width);
        for (at, entry) in bytes.as_chunks::<ENTRY>().0.iter().take(width).enumerate() {
            let leaf = (entry[..2] == (LEAF_LEN as u16).to_be_bytes())
                .then(|| Leaf::parse(&entry[2..]))
                .flatten();
            if leaf.is_none() {
                self.report.add(Subject::Leaf(first + at as u64), &path, "not a leaf");
            }
            leaves.push(leaf);
        }
        leaves.resize(width, None);
        leaves
    }

    /// The records of a bundle, as far as they are whole. After a damaged one the next is searched by its index.
    fn records<'b>(
        &mut self,
        path: &str,
        bytes: &'b [u8],
        first: u64,
        width: usize,
        exact: bool,
    ) -> Vec<Option<Record<'b>>> {
        let mut records = Vec::with_capacity(width);
        let mut rest = bytes;
        for index in first..first + width as u64 {
            match body::parse(rest) {
                Ok((record, after)) if record.head.index == index => {
                    rest = after;
                    records.push(Some(record));
                }
                _ => {
                    self.report.add(Subject::Body(index), path, "not as it was written");
                    rest = seek(rest, index + 1);
                    records.push(None);
                }
            }
        }
        if exact && !rest.is_empty() && records.last().is_some_and(Option::is_some) {
            let what = format!("{} bytes follow the last row", rest.len());
            self.report.add(Subject::Body(first + width as u64 - 1), path, what);
        }
        records
    }

    /// Opens a body where its key still exists and compares it with its leaf.
    fn body(&mut self, record: &Record<'_>, path: &str) {
        let (index, day) = (record.head.index, record.head.day);
        if !self.with_keys {
            return;
        }
        match self.days.get(&day) {
            Some(Some(Day::Purged)) => self.report.purged += 1,
            Some(Some(Day::Live(buckets))) => {
                match buckets
                    .iter()
                    .find(|b| *b.id() == record.head.bucket)
                    .map(|b| record.open(b).is_some())
                {
                    Some(true) => self.report.bodies += 1,
                    Some(false) => self
                        .report
                        .add(Subject::Body(index), path, "not what the log committed to"),
                    None => self.report.add(
                        Subject::RecordKeys(day),
                        &layout::keys(day),
                        "it lacks a key that a row needs",
                    ),
                }
            }
            // Damage of the day's file has been reported once, for all its rows.
            Some(None) => {}
            None => self
                .report
                .add(Subject::RecordKeys(day), &layout::keys(day), "it is gone"),
        }
    }
}

/// The bytes from the record of a row on; empty where there is none.
fn seek(bytes: &[u8], index: u64) -> &[u8] {
    let wanted = index.to_be_bytes();
    let starts = bytes
        .windows(8)
        .enumerate()
        .filter(|(_, w)| **w == wanted)
        .map(|(at, _)| &bytes[at..]);
    starts
        .take(64)
        .find(|rest| body::parse(rest).is_ok_and(|(r, _)| r.head.index == index))
        .unwrap_or_default()
}

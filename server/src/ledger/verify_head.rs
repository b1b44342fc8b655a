//! Verification of keys, checkpoints and journal, around that of the tree.

use std::collections::BTreeMap;

use custody_shared::tlog::tree::NodeHash;
use custody_shared::tlog::{Checkpoint, LogSigner, LogVerifier};
use zeroize::Zeroizing;

use super::files::{Files, read_optional};
use super::journal::{self, Tail};
use super::keyring::{self, Day};
use super::layout::{self, CHECKPOINT, JOURNAL, KEY, KEYRING, VERIFIER};
use super::verify::{Report, Subject};

/// One reading of everything.
pub(super) struct Pass<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) report: Report,
    /// The record keys of each day; `None` where its file is damaged.
    pub(super) days: BTreeMap<u32, Option<Day>>,
    pub(super) with_keys: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(files: &'a dyn Files) -> Self {
        Pass {
            files,
            report: Report::default(),
            days: BTreeMap::new(),
            with_keys: true,
        }
    }

    pub(super) fn run(mut self, (checkpoint, journal): &(Option<Vec<u8>>, Option<Vec<u8>>)) -> Report {
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
}

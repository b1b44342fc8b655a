//! Settling: what the journal holds goes into its files, then a new journal starts behind it.
//!
//! Order: bodies, entries and tiles, each synced, with their directories → checkpoint → new journal. A crash before the
//! last rename leaves the old journal, whose rows are written again to the same places with the same bytes. A crash
//! after it leaves partial tiles of the old size, which the next opening removes.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};

use custody_shared::tlog::tile::{EntryBundle, Tile, partial_tiles};

use super::body;
use super::error::LedgerError;
use super::files::{self, Files};
use super::journal;
use super::layout::{self, CHECKPOINT, JOURNAL};
use super::writer::{Health, Settled, Writer};

/// Directories that are remembered as durable at most.
const MAX_REMEMBERED: usize = 1024;

/// Writes files whose content is already decided and remembers which directories are to be synced.
struct Placing<'a> {
    files: &'a dyn Files,
    /// Directories that this process has seen durable. One that is merely there may be what a killed process created.
    durable: &'a mut BTreeSet<String>,
    /// Directories among whose names something may be new.
    dirs: BTreeSet<String>,
    /// Directories that are durable once `dirs` are synced.
    fresh: BTreeSet<String>,
}

impl Placing<'_> {
    /// Creates the directories above a path, up to the first level, which must be there.
    fn parents(&mut self, path: &str) -> io::Result<()> {
        let mut at = path.find('/').unwrap_or(path.len());
        while let Some(next) = path.get(at + 1..).and_then(|rest| rest.find('/')) {
            let dir = &path[..at + 1 + next];
            if !self.durable.contains(dir) {
                match self.files.create_dir(dir) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
                self.dirs.insert(path[..at].to_owned());
                self.fresh.insert(dir.to_owned());
            }
            at += 1 + next;
        }
        if at < path.len() {
            self.dirs.insert(path[..at].to_owned());
        }
        Ok(())
    }

    fn put(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), LedgerError> {
        let place = |this: &mut Self| {
            this.parents(path)?;
            this.files.write_at(path, offset, bytes, true)?;
            // A crash may have left a longer file.
            this.files.truncate(path, offset + bytes.len() as u64)?;
            this.files.sync(path)
        };
        place(self).map_err(|e| LedgerError::unwritable("write", path, e))
    }

    fn sync_dirs(&mut self) -> Result<(), LedgerError> {
        // Deepest first is not needed: each name is durable once its own directory is.
        for dir in std::mem::take(&mut self.dirs) {
            self.files
                .sync_dir(&dir)
                .map_err(|e| LedgerError::unwritable("sync", &dir, e))?;
        }
        // Partial tiles' directories come and go, and the others are few: forgetting them costs a sync.
        if self.durable.len() > MAX_REMEMBERED {
            self.durable.clear();
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.durable
            .extend(fresh.into_iter().filter(|dir| !dir.ends_with(".p")));
        Ok(())
    }
}

impl Writer {
    /// Moves everything in the journal to its files. On an error nothing is lost and it can be tried again.
    pub(super) fn settle(&mut self) -> Result<(), LedgerError> {
        if let Health::NameNotDurable = self.health {
            self.sync_names()?;
        }
        let head = self.shared.head();
        let (base, size) = (self.settled.base, head.edge.size());
        let (records, tiles) = {
            let unsettled = self.shared.unsettled.read().unwrap_or_else(PoisonError::into_inner);
            (unsettled.records.clone(), unsettled.tiles.clone())
        };
        let files = self.shared.files.clone();
        let mut durable = std::mem::take(&mut self.durable_dirs);
        let mut placing = Placing {
            files: &*files,
            durable: &mut durable,
            dirs: BTreeSet::new(),
            fresh: BTreeSet::new(),
        };

        let mut bundle_len = self.settled.bundle_len;
        let mut rows = records.iter().peekable();
        let mut index = base;
        while index < size {
            let end = ((index / 256 + 1) * 256).min(size);
            let bytes: Vec<u8> = rows
                .by_ref()
                .take((end - index) as usize)
                .flat_map(|r| r.iter().copied())
                .collect();
            placing.put(&layout::bodies(index / 256), bundle_len, &bytes)?;
            let bundle = EntryBundle::in_tree(index / 256, size).expect("the bundle holds a row");
            placing.put(&bundle.path(), 0, &self.entries(bundle, base, &records)?)?;
            bundle_len = if end % 256 == 0 {
                0
            } else {
                bundle_len + bytes.len() as u64
            };
            index = end;
        }
        for (tile, bytes) in &tiles {
            placing.put(&tile.path(), 0, bytes)?;
        }
        for tile in partial_tiles(size) {
            placing.put(&tile.path(), 0, &head.edge.hashes(tile.level()).concat())?;
        }
        placing.sync_dirs()?;
        self.durable_dirs = durable;

        files::replace(&*files, CHECKPOINT, head.note.as_bytes())
            .map_err(|e| LedgerError::unwritable("write", CHECKPOINT, e))
            .or_else(|e| self.after_checkpoint(&head.note, e))?;
        self.settled.note = head.note.to_string();

        let header = journal::header(base, size, &head.note);
        let new = format!("{JOURNAL}.new");
        let write = || {
            files.write_at(&new, 0, &header, true)?;
            files.truncate(&new, header.len() as u64)?;
            files.sync(&new)?;
            files.rename(&new, JOURNAL)
        };
        write().map_err(|e| LedgerError::unwritable("replace", JOURNAL, e))?;
        // The new journal is in place, durable or not: what is appended from here on goes there, and nothing is
        // acknowledged before its name is durable.
        self.health = Health::NameNotDurable;
        self.journal_len = header.len() as u64;
        self.settled = Settled {
            base: size,
            note: head.note.to_string(),
            bundle_len,
        };
        let mut unsettled = self.shared.unsettled.write().unwrap_or_else(PoisonError::into_inner);
        unsettled.base = size;
        unsettled.records.drain(..(size - base) as usize);
        unsettled.tiles.retain(|tile, _| !tiles.contains_key(tile));
        drop(unsettled);
        self.sync_names()?;
        sweep(&*files, base, size);
        Ok(())
    }

    /// The rename may have happened although its directory could not be synced: then the file is the new one.
    fn after_checkpoint(&mut self, note: &str, error: LedgerError) -> Result<(), LedgerError> {
        if self
            .shared
            .files
            .read(CHECKPOINT)
            .is_ok_and(|now| now == note.as_bytes())
        {
            self.settled.note = note.to_owned();
        }
        Err(error)
    }

    fn entries(
        &self,
        bundle: EntryBundle,
        base: u64,
        records: &std::collections::VecDeque<Arc<[u8]>>,
    ) -> Result<Vec<u8>, LedgerError> {
        let first = bundle.index() * 256;
        let mut out = Vec::new();
        if first < base {
            let old = EntryBundle::in_tree(bundle.index(), base)
                .expect("the bundle holds a settled row")
                .path();
            out = self
                .shared
                .files
                .read(&old)
                .map_err(|e| LedgerError::unreadable(&old, e))?;
        }
        for index in first.max(base)..first + u64::from(bundle.width()) {
            let bytes = &records[(index - base) as usize];
            let (record, _) = body::parse(bytes).expect("a record in memory is as it was sealed");
            out.extend(EntryBundle::encode([&record.head.leaf.as_bytes()[..]]));
        }
        Ok(out)
    }
}

/// Removes the partial tiles and bundles of an older size. What cannot be removed does no harm.
pub(super) fn sweep(files: &dyn Files, old: u64, now: u64) {
    if old == now {
        return;
    }
    let entries = |size: u64| EntryBundle::in_tree(size / 256, size).map(|b| b.path());
    let kept: Vec<String> = partial_tiles(now).map(|t: Tile| t.path()).chain(entries(now)).collect();
    for path in partial_tiles(old).map(|t| t.path()).chain(entries(old)) {
        if kept.contains(&path) {
            continue;
        }
        let _ = files.remove(&path);
        if let Some((dir, _)) = path.rsplit_once('/') {
            // Succeeds only once the directory is empty, which is when it should go.
            let _ = files.remove_dir(dir);
        }
    }
}

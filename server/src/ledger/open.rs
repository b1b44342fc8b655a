//! Opening: lock, keys, the settled part, the journal behind it. Ends what a crash interrupted.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, RwLock};

use custody_shared::tlog::checkpoint::valid_origin;
use custody_shared::tlog::tile::EntryBundle;
use custody_shared::tlog::{Checkpoint, LogSigner};
use zeroize::Zeroizing;

use super::edge::Edge;
use super::error::LedgerError;
use super::files::{self, Files, read_optional};
use super::journal::{self, Tail};
use super::keyring::Keyring;
use super::layout::{self, BODIES, CHECKPOINT, JOURNAL, KEY, KEYRING, LOCK, TILES, VERIFIER};
use super::state::{Head, Shared, Unsettled};
use super::writer::{Health, Settled, Writer};
use super::{LedgerOptions, body, settle};

fn unreadable(path: &str) -> impl Fn(io::Error) -> LedgerError {
    move |e| LedgerError::unreadable(path, e)
}

/// Opens the ledger and makes its writer, which is not running yet.
pub(super) fn open(files: Arc<dyn Files>, options: &LedgerOptions) -> Result<(Arc<Shared>, Writer), LedgerError> {
    if !valid_origin(&options.origin) {
        return Err(LedgerError::InvalidRows(
            "an origin has 1 to 255 bytes without spaces and plus signs",
        ));
    }
    let lock = files.lock(LOCK).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => LedgerError::Locked,
        io::ErrorKind::NotFound => LedgerError::Missing,
        _ => LedgerError::unwritable("lock", LOCK, e),
    })?;
    let signer = match read_optional(&*files, JOURNAL).map_err(unreadable(JOURNAL))? {
        None => create(&*files, options)?,
        Some(_) => signer(&*files)?.ok_or_else(|| LedgerError::damaged(KEY, "it is gone"))?,
    };
    let verifier = signer.verifier();
    if verifier.origin() != options.origin {
        let (found, wanted) = (verifier.origin().to_owned(), options.origin.clone());
        return Err(LedgerError::OtherOrigin { found, wanted });
    }

    // A journal that a killed process wrote may be in the page cache only: durable first, trusted afterwards.
    files
        .sync(JOURNAL)
        .map_err(|e| LedgerError::unwritable("sync", JOURNAL, e))?;
    files
        .sync_dir("")
        .map_err(|e| LedgerError::unwritable("sync", "the ledger's directory", e))?;
    let bytes = files.read(JOURNAL).map_err(unreadable(JOURNAL))?;
    let journal = journal::parse(&bytes).ok_or_else(|| LedgerError::damaged(JOURNAL, "its header is not whole"))?;
    if journal.tail == Tail::Damaged {
        return Err(LedgerError::damaged(
            JOURNAL,
            format!("a batch at byte {} is not as written", journal.whole),
        ));
    }
    let checked = |note: &str, size: u64, path: &str| -> Result<Checkpoint, LedgerError> {
        let checkpoint = verifier
            .open(note)
            .map_err(|e| LedgerError::damaged(path, e.to_string()))?;
        match checkpoint.size == size {
            true => Ok(checkpoint),
            false => Err(LedgerError::damaged(
                path,
                format!("a checkpoint of {} instead of {size} rows", checkpoint.size),
            )),
        }
    };

    let base = journal.header.base;
    let base_checkpoint = checked(journal.header.note, base, JOURNAL)?;
    let base_edge = edge_at(&*files, base)?;
    if base_edge.root() != base_checkpoint.root {
        return Err(LedgerError::damaged(
            TILES,
            format!("the tiles do not lead to the checkpoint of {base} rows"),
        ));
    }
    let bundle_len = bundle_len(&*files, base)?;

    let mut edge = base_edge;
    let mut unsettled = Unsettled {
        base,
        records: VecDeque::new(),
        ..Default::default()
    };
    let mut note = journal.header.note;
    let mut heads = vec![base_checkpoint];
    let mut full = Vec::new();
    for batch in &journal.batches {
        for record in &batch.records {
            edge.push(record.head.leaf.hash(), &mut full);
            unsettled.records.push_back(record.bytes().into());
        }
        note = batch.note;
        let checkpoint = checked(note, edge.size(), JOURNAL)?;
        if checkpoint.root != edge.root() {
            return Err(LedgerError::damaged(
                JOURNAL,
                format!("rows up to {} are not what was signed", edge.size()),
            ));
        }
        heads.push(checkpoint);
    }
    unsettled.tiles = full.into_iter().map(|(tile, bytes)| (tile, bytes.into())).collect();

    let settled_note = read_optional(&*files, CHECKPOINT).map_err(unreadable(CHECKPOINT))?;
    let settled_note = settled_note.ok_or_else(|| LedgerError::damaged(CHECKPOINT, "it is gone"))?;
    let settled_note = String::from_utf8(settled_note).map_err(|_| LedgerError::damaged(CHECKPOINT, "not text"))?;
    let shown = verifier
        .open(&settled_note)
        .map_err(|e| LedgerError::damaged(CHECKPOINT, e.to_string()))?;
    // What was shown must be among what the journal knows: rows that are missing behind it are lost, not unwritten.
    if !heads.contains(&shown) {
        let what = format!(
            "the checkpoint speaks of {} rows, the journal of {base} to {}",
            shown.size,
            edge.size()
        );
        return Err(LedgerError::damaged(JOURNAL, what));
    }
    if journal.tail == Tail::Torn {
        tracing::info!(
            bytes = bytes.len() - journal.whole,
            "cut an unfinished batch off the ledger's journal"
        );
        files
            .truncate(JOURNAL, journal.whole as u64)
            .map_err(|e| LedgerError::unwritable("cut", JOURNAL, e))?;
        files
            .sync(JOURNAL)
            .map_err(|e| LedgerError::unwritable("sync", JOURNAL, e))?;
    }
    settle::sweep(&*files, journal.header.previous_base, base);

    let keyring = Keyring::open(files.clone())?;
    let head = Arc::new(Head {
        edge,
        note: note.into(),
    });
    let shared = Arc::new(Shared {
        files,
        keyring,
        verifier,
        head: RwLock::new(head),
        unsettled: RwLock::new(unsettled),
    });
    let settled = Settled {
        base,
        note: settled_note,
        bundle_len,
    };
    let journal_len = journal.whole as u64;
    let writer = Writer {
        shared: shared.clone(),
        signer,
        settled,
        journal_len,
        health: Health::Sound,
        durable_dirs: Default::default(),
        _lock: lock,
    };
    Ok((shared, writer))
}

/// The right edge of the settled part out of its partial tiles.
fn edge_at(files: &dyn Files, base: u64) -> Result<Edge, LedgerError> {
    let mut failed = None;
    let edge = Edge::from_tiles(base, |tile| {
        let path = tile.path();
        files
            .read(&path)
            .map_err(|e| failed = Some(LedgerError::unreadable(&path, e)))
            .ok()
    });
    match (edge, failed) {
        (Some(edge), _) => Ok(edge),
        (None, Some(error)) => Err(error),
        (None, None) => Err(LedgerError::damaged(
            TILES,
            format!("a partial tile at {base} rows has another width"),
        )),
    }
}

/// Bytes of settled records in the bundle that the next row goes to.
fn bundle_len(files: &dyn Files, base: u64) -> Result<u64, LedgerError> {
    let Some(bundle) = EntryBundle::in_tree(base / 256, base) else {
        return Ok(0);
    };
    let path = layout::bodies(bundle.index());
    let bytes = files.read(&path).map_err(unreadable(&path))?;
    let mut rest = &bytes[..];
    for index in bundle.index() * 256..base {
        let bad = || LedgerError::damaged(&path, format!("the body of row {index} is not as it was written"));
        let (record, after) = body::parse(rest).map_err(|_| bad())?;
        if record.head.index != index {
            return Err(bad());
        }
        rest = after;
    }
    Ok((bytes.len() - rest.len()) as u64)
}

fn signer(files: &dyn Files) -> Result<Option<LogSigner>, LedgerError> {
    let Some(bytes) = read_optional(files, KEY).map_err(unreadable(KEY))?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).ok().and_then(|t| t.strip_suffix('\n'));
    let signer = text.and_then(|t| LogSigner::parse(t).ok());
    signer
        .map(Some)
        .ok_or_else(|| LedgerError::damaged(KEY, "not the key it was"))
}

/// Creates a ledger where there is none, or goes on where its creation was interrupted: the journal comes last.
fn create(files: &dyn Files, options: &LedgerOptions) -> Result<LogSigner, LedgerError> {
    // Without a journal but with rows this is a damaged ledger, never a new one.
    let bodies = match files.list(BODIES) {
        Ok(names) => names.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(LedgerError::unreadable(BODIES, e)),
    };
    if bodies > 0 {
        return Err(LedgerError::damaged(JOURNAL, "it is gone"));
    }
    if !options.create {
        return Err(LedgerError::Missing);
    }
    let failed = |path: &'static str| move |e: io::Error| LedgerError::unwritable("create", path, e);
    let signer = match signer(files)? {
        Some(signer) => signer,
        None => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).map_err(|e| failed(KEY)(io::Error::other(e)))?;
            let signer = LogSigner::from_seed(&options.origin, &seed)
                .map_err(|_| LedgerError::InvalidRows("an origin has 1 to 255 bytes without spaces and plus signs"))?;
            let text = Zeroizing::new(format!("{}\n", *signer.note_signer().to_private_text()));
            files::replace(files, KEY, text.as_bytes()).map_err(failed(KEY))?;
            signer
        }
    };
    let public = format!("{}\n", signer.verifier());
    files::replace(files, VERIFIER, public.as_bytes()).map_err(failed(VERIFIER))?;
    for dir in [BODIES, TILES, KEYRING] {
        match files.create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed(dir))?,
        }
    }
    let note = signer.sign(0, Edge::default().root());
    files::replace(files, CHECKPOINT, note.as_bytes()).map_err(failed(CHECKPOINT))?;
    files::replace(files, JOURNAL, &journal::header(0, 0, &note)).map_err(failed(JOURNAL))?;
    Ok(signer)
}

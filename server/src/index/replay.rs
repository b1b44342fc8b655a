//! From the statement log to the index: at start from where the index ends, at a rebuild from the beginning.
//!
//! Everything is verified again on the way, so that neither a damaged nor an exchanged log file gets into the index.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;

use custody_shared::cose::VerifyingKey;
use custody_shared::id::CameraId;
use custody_shared::statement::{SignedStatement, Statement};

use super::{IndexEntry, IndexError, IndexStore};
use crate::statements::{Damage, Frame, StatementRef, StatementStore};

/// Frames verified and put at a time. More makes sled's memory grow, less costs flushes.
const CHUNK: usize = 2048;
/// Chunks between the thread that verifies and the one that writes.
const AHEAD: usize = 2;

/// Who may have signed a camera's statements.
pub trait StatementKeys: Send + Sync {
    /// Every statement key that a camera has been enrolled with, the present one first. Empty for a camera that is not enrolled.
    fn statement_keys(&self, camera: CameraId) -> Vec<VerifyingKey>;
}

/// What a replay found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// Statements indexed.
    pub statements: u64,
    /// Frames whose bytes are no statement that an enrolled camera signed.
    pub refused: u64,
    /// Places where a camera's chain has a link missing or of another history, with the place of the next statement.
    pub broken: Vec<(CameraId, u64)>,
    /// Damaged stretches of the log.
    pub damage: Vec<Damage>,
}

impl ReplayReport {
    /// Whether the log was whole.
    pub fn is_clean(&self) -> bool {
        self.refused == 0 && self.broken.is_empty() && self.damage.is_empty()
    }
}

/// Clears the index and fills it from the whole log.
pub fn rebuild(
    store: &StatementStore,
    index: &dyn IndexStore,
    keys: &dyn StatementKeys,
) -> Result<ReplayReport, IndexError> {
    index.clear()?;
    replay(store, index, keys)
}

/// Indexes what the log holds beyond the index.
pub fn replay(
    store: &StatementStore,
    index: &dyn IndexStore,
    keys: &dyn StatementKeys,
) -> Result<ReplayReport, IndexError> {
    let from = index.upto()?;
    let mut scan = store.scan(from)?;
    let mut report = ReplayReport::default();
    let mut verifier = Verifier {
        keys,
        known: HashMap::new(),
        chains: HashMap::new(),
    };
    // Bounds on the list of broken places: one for each is for people, a million are for nobody.
    const MAX_BROKEN: usize = 1000;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<(Vec<IndexEntry>, StatementRef)>(AHEAD);
        let writer = scope.spawn(move || -> Result<u64, IndexError> {
            let mut written = 0;
            for (entries, upto) in receiver {
                index.put(&entries, upto)?;
                written += entries.len() as u64;
            }
            Ok(written)
        });
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let frame = scan.next().transpose()?;
            let ended = frame.is_none();
            chunk.extend(frame);
            if chunk.len() == CHUNK || (ended && !chunk.is_empty()) {
                let upto = chunk.last().map_or(from, |last: &Frame| last.end);
                let entries = verifier.check(index, &mut chunk, &mut report)?;
                report.broken.truncate(MAX_BROKEN);
                // The writer ends early only with an error, which joining it tells.
                if sender.send((entries, upto)).is_err() {
                    break;
                }
            }
            if ended {
                break;
            }
        }
        drop(sender);
        report.statements = writer.join().map_err(|_| IndexError::Store {
            step: "writing",
            reason: "the writing thread gave up".to_owned(),
        })??;
        Ok::<_, IndexError>(())
    })?;
    report.damage = scan.damage().to_vec();
    Ok(report)
}

struct Verifier<'a> {
    keys: &'a dyn StatementKeys,
    known: HashMap<CameraId, Vec<VerifyingKey>>,
    chains: HashMap<CameraId, ([u8; 32], u64, custody_shared::hash::Sha256Hash)>,
}

impl Verifier<'_> {
    /// Verifies a chunk, camera by camera, and empties it.
    fn check(
        &mut self,
        index: &dyn IndexStore,
        chunk: &mut Vec<Frame>,
        report: &mut ReplayReport,
    ) -> Result<Vec<IndexEntry>, IndexError> {
        let mut cameras: HashMap<CameraId, Vec<(StatementRef, SignedStatement)>> = HashMap::new();
        for frame in chunk.drain(..) {
            let parsed = SignedStatement::from_bytes(frame.bytes)
                .ok()
                .and_then(|signed| Some((signed.parse_unverified().ok()?.camera, signed)));
            match parsed {
                Some((camera, signed)) => cameras.entry(camera).or_default().push((frame.at, signed)),
                None => report.refused += 1,
            }
        }
        let mut entries = Vec::new();
        for (camera, signed) in cameras {
            let (places, signed): (Vec<_>, Vec<_>) = signed.into_iter().unzip();
            let keys = self
                .known
                .entry(camera)
                .or_insert_with(|| self.keys.statement_keys(camera))
                .clone();
            let checked = verify(&keys, &signed);
            for ((at, signed), checked) in places.into_iter().zip(&signed).zip(checked) {
                let Some((statement, key)) = checked else {
                    report.refused += 1;
                    continue;
                };
                let entry = IndexEntry::new(&statement, *key.as_bytes(), signed.hash(), at);
                self.follow(index, &statement, &entry, report)?;
                entries.push(entry);
            }
        }
        // The log's order, which positions depend on.
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }

    fn follow(
        &mut self,
        index: &dyn IndexStore,
        statement: &Statement,
        entry: &IndexEntry,
        report: &mut ReplayReport,
    ) -> Result<(), IndexError> {
        let camera = statement.camera;
        let before = match self.chains.get(&camera) {
            Some(chain) => Some(*chain),
            None => index
                .position(camera)?
                .map(|position| (position.key, position.next_index, position.last_hash)),
        };
        let position = entry.position;
        let fits = match before {
            Some((key, next, hash)) if key == position.key => {
                // A statement that a crash made the log hold twice is no break.
                statement.index < next || (statement.index == next && statement.prev == hash)
            }
            _ => statement.index == 0,
        };
        if !fits {
            report.broken.push((camera, statement.index));
        }
        let ahead = before.is_none_or(|(key, next, _)| key != position.key || position.next_index > next);
        if ahead {
            self.chains
                .insert(camera, (position.key, position.next_index, position.last_hash));
        }
        Ok(())
    }
}

/// Each statement with the key that signed it, or `None`.
fn verify(keys: &[VerifyingKey], signed: &[SignedStatement]) -> Vec<Option<(Statement, VerifyingKey)>> {
    for key in keys {
        if let Ok(statements) = SignedStatement::verify_batch(key, signed) {
            return statements
                .into_iter()
                .map(|statement| Some((statement, *key)))
                .collect();
        }
    }
    // Of several keys, or one of them is bad: one by one tells which.
    signed
        .iter()
        .map(|signed| keys.iter().find_map(|key| Some((signed.verify(key).ok()?, *key))))
        .collect()
}

//! One thread that decides, stores, indexes and lets receipts go: in this order, for all that has come meanwhile together.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, RwLock};

use custody_shared::cose::VerifyingKey;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::message::Acked;
use custody_shared::statement::{Chain, ChainError, Kind, SignedStatement, Statement};
use custody_shared::time::SharedClock;

use super::IngestParts;
use super::counters::{IngestCounters, TroubleKind};
use super::receipts::Receipts;
use super::verify::Verified;
use crate::index::{IndexEntry, IndexError, IndexStore, Position, StatementKeys, replay};
use crate::statements::StatementStore;

/// Batches stored together.
const GROUP_BATCHES: usize = 256;
/// Bytes of statements stored together.
const GROUP_BYTES: usize = 4 << 20;
/// Digests remembered for each camera, to tell a statement sent again from a second history.
const RECENT: usize = 64;

/// How far each camera's chain is stored, as the workers see it.
#[derive(Default)]
pub(super) struct Heads(RwLock<HashMap<CameraId, ([u8; 32], u64)>>);

impl Heads {
    /// Place of the next statement under this key; 0 as long as nothing of it has been seen.
    pub(super) fn next_index(&self, camera: CameraId, key: &VerifyingKey) -> u64 {
        match self.0.read().unwrap_or_else(PoisonError::into_inner).get(&camera) {
            Some((known, next)) if known == key.as_bytes() => *next,
            _ => 0,
        }
    }
}

/// A camera's chain as the committer holds it.
#[derive(Clone)]
struct Held {
    key: [u8; 32],
    chain: Chain,
    recent: VecDeque<(u64, Sha256Hash)>,
}

impl Held {
    fn new(camera: CameraId, key: &VerifyingKey, position: Option<Position>) -> Self {
        // A replaced agent has a new key and begins anew; the old chain stays what it was.
        let chain = match position.filter(|position| position.key == *key.as_bytes()) {
            Some(position) => Chain {
                camera,
                next_index: position.next_index,
                last_hash: position.last_hash,
            },
            None => Chain::start(camera),
        };
        let mut recent = VecDeque::new();
        if let Some(last) = chain.next_index.checked_sub(1) {
            recent.push_back((last, chain.last_hash));
        }
        Self {
            key: *key.as_bytes(),
            chain,
            recent,
        }
    }

    fn remember(&mut self, index: u64, hash: Sha256Hash) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((index, hash));
    }

    /// Whether a statement at a place that is taken is another one than the one remembered there.
    fn differs(&self, index: u64, hash: Sha256Hash) -> bool {
        self.recent
            .iter()
            .any(|(known, other)| *known == index && *other != hash)
    }
}

pub(super) struct Committer {
    statements: Arc<StatementStore>,
    index: Arc<dyn IndexStore>,
    enrolment: Arc<dyn StatementKeys>,
    clock: SharedClock,
    heads: Arc<Heads>,
    counters: Arc<IngestCounters>,
    receipts: Arc<Receipts>,
}

/// What one group stores.
#[derive(Default)]
struct Group {
    /// Chains as they will be once it is stored.
    held: HashMap<CameraId, Held>,
    accepted: Vec<(Statement, SignedStatement, [u8; 32])>,
    bytes: usize,
}

impl Committer {
    pub(super) fn new(
        parts: &IngestParts,
        heads: Arc<Heads>,
        counters: Arc<IngestCounters>,
        receipts: Arc<Receipts>,
    ) -> Self {
        Self {
            statements: parts.statements.clone(),
            index: parts.index.clone(),
            enrolment: parts.enrolment.clone(),
            clock: parts.clock.clone(),
            heads,
            counters,
            receipts,
        }
    }

    pub(super) fn run(self, batches: &Receiver<Verified>) {
        let mut held = HashMap::new();
        let mut behind = false;
        while let Ok(first) = batches.recv() {
            let mut group = Group::default();
            let mut next = Some(first);
            let mut count = 0;
            while let Some(batch) = next {
                self.decide(&held, &mut group, batch);
                count += 1;
                let more = count < GROUP_BATCHES && group.bytes < GROUP_BYTES;
                next = more.then(|| batches.try_recv().ok()).flatten();
            }
            match self.store(&mut behind, &group) {
                Ok(()) => self.acknowledge(&mut held, group),
                Err(error) => {
                    // Nothing of the group counts: chains stay where they were, agents send it again.
                    self.counters.add(&self.counters.failed_writes, 1);
                    tracing::error!(%error, "statements could not be stored and were not acknowledged");
                }
            }
        }
    }

    fn decide(&self, held: &HashMap<CameraId, Held>, group: &mut Group, batch: Verified) {
        let camera = batch.camera;
        let known = group.held.get(&camera).or_else(|| held.get(&camera));
        let mut chain = match known.filter(|held| held.key == *batch.key.as_bytes()) {
            Some(held) => held.clone(),
            None => match self.index.position(camera) {
                Ok(position) => Held::new(camera, &batch.key, position),
                Err(error) => {
                    tracing::error!(%error, "cannot tell where a chain stands");
                    return;
                }
            },
        };
        let mut forked = false;
        for (index, signed) in &batch.old {
            self.counters.add(&self.counters.replayed, 1);
            // Only what the key really signed is a second history; anything else is noise.
            forked |= chain.differs(*index, signed.hash()) && signed.verify(&batch.key).is_ok();
        }
        for (statement, signed) in batch.fresh {
            if forked {
                break;
            }
            match chain.chain.check(&statement, &signed) {
                Ok(next) => {
                    chain.remember(statement.index, next.last_hash);
                    chain.chain = next;
                    group.bytes += signed.as_bytes().len();
                    group.accepted.push((statement, signed, chain.key));
                }
                Err(ChainError::Replay { index }) => {
                    self.counters.add(&self.counters.replayed, 1);
                    forked |= chain.differs(index, signed.hash());
                }
                Err(ChainError::Gap { .. }) => {
                    self.counters.add(&self.counters.out_of_order, 1);
                    break;
                }
                Err(ChainError::Fork { .. }) => forked = true,
                Err(ChainError::WrongCamera(_)) => {
                    self.counters.note(camera, TroubleKind::Malformed, self.clock.now());
                    break;
                }
            }
        }
        if forked {
            self.counters.note(camera, TroubleKind::Forked, self.clock.now());
        }
        group.held.insert(camera, chain);
    }

    fn store(&self, behind: &mut bool, group: &Group) -> Result<(), IndexError> {
        if *behind {
            replay(&self.statements, &*self.index, &*self.enrolment)?;
            *behind = false;
        }
        if group.accepted.is_empty() {
            return Ok(());
        }
        let frames: Vec<_> = group.accepted.iter().map(|(_, signed, _)| signed.as_bytes()).collect();
        let (places, end) = self.statements.append(self.clock.now(), &frames)?;
        let entries: Vec<_> = group
            .accepted
            .iter()
            .zip(places)
            .map(|((statement, signed, key), at)| IndexEntry::new(statement, *key, signed.hash(), at))
            .collect();
        // A crash here leaves stored statements without index entries; the next start puts them in.
        // So does an error, from the log, before anything is put behind them.
        self.index.put(&entries, end).inspect_err(|_| *behind = true)?;
        self.counters.add(&self.counters.commits, 1);
        self.counters.add(&self.counters.statements, entries.len());
        let segments = group
            .accepted
            .iter()
            .filter(|(statement, ..)| matches!(statement.kind, Kind::Segment(_)));
        self.counters.add(&self.counters.segments, segments.count());
        Ok(())
    }

    fn acknowledge(&self, held: &mut HashMap<CameraId, Held>, group: Group) {
        {
            let mut heads = self.heads.0.write().unwrap_or_else(PoisonError::into_inner);
            for (camera, chain) in &group.held {
                heads.insert(*camera, (chain.key, chain.chain.next_index));
            }
        }
        // Every batch is answered with the truth, also one that brought nothing new: its agent learns where to go on.
        self.receipts.put(group.held.iter().map(|(camera, held)| {
            (
                *camera,
                Acked {
                    next_index: held.chain.next_index,
                    last_hash: held.chain.last_hash,
                },
            )
        }));
        held.extend(group.held);
    }
}

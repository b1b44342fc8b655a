//! The chain: every statement is numbered, linked to the one before, signed, and durable before anything follows from it.

use std::collections::VecDeque;
use std::io;

use custody_shared::cose::SigningKey;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{BootId, CameraId};
use custody_shared::statement::{Kind, SignedStatement, Statement};
use custody_shared::time::{TimeRange, UtcMicros};
use tokio::sync::watch;

use crate::paths::Day;
use crate::statement_log::{Frame, NOT_A_SEGMENT, StatementLog};

/// Statements that may wait for a disk that takes nothing. Recording pauses while any waits, so few can come.
const MAX_WAITING: usize = 64;

/// The end of the chain: what the next statement continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Index of the next statement.
    pub next_index: u64,
    /// Hash of the newest signed statement.
    pub last_hash: Sha256Hash,
}

impl Head {
    /// The beginning of a chain.
    pub const START: Self = Self {
        next_index: 0,
        last_hash: Sha256Hash::ZERO,
    };
}

/// Signs and appends.
pub struct Chain {
    log: StatementLog,
    signer: SigningKey,
    camera: CameraId,
    boot: BootId,
    head: watch::Sender<Head>,
    waiting: VecDeque<(UtcMicros, Kind)>,
}

impl Chain {
    /// Continues `log` after `head`, which is told to everybody who watches it whenever it moves.
    pub fn new(
        log: StatementLog,
        signer: SigningKey,
        camera: CameraId,
        boot: BootId,
        head: watch::Sender<Head>,
    ) -> Self {
        Self {
            log,
            signer,
            camera,
            boot,
            head,
            waiting: VecDeque::new(),
        }
    }

    /// The end of the durable chain.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// The camera that speaks.
    pub fn camera(&self) -> CameraId {
        self.camera
    }

    /// The run of the agent that speaks.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The log, for reading and pruning.
    pub fn log(&self) -> &StatementLog {
        &self.log
    }

    /// Whether statements wait for the disk; nothing may be recorded until they are durable.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// States `kind`. On an error it waits in memory and [`Self::retry`] states it later; nothing is lost but by a crash
    /// in between, after which the gap is found again at the next start.
    pub fn state(&mut self, at: UtcMicros, kind: Kind) -> io::Result<()> {
        self.enqueue(at, kind);
        self.retry()
    }

    /// Makes what waits durable, in order.
    pub fn retry(&mut self) -> io::Result<()> {
        while let Some((at, kind)) = self.waiting.front() {
            let (at, kind) = (*at, kind.clone());
            self.append(at, kind)?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn enqueue(&mut self, at: UtcMicros, kind: Kind) {
        if self.waiting.len() >= MAX_WAITING
            && let Kind::Gap(gap) = &kind
            && let Some((_, Kind::Gap(last))) = self.waiting.back_mut()
        {
            // At the bound, gaps grow into one: still covered, with the earlier cause.
            let start = last.range.start().min(gap.range.start());
            let end = last.range.end().max(gap.range.end());
            if let Ok(range) = TimeRange::new(start, end) {
                last.range = range;
                return;
            }
        }
        self.waiting.push_back((at, kind));
    }

    fn append(&mut self, at: UtcMicros, kind: Kind) -> io::Result<()> {
        let Head { next_index, last_hash } = self.head();
        let seq = match &kind {
            Kind::Segment(segment) => segment.preamble.header.seq,
            _ => NOT_A_SEGMENT,
        };
        let statement = Statement {
            camera: self.camera,
            index: next_index,
            prev: last_hash,
            at,
            boot: self.boot,
            kind,
        };
        let signed = match statement.sign(&self.signer) {
            Ok(signed) => signed,
            Err(error) => {
                // A value that no reader would accept: it must not hold up everything that comes after it.
                tracing::error!(%error, kind = statement.kind.as_str(), "a statement cannot be made; report this");
                return Ok(());
            }
        };
        let frame = Frame {
            index: next_index,
            seq,
            bytes: signed.as_bytes().to_vec(),
        };
        self.log.append(Day::of(at), &frame)?;
        self.head.send_replace(Head {
            next_index: next_index + 1,
            last_hash: signed.hash(),
        });
        Ok(())
    }

    /// Continues from what the server has instead of from what this disk lost, and says again what it never got.
    ///
    /// Needed after the log's end was lost with a damaged disk: were the lost places given out again, the server would refuse
    /// this camera's statements as another history for ever. `known` is the first index that may be unknown to the server.
    pub fn adopt(&mut self, theirs: Head, known: u64) -> io::Result<u64> {
        let ours = self.head();
        if theirs.next_index <= ours.next_index {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the server is not ahead"));
        }
        self.head.send_replace(theirs);
        let mut reader = self.log.reader();
        let mut from = known;
        let mut said = 0;
        while from < ours.next_index {
            let mut room = 64_u32;
            let out = reader.read(from, ours.next_index, |_| {
                room = room.saturating_sub(1);
                room > 0
            })?;
            if out.statements.is_empty() {
                break;
            }
            from = out.first_index + out.statements.len() as u64;
            for bytes in out.statements {
                let old = SignedStatement::from_bytes(bytes).and_then(|signed| signed.parse_unverified());
                if let Ok(old) = old {
                    self.state(old.at, old.kind)?;
                    said += 1;
                }
            }
        }
        Ok(said)
    }
}

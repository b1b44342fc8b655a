//! The keeper's own thread and the bounded way to it.
//!
//! Fragments may wait for a slow disk up to a fixed number of bytes. Beyond that they are dropped until the next segment begins, and the keeper states the
//! gap: memory never grows with a disk that does not keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use custody_shared::message::Faults;
use custody_shared::statement::GapCause;
use custody_shared::time::UtcMicros;
use tokio::sync::oneshot;

use super::{Head, Keeper};
use crate::files;
use crate::segmenter::Action;
use crate::source::Moment;

/// Messages that may wait, whatever their size.
const MAX_JOBS: usize = 256;
/// How often clocks, retention and keys are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often what is due is looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(30);
/// How often the mark of time is made durable.
const MARK_EVERY: Duration = Duration::from_secs(600);
/// Receipted statement files are kept this long, days.
const KEEP_LOG_DAYS: i64 = 60;

/// What the keeper can be told.
#[derive(Debug)]
pub enum Job {
    /// Carry these out.
    Actions(Vec<Action>),
    /// Fragments are missing for this reason: the open segment ends at its last fragment.
    Abandon(GapCause),
    /// A key announcement arrived.
    Keys(Vec<u8>),
    /// The server vouched for this time.
    ServerTime(UtcMicros),
    /// The server has everything up to here.
    Acked {
        /// What it has.
        server: Head,
        /// What was known before.
        known: u64,
    },
    /// End cleanly.
    Stop,
}

/// The way to the keeper; clones share the bound.
#[derive(Debug, Clone)]
pub struct Inlet {
    jobs: SyncSender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
    shedding: Arc<AtomicBool>,
    shed_unsaid: Arc<AtomicBool>,
}

fn weight(actions: &[Action]) -> usize {
    actions
        .iter()
        .map(|action| match action {
            Action::Fragment { data, .. } => data.len(),
            _ => 0,
        })
        .sum()
}

impl Inlet {
    /// Hands over actions, or drops what does not fit; see the module.
    pub fn offer(&self, mut actions: Vec<Action>) {
        if self.shed_unsaid.load(Ordering::Relaxed) && self.jobs.try_send(Job::Abandon(GapCause::DiskError)).is_ok() {
            self.shed_unsaid.store(false, Ordering::Relaxed);
        }
        if self.shedding.load(Ordering::Relaxed) {
            let roomy = self.waiting_bytes.load(Ordering::Relaxed) <= self.limit_bytes / 2;
            let begin = actions.iter().position(|action| matches!(action, Action::Begin { .. }));
            match begin {
                Some(begin) if roomy && !self.shed_unsaid.load(Ordering::Relaxed) => {
                    self.shedding.store(false, Ordering::Relaxed);
                    // What comes before belongs to the segment that was given up.
                    let rest = actions.split_off(begin);
                    actions.retain(is_small);
                    actions.extend(rest);
                }
                _ => actions.retain(is_small),
            }
        }
        if actions.is_empty() {
            return;
        }
        let bytes = weight(&actions);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes <= self.limit_bytes || bytes == 0 {
            match self.jobs.try_send(Job::Actions(actions)) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shedding.store(true, Ordering::Relaxed);
        let said = self.jobs.try_send(Job::Abandon(GapCause::DiskError)).is_ok();
        self.shed_unsaid.store(!said, Ordering::Relaxed);
    }

    /// Tells the keeper something small; `false` where it is too busy, and the caller tries again later.
    pub fn tell(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Asks the keeper to end, waiting for room if need be. Blocks.
    pub fn stop(&self) {
        // A failure means that it has ended already.
        let _ = self.jobs.send(Job::Stop);
    }
}

/// Gaps and clock steps are stated even while fragments are dropped.
fn is_small(action: &Action) -> bool {
    matches!(action, Action::Gap { .. } | Action::ClockStep { .. })
}

/// Starts the keeper's thread. The receiver resolves when it has ended: `true` after a clean stop, `false` or an error after a panic.
pub fn start(keeper: Keeper, limit_bytes: usize) -> std::io::Result<(Inlet, oneshot::Receiver<bool>)> {
    let (sender, receiver) = sync_channel(MAX_JOBS);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let inlet = Inlet {
        jobs: sender,
        waiting_bytes: waiting_bytes.clone(),
        limit_bytes,
        shedding: Arc::default(),
        shed_unsaid: Arc::default(),
    };
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("keeper".into())
        .stack_size(512 * 1024)
        .spawn(move || {
            work(keeper, &receiver, &waiting_bytes);
            let _ = done.send(true);
        })?;
    Ok((inlet, ended))
}

fn work(mut keeper: Keeper, jobs: &Receiver<Job>, waiting_bytes: &AtomicUsize) {
    let mut chores = Chores::default();
    let mut more = false;
    loop {
        // Destroying goes on between two jobs, a slice at a time.
        let patience = if more { Duration::ZERO } else { TICK };
        match jobs.recv_timeout(patience) {
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                keeper.stop();
                keeper.store_mark(&mut chores, true);
                return;
            }
            Ok(Job::Actions(actions)) => {
                let bytes = weight(&actions);
                keeper.take(actions);
                waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            Ok(Job::Abandon(cause)) => keeper.abandon(cause),
            Ok(Job::Keys(signed)) => keeper.offer_keys(&signed),
            Ok(Job::ServerTime(at)) => {
                keeper.time.server_said(at);
            }
            Ok(Job::Acked { server, known }) => keeper.acked(server, known),
            Err(RecvTimeoutError::Timeout) => {}
        }
        more = keeper.chores(&mut chores, more);
    }
}

/// When each chore was last done.
#[derive(Debug, Default)]
struct Chores {
    ticked: Option<Instant>,
    retention: Option<Instant>,
    marked: Option<Instant>,
    acked: u64,
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

impl Keeper {
    fn chores(&mut self, chores: &mut Chores, more: bool) -> bool {
        if is_due(&mut chores.ticked, TICK) {
            let now = Moment::now(&self.clock);
            let was_doubted = self.time.is_doubted();
            self.time
                .observe(now.utc, now.monotonic_us, crate::sys::clock_is_synchronised());
            if self.time.is_doubted() && !was_doubted {
                tracing::warn!(
                    "the clock jumped ahead and nothing explains it: destruction waits for the server, a time service, or 24 h"
                );
            }
            self.pulse.set(Faults::CLOCK, self.time.is_doubted());
            self.pulse
                .set_keys_days(self.keys.days_ahead(self.time.for_keys(now.utc)));
            if self.chain.is_waiting() && self.chain.retry().is_ok() {
                tracing::info!("the disk takes statements again");
            }
        }
        self.store_mark(chores, false);
        if more || is_due(&mut chores.retention, RETENTION_EVERY) {
            let more = self.enforce_retention();
            if !more {
                self.prune_log(chores);
            }
            return more;
        }
        false
    }

    fn store_mark(&mut self, chores: &mut Chores, now: bool) {
        if self.time.mark() > UtcMicros::MIN && (is_due(&mut chores.marked, MARK_EVERY) || now) {
            let text = format!("{}\n", self.time.mark());
            if let Err(error) = files::write_atomic(&self.folder.clock(), text.as_bytes()) {
                tracing::debug!(%error, "the mark of time was not stored");
            }
        }
    }

    fn prune_log(&mut self, chores: &mut Chores) {
        let acked = crate::cursor::read(&self.folder.acked()).next_index;
        if acked == chores.acked {
            return;
        }
        chores.acked = acked;
        let before = self.clock.now().saturating_sub(KEEP_LOG_DAYS * crate::paths::DAY_US);
        if let Err(error) = self.chain.log().prune(crate::paths::Day::of(before), acked) {
            tracing::warn!(%error, "old statement files cannot be removed");
        }
    }

    pub(super) fn offer_keys(&mut self, signed: &[u8]) {
        match self.keys.offer(signed) {
            Ok(issue) => tracing::info!(
                issue,
                days = self.keys.days_ahead(self.clock.now()),
                "new keys are in force"
            ),
            // Retained messages come again with every connection: the same issue is no news.
            Err(crate::key_shelf::KeyRefusal::OlderIssue { offered, held }) if offered == held => {}
            Err(error) => tracing::warn!(%error, "a key announcement is refused"),
        }
    }

    pub(super) fn acked(&mut self, server: Head, known: u64) {
        if server.next_index > self.chain.head().next_index {
            match self.chain.adopt(server, known) {
                Ok(said) => tracing::error!(
                    said,
                    "the server knows statements that this disk has lost; the chain goes on from there"
                ),
                Err(error) => tracing::error!(%error, "the chain cannot be joined to the server's"),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Keeps the time-outs by ending the process: exact whatever a library call is doing.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use custody_shared::capture::{Ending, Job};

/// How often the deadline is looked at.
const TICK: Duration = Duration::from_millis(100);
/// A deadline that is not kept for now.
const NEVER: u64 = u64::MAX;

/// The deadline for the next picture.
#[derive(Clone)]
pub(crate) struct Watchdog {
    zero: Instant,
    /// Milliseconds after `zero`.
    deadline: Arc<AtomicU64>,
    stall: Duration,
}

impl Watchdog {
    /// Starts with the job's time to connect.
    pub(crate) fn start(job: &Job) -> Self {
        let watchdog = Self {
            zero: Instant::now(),
            deadline: Arc::new(AtomicU64::new(u64::from(job.connect_s) * 1000)),
            stall: Duration::from_secs(job.stall_s.into()),
        };
        let seen = watchdog.clone();
        let (connect_s, stall_s) = (job.connect_s, job.stall_s);
        let first = seen.deadline.load(Ordering::Relaxed);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(TICK);
                let deadline = seen.deadline.load(Ordering::Relaxed);
                if seen.now() <= deadline {
                    continue;
                }
                let (ending, words) = if deadline == first {
                    (Ending::Unreachable, format!("no answer within {connect_s} s"))
                } else {
                    (Ending::Stalled, format!("no picture for {stall_s} s"))
                };
                eprintln!("{words}");
                std::process::exit(ending.code().into());
            }
        });
        watchdog
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// A picture came, or the connection stands: the next one has the full time.
    pub(crate) fn alive(&self) {
        self.deadline.store(
            self.now() + u64::try_from(self.stall.as_millis()).unwrap_or(NEVER / 2),
            Ordering::Relaxed,
        );
    }

    /// Waiting for the recorder is not the camera's fault.
    pub(crate) fn pause(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
    }
}

/// Ends the process when the recorder closes the pipe or dies.
pub(crate) fn end_with_standard_input() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
        std::process::exit(Ending::Ended.code().into());
    });
}

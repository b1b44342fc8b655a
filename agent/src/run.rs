//! Recording: the parts put together, and taken apart again in order.
//!
//! Camera → segmenter on the runtime's one thread; keeper on its own; link, uploads and renewal beside. Nothing but the keeper can stop
//! recording, and if the keeper ends, the process does: its supervisor starts it again and recovery finishes what was open.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use custody_shared::message::Faults;
use custody_shared::statement::GapCause;
use custody_shared::time::SharedClock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::disk::forecast;
use crate::failure::Failure;
use crate::identity::Identity;
use crate::keeper::thread::{Inlet, Job};
use crate::keeper::{self, Head, Keeper, Opening, Pulse};
use crate::paths::Folder;
use crate::segmenter::{Segmenter, SegmenterConfig};
use crate::source::{self, Moment};
use crate::{link, lock, renew, sys, upload};

/// Fetch orders that may wait.
const MAX_WANTED: usize = 32;
/// How often the disk is surveyed; it looks at every file.
const SURVEY_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How long the keeper may take to finish what is open.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Records until `shutdown` becomes true or the server orders a restart.
pub async fn run(config: Config, clock: SharedClock, mut shutdown: watch::Receiver<bool>) -> Result<(), Failure> {
    let folder = Folder::new(&config.data_dir);
    let identity = Arc::new(Identity::load(&folder)?);
    let _lock = lock::take(&folder)?;
    let pulse = Arc::new(Pulse::default());
    let (head_sender, head) = watch::channel(Head::START);
    let keeper = keeper::open(Opening {
        folder: folder.clone(),
        site: identity.site,
        camera: identity.camera,
        signer: identity.statement_key(),
        server: identity.server_command,
        clock: clock.clone(),
        reserve_bytes: config.disk.reserve_bytes,
        free_bytes: Box::new(sys::free_bytes),
        pulse: pulse.clone(),
        head: head_sender,
    })?;
    tracing::info!(camera = %identity.camera, name = identity.camera_name, "recording begins");
    let boot = keeper.boot();
    let (inlet, mut keeper_ended) = start_keeper(keeper, &config)?;
    let (wanted_sender, wanted) = mpsc::channel(MAX_WANTED);
    let (restart, mut restart_ordered) = watch::channel(false);
    let (stop_link, link_stops) = watch::channel(false);
    let (stop_camera, camera_stops) = watch::channel(false);
    let camera = tokio::spawn(watch_camera(
        Arc::new(config.source),
        segmenter_config(&config.segment),
        clock.clone(),
        inlet.clone(),
        pulse.clone(),
        camera_stops,
    ));
    let mut link = tokio::spawn(link::run(link::Parts {
        identity: identity.clone(),
        folder: folder.clone(),
        clock: clock.clone(),
        boot,
        inlet: inlet.clone(),
        head,
        pulse: pulse.clone(),
        cadence: config.outbox.cadence,
        wanted: wanted_sender,
        restart,
        stop: link_stops,
    }));
    let beside = [
        tokio::spawn(upload::run(identity.clone(), folder.clone(), pulse.clone(), wanted)),
        tokio::spawn(renew::run(
            identity.clone(),
            folder.clone(),
            clock.clone(),
            pulse.clone(),
        )),
        tokio::spawn(survey(folder, clock, pulse, config.disk.warn_days)),
    ];

    let mut link_ended = false;
    let outcome = loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
            _ = restart_ordered.wait_for(|restart| *restart) => break Ok(()),
            ended = &mut keeper_ended => break Err(keeper_died(ended)),
            ended = &mut link, if !link_ended => {
                // Recording does not need the link; it needs to be known that there is none.
                link_ended = true;
                match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "there is no link to the server until this is mended and the agent restarted"),
                    Err(error) => tracing::error!(%error, "the link broke down; the agent records on without it until it is restarted"),
                }
            }
        }
    };
    tracing::info!("stopping");
    stop_camera.send_replace(true);
    let _ = timeout(Duration::from_secs(5), camera).await;
    let stopping = inlet.clone();
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    if outcome.is_ok() && timeout(STOP_PATIENCE, &mut keeper_ended).await.is_err() {
        tracing::error!("the disk does not take the last segment; the next start finishes it");
    }
    stop_link.send_replace(true);
    if !link_ended {
        let _ = timeout(Duration::from_secs(4), link).await;
    }
    for task in beside {
        task.abort();
    }
    outcome
}

fn start_keeper(keeper: Keeper, config: &Config) -> Result<(Inlet, oneshot::Receiver<bool>), Failure> {
    keeper::thread::start(keeper, config.queue_bytes).map_err(|error| {
        Failure::new(
            "the agent",
            "start its writing thread",
            error,
            "check the limits on threads and memory",
        )
    })
}

fn keeper_died(ended: Result<bool, oneshot::error::RecvError>) -> Failure {
    let cause = if ended.is_ok() {
        "it ended"
    } else {
        "it broke down; the message above says where"
    };
    Failure::new(
        "the agent",
        "keep its writing thread",
        cause,
        "it starts again by itself under systemd; report the message",
    )
}

fn segmenter_config(segment: &crate::config::Segment) -> SegmenterConfig {
    SegmenterConfig {
        segment_us: segment.segment_us,
        fragment_us: segment.fragment_us,
        fragment_bytes: segment.fragment_bytes,
        ..SegmenterConfig::default()
    }
}

/// Starts the camera's task again should it ever break down: a panic must not end recording silently.
async fn watch_camera(
    config: Arc<source::SourceConfig>,
    segmenter: SegmenterConfig,
    clock: SharedClock,
    inlet: Inlet,
    pulse: Arc<Pulse>,
    stop: watch::Receiver<bool>,
) {
    loop {
        let task = Camera {
            config: config.clone(),
            clock: clock.clone(),
            inlet: inlet.clone(),
            pulse: pulse.clone(),
            stop: stop.clone(),
            segmenter: Segmenter::new(segmenter),
        };
        let running: JoinHandle<()> = tokio::spawn(task.run());
        match running.await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(%error, "reading the camera broke down; it starts again and the gap is stated");
                inlet.tell(Job::Abandon(GapCause::AgentRestart));
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

struct Camera {
    config: Arc<source::SourceConfig>,
    clock: SharedClock,
    inlet: Inlet,
    pulse: Arc<Pulse>,
    stop: watch::Receiver<bool>,
    segmenter: Segmenter,
}

impl Camera {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let mut stop = self.stop.clone();
        let mut last_cause = None;
        loop {
            let ended = tokio::select! {
                ended = self.session(&mut backoff) => ended,
                _ = stop.wait_for(|stop| *stop) => {
                    let now = Moment::now(&self.clock);
                    let actions = self.segmenter.interrupt(GapCause::Stopped, now);
                    self.inlet.offer(actions);
                    return;
                }
            };
            self.pulse.raise(Faults::NO_SIGNAL);
            let now = Moment::now(&self.clock);
            let actions = self.segmenter.interrupt(ended.cause, now);
            self.inlet.offer(actions);
            if last_cause.replace(ended.cause) == Some(ended.cause) {
                tracing::debug!(error = %ended, "still no pictures");
            } else {
                tracing::warn!(error = %ended, "no pictures; trying again until there are");
            }
            let wait = sleep(backoff.wait());
            tokio::pin!(wait);
            let mut tick = second();
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    _ = tick.tick() => self.tick(),
                    _ = stop.wait_for(|stop| *stop) => break,
                }
            }
            if self.pulse.last_frame_age_s(self.clock.now()) < 5 {
                last_cause = None;
            }
        }
    }

    /// One session with the camera; returns why it ended.
    async fn session(&mut self, backoff: &mut Backoff) -> source::SourceError {
        let mut source = match source::open(&self.config, &self.clock).await {
            Ok(source) => source,
            Err(error) => return error,
        };
        let mut pictures = 0_u32;
        let mut ticked = 0;
        loop {
            match source.next().await {
                Ok(event) => {
                    pictures += u32::from(matches!(event, source::SourceEvent::AccessUnit(_)));
                    if pictures == 1 {
                        self.pulse.clear(Faults::NO_SIGNAL);
                    }
                    // A camera that delivers for a while has earned quick attempts again.
                    if pictures == 50 {
                        backoff.reset();
                    }
                    self.segmenter.cut_at(self.pulse.key_ends());
                    let actions = self.segmenter.push(event);
                    self.hand_over(actions);
                    let now = Moment::now(&self.clock).monotonic_us;
                    if now - ticked >= 1_000_000 {
                        ticked = now;
                        self.tick();
                    }
                }
                Err(error) => return error,
            }
        }
    }

    fn tick(&mut self) {
        let actions = self.segmenter.tick(Moment::now(&self.clock));
        self.hand_over(actions);
    }

    fn hand_over(&self, actions: Vec<crate::segmenter::Action>) {
        if !actions.is_empty() {
            self.inlet.offer(actions);
        }
    }
}

fn second() -> tokio::time::Interval {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Foresees, four times a day, when the disk will be full.
async fn survey(folder: Folder, clock: SharedClock, pulse: Arc<Pulse>, warn_days: u16) {
    // The first look waits until there is something to judge the rate by, and the start is over.
    sleep(Duration::from_secs(900)).await;
    loop {
        let place = folder.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let survey = keeper::survey(&place, SystemTime::now(), None)?;
            Ok::<_, std::io::Error>((survey, sys::free_bytes(place.root())?))
        });
        match looked.await {
            Ok(Ok((survey, free))) => {
                let now = clock.now();
                let forecast = forecast(now, free, survey.bytes_per_day, &survey.releases, KEPT_DAYS);
                let days = forecast.days_left(now);
                pulse.set_disk_days(days);
                pulse.set(Faults::RETENTION, days != u16::MAX);
                if days <= warn_days {
                    tracing::warn!(
                        days,
                        "the disk fills before the promised days are kept: a larger disk or another policy is a person's decision; nothing is deleted early"
                    );
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the disk cannot be surveyed"),
            Err(error) => tracing::warn!(%error, "the survey of the disk broke down"),
        }
        sleep(SURVEY_EVERY).await;
    }
}

/// Days that a day's footage lives, for the forecast of what is still to be written.
pub const KEPT_DAYS: u16 = 31;

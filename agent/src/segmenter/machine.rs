//! The state machine itself.

use std::sync::Arc;

use custody_shared::fmp4::{VideoParameters, init_section, nal::RandomAccess};
use custody_shared::statement::{GapCause, Timing};
use custody_shared::time::{TimeRange, UtcMicros};

use super::clock::ClockWatch;
use super::group::{DEFAULT_DURATION, Group, is_hole};
use super::timeline::Timeline;
use super::{Action, SegmenterConfig};
use crate::source::{AccessUnit, Moment, SourceEvent};

/// Nothing between two pictures for this long is a gap, in ticks.
const HOLE: i64 = 2 * 90_000;
/// A seam below this between two groups is jitter unless a cause is known, in ticks.
const SEAM: i64 = 9_000;
/// A group is cut at this many pictures whatever they weigh.
const MAX_FRAMES: usize = 2000;
/// A cause that lasted this long gets a gap of its own when another cause follows, in ticks.
const CAUSE_SETTLED: i64 = 60 * 90_000;
/// A gap that goes on is stated piecewise, so that a long outage is on record before it ends, in ticks.
const LONG_GAP: i64 = 3600 * 90_000;

fn ticks(us: i64) -> i64 {
    us.saturating_mul(9) / 100
}

fn micros(ticks: i64) -> UtcMicros {
    UtcMicros::new(ticks.saturating_mul(100).div_euclid(9))
}

/// A segment that has begun.
#[derive(Debug)]
struct Open {
    start: i64,
    parameters: Arc<VideoParameters>,
    timing: Timing,
    frames: u32,
    fragments: u32,
    closed_gop: bool,
    b_frames: bool,
}

/// Access units in, actions out; one per camera, alive across sessions.
#[derive(Debug)]
pub struct Segmenter {
    config: SegmenterConfig,
    clock: ClockWatch,
    parameters: Option<Arc<VideoParameters>>,
    timeline: Option<Timeline>,
    /// The group that is being filled.
    current: Option<Group>,
    /// The finished group before it, whose end is not known yet, or known from elsewhere.
    held: Option<(Group, Option<i64>)>,
    segment: Option<Open>,
    /// Everything before is recorded or stated as a gap, in ticks; `None` before the first picture or failure.
    covered: Option<i64>,
    /// Why nothing is being recorded, and since when that is known.
    outage: Option<(GapCause, i64)>,
    /// Since when pictures arrive without a keyframe.
    waiting: Option<i64>,
    typical: i64,
    boundary: Option<i64>,
    lost: bool,
    actions: Vec<Action>,
}

impl Segmenter {
    /// Nothing recorded yet.
    pub fn new(config: SegmenterConfig) -> Self {
        Self {
            config,
            clock: ClockWatch::default(),
            parameters: None,
            timeline: None,
            current: None,
            held: None,
            segment: None,
            covered: None,
            outage: None,
            waiting: None,
            typical: DEFAULT_DURATION,
            boundary: None,
            lost: false,
            actions: Vec::new(),
        }
    }

    /// Continues a record that ended at `until`: the stretch from there to the first picture is a gap with this cause.
    pub fn resume_after(&mut self, until: UtcMicros, cause: GapCause) {
        let until = ticks(until.get());
        self.covered = Some(until);
        self.outage = Some((cause, until));
    }

    /// The first keyframe at or after this moment begins a new segment, as at the end of a key's validity.
    pub fn cut_at(&mut self, boundary: Option<UtcMicros>) {
        self.boundary = boundary.map(|boundary| ticks(boundary.get()));
    }

    /// Takes what the source yielded.
    pub fn push(&mut self, event: SourceEvent) -> Vec<Action> {
        match event {
            SourceEvent::Parameters(parameters) => {
                if self.parameters.as_ref() != Some(&parameters) {
                    self.finish_group();
                    self.parameters = Some(parameters);
                }
            }
            SourceEvent::Loss { .. } => self.lost = true,
            SourceEvent::AccessUnit(unit) => self.access_unit(unit),
        }
        std::mem::take(&mut self.actions)
    }

    /// The source is gone, or recording stops. Whatever is complete is written; a gap begins.
    ///
    /// Call it again with another cause while attempts to reconnect fail for another reason.
    pub fn interrupt(&mut self, cause: GapCause, now: Moment) -> Vec<Action> {
        self.clock.observe(now);
        self.finish_group();
        if let Some((group, end)) = self.held.take() {
            let end = end.unwrap_or_else(|| group.greatest().saturating_add(self.typical));
            self.emit(group, end);
        }
        self.end_segment();
        self.timeline = None;
        self.parameters = None;
        self.waiting = None;
        self.lost = false;
        self.note_outage(cause, now);
        self.step_while_idle(now);
        std::mem::take(&mut self.actions)
    }

    /// Call it about once a second whatever happens: it notices clock steps and states long outages piecewise.
    pub fn tick(&mut self, now: Moment) -> Vec<Action> {
        self.clock.observe(now);
        self.step_while_idle(now);
        if let (Some((cause, _)), None) = (self.outage, &self.segment) {
            let at = ticks(self.clock.unstepped_us(now));
            if self.covered.is_some_and(|covered| at - covered >= LONG_GAP) {
                self.gap_until(at, cause);
            }
        }
        std::mem::take(&mut self.actions)
    }

    fn access_unit(&mut self, unit: AccessUnit) {
        self.clock.observe(unit.arrival);
        let Some(parameters) = self.parameters.clone() else {
            return;
        };
        let keyframe = unit.access != RandomAccess::None;
        if !keyframe && self.current.is_none() {
            return self.wait_for_keyframe(unit.arrival);
        }
        let waited = self.waiting.take().is_some();
        if keyframe && self.clock.pending() {
            self.step_at_keyframe();
        }
        let arrival = ticks(self.clock.unstepped_us(unit.arrival));
        let floor = self.covered.unwrap_or(0);
        let timeline = self.timeline.get_or_insert_with(|| Timeline::new(floor));
        let reanchored = keyframe && timeline.correct(arrival, true);
        let placed = timeline.place(unit.pts_90k, arrival);

        let mut gap = reanchored.then_some(GapCause::CameraStalled);
        if waited && self.outage.is_none() {
            gap = Some(GapCause::NoKeyframe);
        }
        let mut cut = keyframe;
        let lost = std::mem::take(&mut self.lost);
        if let Some(group) = &self.current {
            if placed.time - group.greatest() > HOLE.max(4 * self.typical) {
                gap = Some(if lost {
                    GapCause::PacketLoss
                } else {
                    GapCause::CameraStalled
                });
            }
            cut |= gap.is_some() || self.group_is_full(group, placed.time, unit.data.len());
        }
        if cut {
            if gap.is_some() {
                self.finish_group();
            } else if let Some(group) = self.current.take() {
                self.hold(group, None);
            }
        }
        let group = self
            .current
            .get_or_insert_with(|| Group::new(parameters, unit.access, gap));
        group.lost |= lost;
        group.push(placed.time, placed.timing, unit.data);
        self.settle();
    }

    /// A group is cut before a picture that is shown after all others, so that no fragment's times reach into the next;
    /// at twice the limit it is cut anywhere.
    fn group_is_full(&self, group: &Group, time: i64, size: usize) -> bool {
        let lasts = time - group.least();
        let bytes = group.bytes() + size;
        let over = |times: i64| {
            lasts >= ticks(self.config.fragment_us).saturating_mul(times)
                || bytes > self.config.fragment_bytes.saturating_mul(times as usize)
                || group.frames() >= MAX_FRAMES / 2 * times as usize
        };
        over(2) || over(1) && time > group.greatest()
    }

    fn wait_for_keyframe(&mut self, now: Moment) {
        let now = ticks(self.clock.unstepped_us(now));
        let since = *self.waiting.get_or_insert(now);
        if now - since >= ticks(self.config.no_keyframe_us) {
            self.covered.get_or_insert(since);
            match self.outage {
                Some((GapCause::NoKeyframe, _)) => {}
                Some((cause, _)) => {
                    self.gap_until(since, cause);
                    self.outage = Some((GapCause::NoKeyframe, now));
                }
                None => self.outage = Some((GapCause::NoKeyframe, now)),
            }
        }
    }

    /// Ends the current group where its last picture ends, because what follows does not continue it.
    fn finish_group(&mut self) {
        if let Some(group) = self.current.take() {
            let typical = group.typical_duration().unwrap_or(self.typical);
            let end = group.greatest().saturating_add(typical);
            self.hold(group, Some(end));
        }
    }

    fn hold(&mut self, group: Group, end: Option<i64>) {
        if let Some((before, before_end)) = self.held.take() {
            let end = before_end.unwrap_or_else(|| self.seam(&before, &group));
            self.emit(before, end);
        }
        self.held = Some((group, end));
    }

    /// Writes the held group as soon as the first time of the one after it is certain.
    fn settle(&mut self) {
        let Some((held, end)) = &self.held else { return };
        let end = match (end, &self.current) {
            (Some(end), _) => Some(*end),
            (None, Some(next)) => {
                let in_order = !held.reordered() && next.access != RandomAccess::Open;
                (in_order || next.least_is_final() || next.frames() > 32).then(|| self.seam(held, next))
            }
            (None, None) => None,
        };
        if let Some(end) = end
            && let Some((held, _)) = self.held.take()
        {
            self.emit(held, end);
        }
    }

    /// Where a group ends that `next` continues: its last picture lasts until the next one, unless one was lost between them.
    fn seam(&self, before: &Group, next: &Group) -> i64 {
        let typical = before.typical_duration().unwrap_or(self.typical);
        if next.lost && is_hole(next.least() - before.greatest(), typical) {
            before.greatest().saturating_add(typical)
        } else {
            next.least()
        }
    }

    fn emit(&mut self, group: Group, end: i64) {
        self.typical = group.typical_duration().unwrap_or(self.typical).min(10 * 90_000);
        let keyframe = group.access != RandomAccess::None;
        let start = group.least().max(self.covered.unwrap_or(0));
        let (parameters, timing) = (group.parameters.clone(), group.timing);
        let (closed, reordered) = (group.access == RandomAccess::Closed, group.reordered());
        if self
            .segment
            .as_ref()
            .is_some_and(|open| self.must_end(open, &group, start))
        {
            self.end_segment();
        }
        if self.segment.is_none() && !keyframe {
            self.outage.get_or_insert((GapCause::NoKeyframe, start));
            return;
        }
        let frames = u32::try_from(group.frames()).unwrap_or(u32::MAX);
        let known = group.gap.or(self.outage.map(|(cause, _)| cause));
        let (cause, least) = match (known, group.lost) {
            (Some(cause), _) => (cause, 90),
            (None, true) => (GapCause::PacketLoss, self.typical / 3),
            (None, false) => (GapCause::PacketLoss, SEAM),
        };
        // What follows a lost picture may show its traces until the next keyframe; it is recorded as it came.
        let holes = if group.lost {
            group.holes(self.typical)
        } else {
            Vec::new()
        };
        let sequence = self.segment.as_ref().map_or(1, |open| open.fragments + 1);
        let written = init_section(&parameters).and_then(|init| Ok((init, group.into_fragment(sequence, start, end)?)));
        let Ok((init, (data, start, end))) = written else {
            // Only a picture beyond every limit comes here; what follows it needs a keyframe.
            self.end_segment();
            self.outage.get_or_insert((GapCause::UnsupportedCodec, start));
            return;
        };
        if self.covered.is_some_and(|covered| start - covered > least) {
            self.gap_until(start, cause);
        }
        self.outage = None;
        if self.segment.is_none() {
            self.actions.push(Action::Begin {
                t_start: micros(start),
                init,
                parameters: parameters.clone(),
            });
        }
        let open = self.segment.get_or_insert(Open {
            start,
            parameters,
            timing,
            frames: 0,
            fragments: 0,
            closed_gop: true,
            b_frames: false,
        });
        open.frames = open.frames.saturating_add(frames);
        open.fragments += 1;
        open.closed_gop &= closed || !keyframe;
        open.b_frames |= reordered;
        if timing == Timing::Arrival {
            open.timing = timing;
        }
        self.covered = Some(end);
        self.actions.push(Action::Fragment {
            data,
            t_start: micros(start),
            t_end: micros(end),
            frames,
        });
        for (from, until) in holes {
            if let Ok(range) = TimeRange::new(micros(from.max(start)), micros(until.min(end))) {
                let cause = GapCause::PacketLoss;
                self.actions.push(Action::Gap { range, cause });
            }
        }
    }

    fn must_end(&self, open: &Open, group: &Group, start: i64) -> bool {
        let length = start - open.start;
        if group.access == RandomAccess::None {
            return length >= ticks(self.config.max_segment_us);
        }
        // A keyframe that comes a little early must not double the segment.
        length >= ticks(self.config.segment_us) / 100 * 95
            || open.parameters != group.parameters
            || open.timing != group.timing
            || group.gap.is_some()
            || self
                .boundary
                .is_some_and(|boundary| open.start < boundary && start >= boundary)
    }

    fn end_segment(&mut self) {
        if let Some(open) = self.segment.take() {
            self.actions.push(Action::End {
                t_end: micros(self.covered.unwrap_or(open.start)),
                frames: open.frames,
                fragments: open.fragments,
                closed_gop: open.closed_gop,
                b_frames: open.b_frames,
                timing: open.timing,
            });
        }
    }

    /// States everything since what is covered as a gap, if it lies before `until`.
    fn gap_until(&mut self, until: i64, cause: GapCause) {
        let Some(covered) = self.covered else { return };
        if let Ok(range) = TimeRange::new(micros(covered), micros(until)) {
            self.actions.push(Action::Gap { range, cause });
            self.covered = Some(until);
        }
    }

    fn note_outage(&mut self, cause: GapCause, now: Moment) {
        let now = ticks(self.clock.unstepped_us(now));
        self.covered.get_or_insert(now);
        match self.outage {
            Some((before, _)) if before == cause => {}
            // Recording stops on purpose: what was missing before has its own cause.
            Some((before, _)) if cause == GapCause::Stopped => {
                self.gap_until(now, before);
                self.outage = Some((cause, now));
            }
            Some((before, since)) if now - since >= CAUSE_SETTLED && before != GapCause::CameraStalled => {
                self.gap_until(now, before);
                self.outage = Some((cause, now));
            }
            // The first seconds of an outage rarely know its cause.
            Some((_, since)) => self.outage = Some((cause, since)),
            None => self.outage = Some((cause, now)),
        }
    }

    /// The wall clock was set while nothing is being written.
    fn step_while_idle(&mut self, now: Moment) {
        if !self.clock.pending() || self.current.is_some() || self.held.is_some() || self.segment.is_some() {
            return;
        }
        let before = ticks(self.clock.unstepped_us(now));
        if let Some((cause, _)) = self.outage {
            self.gap_until(before, cause);
        }
        let step = self.clock.take();
        self.state_step(before, step);
    }

    /// The wall clock was set while recording: pictures up to this keyframe stay on the old time line.
    fn step_at_keyframe(&mut self) {
        self.finish_group();
        if let Some((group, end)) = self.held.take() {
            let end = end.unwrap_or_else(|| group.greatest().saturating_add(self.typical));
            self.emit(group, end);
        }
        self.end_segment();
        let step = self.clock.take();
        if let Some(covered) = self.covered {
            self.state_step(covered, step);
        }
    }

    fn state_step(&mut self, before: i64, step_us: i64) {
        let shift = ticks(step_us);
        let after = before.saturating_add(shift);
        self.actions.push(Action::ClockStep {
            offset_us: step_us,
            before: micros(before),
            after: micros(after),
        });
        if self.covered.is_some() {
            // Forward, the skipped time is a gap; backward, nothing is missing: the same hour happens twice.
            self.covered = Some(before);
            self.gap_until(after, GapCause::ClockStep);
            self.covered = Some(after);
        }
        if let Some((_, since)) = &mut self.outage {
            *since = since.saturating_add(shift);
        }
        if let Some(since) = &mut self.waiting {
            *since = since.saturating_add(shift);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.shift(shift);
        }
    }
}

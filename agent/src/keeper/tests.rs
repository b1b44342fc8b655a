//! A camera in memory, the real segmenter, the real keeper, a real folder; what was sealed is opened with a test key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use custody_shared::fmp4::nal::RandomAccess;
use custody_shared::fmp4::{Codec, ParameterSets, VideoParameters, layout};
use custody_shared::hash::Sha256Hash;
use custody_shared::segment::{PREAMBLE_LEN, SEALED_CHUNK, open_extent, unseal_key};
use custody_shared::statement::{Chain as SharedChain, SignedStatement, Statement};
use custody_shared::time::{Clock as _, ManualClock};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::paths::DAY_US;
use crate::segmenter::{Segmenter, SegmenterConfig};
use crate::source::{AccessUnit, Moment, SourceEvent};
use crate::statement_log::LogReader;
use crate::testing::{self, DiskFault, break_disk, camera, day_key, footage_key, site};

/// Noon of the day that tests begin on.
const NOON: i64 = 20_700 * DAY_US + DAY_US / 2;
const S: i64 = 1_000_000;

pub(super) fn parameters() -> Arc<VideoParameters> {
    let mut sets = ParameterSets::new(Codec::H264);
    assert!(sets.offer(&[0x67, 66, 0, 10, 0x80]) && sets.offer(&[0x68, 0x80]));
    Arc::new(VideoParameters::from_parameter_sets(&sets, 64, 48).expect("valid sets"))
}

pub(super) struct Rig {
    folder: TempDir,
    clock: ManualClock,
    monotonic_us: i64,
    free: Arc<AtomicU64>,
    pulse: Arc<Pulse>,
    keeper: Option<Keeper>,
    segmenter: Segmenter,
    frame_bytes: usize,
    /// Everything the segmenter gave out, by the segment's beginning: what must come back.
    given: BTreeMap<i64, Vec<Vec<u8>>>,
    running: i64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::without_keys().with_keys(1, 20_690, 60)
    }

    fn without_keys() -> Self {
        let mut rig = Self {
            folder: tempfile::tempdir().expect("folder"),
            clock: ManualClock::new(UtcMicros::new(NOON)),
            monotonic_us: 0,
            free: Arc::new(AtomicU64::new(u64::MAX)),
            pulse: Arc::default(),
            keeper: None,
            segmenter: Segmenter::new(SegmenterConfig::default()),
            frame_bytes: 4000,
            given: BTreeMap::new(),
            running: 0,
        };
        rig.start();
        rig
    }

    fn with_keys(mut self, issue: u64, first_day: i64, days: i64) -> Self {
        self.keeper().offer_keys(&testing::announcement(issue, first_day, days));
        self
    }

    fn place(&self) -> Folder {
        Folder::new(self.folder.path())
    }

    fn start(&mut self) {
        let free = self.free.clone();
        let opening = Opening {
            folder: self.place(),
            site: site(),
            camera: camera(),
            signer: testing::statement_key(),
            server: testing::server_key().public(),
            clock: Arc::new(self.clock.clone()),
            reserve_bytes: 1 << 20,
            free_bytes: Box::new(move |_| Ok(free.load(Ordering::Relaxed))),
            pulse: self.pulse.clone(),
            head: watch::channel(Head::START).0,
        };
        self.keeper = Some(open(opening).expect("the keeper starts"));
        self.segmenter = Segmenter::new(SegmenterConfig::default());
    }

    fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("running")
    }

    /// For a thread of its own.
    pub(super) fn take_keeper(&mut self) -> Keeper {
        self.keeper.take().expect("running")
    }

    /// The process is killed; nothing gets a chance to tidy up.
    fn kill(&mut self) {
        self.keeper = None;
    }

    fn stop(&mut self) {
        let actions = self.segmenter.interrupt(GapCause::Stopped, self.now());
        self.take(actions);
        self.keeper().stop();
        self.keeper = None;
    }

    fn now(&self) -> Moment {
        Moment {
            utc: self.clock.now(),
            monotonic_us: self.monotonic_us,
        }
    }

    fn pass(&mut self, us: i64) {
        self.clock.advance(us);
        self.monotonic_us += us;
    }

    /// Sets the wall clock without time passing.
    fn step(&mut self, us: i64) {
        self.clock.advance(us);
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in &actions {
            match action {
                Action::Begin { t_start, init, .. } => {
                    self.running = t_start.get();
                    self.given.insert(self.running, vec![init.clone()]);
                }
                Action::Fragment { data, .. } => {
                    let bytes = data.pieces().collect::<Vec<_>>().concat();
                    self.given.get_mut(&self.running).expect("begun").push(bytes);
                }
                _ => {}
            }
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.take(actions);
        }
    }

    /// A camera delivers for `seconds`: 10 pictures a second, a keyframe every second.
    fn film(&mut self, seconds: i64) {
        let actions = self.segmenter.push(SourceEvent::Parameters(parameters()));
        self.take(actions);
        for picture in 0..seconds * 10 {
            let access = if picture % 10 == 0 {
                RandomAccess::Closed
            } else {
                RandomAccess::None
            };
            let unit = AccessUnit {
                pts_90k: Some(self.monotonic_us / 100 * 9),
                arrival: self.now(),
                access,
                data: Bytes::from(vec![picture as u8; self.frame_bytes]),
            };
            let actions = self.segmenter.push(SourceEvent::AccessUnit(unit));
            self.take(actions);
            self.pass(S / 10);
            if picture % 10 == 9 {
                let actions = self.segmenter.tick(self.now());
                self.take(actions);
            }
        }
    }

    fn lose_camera(&mut self, cause: GapCause, seconds: i64) {
        for _ in 0..seconds {
            let actions = self.segmenter.interrupt(cause, self.now());
            self.take(actions);
            self.pass(S);
        }
    }

    /// Every statement on disk, its signature and its place in the chain checked.
    fn statements(&self) -> Vec<Statement> {
        let mut reader = LogReader::new(&self.place().statements());
        let mut chain = SharedChain::start(camera());
        let mut all = Vec::new();
        loop {
            let out = reader.read(chain.next_index, u64::MAX, |_| true).expect("readable");
            if out.statements.is_empty() {
                return all;
            }
            for bytes in out.statements {
                let signed = SignedStatement::from_bytes(bytes).expect("within limits");
                let statement = signed.verify(&testing::statement_key().public()).expect("signed");
                chain = chain.check(&statement, &signed).expect("next in the chain");
                all.push(statement);
            }
        }
    }

    pub(super) fn segments(&self) -> Vec<SegmentStatement> {
        let kinds = self.statements().into_iter().map(|statement| statement.kind);
        kinds
            .filter_map(|kind| {
                if let Kind::Segment(segment) = kind {
                    Some(*segment)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Gaps in whole tenths of a second since noon.
    pub(super) fn gaps(&self) -> Vec<(i64, i64, GapCause)> {
        let tenths = |at: UtcMicros| (at.get() - NOON + S / 20).div_euclid(S / 10);
        let kinds = self.statements().into_iter().map(|statement| statement.kind);
        kinds
            .filter_map(|kind| match kind {
                Kind::Gap(gap) => Some((tenths(gap.range.start()), tenths(gap.range.end()), gap.cause)),
                _ => None,
            })
            .collect()
    }

    fn file_of(&self, segment: &SegmentStatement) -> Vec<u8> {
        let path = find_segment_file(&self.place(), segment.preamble.header.seq)
            .expect("listed")
            .expect("there");
        std::fs::read(path).expect("readable")
    }

    /// Opens every stated segment and compares it with what the segmenter gave out. Returns the number of whole fragments.
    fn open_all(&self) -> usize {
        let mut fragments = 0;
        for segment in self.segments() {
            let file = self.file_of(&segment);
            assert_eq!(
                (Sha256Hash::of(&file), file.len() as u64),
                (segment.file_sha256, segment.file_len)
            );
            let key = unseal_key(&footage_key(), &segment.preamble).expect("the day's key opens it");
            let video = open_extent(&key, &file, segment.extent().expect("a length")).expect("authentic");
            let start = segment.preamble.header.t_start.get();
            let given = self
                .given
                .iter()
                .min_by_key(|(at, _)| (**at - start).abs())
                .expect("given")
                .1;
            let found = layout(&video).expect("a segment of fragmented MP4");
            assert_eq!(video[found.init.clone()], given[0]);
            if !segment.truncated {
                assert_eq!(found.fragments.len(), segment.fragments as usize);
            }
            for (fragment, wanted) in found.fragments.iter().zip(&given[1..]) {
                assert_eq!(video[fragment.range.clone()], *wanted, "bit for bit");
                fragments += 1;
            }
        }
        fragments
    }

    /// From the first to the last statement about coverage, nothing is left unexplained.
    pub(super) fn assert_no_hole(&self) {
        let mut until: Option<UtcMicros> = None;
        for statement in self.statements() {
            let range = match statement.kind {
                Kind::Segment(segment) => segment.range().expect("a range"),
                Kind::Gap(gap) => gap.range,
                _ => continue,
            };
            if let Some(until) = until {
                let hole = range.start().since(until);
                assert!(
                    hole <= TOUCHING_US,
                    "{} µs after {until} are neither kept nor a gap",
                    hole
                );
            }
            until = Some(range.end());
        }
    }
}

#[test]
fn what_was_filmed_comes_back_bit_for_bit() {
    let mut rig = Rig::new();
    rig.film(35);
    rig.stop();
    let segments = rig.segments();
    assert_eq!(segments.len(), 4);
    assert_eq!(
        segments.iter().map(|s| s.preamble.header.seq).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert!(
        segments
            .iter()
            .all(|s| !s.truncated && s.preamble.header.key_id == day_key(20_700))
    );
    assert_eq!(segments.iter().map(|s| s.frames).sum::<u32>(), 350);
    assert!(rig.open_all() >= 16);
    rig.assert_no_hole();
    assert!(rig.gaps().is_empty());
    // Each header names the newest statement when its segment began, so a file cannot be moved to another place of the chain.
    let hashes: Vec<Sha256Hash> = {
        let mut reader = LogReader::new(&rig.place().statements());
        let all = reader.read(0, u64::MAX, |_| true).expect("read");
        all.statements.iter().map(|bytes| Sha256Hash::of(bytes)).collect()
    };
    assert!(
        segments
            .iter()
            .all(|s| hashes.contains(&s.preamble.header.prev_statement))
    );
}

#[test]
fn padding_costs_at_most_three_percent_and_ends_large_fragments_on_a_chunk() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(12);
    rig.stop();
    let given: usize = rig.given.values().flatten().map(Vec::len).sum();
    let sealed: u64 = rig.segments().iter().map(|segment| segment.file_len).sum();
    assert!(sealed as f64 <= given as f64 * 1.03, "{sealed} for {given}");
    assert!(rig.open_all() >= 6);
}

#[test]
fn a_killed_process_leaves_a_truncated_segment_and_an_exact_gap() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(17);
    rig.kill();
    rig.pass(30 * S);
    rig.start();
    rig.film(11);
    rig.stop();
    let segments = rig.segments();
    assert!(segments[1].truncated && segments[1].frames > 0);
    assert_eq!(segments.iter().filter(|segment| segment.truncated).count(), 1);
    rig.open_all();
    rig.assert_no_hole();
    let gaps = rig.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, until, cause) = gaps[0];
    assert_eq!((until, cause), (470, GapCause::AgentRestart));
    // At most what was in flight is lost: the group being filled and the one held back.
    assert!((140..=170).contains(&from), "{gaps:?}");
}

#[test]
fn why_there_is_a_hole_before_a_start() {
    for (wanted, end) in [
        (GapCause::AgentRestart, (|rig: &mut Rig| rig.kill()) as fn(&mut Rig)),
        (GapCause::Stopped, |rig| rig.stop()),
        (GapCause::PowerLoss, |rig| {
            rig.kill();
            std::fs::write(rig.place().running(), "another boot of the kernel").expect("marker");
        }),
    ] {
        let mut rig = Rig::new();
        rig.film(12);
        end(&mut rig);
        rig.pass(120 * S);
        rig.start();
        rig.film(2);
        rig.stop();
        let causes: Vec<GapCause> = rig.gaps().into_iter().map(|(_, _, cause)| cause).collect();
        assert_eq!(causes, [wanted]);
        rig.assert_no_hole();
    }
}

#[test]
fn a_file_torn_at_any_place_is_cut_to_whole_chunks_or_removed() {
    let mut rig = Rig::new();
    rig.frame_bytes = 20_000;
    rig.film(7);
    rig.kill();
    let path = find_segment_file(&rig.place(), 0).expect("listed").expect("there");
    let whole = std::fs::read(&path).expect("read");
    let preamble = PREAMBLE_LEN;
    for (name, length) in [
        ("nothing", 0),
        ("half a preamble", preamble / 2),
        ("a preamble", preamble),
        ("half a chunk", preamble + SEALED_CHUNK / 2),
        ("one chunk", preamble + SEALED_CHUNK),
        ("one chunk and a byte", preamble + SEALED_CHUNK + 1),
        ("all that was written", whole.len()),
    ] {
        let copy = Rig {
            folder: copied(rig.folder.path()),
            keeper: None,
            ..Rig::new()
        };
        let mut copy = Rig {
            given: rig.given.clone(),
            ..copy
        };
        copy.clock.set(rig.clock.now());
        let torn = find_segment_file(&copy.place(), 0).expect("listed").expect("there");
        std::fs::write(&torn, &whole[..length]).expect("tear");
        copy.start();
        let segments = copy.segments();
        let chunks = length.saturating_sub(preamble) / SEALED_CHUNK;
        if chunks == 0 {
            assert!(segments.is_empty() && !torn.exists(), "{name}");
        } else {
            assert!(segments[0].truncated, "{name}");
            assert_eq!(
                segments[0].file_len as usize,
                preamble + chunks * SEALED_CHUNK,
                "{name}"
            );
            copy.open_all();
        }
        // The number is given out again only where no statement names it.
        copy.film(2);
        copy.stop();
        let seqs: Vec<u64> = copy
            .segments()
            .iter()
            .map(|segment| segment.preamble.header.seq)
            .collect();
        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "{name}");
        copy.assert_no_hole();
    }
}

fn copied(from: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("folder");
        for entry in std::fs::read_dir(from).expect("list") {
            let entry = entry.expect("entry");
            let place = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &place);
            } else {
                std::fs::copy(entry.path(), place).expect("copy");
            }
        }
    }
    let to = tempfile::tempdir().expect("folder");
    copy(from, to.path());
    to
}

#[test]
fn without_the_note_a_recovered_segment_still_says_when_it_ended() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(15);
    rig.kill();
    std::fs::remove_file(rig.place().recording()).expect("the note is lost");
    rig.start();
    let last = rig.segments().pop().expect("recovered");
    assert!(last.truncated && last.frames == 0 && last.t_end > last.preamble.header.t_start);
    rig.open_all();
}

#[test]
fn a_full_disk_is_on_record_while_it_lasts_and_recording_resumes_by_itself() {
    let mut rig = Rig::new();
    rig.film(20);
    rig.free.store(0, Ordering::Relaxed);
    rig.film(40);
    assert!(!rig.pulse.is_recording());
    assert!(rig.pulse.faults().contains(Faults::DISK_LOW));
    assert_eq!(rig.gaps().len(), 1, "stated while it lasts");
    rig.free.store(u64::MAX, Ordering::Relaxed);
    rig.film(30);
    assert!(rig.pulse.is_recording() && rig.pulse.faults().is_empty());
    rig.stop();
    let gaps = rig.gaps();
    assert!(gaps.iter().all(|gap| gap.2 == GapCause::DiskFull), "{gaps:?}");
    // In two pieces without a seam: what was stated while it lasted, and the rest.
    assert_eq!((gaps.len(), gaps[0].1), (2, gaps[1].0), "{gaps:?}");
    assert!((180..=210).contains(&gaps[0].0) && (590..=710).contains(&gaps[1].1), "{gaps:?}");
    rig.assert_no_hole();
    rig.open_all();
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_segment_keeps_what_it_has() {
    for fault in [DiskFault::Lost, DiskFault::Half, DiskFault::Written] {
        for after in [0, 1_000, 100_000, 700_000, 2_500_000] {
            let mut rig = Rig::new();
            rig.frame_bytes = 30_000;
            rig.film(12);
            break_disk(Some((after, fault)));
            rig.film(25);
            break_disk(None);
            rig.film(25);
            rig.stop();
            rig.open_all();
            rig.assert_no_hole();
            let gaps = rig.gaps();
            let causes: Vec<GapCause> = gaps.iter().map(|gap| gap.2).collect();
            assert!(!causes.is_empty(), "{fault:?} after {after}");
            assert!(
                causes.iter().all(|cause| *cause == GapCause::DiskFull),
                "{fault:?} after {after}: {gaps:?}"
            );
        }
    }
}

#[test]
fn a_camera_away_for_two_minutes_is_one_gap_exact_to_a_second() {
    let mut rig = Rig::new();
    rig.film(25);
    rig.lose_camera(GapCause::CameraUnreachable, 120);
    rig.film(15);
    rig.stop();
    let gaps = rig.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, until, cause) = gaps[0];
    assert_eq!(cause, GapCause::CameraUnreachable);
    assert!((from - 250).abs() <= 10 && (until - 1450).abs() <= 10, "{gaps:?}");
    rig.assert_no_hole();
    rig.open_all();
}

#[test]
fn a_camera_that_is_away_at_the_start_is_told_from_the_outage_before() {
    let mut rig = Rig::new();
    rig.film(12);
    rig.stop();
    rig.pass(60 * S);
    rig.start();
    rig.lose_camera(GapCause::CameraRefused, 30);
    rig.film(12);
    rig.stop();
    let causes: Vec<GapCause> = rig.gaps().into_iter().map(|(_, _, cause)| cause).collect();
    assert_eq!(causes, [GapCause::Stopped, GapCause::CameraRefused]);
    rig.assert_no_hole();
}

#[test]
fn clock_steps_lose_no_picture() {
    for step in [3600 * S, DAY_US, -3600 * S, -DAY_US] {
        let mut rig = Rig::new();
        rig.film(22);
        rig.step(step);
        rig.film(23);
        rig.stop();
        let frames: u32 = rig.segments().iter().map(|segment| segment.frames).sum();
        assert_eq!(frames, 450, "{step}");
        let steps: Vec<i64> = rig
            .statements()
            .into_iter()
            .filter_map(|s| {
                if let Kind::Clock(step) = s.kind {
                    Some(step.offset_us / S)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(steps, [step / S]);
        rig.open_all();
        if step > 0 {
            assert!(
                rig.gaps().iter().all(|gap| gap.2 == GapCause::ClockStep),
                "{step}: {:?}",
                rig.gaps()
            );
            rig.assert_no_hole();
        }
        // And so after a restart with the clock as it now is.
        rig.pass(20 * S);
        rig.start();
        rig.film(12);
        rig.stop();
        let causes: Vec<GapCause> = rig
            .gaps()
            .into_iter()
            .map(|gap| gap.2)
            .filter(|c| *c != GapCause::ClockStep)
            .collect();
        assert_eq!(causes, [GapCause::Stopped], "{step}");
    }
}

#[test]
fn a_clock_stepped_back_never_revives_a_past_days_key() {
    let mut rig = Rig::new();
    rig.keeper().time.server_said(UtcMicros::new(NOON));
    rig.film(12);
    rig.step(-2 * DAY_US);
    rig.film(25);
    rig.stop();
    assert!(
        rig.segments()
            .iter()
            .all(|segment| segment.preamble.header.key_id == day_key(20_700))
    );
}

#[test]
fn each_day_has_its_key_and_its_use_is_stated_before() {
    let mut rig = Rig::new();
    rig.pass(DAY_US / 2 - 15 * S);
    rig.film(40);
    rig.stop();
    let mut in_use = None;
    let mut days = Vec::new();
    for statement in rig.statements() {
        match statement.kind {
            Kind::KeyInUse { key_id } => in_use = Some(key_id),
            Kind::Segment(segment) => {
                let header = segment.preamble.header;
                let day = header.t_start.day();
                assert_eq!(header.key_id, day_key(day));
                days.push(day);
            }
            _ => {}
        }
    }
    assert_eq!(in_use, Some(day_key(20_701)));
    assert!(days.contains(&20_700) && days.contains(&20_701));
}

#[test]
fn without_any_key_nothing_is_recorded_and_the_reserve_takes_over_when_there_is_one() {
    let mut rig = Rig::without_keys();
    rig.film(12);
    rig.lose_camera(GapCause::CameraUnreachable, 1);
    rig.film(12);
    assert!(rig.segments().is_empty());
    let mut rig = rig.with_keys(1, 30_000, 2);
    rig.film(25);
    rig.stop();
    assert!(!rig.segments().is_empty());
    assert!(
        rig.gaps().iter().any(|gap| gap.2 == GapCause::NoKey),
        "{:?}",
        rig.gaps()
    );
    assert!(rig.pulse.faults().contains(Faults::RESERVE_KEY));
    rig.open_all();
}

#[test]
fn a_day_past_its_end_is_destroyed_alone_and_the_next_day_is_not() {
    let mut rig = Rig::new();
    rig.film(25);
    let first = rig.segments();
    rig.pass(DAY_US);
    rig.film(25);
    rig.stop();
    let stated = rig.segments().len();
    rig.start();
    while rig.keeper().enforce_retention() {}
    assert!(
        find_segment_file(&rig.place(), 0).expect("list").is_some(),
        "not a moment too early"
    );
    // The first day's key ends at the end of the 31st day after it.
    let due = (20_700 + 31) * DAY_US;
    rig.pass(due - rig.clock.now().get() - 1);
    while rig.keeper().enforce_retention() {}
    assert!(
        find_segment_file(&rig.place(), 0).expect("list").is_some(),
        "not a moment too early"
    );
    rig.pass(1);
    while rig.keeper().enforce_retention() {}
    for segment in &first {
        assert_eq!(
            find_segment_file(&rig.place(), segment.preamble.header.seq).expect("list"),
            None
        );
    }
    let destroyed: Vec<_> = rig
        .statements()
        .into_iter()
        .filter_map(|s| {
            if let Kind::Destroyed(destroyed) = s.kind {
                Some(destroyed)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(destroyed.len(), 1);
    assert_eq!((destroyed[0].first_seq, destroyed[0].key_id), (0, day_key(20_700)));
    let last = first.last().expect("one");
    assert!(destroyed[0].range.end() >= last.t_end);
    let remaining = (0..stated as u64).filter(|seq| find_segment_file(&rig.place(), *seq).expect("list").is_some());
    assert!(remaining.count() >= 2);
}

#[test]
fn destruction_that_was_interrupted_goes_on_where_it_was() {
    let mut rig = Rig::new();
    rig.film(45);
    rig.stop();
    rig.start();
    rig.pass(40 * DAY_US);
    // The disk refuses the statement: the files are gone, the folder waits.
    break_disk(Some((0, DiskFault::Lost)));
    rig.keeper().enforce_retention();
    break_disk(None);
    assert_eq!(find_segment_file(&rig.place(), 0).expect("list"), None);
    rig.kill();
    rig.start();
    while rig.keeper().enforce_retention() {}
    let destroyed = rig
        .statements()
        .into_iter()
        .filter(|s| matches!(s.kind, Kind::Destroyed(_)))
        .count();
    assert_eq!(destroyed, 1);
    assert_eq!(std::fs::read_dir(rig.place().segments()).expect("list").count(), 0);
}

#[test]
fn a_lost_end_of_the_log_continues_the_servers_chain() {
    let mut rig = Rig::new();
    rig.film(45);
    rig.stop();
    let reader = LogReader::new(&rig.place().statements());
    let last = reader.last().expect("read").expect("statements");
    let server = Head {
        next_index: last.index + 1,
        last_hash: Sha256Hash::of(&last.bytes),
    };
    crate::cursor::write(&rig.place().acked(), server).expect("receipt");
    let log = std::fs::read_dir(rig.place().statements())
        .expect("list")
        .next()
        .expect("a file")
        .expect("entry")
        .path();
    let length = std::fs::metadata(&log).expect("metadata").len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .expect("open")
        .set_len(length - 3000)
        .expect("lost");
    rig.start();
    rig.film(12);
    rig.stop();
    let mut reader = LogReader::new(&rig.place().statements());
    let out = reader.read(server.next_index, u64::MAX, |_| true).expect("read");
    assert_eq!(out.first_index, server.next_index);
    let mut chain = SharedChain {
        camera: camera(),
        next_index: server.next_index,
        last_hash: server.last_hash,
    };
    for bytes in out.statements {
        let signed = SignedStatement::from_bytes(bytes).expect("limits");
        let statement = signed.verify(&testing::statement_key().public()).expect("signed");
        chain = chain.check(&statement, &signed).expect("the server takes it");
    }
}

#[test]
fn a_server_that_knows_more_is_continued_and_nothing_said_here_is_lost() {
    let mut rig = Rig::new();
    rig.film(25);
    let said = rig.statements().len() as u64;
    let server = Head {
        next_index: said + 5,
        last_hash: Sha256Hash::of(b"what this disk lost"),
    };
    rig.keeper().acked(server, 1);
    rig.film(12);
    rig.stop();
    let mut reader = LogReader::new(&rig.place().statements());
    let out = reader.read(server.next_index, u64::MAX, |_| true).expect("read");
    let mut chain = SharedChain {
        camera: camera(),
        next_index: server.next_index,
        last_hash: server.last_hash,
    };
    let mut again = Vec::new();
    for bytes in out.statements {
        let signed = SignedStatement::from_bytes(bytes).expect("limits");
        let statement = signed.verify(&testing::statement_key().public()).expect("signed");
        chain = chain.check(&statement, &signed).expect("the server takes it");
        if let Kind::Segment(segment) = statement.kind {
            again.push(segment.preamble.header.seq);
        }
    }
    assert_eq!(
        again,
        (0..again.len() as u64).collect::<Vec<_>>(),
        "every segment is stated to the server"
    );
}

#[test]
fn killed_again_and_again_it_keeps_one_chain_and_explains_every_hole() {
    let mut rig = Rig::new();
    rig.frame_bytes = 9_000;
    for round in 0..30 {
        rig.film(1 + round * 7 % 23);
        rig.kill();
        rig.pass((round * 13 % 50) * S);
        rig.start();
    }
    rig.film(12);
    rig.stop();
    rig.assert_no_hole();
    rig.open_all();
    assert!(rig.gaps().iter().all(|gap| gap.2 == GapCause::AgentRestart));
}

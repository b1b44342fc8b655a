//! A camera in memory, the real segmenter, the real keeper, a real folder; what was sealed is opened with a test key.

pub(in crate::keeper) use std::collections::BTreeMap;
pub(in crate::keeper) use std::sync::atomic::{AtomicU64, Ordering};

pub(in crate::keeper) use bytes::Bytes;
pub(in crate::keeper) use custody_shared::fmp4::nal::RandomAccess;
pub(in crate::keeper) use custody_shared::fmp4::{Codec, ParameterSets, VideoParameters, layout};
pub(in crate::keeper) use custody_shared::hash::Sha256Hash;
pub(in crate::keeper) use custody_shared::segment::{PREAMBLE_LEN, SEALED_CHUNK, open_extent, unseal_key};
pub(in crate::keeper) use custody_shared::statement::{Chain as SharedChain, SignedStatement, Statement};
pub(in crate::keeper) use custody_shared::time::{Clock as _, ManualClock};
pub(in crate::keeper) use tempfile::TempDir;
pub(in crate::keeper) use tokio::sync::watch;

use super::super::coverage::TOUCHING_US;
use super::super::*;
pub(in crate::keeper) use crate::paths::DAY_US;
pub(in crate::keeper) use crate::segmenter::{Segmenter, SegmenterConfig};
pub(in crate::keeper) use crate::source::{AccessUnit, Moment, SourceEvent};
pub(in crate::keeper) use crate::statement_log::LogReader;
pub(in crate::keeper) use crate::testing::{self, DiskFault, break_disk, camera, day_key, footage_key, site};

/// Noon of the day that tests begin on.
pub(in crate::keeper) const NOON: i64 = 20_700 * DAY_US + DAY_US / 2;
pub(in crate::keeper) const S: i64 = 1_000_000;

pub(in crate::keeper) fn parameters() -> Arc<VideoParameters> {
    let mut sets = ParameterSets::new(Codec::H264);
    assert!(sets.offer(&[0x67, 66, 0, 10, 0x80]) && sets.offer(&[0x68, 0x80]));
    Arc::new(VideoParameters::from_parameter_sets(&sets, 64, 48).expect("valid sets"))
}

pub(in crate::keeper) struct Rig {
    pub(in crate::keeper) folder: TempDir,
    pub(in crate::keeper) clock: ManualClock,
    pub(in crate::keeper) monotonic_us: i64,
    pub(in crate::keeper) free: Arc<AtomicU64>,
    pub(in crate::keeper) pulse: Arc<Pulse>,
    pub(in crate::keeper) keeper: Option<Keeper>,
    pub(in crate::keeper) segmenter: Segmenter,
    pub(in crate::keeper) frame_bytes: usize,
    /// Everything the segmenter gave out, by the segment's beginning: what must come back.
    pub(in crate::keeper) given: BTreeMap<i64, Vec<Vec<u8>>>,
    pub(in crate::keeper) running: i64,
}

impl Rig {
    pub(in crate::keeper) fn new() -> Self {
        Self::without_keys().with_keys(1, 20_690, 60)
    }

    pub(in crate::keeper) fn without_keys() -> Self {
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

    pub(in crate::keeper) fn with_keys(mut self, issue: u64, first_day: i64, days: i64) -> Self {
        self.keeper().offer_keys(&testing::announcement(issue, first_day, days));
        self
    }

    pub(in crate::keeper) fn place(&self) -> Folder {
        Folder::new(self.folder.path())
    }

    pub(in crate::keeper) fn start(&mut self) {
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

    pub(in crate::keeper) fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("running")
    }

    /// For a thread of its own.
    pub(in crate::keeper) fn take_keeper(&mut self) -> Keeper {
        self.keeper.take().expect("running")
    }

    /// The process is killed; nothing gets a chance to tidy up.
    pub(in crate::keeper) fn kill(&mut self) {
        self.keeper = None;
    }

    pub(in crate::keeper) fn stop(&mut self) {
        let actions = self.segmenter.interrupt(GapCause::Stopped, self.now());
        self.take(actions);
        self.keeper().stop();
        self.keeper = None;
    }

    pub(in crate::keeper) fn now(&self) -> Moment {
        Moment {
            utc: self.clock.now(),
            monotonic_us: self.monotonic_us,
        }
    }

    pub(in crate::keeper) fn pass(&mut self, us: i64) {
        self.clock.advance(us);
        self.monotonic_us += us;
    }

    /// Sets the wall clock without time passing.
    pub(in crate::keeper) fn step(&mut self, us: i64) {
        self.clock.advance(us);
    }

    pub(in crate::keeper) fn take(&mut self, actions: Vec<Action>) {
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
    pub(in crate::keeper) fn film(&mut self, seconds: i64) {
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

    /// Three pictures do not arrive.
    pub(in crate::keeper) fn lose_packets(&mut self) {
        let actions = self.segmenter.push(SourceEvent::Loss { packets: 9 });
        self.take(actions);
        self.pass(3 * S / 10);
    }

    pub(in crate::keeper) fn lose_camera(&mut self, cause: GapCause, seconds: i64) {
        for _ in 0..seconds {
            let actions = self.segmenter.interrupt(cause, self.now());
            self.take(actions);
            self.pass(S);
        }
    }

    /// Every statement on disk, its signature and its place in the chain checked.
    pub(in crate::keeper) fn statements(&self) -> Vec<Statement> {
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

    pub(in crate::keeper) fn segments(&self) -> Vec<SegmentStatement> {
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
    pub(in crate::keeper) fn gaps(&self) -> Vec<(i64, i64, GapCause)> {
        let tenths = |at: UtcMicros| (at.get() - NOON + S / 20).div_euclid(S / 10);
        let kinds = self.statements().into_iter().map(|statement| statement.kind);
        kinds
            .filter_map(|kind| match kind {
                Kind::Gap(gap) => Some((tenths(gap.range.start()), tenths(gap.range.end()), gap.cause)),
                _ => None,
            })
            .collect()
    }

    pub(in crate::keeper) fn file_of(&self, segment: &SegmentStatement) -> Vec<u8> {
        let path = find_segment_file(&self.place(), segment.preamble.header.seq)
            .expect("listed")
            .expect("there");
        std::fs::read(path).expect("readable")
    }

    /// Opens every stated segment and compares it with what the segmenter gave out. Returns the number of whole fragments.
    pub(in crate::keeper) fn open_all(&self) -> usize {
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
    pub(in crate::keeper) fn assert_no_hole(&self) {
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

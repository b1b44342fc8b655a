//! Opening: one segment at a time, after its intent stands in the ledger.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use custody_shared::fmp4::{self, Fmp4Error};
use custody_shared::grant::Grant;
use custody_shared::id::{CameraId, GrantId, PersonId};
use custody_shared::segment::{self, Preamble};
use custody_shared::time::{SharedClock, TimeRange};
use zeroize::Zeroizing;

use super::clip::{self, Clip};
use super::footage::{Footage, FootageError, Sealed, SegmentInfo};
use super::releases::Releases;
use crate::access::{Action, Refusal, Rule};
use crate::keyholder::{EvidenceError, Keyholder, KeyholderError, VerifiedGrant};
use crate::record::cases::allowed_on_grant;
use crate::record::{Record, RecordError, ReleaseUse};
use custody_shared::tlog::LogVerifier;

/// Sealed files asked for ahead of the one that is watched.
const AHEAD: usize = 6;
/// Sealed files of each camera asked for as soon as a grant is issued.
const AT_ONCE: usize = 12;

/// Why a segment was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A rule refused, or the record cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The rows of the release prove nothing.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The keyholder opened nothing.
    #[error(transparent)]
    Keyholder(#[from] KeyholderError),
    /// The sealed file cannot be had.
    #[error(transparent)]
    Footage(#[from] FootageError),
    /// The sealed file is not what was signed, or its content is not what an agent writes.
    #[error("segment {seq} cannot be read: {reason}")]
    Damaged {
        /// The segment.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// No such segment inside the grant.
    #[error("no such segment")]
    NoSuchSegment,
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        Self::Record(refusal.into())
    }
}

/// An opened segment, in memory alone, wiped when dropped.
pub struct Opened {
    plain: Zeroizing<Vec<u8>>,
    clip: Clip,
}

impl Opened {
    /// The init section.
    pub fn init(&self) -> &[u8] {
        self.plain.get(self.clip.init.clone()).unwrap_or_default()
    }

    /// What of it lies in the grant's window.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The fragments of the window, their clock shifted so that `origin` is zero, appended to `out`; padding is left out.
    ///
    /// # Errors
    /// A fragment that is not what an agent writes.
    pub fn write_fragments(&self, origin: u64, out: &mut Vec<u8>) -> Result<(), Fmp4Error> {
        for (range, _) in &self.clip.fragments {
            let at = out.len();
            out.extend_from_slice(self.plain.get(range.clone()).unwrap_or_default());
            clip::shift(&mut out[at..], origin)?;
        }
        Ok(())
    }

    /// Bytes of the fragments in the window.
    pub fn len(&self) -> usize {
        self.clip.fragments.iter().map(|(range, _)| range.len()).sum()
    }

    /// Whether nothing lies in the window.
    pub fn is_empty(&self) -> bool {
        self.clip.fragments.is_empty()
    }
}

/// Who opens what under which grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The person.
    pub person: PersonId,
    /// The grant.
    pub grant: GrantId,
    /// Watching or copying.
    pub purpose: ReleaseUse,
}

/// The way from a grant to pictures.
pub struct Retrieval {
    record: Record,
    keyholder: Arc<dyn Keyholder>,
    footage: Arc<dyn Footage>,
    releases: Releases,
    clock: SharedClock,
}

impl Retrieval {
    /// Joins the parts. `log` checks the evidence that is handed to the keyholder; while `ledger_failing`, nothing is opened.
    pub fn new(
        record: Record,
        keyholder: Arc<dyn Keyholder>,
        footage: Arc<dyn Footage>,
        log: LogVerifier,
        ledger_failing: Arc<AtomicBool>,
        clock: SharedClock,
    ) -> Self {
        let releases = Releases::new(record.clone(), log, ledger_failing, Arc::clone(&clock));
        Self {
            record,
            keyholder,
            footage,
            releases,
            clock,
        }
    }

    /// Makes every opening ask the ledger's folder first whether a row could be written.
    #[must_use]
    pub fn watching(mut self, ledger_folder: PathBuf) -> Self {
        self.releases.watch(ledger_folder);
        self
    }

    /// Releases and their outcomes.
    pub fn releases(&self) -> &Releases {
        &self.releases
    }

    /// Asks for the first sealed files of a fresh grant.
    pub fn fetch_ahead(&self, grant: &Grant) {
        for camera in &grant.cameras {
            if let Ok(segments) = self.footage.segments(*camera, grant.range, AT_ONCE) {
                self.footage
                    .prefetch(*camera, segments.iter().map(|segment| segment.seq).collect());
            }
        }
    }

    /// The grant, if `reader` may use it on `camera` now; refusals are rows.
    ///
    /// # Errors
    /// [`OpenError::Record`].
    pub async fn allowed(&self, reader: Reader, camera: CameraId) -> Result<Grant, OpenError> {
        let state = self.record.state();
        let action = match reader.purpose {
            ReleaseUse::View => Action::Play,
            ReleaseUse::Export(_) => Action::Export,
        };
        let wanted = state.grant(reader.grant).map(|record| (camera, record.grant.range));
        match allowed_on_grant(&state, reader.person, reader.grant, wanted, action, self.clock.now()) {
            Ok((record, _)) => Ok(record.grant.clone()),
            Err(refusal) => Err(self.refused(reader.person, refusal).await),
        }
    }

    async fn refused(&self, person: PersonId, refusal: Refusal) -> OpenError {
        let actor = crate::record::Actor::Person(person);
        match self.record.commit(actor, |_, _| Err::<(Vec<_>, ()), _>(refusal)).await {
            Ok(_) => OpenError::NoSuchSegment,
            Err(error) => error.into(),
        }
    }

    /// The segments of a grant's window, in order of time.
    ///
    /// # Errors
    /// [`OpenError::Footage`].
    pub fn segments(&self, camera: CameraId, range: TimeRange) -> Result<Vec<SegmentInfo>, OpenError> {
        Ok(self.footage.segments(camera, range, MOST_SEGMENTS)?)
    }

    /// Opens one segment for `reader`. The order never changes: the intent is durable under a signed checkpoint, its evidence
    /// is checked, only then does the keyholder open, and the outcome follows.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was opened then.
    pub async fn open(&self, reader: Reader, camera: CameraId, seq: u64) -> Result<Opened, OpenError> {
        let grant = self.allowed(reader, camera).await?;
        let found = self.footage.segment(camera, seq)?;
        let Some(info) = found.filter(|info| info.range.overlaps(&grant.range)) else {
            let refusal = Refusal::new(
                Rule::OutsideGrant,
                "this camera or time is not part of the grant; file another request",
            )
            .of(Action::Play.word(), format!("grant {}", grant.id));
            return Err(self.refused(reader.person, refusal).await);
        };
        // Asked for before the intent is written: a sealed file gives nothing away.
        self.ahead(camera, &grant, &info);
        let (sealed, release) = tokio::join!(
            self.footage.sealed(camera, seq),
            self.releases.ready(reader, camera, &grant)
        );
        let release = release?;
        let keyholder = Arc::clone(&self.keyholder);
        let opened = match sealed {
            Err(error) => Err(error.into()),
            Ok(sealed) => {
                let verified = release.clone();
                let work = move || open_file(&*keyholder, &verified, camera, seq, sealed);
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
                    Err(OpenError::Damaged {
                        seq,
                        reason: "reading it ended abnormally".into(),
                    })
                })
            }
        };
        let bytes = opened.as_ref().map(|opened| opened.len() as u64).ok();
        self.releases
            .note(reader, camera, release.intent_row(), seq, bytes)
            .await;
        opened
    }

    fn ahead(&self, camera: CameraId, grant: &Grant, current: &SegmentInfo) {
        let Ok(rest) = TimeRange::new(current.range.end(), grant.range.end()) else {
            return;
        };
        if let Ok(next) = self.footage.segments(camera, rest, AHEAD + 1) {
            let seqs: Vec<u64> = next
                .iter()
                .map(|segment| segment.seq)
                .filter(|seq| *seq != current.seq)
                .take(AHEAD)
                .collect();
            if !seqs.is_empty() {
                self.footage.prefetch(camera, seqs);
            }
        }
    }
}

/// Segments of one camera in one grant's window: a day of segments of one second.
const MOST_SEGMENTS: usize = 90_000;

fn open_file(
    keyholder: &dyn Keyholder,
    release: &VerifiedGrant,
    camera: CameraId,
    seq: u64,
    mut sealed: Sealed,
) -> Result<Opened, OpenError> {
    let damaged = |reason: &dyn std::fmt::Display| OpenError::Damaged {
        seq,
        reason: reason.to_string(),
    };
    let length = usize::try_from(sealed.extent.file_len()).map_err(|error| damaged(&error))?;
    let mut file = Vec::with_capacity(length);
    sealed
        .file
        .by_ref()
        .take(sealed.extent.file_len() + 1)
        .read_to_end(&mut file)
        .map_err(|error| damaged(&error))?;
    let preamble = Preamble::parse(&file).map_err(|error| damaged(&error))?;
    if preamble.header.camera != camera || preamble.header.seq != seq {
        return Err(damaged(&"it is another segment"));
    }
    let key = keyholder.open(release, &preamble)?;
    let mut plain = segment::open_extent(&key, &file, sealed.extent).map_err(|error| damaged(&error))?;
    drop(file);
    if sealed.extent.is_truncated() {
        fmp4::mend(&mut plain).map_err(|error| damaged(&error))?;
    }
    let clip = clip::clip(&plain, release.range()).map_err(|error| damaged(&error))?;
    Ok(Opened { plain, clip })
}

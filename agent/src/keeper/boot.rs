//! Starting: cut the log's torn tail, find where the chain and the footage ended, finish what a crash left, say why there is a hole.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{BootId, CameraId, SiteId};
use custody_shared::statement::{Boot, CodecParameters, GapCause, Kind, SignedStatement};
use custody_shared::time::{SharedClock, UtcMicros};
use tokio::sync::watch;

use super::note::NoteFile;
use super::{Chain, FreeBytes, Head, Keeper, Pulse, clock_source, note, recovery, segment_dir};
use crate::failure::Failure;
use crate::key_shelf::KeyShelf;
use crate::paths::{Folder, segment_name};
use crate::statement_log::{Frame, NOT_A_SEGMENT, StatementLog};
use crate::trusted_time::TrustedTime;
use crate::{cursor, files, sys};

/// How many of the newest statements are searched for the end of coverage.
const TAIL: usize = 64;

/// What a keeper needs to start.
pub struct Opening {
    /// Where everything lies.
    pub folder: Folder,
    /// Whose camera.
    pub site: SiteId,
    /// Which camera.
    pub camera: CameraId,
    /// Signs the statements.
    pub signer: SigningKey,
    /// Signs what comes from the server.
    pub server: VerifyingKey,
    /// The wall clock.
    pub clock: SharedClock,
    /// Below this many free bytes nothing is recorded.
    pub reserve_bytes: u64,
    /// Asks for free bytes.
    pub free_bytes: FreeBytes,
    /// Told how things are.
    pub pulse: Arc<Pulse>,
    /// Told where the chain ends.
    pub head: watch::Sender<Head>,
}

/// What the log says about the time before this start.
#[derive(Default)]
struct Past {
    tail: std::collections::VecDeque<Frame>,
    last_segment: Option<Frame>,
    highest_seq: Option<u64>,
}

impl Past {
    fn take(&mut self, frame: Frame) {
        // Files come newest first, and frames inside a file oldest first: only the newest file's end is the end.
        if frame.seq != NOT_A_SEGMENT {
            self.highest_seq = self.highest_seq.max(Some(frame.seq));
            if self.last_segment.as_ref().is_none_or(|last| last.index < frame.index) {
                self.last_segment = Some(frame.clone());
            }
        }
        if self.tail.back().is_none_or(|last| last.index < frame.index) {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(frame);
        }
    }

    fn head(&self) -> Head {
        self.tail.back().map_or(Head::START, |last| Head {
            next_index: last.index + 1,
            last_hash: Sha256Hash::of(&last.bytes),
        })
    }

    fn kinds_backwards(&self) -> impl Iterator<Item = (UtcMicros, Kind)> {
        self.tail.iter().rev().chain(&self.last_segment).filter_map(|frame| {
            let statement = SignedStatement::from_bytes(frame.bytes.clone())
                .ok()?
                .parse_unverified()
                .ok()?;
            Some((statement.at, statement.kind))
        })
    }

    fn covered_until(&self) -> Option<UtcMicros> {
        self.kinds_backwards().find_map(|(_, kind)| match kind {
            Kind::Segment(segment) => Some(segment.t_end),
            Kind::Gap(gap) => Some(gap.range.end()),
            // The segments before a step back lie ahead of the clock; coverage goes on at the clock.
            Kind::Clock(step) if step.offset_us < 0 => Some(step.after),
            _ => None,
        })
    }

    fn last_codec(&self) -> Option<CodecParameters> {
        self.kinds_backwards().find_map(|(_, kind)| match kind {
            Kind::Segment(segment) => Some(segment.codec),
            _ => None,
        })
    }
}

/// Opens the folder for recording; everything a crash left is finished when it returns.
pub fn open(opening: Opening) -> Result<Keeper, Failure> {
    let subject = format!("folder {}", opening.folder.root().display());
    let failed = |step: &str, error: &dyn std::fmt::Display| {
        Failure::new(
            &subject,
            step,
            error,
            "check that the disk is mounted, healthy and writable by this user",
        )
    };
    let folder = opening.folder.clone();
    for place in [folder.segments(), folder.statements(), folder.state()] {
        files::make_private_folder(&place).map_err(|error| failed("make its parts", &error))?;
    }
    let (log, recovered) =
        StatementLog::open(&folder.statements()).map_err(|error| failed("open the statement log", &error))?;
    if recovered != Default::default() {
        tracing::warn!(
            cut_bytes = recovered.cut_bytes,
            damaged = recovered.damaged,
            copy = ?recovered.kept_copy,
            "the statement log was repaired"
        );
    }
    let mut past = Past::default();
    log.reader()
        .visit_back(&mut past, Past::take, |past| past.highest_seq.is_some())
        .map_err(|error| failed("read the statement log", &error))?;
    let mut head = past.head();
    let acked = cursor::read(&folder.acked());
    let lost_tail = acked.next_index > head.next_index;
    if lost_tail {
        tracing::error!(
            ours = head.next_index,
            server = acked.next_index,
            "the end of the statement log is lost; the chain goes on from the server's receipt"
        );
        head = acked;
    }
    opening.head.send_replace(head);
    let hole_cause = mark_start(&folder, past.tail.is_empty()).map_err(|error| failed("mark the start", &error))?;
    let time = TrustedTime::new(read_mark(&folder), past.tail.back().and_then(stated_at));
    let keys = KeyShelf::open(&folder.keys(), opening.server, opening.site, opening.camera);
    let note = NoteFile::open(&folder.recording()).map_err(|error| failed("open the note of the recording", &error))?;
    let mut keeper = Keeper {
        chain: Chain::new(log, opening.signer, opening.camera, BootId::random(), opening.head),
        clock: opening.clock,
        keys,
        time,
        pulse: opening.pulse,
        reserve_bytes: opening.reserve_bytes,
        free_bytes: opening.free_bytes,
        note,
        recording: None,
        buffer: Vec::new(),
        next_seq: past.highest_seq.map_or(0, |seq| seq + 1),
        covered_until: past.covered_until(),
        hole_cause,
        key_in_use: None,
        last_shape: None,
        pause: None,
        folder,
    };
    keeper
        .finish_leftovers(past.last_codec().as_ref(), lost_tail)
        .map_err(|error| failed("finish what a crash left", &error))?;
    let boot = Boot {
        software: concat!("custody-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
        clock: clock_source(),
    };
    if let Err(cause) = keeper.state(Kind::Boot(boot)) {
        tracing::warn!(%cause, "the start is stated as soon as the disk takes it");
    }
    Ok(keeper)
}

impl Keeper {
    /// States every sealed file that has no statement, through the path that a failing disk uses.
    fn finish_leftovers(&mut self, codec: Option<&CodecParameters>, lost_tail: bool) -> io::Result<()> {
        let note = note::read(&self.folder.recording());
        let left = if lost_tail || self.next_seq == 0 {
            self.all_unstated()?
        } else {
            self.next_unstated()?
        };
        let newest = left.last().map(|(seq, _)| *seq);
        for (seq, path) in left {
            // With the log's end lost, the server knows the older ones as they are: they must not be cut.
            if lost_tail && Some(seq) != newest {
                self.next_seq = self.next_seq.max(seq + 1);
                continue;
            }
            let statement = recovery::salvage(&path, note.as_ref(), codec)?;
            // A number is given out again only where nothing carries it any more: neither a file nor a statement.
            if statement.is_some() || path.exists() {
                self.next_seq = self.next_seq.max(seq + 1);
            }
            if let Some(statement) = statement {
                tracing::info!(seq, bytes = statement.file_len, until = %statement.t_end, "a segment that a crash left is kept as truncated");
                self.covered_until = Some(statement.t_end);
                if let Err(cause) = self.state(Kind::Segment(Box::new(statement))) {
                    tracing::warn!(%cause, "its statement waits for the disk");
                }
            }
        }
        Ok(())
    }
}

impl Keeper {
    /// The files after the last stated one. Numbers have no hole, so the first that is missing ends the search.
    fn next_unstated(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut left = Vec::new();
        for seq in self.next_seq.. {
            match segment_dir::find(&self.folder, seq)? {
                Some(path) => left.push((seq, path)),
                None => break,
            }
        }
        Ok(left)
    }

    /// The same where the log cannot say what the last one was: every folder is looked at.
    fn all_unstated(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut left = Vec::new();
        for place in segment_dir::list(&self.folder)? {
            let path = self.folder.segments().join(place.to_string());
            let unstated = segment_dir::sequence(&path)?
                .into_iter()
                .filter(|seq| *seq >= self.next_seq);
            left.extend(unstated.map(|seq| (seq, path.join(segment_name(seq)))));
        }
        left.sort_unstable();
        Ok(left)
    }
}

/// Why there is a hole before this start, from the marker that a clean stop removes; leaves a new one.
fn mark_start(folder: &Folder, first: bool) -> io::Result<GapCause> {
    let marker = folder.running();
    let boot = sys::kernel_boot()?;
    let cause = match fs::read_to_string(&marker) {
        Ok(text) if text.trim() == boot => GapCause::AgentRestart,
        Ok(_) => GapCause::PowerLoss,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !first => GapCause::Stopped,
        Err(_) => GapCause::AgentRestart,
    };
    files::write_atomic(&marker, boot.as_bytes())?;
    Ok(cause)
}

fn stated_at(frame: &Frame) -> Option<UtcMicros> {
    SignedStatement::from_bytes(frame.bytes.clone())
        .ok()?
        .parse_unverified()
        .ok()
        .map(|statement| statement.at)
}

/// The stored mark; see [`TrustedTime`].
fn read_mark(folder: &Folder) -> UtcMicros {
    let text = files::read_bounded(&folder.clock(), 64)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(UtcMicros::MIN)
}

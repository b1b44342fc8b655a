//! The keeper: takes the segmenter's actions and makes them durable, one sealed file and one signed statement after the other.
//!
//! It runs on a thread of its own (see [`thread`]) so that a slow disk never holds up the camera's socket. It alone appends to
//! the chain, writes sealed files and deletes them.
//!
//! Coverage has no holes that nobody explains: `covered_until` is where the last segment or gap ended, and whatever lies between
//! there and the next one is stated as a gap, with the cause that is known for it.

mod boot;
mod chain;
mod coverage;
mod note;
mod pulse;
mod recovery;
mod retention;
mod sealed_file;
mod segment_dir;
pub mod thread;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use custody_shared::id::{BootId, KeyId};
use custody_shared::message::Faults;
use custody_shared::segment::Header;
use custody_shared::statement::{ClockSource, CodecParameters, GapCause, Kind, SegmentStatement, Timing};
use custody_shared::time::{SharedClock, UtcMicros};
use serde::{Deserialize, Serialize};

pub use boot::{Opening, open};
pub use chain::{Chain, Head};
pub use pulse::Pulse;
pub use recovery::{codec_of, hash_file};
pub use segment_dir::{Survey, find as find_segment_file, survey};

use crate::files;
use crate::key_shelf::KeyShelf;
use crate::paths::{Day, Folder, SegmentFolder, segment_name};
use crate::segmenter::{Action, FragmentData};
use crate::trusted_time::TrustedTime;
use coverage::Pause;
use note::{Note, NoteFile};
use sealed_file::{SealedFile, WriteError};

/// Answers how many bytes are free; the system's answer, or a test's.
pub type FreeBytes = Box<dyn Fn(&Path) -> io::Result<u64> + Send>;

/// See the module.
pub struct Keeper {
    folder: Folder,
    clock: SharedClock,
    chain: Chain,
    keys: KeyShelf,
    time: TrustedTime,
    pulse: Arc<Pulse>,
    reserve_bytes: u64,
    free_bytes: FreeBytes,
    note: NoteFile,
    recording: Option<Recording>,
    buffer: Vec<u8>,
    next_seq: u64,
    covered_until: Option<UtcMicros>,
    hole_cause: GapCause,
    key_in_use: Option<KeyId>,
    last_shape: Option<(CodecParameters, Shape)>,
    pause: Option<Pause>,
}

/// What only a segment's end tells about its pictures; until then the segment before is the best guess, where the codec is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    closed_gop: bool,
    b_frames: bool,
    timing: Timing,
}

impl Shape {
    /// Where nothing is known: the answers that promise least.
    const UNKNOWN: Self = Self {
        closed_gop: false,
        b_frames: true,
        timing: Timing::Arrival,
    };
}

/// The segment being written.
struct Recording {
    file: SealedFile,
    codec: CodecParameters,
    clock: ClockSource,
    t_start: UtcMicros,
    t_end: UtcMicros,
    frames: u32,
    fragments: u32,
    durable: Note,
}

impl Keeper {
    /// Carries out actions in order. What the disk refuses becomes a truncated segment and a gap; nothing is returned because
    /// nobody upstream could do anything about it.
    pub fn take(&mut self, actions: Vec<Action>) {
        let mut actions = actions.into_iter().peekable();
        while let Some(action) = actions.next() {
            // The last fragment's sync and the end's are one.
            let end_follows = matches!(actions.peek(), Some(Action::End { .. }));
            match action {
                Action::Begin {
                    t_start,
                    init,
                    parameters,
                } => {
                    self.end_abandoned();
                    self.begin(t_start, &init, codec_of(&parameters));
                }
                Action::Fragment {
                    data,
                    t_start,
                    t_end,
                    frames,
                } => {
                    self.fragment(&data, t_start, t_end, frames, !end_follows);
                }
                Action::End {
                    t_end,
                    closed_gop,
                    b_frames,
                    timing,
                    ..
                } => self.end(
                    t_end,
                    Some(Shape {
                        closed_gop,
                        b_frames,
                        timing,
                    }),
                ),
                Action::Gap { range, cause } => self.gap(range, cause),
                Action::ClockStep {
                    offset_us,
                    before,
                    after,
                } => self.clock_step(offset_us, before, after),
            }
        }
    }

    fn begin(&mut self, t_start: UtcMicros, init: &[u8], codec: CodecParameters) {
        match self.try_begin(t_start, init, codec) {
            Ok(()) => {
                if self.pause.take().is_some() {
                    tracing::info!("recording goes on");
                }
            }
            Err(cause) => self.pause_at(t_start, cause),
        }
    }

    fn try_begin(&mut self, t_start: UtcMicros, init: &[u8], codec: CodecParameters) -> Result<(), GapCause> {
        self.chain.retry().map_err(|error| self.disk_cause(&error))?;
        let free = (self.free_bytes)(self.folder.root()).map_err(|error| self.disk_cause(&error))?;
        if free < self.reserve_bytes {
            self.pulse.raise(Faults::DISK_LOW);
            return Err(GapCause::DiskFull);
        }
        let Some(key) = self.keys.choose(self.time.for_keys(t_start)) else {
            self.pulse.raise(Faults::KEYS_LOW);
            return Err(GapCause::NoKey);
        };
        self.pulse.set(Faults::RESERVE_KEY, key.reserve);
        self.pulse.set_key_ends(key.valid_until);
        let (key_id, public, due) = (key.key_id, key.public.clone(), segment_dir::Due::of(key));
        self.cover_until(t_start)?;
        if self.key_in_use != Some(key_id) {
            self.state(Kind::KeyInUse { key_id })?;
            self.key_in_use = Some(key_id);
        }
        let clock = clock_source();
        let header = Header {
            camera: self.chain.camera(),
            key_id,
            seq: self.next_seq,
            t_start,
            boot_id: self.chain.boot(),
            prev_statement: self.chain.head().last_hash,
        };
        let durable = Note {
            seq: self.next_seq,
            codec: recovery::codec_text(&codec),
            durable_len: 0,
            t_end: t_start,
            frames: 0,
            fragments: 0,
            synchronised: clock == ClockSource::Ntp,
            shape: self.shape_of(&codec),
        };
        let place = self.folder.segments().join(
            SegmentFolder {
                day: Day::of(t_start),
                key_id,
            }
            .to_string(),
        );
        // Only the codec must survive a power cut with it; where the last statement has the same, that serves.
        let news = self.last_shape.as_ref().is_none_or(|(last, _)| *last != codec);
        let begun = segment_dir::make(&place, &due)
            .and_then(|()| self.note.write(&durable, news))
            .map_err(WriteError::from)
            .and_then(|()| {
                let buffer = std::mem::take(&mut self.buffer);
                SealedFile::create(&place.join(segment_name(self.next_seq)), header, &public, buffer)
            })
            .and_then(|mut file| file.push(init).map(|()| file));
        let file = begun.map_err(|error| {
            if matches!(&error, WriteError::Disk(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                // A file of which nothing is known carries the number: it is left alone, and the next number tried.
                self.next_seq += 1;
            }
            self.write_cause(&error)
        })?;
        self.next_seq += 1;
        self.pulse.clear(Faults::DISK_LOW.with(Faults::DISK_ERROR));
        self.pulse.set_recording(true);
        self.recording = Some(Recording {
            file,
            codec,
            clock,
            t_start,
            t_end: t_start,
            frames: 0,
            fragments: 0,
            durable,
        });
        Ok(())
    }

    fn fragment(&mut self, data: &FragmentData, t_start: UtcMicros, t_end: UtcMicros, frames: u32, sync: bool) {
        let length = data.len();
        // The reserve is for the statements: without it a full disk could not even be stated.
        let free = (self.free_bytes)(self.folder.root()).unwrap_or(u64::MAX);
        if self.recording.is_some() && free < self.reserve_bytes.saturating_add(length as u64) {
            self.pulse.raise(Faults::DISK_LOW);
            self.end_abandoned();
            return self.pause_at(t_start, GapCause::DiskFull);
        }
        let Some(mut recording) = self.recording.take() else {
            return;
        };
        let written = (|| {
            for piece in data.pieces() {
                recording.file.push(piece)?;
            }
            let waiting = recording.file.end_fragment(length)?;
            if sync {
                recording.file.sync()?;
            }
            Ok(waiting)
        })();
        let waiting = match written {
            Ok(waiting) => waiting.min(length),
            Err(error) => return self.give_up(recording, &error),
        };
        recording.t_end = t_end;
        recording.frames = recording.frames.saturating_add(frames);
        recording.fragments += 1;
        recording.durable = Note {
            durable_len: recording.file.written(),
            // What waits for its chunk is the fragment's tail: its share of the time is not on disk yet.
            t_end: before_tail(t_start, t_end, length, waiting),
            frames: recording.frames.saturating_sub(share(frames, length, waiting)),
            fragments: recording.fragments,
            ..recording.durable
        };
        // Only a help for the next start; without it that start is less exact, not less safe.
        if let Err(error) = self.note.write(&recording.durable, false) {
            tracing::debug!(%error, "the note beside the segment was not written");
        }
        self.pulse.frame_at(t_end);
        self.pulse.wrote(length as u64);
        self.recording = Some(recording);
    }

    fn end(&mut self, t_end: UtcMicros, shape: Option<Shape>) {
        let Some(recording) = self.recording.take() else { return };
        let Recording {
            file,
            codec,
            clock,
            t_start,
            frames,
            fragments,
            durable,
            ..
        } = recording;
        let preamble = file.preamble().clone();
        let path = file.path().to_owned();
        let seen = shape;
        let shape = shape.unwrap_or(durable.shape);
        if fragments == 0 {
            // It has begun and holds no picture: as if it had not.
            drop(file);
            self.next_seq = preamble.header.seq;
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, "an empty segment cannot be removed; the next start does it");
                self.next_seq += 1;
            }
            return;
        }
        match file.finish() {
            Ok((finished, buffer)) => {
                self.buffer = buffer;
                let statement = SegmentStatement {
                    preamble,
                    file_sha256: finished.sha256,
                    file_len: finished.len,
                    t_end: t_end.max(UtcMicros::new(t_start.get() + 1)),
                    frames,
                    fragments,
                    codec,
                    truncated: false,
                    clock,
                    timing: shape.timing,
                    closed_gop: shape.closed_gop,
                    b_frames: shape.b_frames,
                };
                if let Some(seen) = seen {
                    self.last_shape = Some((statement.codec.clone(), seen));
                }
                self.covered_until = Some(t_end);
                self.hole_cause = GapCause::PacketLoss;
                // A crash before this is durable leaves a file without a statement; the next start states it as truncated.
                let _ = self.state(Kind::Segment(Box::new(statement)));
            }
            Err(error) => self.salvage(&path, &durable, &error),
        }
    }

    /// A segment whose end never came: the queue overflowed. It ends at its last fragment.
    fn end_abandoned(&mut self) {
        if let Some(recording) = &self.recording {
            let t_end = recording.t_end;
            self.end(t_end, None);
        }
    }

    /// Fragments are missing: the disk was too slow for the queue, or reading the camera broke down.
    pub fn abandon(&mut self, cause: GapCause) {
        self.end_abandoned();
        self.hole_cause = cause;
        self.pulse.set_recording(false);
        if cause == GapCause::DiskError {
            self.pulse.raise(Faults::DISK_ERROR);
            tracing::warn!(
                "the disk is too slow for this camera: fragments are dropped until it catches up, and the gap is stated"
            );
        }
    }

    fn give_up(&mut self, recording: Recording, error: &WriteError) {
        let path = recording.file.path().to_owned();
        let durable = recording.durable.clone();
        drop(recording);
        self.salvage(&path, &durable, error);
    }

    /// The disk failed under a segment: what is on it is stated as truncated, through the path that a start after a crash uses.
    fn salvage(&mut self, path: &Path, durable: &Note, error: &WriteError) {
        tracing::warn!(%error, "a segment cannot be written on; what is on the disk is kept");
        let cause = self.write_cause(error);
        let mut at = durable.t_end;
        match recovery::salvage(path, Some(durable), None) {
            Ok(Some(statement)) => {
                at = statement.t_end;
                self.covered_until = Some(at);
                let _ = self.state(Kind::Segment(Box::new(statement)));
            }
            // Nothing of it was kept and no statement names it: its number is free again.
            Ok(None) if !path.exists() => self.next_seq = durable.seq,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the segment cannot be read back; the next start tries again"),
        }
        self.pause_at(at, cause);
    }

    fn shape_of(&self, codec: &CodecParameters) -> Shape {
        let same = self.last_shape.as_ref().filter(|(last, _)| last == codec);
        same.map_or(Shape::UNKNOWN, |(_, shape)| *shape)
    }

    fn state(&mut self, kind: Kind) -> Result<(), GapCause> {
        let at = self.clock.now();
        self.chain.state(at, kind).map_err(|error| {
            tracing::warn!(%error, "a statement waits for the disk");
            self.disk_cause(&error)
        })
    }

    fn write_cause(&self, error: &WriteError) -> GapCause {
        match error {
            WriteError::Disk(error) => self.disk_cause(error),
            WriteError::Seal(_) => GapCause::DiskError,
        }
    }

    fn disk_cause(&self, error: &io::Error) -> GapCause {
        let full = files::is_disk_full(error);
        self.pulse
            .raise(if full { Faults::DISK_LOW } else { Faults::DISK_ERROR });
        if full { GapCause::DiskFull } else { GapCause::DiskError }
    }

    /// Ends cleanly: whatever is open is finished and stated, and the next start will know that this was no crash.
    pub fn stop(&mut self) {
        self.end_abandoned();
        if let Err(error) = self.chain.retry() {
            tracing::error!(%error, "statements cannot be written; the next start finds the gap again");
        }
        let marker = self.folder.running();
        if let Err(error) = std::fs::remove_file(&marker).and_then(|()| files::sync_folder(&self.folder.state())) {
            tracing::warn!(%error, "the stop cannot be marked as clean; the next start states an interruption");
        }
        self.pulse.set_recording(false);
    }

    /// This run of the agent.
    pub fn boot(&self) -> BootId {
        self.chain.boot()
    }
}

/// Where the clock stands with the outside world.
fn clock_source() -> ClockSource {
    if crate::sys::clock_is_synchronised() {
        ClockSource::Ntp
    } else {
        ClockSource::Unsynchronised
    }
}

/// Where a fragment's pictures end that are wholly on disk, judged by bytes.
fn before_tail(t_start: UtcMicros, t_end: UtcMicros, length: usize, waiting: usize) -> UtcMicros {
    let lasts = i128::from(t_end.get()) - i128::from(t_start.get());
    let missing = lasts * waiting as i128 / (length.max(1) as i128);
    UtcMicros::new(t_end.get().saturating_sub(i64::try_from(missing).unwrap_or(0)))
}

/// How many of `frames` lie in the last `waiting` of `length` bytes, rounded up.
fn share(frames: u32, length: usize, waiting: usize) -> u32 {
    (u64::from(frames) * waiting as u64).div_ceil(length.max(1) as u64) as u32
}

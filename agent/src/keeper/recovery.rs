//! Finishing what a crash left: a sealed file without a statement is cut to whole chunks, hashed and stated as truncated.
//!
//! The running agent uses the same path when the disk fails under a segment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use custody_shared::cbor::Cbor as _;
use custody_shared::fmp4::VideoParameters;
use custody_shared::hash::{Hasher, Sha256Hash};
use custody_shared::segment::{Extent, MAX_FILE_LEN, PREAMBLE_LEN, Preamble};
use custody_shared::statement::{ClockSource, CodecParameters, SegmentStatement};
use custody_shared::time::UtcMicros;

use super::Shape;
use super::note::Note;

/// No segment lasts longer than this, µs; a file's time of writing beyond it is a stepped clock's.
const LONGEST_US: i64 = 150 * 1_000_000;

/// The codec parameters as a statement carries them.
pub fn codec_of(parameters: &VideoParameters) -> CodecParameters {
    CodecParameters {
        codec: parameters.codec(),
        rfc6381: parameters.rfc6381().to_owned(),
        width: parameters.width(),
        height: parameters.height(),
    }
}

/// Codec parameters as the note carries them.
pub(super) fn codec_text(codec: &CodecParameters) -> String {
    hex::encode(codec.to_cbor())
}

fn codec_from_text(text: &str) -> Option<CodecParameters> {
    CodecParameters::from_cbor(&hex::decode(text).ok()?).ok()
}

/// Makes a statement for the file at `path`, or deletes it where it holds not one whole chunk.
///
/// `codec` stands in where the note is missing; without either, the file is left as it is and `None` returned.
pub(super) fn salvage(
    path: &Path,
    note: Option<&Note>,
    codec: Option<&CodecParameters>,
) -> io::Result<Option<SegmentStatement>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    let found = metadata.len();
    let mut start = vec![0; PREAMBLE_LEN];
    let readable = found >= PREAMBLE_LEN as u64 && (&file).read_exact(&mut start).is_ok();
    let preamble = readable.then(|| Preamble::parse(&start).ok()).flatten();
    let whole = Extent::recoverable_len(found);
    let (Some(preamble), Some(whole)) = (preamble, whole) else {
        return discard(path, found);
    };
    let note = note.filter(|note| note.seq == preamble.header.seq);
    let Some(codec) = note
        .and_then(|note| codec_from_text(&note.codec))
        .or_else(|| codec.cloned())
    else {
        tracing::error!(
            seq = preamble.header.seq,
            "a recovered segment has no known codec; it is kept without a statement"
        );
        return Ok(None);
    };
    // Whether the last, short chunk is whole cannot be told without the key: only whole chunks are kept.
    let file_len = whole;
    if file_len != found {
        file.set_len(file_len)?;
    }
    file.sync_all()?;
    drop(file);
    let shape = note.map_or(Shape::UNKNOWN, |note| note.shape);
    let t_start = preamble.header.t_start;
    // Taken before the cut, which sets a new time of writing.
    let modified = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(t_start.get());
    let counts = note
        .map(|note| (note.frames, note.fragments))
        .filter(|(frames, fragments)| (1..=*frames).contains(fragments));
    let (frames, fragments) = counts.unwrap_or((0, 0));
    let t_end = end_of(t_start.get(), note, file_len, modified);
    Ok(Some(SegmentStatement {
        preamble,
        file_sha256: hash_file(path)?.0,
        file_len,
        t_end: UtcMicros::new(t_end),
        frames,
        fragments,
        codec,
        truncated: true,
        clock: if note.is_some_and(|note| note.synchronised) {
            ClockSource::Ntp
        } else {
            ClockSource::Unsynchronised
        },
        timing: shape.timing,
        closed_gop: shape.closed_gop,
        b_frames: shape.b_frames,
    }))
}

/// Where the pictures of a recovered file end: as the note says where it speaks of these very bytes, otherwise when they were written.
fn end_of(t_start: i64, note: Option<&Note>, file_len: u64, modified: i64) -> i64 {
    let least = note
        .map_or(t_start, |note| note.t_end.get())
        .max(t_start.saturating_add(1));
    if note.is_some_and(|note| note.durable_len >= file_len) {
        return least;
    }
    modified.clamp(least, t_start.saturating_add(LONGEST_US).max(least))
}

fn discard(path: &Path, found: u64) -> io::Result<Option<SegmentStatement>> {
    tracing::info!(
        bytes = found,
        "a file that a crash left before its first whole chunk is removed"
    );
    std::fs::remove_file(path)?;
    if let Some(folder) = path.parent() {
        crate::files::sync_folder(folder)?;
    }
    Ok(None)
}

/// SHA-256 and length of a file, read in pieces.
pub fn hash_file(path: &Path) -> io::Result<(Sha256Hash, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((hasher.finish(), length));
        }
        length += read as u64;
        if length > MAX_FILE_LEN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any segment"));
        }
        hasher.update(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_recovered_file_ends() {
        let note = |durable_len, t_end| Note {
            seq: 1,
            codec: String::new(),
            durable_len,
            t_end: UtcMicros::new(t_end),
            frames: 0,
            fragments: 0,
            synchronised: false,
            shape: Shape::UNKNOWN,
        };
        const S: i64 = 1_000_000;
        for (name, note, modified, wanted) in [
            (
                "a killed process: the note knows",
                Some(note(500, 9 * S)),
                9 * S + 1234,
                9 * S,
            ),
            (
                "a power cut: bytes outlived the note",
                Some(note(400, 7 * S)),
                9 * S,
                9 * S,
            ),
            (
                "a power cut, clock set back since",
                Some(note(400, 7 * S)),
                3 * S,
                7 * S,
            ),
            (
                "a power cut, clock set forward since",
                Some(note(400, 7 * S)),
                9000 * S,
                5 * S + LONGEST_US,
            ),
            ("no note", None, 8 * S, 8 * S),
            ("no note and no time", None, 0, 5 * S + 1),
        ] {
            assert_eq!(end_of(5 * S, note.as_ref(), 500, modified), wanted, "{name}");
        }
    }
}

//! The statement log: the agent's truth about what it recorded, append-only and durable before anything follows from it.
//!
//! One file per UTC day, named by the day of its first statement. Files never go backwards: when the clock is stepped back, the newest file simply goes
//! on, so the order of files and frames is the order of the chain.
//!
//! A crash in the middle of an append leaves a torn tail, which the next start cuts. Everything an append returned `Ok` for
//! was fdatasynced and stays.

mod frame;
mod reader;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use frame::{Frame, MAX_STATEMENT, NOT_A_SEGMENT};
pub use reader::{LogReader, ReadOut};

use crate::files::{PRIVATE, make_private_folder, sync_folder, write_at};
use crate::paths::Day;
use frame::{At, FRAME_HEAD, MAGIC};

/// What opening found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes of a torn last append that were cut off.
    pub cut_bytes: u64,
    /// Where a copy of a tail longer than any torn append was kept before it was cut.
    pub kept_copy: Option<PathBuf>,
    /// Entries in the newest file that cannot be read although later ones can.
    pub damaged: u32,
}

/// The log, open for appending. One writer; readers use [`LogReader`].
#[derive(Debug)]
pub struct StatementLog {
    folder: PathBuf,
    newest: Option<Newest>,
}

#[derive(Debug)]
struct Newest {
    day: Day,
    file: File,
    length: u64,
    last_index: Option<u64>,
}

impl StatementLog {
    /// Opens the log and cuts a torn tail off its newest file.
    pub fn open(folder: &Path) -> io::Result<(Self, Recovered)> {
        make_private_folder(folder)?;
        let mut recovered = Recovered::default();
        let mut newest = None;
        if let Some(&day) = days(folder)?.last() {
            newest = Some(recover(folder, day, &mut recovered)?);
        }
        let mut log = Self {
            folder: folder.to_owned(),
            newest,
        };
        // A newest file without a single entry says nothing about the chain's end; the one before it does.
        if log.newest.as_ref().is_some_and(|newest| newest.last_index.is_none())
            && let Some(frame) = log.reader().last()?
            && let Some(newest) = &mut log.newest
        {
            newest.last_index = Some(frame.index);
        }
        Ok((log, recovered))
    }

    /// A reader of the same files.
    pub fn reader(&self) -> LogReader {
        LogReader::new(&self.folder)
    }

    /// The file that the newest statement lies in.
    pub fn newest_day(&self) -> Option<Day> {
        self.newest.as_ref().map(|newest| newest.day)
    }

    /// Appends one statement and returns once it survives a power cut.
    ///
    /// On an error nothing was appended: what was written of it has been cut off again.
    pub fn append(&mut self, day: Day, frame: &Frame) -> io::Result<()> {
        if frame.bytes.is_empty() || frame.bytes.len() > MAX_STATEMENT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a statement of impossible length",
            ));
        }
        if self.newest.as_ref().is_none_or(|newest| newest.day < day) {
            self.newest = Some(create(
                &self.folder,
                day,
                self.newest.as_ref().and_then(|n| n.last_index),
            )?);
        }
        let Some(newest) = &mut self.newest else {
            return Err(io::Error::other("no log file is open"));
        };
        if newest.last_index.is_some_and(|last| frame.index <= last) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the index does not grow"));
        }
        let raw = frame.encode();
        let written = write_at(&newest.file, &raw, newest.length).and_then(|()| newest.file.sync_data());
        if let Err(error) = written {
            // After a failed sync the kernel may have dropped the pages: the entry is written anew by the next attempt.
            newest.file.set_len(newest.length)?;
            return Err(error);
        }
        newest.length += raw.len() as u64;
        newest.last_index = Some(frame.index);
        Ok(())
    }

    /// Deletes files older than `before` whose statements all have an index below `acked`; the newest file stays.
    pub fn prune(&self, before: Day, acked: u64) -> io::Result<u32> {
        let all = days(&self.folder)?;
        let mut removed = 0;
        for pair in all.windows(2) {
            let [day, following] = pair else { break };
            if *day >= before {
                break;
            }
            // Everything in a file precedes the first entry of the following one.
            let Some(first) = self.reader().first_index(*following)? else {
                break;
            };
            if first > acked {
                break;
            }
            fs::remove_file(path_of(&self.folder, *day))?;
            removed += 1;
        }
        if removed > 0 {
            sync_folder(&self.folder)?;
        }
        Ok(removed)
    }
}

fn path_of(folder: &Path, day: Day) -> PathBuf {
    folder.join(format!("{day}.log"))
}

/// The days there are files for, oldest first.
fn days(folder: &Path) -> io::Result<Vec<Day>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(day) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(Day::parse)
        {
            found.push(day);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn create(folder: &Path, day: Day, last_index: Option<u64>) -> io::Result<Newest> {
    // `create` without `create_new`: an attempt that failed on a full disk may have left the file.
    let path = path_of(folder, day);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path)?;
    file.write_all_at(&MAGIC, 0)?;
    file.set_len(MAGIC.len() as u64)?;
    file.sync_all()?;
    sync_folder(folder)?;
    Ok(Newest {
        day,
        file,
        length: MAGIC.len() as u64,
        last_index,
    })
}

fn recover(folder: &Path, day: Day, recovered: &mut Recovered) -> io::Result<Newest> {
    let path = path_of(folder, day);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let end = file.metadata()?.len();
    let start = MAGIC.len() as u64;
    if end < start {
        // The crash came before the first entry.
        recovered.cut_bytes = end;
        return create(folder, day, None);
    }
    let mut offset = start;
    let mut last_index = None;
    loop {
        match frame::read_at(&file, offset, end)? {
            At::Frame { frame, next } => {
                last_index = Some(frame.index);
                offset = next;
            }
            At::Damage { next } => {
                recovered.damaged += 1;
                offset = next;
            }
            At::Torn { from } => {
                cut(&path, &file, from, end, recovered)?;
                return Ok(Newest {
                    day,
                    file,
                    length: from,
                    last_index,
                });
            }
            At::End => {
                return Ok(Newest {
                    day,
                    file,
                    length: end,
                    last_index,
                });
            }
        }
    }
}

fn cut(path: &Path, file: &File, from: u64, end: u64, recovered: &mut Recovered) -> io::Result<()> {
    // Every append is synced before the next: a crash tears one frame. More than that is damage, and evidence of it is kept.
    if end - from > FRAME_HEAD + MAX_STATEMENT as u64 {
        let copy = path.with_extension("damaged");
        fs::copy(path, &copy)?;
        recovered.kept_copy = Some(copy);
    }
    file.set_len(from)?;
    file.sync_all()?;
    recovered.cut_bytes = end - from;
    Ok(())
}

#[cfg(test)]
mod tests;

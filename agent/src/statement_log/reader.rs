//! Reading the statement log beside its writer: by index for the outbox, by segment for the upload, backwards for a start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, At, FRAME_HEAD, Frame, MAGIC, NOT_A_SEGMENT};
use super::{days, path_of};
use crate::paths::Day;

/// Consecutive statements as the outbox wants them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadOut {
    /// Index of the first one.
    pub first_index: u64,
    /// Signed statements with consecutive indices.
    pub statements: Vec<Vec<u8>>,
}

/// Reads files that a [`super::StatementLog`] appends to. Keeps no file open and few numbers in memory.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    /// First index of each closed or growing file; a file's first index never changes.
    first: BTreeMap<Day, u64>,
    /// Where the entry with this index begins: the outbox reads forward.
    cursor: Option<(Day, u64, u64)>,
}

impl LogReader {
    /// A reader of the log in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            first: BTreeMap::new(),
            cursor: None,
        }
    }

    fn open(&self, day: Day) -> io::Result<(File, u64)> {
        let file = File::open(path_of(&self.folder, day))?;
        let end = file.metadata()?.len();
        Ok((file, end))
    }

    /// Index of the first whole entry of a day's file.
    pub fn first_index(&mut self, day: Day) -> io::Result<Option<u64>> {
        if let Some(index) = self.first.get(&day) {
            return Ok(Some(*index));
        }
        let (file, end) = self.open(day)?;
        let mut offset = MAGIC.len() as u64;
        loop {
            match frame::read_at(&file, offset, end.max(offset))? {
                At::Frame { frame, .. } => {
                    self.first.insert(day, frame.index);
                    return Ok(Some(frame.index));
                }
                At::Damage { next } => offset = next,
                At::Torn { .. } | At::End => return Ok(None),
            }
        }
    }

    /// The newest whole entry.
    pub fn last(&self) -> io::Result<Option<Frame>> {
        let mut last = None;
        for day in days(&self.folder)?.into_iter().rev() {
            self.visit(day, |frame| last = Some(frame))?;
            if last.is_some() {
                break;
            }
        }
        Ok(last)
    }

    /// Gives `state` the whole entries of the newest file, then of the one before it, until `enough` says so.
    /// Within a file the order is the log's.
    pub fn visit_back<T>(
        &self,
        state: &mut T,
        mut each: impl FnMut(&mut T, Frame),
        enough: impl Fn(&T) -> bool,
    ) -> io::Result<()> {
        for day in days(&self.folder)?.into_iter().rev() {
            self.visit(day, |frame| each(state, frame))?;
            if enough(state) {
                break;
            }
        }
        Ok(())
    }

    fn visit(&self, day: Day, mut each: impl FnMut(Frame)) -> io::Result<()> {
        let (file, end) = self.open(day)?;
        let mut offset = MAGIC.len() as u64;
        loop {
            match frame::read_at(&file, offset, end.max(offset))? {
                At::Frame { frame, next } => {
                    offset = next;
                    each(frame);
                }
                At::Damage { next } => offset = next,
                At::Torn { .. } | At::End => return Ok(()),
            }
        }
    }

    /// Consecutive statements from `index` on as long as `fits` accepts the next one's length, but none from `end_index` on.
    ///
    /// Where `index` cannot be read any more (pruned or damaged), the answer begins at the next one that can.
    pub fn read(&mut self, index: u64, end_index: u64, mut fits: impl FnMut(usize) -> bool) -> io::Result<ReadOut> {
        let mut out = ReadOut {
            first_index: index,
            statements: Vec::new(),
        };
        let Some((mut day, mut offset)) = self.place_of(index)? else {
            return Ok(out);
        };
        loop {
            let (file, end) = self.open(day)?;
            while let Some((frame, next)) = next_whole(&file, offset, end)? {
                if frame.index >= end_index {
                    return Ok(out);
                }
                if frame.index >= index {
                    let expected = out.first_index + out.statements.len() as u64;
                    if out.statements.is_empty() {
                        out.first_index = frame.index;
                    } else if frame.index != expected {
                        return Ok(out);
                    }
                    if !fits(frame.bytes.len()) {
                        return Ok(out);
                    }
                    self.cursor = Some((day, next, frame.index + 1));
                    out.statements.push(frame.bytes);
                }
                offset = next;
            }
            let Some(following) = days(&self.folder)?.into_iter().find(|other| *other > day) else {
                return Ok(out);
            };
            (day, offset) = (following, MAGIC.len() as u64);
        }
    }

    /// Day and offset to start reading from for `index`.
    fn place_of(&mut self, index: u64) -> io::Result<Option<(Day, u64)>> {
        if let Some((day, offset, at)) = self.cursor
            && at == index
            && path_of(&self.folder, day).exists()
        {
            return Ok(Some((day, offset)));
        }
        let all = days(&self.folder)?;
        let mut start = None;
        for day in &all {
            match self.first_index(*day)? {
                Some(first) if first > index => break,
                Some(_) => start = Some(*day),
                None => {}
            }
        }
        Ok(start.or(all.first().copied()).map(|day| (day, MAGIC.len() as u64)))
    }

    /// The signed statement about segment `seq`; the newest one where a segment was stated twice.
    pub fn find_segment(&self, seq: u64) -> io::Result<Option<Vec<u8>>> {
        if seq == NOT_A_SEGMENT {
            return Ok(None);
        }
        for day in days(&self.folder)?.into_iter().rev() {
            let (file, end) = self.open(day)?;
            let mut offset = MAGIC.len() as u64;
            let mut found = None;
            let mut lowest = u64::MAX;
            while let Some(head) = frame::head_at(&file, offset, end)? {
                if head.seq == seq {
                    found = Some(offset);
                }
                lowest = lowest.min(head.seq);
                offset += FRAME_HEAD + head.length as u64;
            }
            if let Some(offset) = found
                && let At::Frame { frame, .. } = frame::read_at(&file, offset, end)?
            {
                return Ok(Some(frame.bytes));
            }
            // Heads are skipped unchecked above; a damaged one ends the walk early, and only then is the slow way worth it.
            if offset < end {
                let mut slow = None;
                self.visit(day, |frame| {
                    lowest = lowest.min(frame.seq);
                    if frame.seq == seq {
                        slow = Some(frame.bytes);
                    }
                })?;
                if slow.is_some() {
                    return Ok(slow);
                }
            }
            if lowest < seq {
                // Numbers only grow: older files hold lower ones.
                return Ok(None);
            }
        }
        Ok(None)
    }
}

fn next_whole(file: &File, mut offset: u64, end: u64) -> io::Result<Option<(Frame, u64)>> {
    loop {
        match frame::read_at(file, offset, end.max(offset))? {
            At::Frame { frame, next } => return Ok(Some((frame, next))),
            At::Damage { next } => offset = next,
            // The writer may be in the middle of an append: what is not whole yet is not there yet.
            At::Torn { .. } | At::End => return Ok(None),
        }
    }
}

//! Reading the log from a place on: at start from where the index ends, at a rebuild from the beginning.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file::{HEAD, LogFile, checksum};
use super::{MAX_STATEMENT, StatementRef, StoreError};

/// One statement of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it lies.
    pub at: StatementRef,
    /// Where the next one begins.
    pub end: StatementRef,
    /// The signed statement.
    pub bytes: Vec<u8>,
}

/// A place in the log that holds no valid frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// First damaged byte.
    pub offset: u64,
    /// Damaged bytes passed over, up to the next valid frame or the file's end.
    pub bytes: u64,
}

/// An iterator over the log. Damage in the middle of a file is passed over and kept for the report: one flipped bit must
/// not hide the statements of all cameras behind it.
pub struct Scan {
    dir: PathBuf,
    files: std::vec::IntoIter<LogFile>,
    current: Option<Reading>,
    damage: Vec<Damage>,
}

struct Reading {
    file: LogFile,
    reader: BufReader<File>,
    offset: u64,
    length: u64,
}

impl Scan {
    pub(super) fn new(dir: &Path, from: StatementRef) -> Result<Self, StoreError> {
        let mut files = LogFile::list(dir).map_err(StoreError::io("list", dir))?;
        files.retain(|file| file.number >= from.file);
        let mut scan = Self {
            dir: dir.to_owned(),
            files: files.into_iter(),
            current: None,
            damage: Vec::new(),
        };
        scan.open_next()?;
        if let Some(reading) = scan.current.as_mut().filter(|reading| reading.file.number == from.file) {
            reading
                .seek(u64::from(from.offset))
                .map_err(StoreError::io("read", dir))?;
        }
        Ok(scan)
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    fn open_next(&mut self) -> Result<(), StoreError> {
        self.current = None;
        if let Some(file) = self.files.next() {
            let path = file.path(&self.dir);
            let open = || -> std::io::Result<(File, u64)> {
                let file = File::open(&path)?;
                let length = file.metadata()?.len();
                Ok((file, length))
            };
            let (opened, length) = open().map_err(StoreError::io("open", &path))?;
            let reader = BufReader::with_capacity(256 << 10, opened);
            self.current = Some(Reading {
                file,
                reader,
                offset: 0,
                length,
            });
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Frame>, StoreError> {
        loop {
            let Some(reading) = self.current.as_mut() else {
                return Ok(None);
            };
            let path = reading.file.path(&self.dir);
            if reading.offset >= reading.length {
                self.open_next()?;
                continue;
            }
            let start = reading.offset;
            match reading.frame().map_err(StoreError::io("read", &path))? {
                Some(frame) => return Ok(Some(frame)),
                None => {
                    let next = reading.resynchronise(start).map_err(StoreError::io("read", &path))?;
                    self.damage.push(Damage {
                        path,
                        offset: start,
                        bytes: next - start,
                    });
                }
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Frame, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Reading {
    fn seek(&mut self, offset: u64) -> std::io::Result<()> {
        self.reader.seek(SeekFrom::Start(offset))?;
        self.offset = offset;
        Ok(())
    }

    /// The frame at the present offset, or `None` if there is no valid one.
    fn frame(&mut self) -> std::io::Result<Option<Frame>> {
        let left = self.length - self.offset;
        let mut head = [0; HEAD];
        if left < HEAD as u64 {
            return Ok(None);
        }
        self.reader.read_exact(&mut head)?;
        let (length, sum) = head.split_at(4);
        let length: [u8; 4] = length.try_into().unwrap_or_default();
        let body = u32::from_be_bytes(length);
        if body as usize > MAX_STATEMENT || u64::from(body) + HEAD as u64 > left {
            return Ok(None);
        }
        let mut bytes = vec![0; body as usize];
        self.reader.read_exact(&mut bytes)?;
        if checksum(length, &bytes).to_be_bytes() != sum {
            return Ok(None);
        }
        let at = self.place();
        self.offset += HEAD as u64 + u64::from(body);
        Ok(Some(Frame {
            at,
            end: self.place(),
            bytes,
        }))
    }

    fn place(&self) -> StatementRef {
        StatementRef {
            file: self.file.number,
            offset: u32::try_from(self.offset).unwrap_or(u32::MAX),
        }
    }

    /// Moves to the next offset with a valid frame, or to the end, and returns it.
    fn resynchronise(&mut self, damaged: u64) -> std::io::Result<u64> {
        self.seek(damaged)?;
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        for skip in 1..rest.len().saturating_sub(HEAD) {
            let head = &rest[skip..skip + HEAD];
            let length: [u8; 4] = head[..4].try_into().unwrap_or_default();
            let body = u32::from_be_bytes(length) as usize;
            // An empty body's checksum is one value: runs of zeros cannot pass for frames.
            if body == 0 || body > MAX_STATEMENT {
                continue;
            }
            if let Some(bytes) = rest.get(skip + HEAD..skip + HEAD + body)
                && checksum(length, bytes).to_be_bytes() == head[4..]
            {
                let next = damaged + skip as u64;
                self.seek(next)?;
                return Ok(next);
            }
        }
        let end = self.length;
        self.seek(end)?;
        Ok(end)
    }
}

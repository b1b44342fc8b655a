//! Appending and reading back.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_shared::time::UtcMicros;

use super::file::{HEAD, LogFile, checksum, push_frame};
use super::{FILE_BYTES, MAX_STATEMENT, Scan, StatementRef};
use crate::ca::files::private_dir;

/// Files kept open for reading.
const OPEN_FILES: usize = 32;

/// What can go wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("statement log: cannot {step} {path} ({source}); check the disk and its free space")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no valid frame at a place that the index names.
    #[error("statement log: no valid statement at offset {offset} of {path}; run `custody-server rebuild`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Offset of the frame.
        offset: u32,
    },
    /// Longer than a statement may be.
    #[error("statement log: a statement of {0} bytes is over the bound of {MAX_STATEMENT}")]
    TooLong(usize),
}

impl StoreError {
    pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

/// The statement log of a server.
pub struct StatementStore {
    dir: PathBuf,
    writer: Mutex<Writer>,
    readers: Mutex<HashMap<u32, Arc<File>>>,
    names: Mutex<HashMap<u32, LogFile>>,
}

struct Writer {
    /// The file being appended to, with its length. `None` before the first append and after a failed one.
    open: Option<(LogFile, File, u64)>,
    next_number: u32,
    buffer: Vec<u8>,
}

impl StatementStore {
    /// Opens the log in `dir`, making it if there is none, and cuts off a torn last frame. Returns also how many bytes were cut.
    pub fn open(dir: &Path) -> Result<(Self, u64), StoreError> {
        private_dir(dir).map_err(StoreError::io("make", dir))?;
        let files = LogFile::list(dir).map_err(StoreError::io("list", dir))?;
        let mut cut = 0;
        let mut open = None;
        if let Some(last) = files.last() {
            let path = last.path(dir);
            let mut scan = Scan::new(
                dir,
                StatementRef {
                    file: last.number,
                    offset: 0,
                },
            )?;
            for frame in scan.by_ref() {
                frame?;
            }
            let file = OpenOptions::new()
                .append(true)
                .open(&path)
                .map_err(StoreError::io("open", &path))?;
            let mut length = file.metadata().map_err(StoreError::io("open", &path))?.len();
            // Only damage that reaches the end is a torn write; anything before it is for the rebuild to name.
            if let Some(torn) = scan.damage().last().filter(|torn| torn.offset + torn.bytes == length) {
                file.set_len(torn.offset).map_err(StoreError::io("cut", &path))?;
                file.sync_all().map_err(StoreError::io("cut", &path))?;
                cut = torn.bytes;
                length = torn.offset;
            }
            open = Some((last.clone(), file, length));
        }
        let next_number = files.last().map_or(1, |last| last.number + 1);
        let names = files.into_iter().map(|file| (file.number, file)).collect();
        let writer = Mutex::new(Writer {
            open,
            next_number,
            buffer: Vec::new(),
        });
        let store = Self {
            dir: dir.to_owned(),
            writer,
            readers: Mutex::default(),
            names: Mutex::new(names),
        };
        Ok((store, cut))
    }

    /// Appends statements, durable on return: one write, one fdatasync. Returns where each lies, and where the next will.
    ///
    /// After an error nothing of them counts; whatever may have reached the disk is cut off or left behind in a closed file,
    /// where a rebuild takes it for the replay that it is.
    pub fn append(
        &self,
        now: UtcMicros,
        statements: &[&[u8]],
    ) -> Result<(Vec<StatementRef>, StatementRef), StoreError> {
        let mut writer = lock(&self.writer);
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        let mut relative = Vec::with_capacity(statements.len());
        for statement in statements {
            if statement.len() > MAX_STATEMENT {
                return Err(StoreError::TooLong(statement.len()));
            }
            relative.push(buffer.len() as u64);
            push_frame(&mut buffer, statement);
        }
        let (file, start) = self.write(&mut writer, now, &buffer)?;
        let end = start + buffer.len() as u64;
        // A burst's memory is given back; a steady flow's is kept.
        buffer.shrink_to(4 << 20);
        writer.buffer = buffer;
        let place = |offset: u64| StatementRef {
            file,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        };
        Ok((
            relative.into_iter().map(|offset| place(start + offset)).collect(),
            place(end),
        ))
    }

    fn write(&self, writer: &mut Writer, now: UtcMicros, buffer: &[u8]) -> Result<(u32, u64), StoreError> {
        let day = now.yyyymmdd();
        let fits = writer
            .open
            .as_ref()
            .is_some_and(|(file, _, length)| file.day == day && *length < FILE_BYTES);
        if !fits {
            self.begin_file(writer, day)?;
        }
        let Some((name, file, length)) = writer.open.as_mut() else {
            return Err(StoreError::io("open", &self.dir)(io::ErrorKind::NotFound.into()));
        };
        let (number, start) = (name.number, *length);
        let written = file.write_all(buffer).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // After a failed fdatasync the kernel may have dropped pages: this file gets no further append.
            let path = name.path(&self.dir);
            let _ = file.set_len(start).and_then(|()| file.sync_all());
            writer.open = None;
            return Err(StoreError::io("append to", &path)(error));
        }
        *length = start + buffer.len() as u64;
        Ok((number, start))
    }

    fn begin_file(&self, writer: &mut Writer, day: String) -> Result<(), StoreError> {
        let name = LogFile {
            number: writer.next_number,
            day,
        };
        let path = name.path(&self.dir);
        let make = || -> io::Result<File> {
            let file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            File::open(&self.dir)?.sync_all()?;
            Ok(file)
        };
        writer.next_number += 1;
        let file = make().map_err(StoreError::io("begin", &path))?;
        lock(&self.names).insert(name.number, name.clone());
        writer.open = Some((name, file, 0));
        Ok(())
    }

    /// The signed statement at a place that `append` or a scan has named.
    pub fn read(&self, at: StatementRef) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::Missing {
            path: self.dir.clone(),
            offset: at.offset,
        };
        let name = lock(&self.names).get(&at.file).cloned().ok_or_else(missing)?;
        let path = name.path(&self.dir);
        let missing = || StoreError::Missing {
            path: path.clone(),
            offset: at.offset,
        };
        let file = self.reader(at.file, &path)?;
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, u64::from(at.offset))
            .map_err(|_| missing())?;
        let length: [u8; 4] = head[..4].try_into().unwrap_or_default();
        let body = u32::from_be_bytes(length) as usize;
        if body > MAX_STATEMENT {
            return Err(missing());
        }
        let mut bytes = vec![0; body];
        file.read_exact_at(&mut bytes, u64::from(at.offset) + HEAD as u64)
            .map_err(|_| missing())?;
        if checksum(length, &bytes).to_be_bytes() != head[4..] {
            return Err(missing());
        }
        Ok(bytes)
    }

    fn reader(&self, number: u32, path: &Path) -> Result<Arc<File>, StoreError> {
        let mut readers = lock(&self.readers);
        if let Some(file) = readers.get(&number) {
            return Ok(file.clone());
        }
        if readers.len() >= OPEN_FILES {
            readers.clear();
        }
        let file = Arc::new(File::open(path).map_err(StoreError::io("open", path))?);
        readers.insert(number, file.clone());
        Ok(file)
    }

    /// Reads the log from `from` on.
    pub fn scan(&self, from: StatementRef) -> Result<Scan, StoreError> {
        Scan::new(&self.dir, from)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! The cache of sealed files: ciphertext only, bounded in bytes, oldest use evicted first. Losing it costs a fetch.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use custody_shared::id::CameraId;

use super::{camera_dir, lock};
use crate::ca::files::private_dir;

/// A bounded folder of sealed files, `{camera}/{seq}.csg`.
pub struct SealedCache {
    dir: PathBuf,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<(CameraId, u64), Entry>,
    bytes: u64,
    uses: u64,
}

struct Entry {
    len: u64,
    used: u64,
}

impl SealedCache {
    /// Opens the folder, making it if there is none. Half-arrived files of an earlier run are deleted, what is over the bound evicted.
    pub fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        private_dir(dir)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Some(camera) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<CameraId>().ok())
            else {
                continue;
            };
            for file in fs::read_dir(entry.path())? {
                let file = file?;
                let seq = file
                    .file_name()
                    .to_str()
                    .and_then(|name| name.strip_suffix(".csg")?.parse::<u64>().ok());
                match seq {
                    Some(seq) => {
                        let metadata = file.metadata()?;
                        found.push((metadata.modified()?, camera, seq, metadata.len()));
                    }
                    None => fs::remove_file(file.path())?,
                }
            }
        }
        found.sort_unstable();
        let cache = Self {
            dir: dir.to_owned(),
            limit,
            state: Mutex::default(),
        };
        for (_, camera, seq, len) in found {
            cache.enter(camera, seq, len);
        }
        Ok(cache)
    }

    /// Where a file lies, once it is here.
    pub fn path(&self, camera: CameraId, seq: u64) -> PathBuf {
        camera_dir(&self.dir, camera).join(format!("{seq:012}.csg"))
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }

    /// Whether a file is here; if so it counts as used now.
    pub(super) fn touch(&self, camera: CameraId, seq: u64) -> bool {
        let mut state = lock(&self.state);
        state.uses += 1;
        let now = state.uses;
        state
            .files
            .get_mut(&(camera, seq))
            .map(|entry| entry.used = now)
            .is_some()
    }

    /// Opens a file that is here.
    pub(super) fn file(&self, camera: CameraId, seq: u64) -> Option<File> {
        if !self.touch(camera, seq) {
            return None;
        }
        match File::open(self.path(camera, seq)) {
            Ok(file) => Some(file),
            Err(_) => {
                // Somebody cleaned the folder: it is fetched again.
                self.leave(camera, seq);
                None
            }
        }
    }

    /// An empty file for a segment's bytes to arrive in.
    pub(super) fn begin(&self, camera: CameraId, seq: u64) -> io::Result<File> {
        private_dir(&camera_dir(&self.dir, camera))?;
        File::create(self.part(camera, seq))
    }

    /// Takes a file that has arrived whole. It is made durable first: after a power cut a cached file is what was signed, or not there.
    pub(super) fn admit(&self, camera: CameraId, seq: u64, file: &File, len: u64) -> io::Result<()> {
        file.sync_data()?;
        fs::rename(self.part(camera, seq), self.path(camera, seq))?;
        self.enter(camera, seq, len);
        Ok(())
    }

    /// Deletes what has arrived of a segment.
    pub(super) fn discard(&self, camera: CameraId, seq: u64) {
        // A file that is not there is discarded already.
        let _ = fs::remove_file(self.part(camera, seq));
    }

    /// Deletes the files of a camera that `which` names; returns how many.
    pub(super) fn forget(&self, camera: CameraId, which: impl Fn(u64) -> bool) -> io::Result<u64> {
        let held: Vec<u64> = lock(&self.state)
            .files
            .keys()
            .filter(|(of, _)| *of == camera)
            .map(|(_, seq)| *seq)
            .collect();
        let mut gone = 0;
        for seq in held.into_iter().filter(|seq| which(*seq)) {
            match fs::remove_file(self.path(camera, seq)) {
                Ok(()) => gone += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.leave(camera, seq);
        }
        Ok(gone)
    }

    fn part(&self, camera: CameraId, seq: u64) -> PathBuf {
        camera_dir(&self.dir, camera).join(format!("{seq:012}.part"))
    }

    fn leave(&self, camera: CameraId, seq: u64) {
        let mut state = lock(&self.state);
        if let Some(entry) = state.files.remove(&(camera, seq)) {
            state.bytes -= entry.len;
        }
    }

    fn enter(&self, camera: CameraId, seq: u64, len: u64) {
        let mut state = lock(&self.state);
        state.uses += 1;
        let used = state.uses;
        if let Some(before) = state.files.insert((camera, seq), Entry { len, used }) {
            state.bytes -= before.len;
        }
        state.bytes += len;
        if state.bytes <= self.limit {
            return;
        }
        // Down to nine tenths at once, so that not every arrival sorts anew.
        let mut by_use: Vec<_> = state
            .files
            .iter()
            .map(|(key, entry)| (entry.used, *key, entry.len))
            .collect();
        by_use.sort_unstable();
        let enough = self.limit / 10 * 9;
        for (_, key, len) in by_use {
            if state.bytes <= enough || key == (camera, seq) {
                break;
            }
            state.files.remove(&key);
            state.bytes -= len;
            let _ = fs::remove_file(self.path(key.0, key.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn put(cache: &SealedCache, camera: CameraId, seq: u64, len: usize) {
        let mut file = cache.begin(camera, seq).unwrap();
        file.write_all(&vec![0; len]).unwrap();
        cache.admit(camera, seq, &file, len as u64).unwrap();
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let camera = CameraId::random();
        let cache = SealedCache::open(dir.path(), 1000).unwrap();
        for seq in 0..10 {
            put(&cache, camera, seq, 100);
        }
        assert!(cache.touch(camera, 0), "used again");
        let open = cache.file(camera, 1).unwrap();
        put(&cache, camera, 10, 100);
        put(&cache, camera, 11, 100);
        assert!(cache.bytes() <= 1000, "{}", cache.bytes());
        assert!(cache.touch(camera, 0) && cache.touch(camera, 1) && !cache.touch(camera, 2));
        assert!(!cache.path(camera, 2).exists());
        drop(cache);
        fs::write(camera_dir(dir.path(), camera).join("000000000077.part"), "half").unwrap();
        let cache = SealedCache::open(dir.path(), 300).unwrap();
        assert!(cache.bytes() <= 300);
        assert!(!camera_dir(dir.path(), camera).join("000000000077.part").exists());
        assert!(cache.touch(camera, 11), "the newest survive a smaller bound");
        assert_eq!(cache.forget(camera, |seq| seq == 11).unwrap(), 1);
        assert!(!cache.touch(camera, 11));
        assert_eq!(
            open.metadata().unwrap().len(),
            100,
            "an open file survives its eviction"
        );
        fs::remove_dir_all(camera_dir(dir.path(), camera)).unwrap();
        assert!(cache.file(camera, 10).is_none());
    }
}

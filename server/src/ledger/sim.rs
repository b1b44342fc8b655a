//! A disk in memory that can lose power, fail an operation, and lie about it.
//!
//! What was written and not synced survives a crash in part, chosen by a seed: each file keeps a prefix of its
//! unsynced writes, the last of them perhaps torn; each directory keeps some of its unsynced names.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::Files;

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    now: Vec<u8>,
    /// Unsynced changes, oldest first.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, new) => {
            let (start, end) = (*offset as usize, *offset as usize + new.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(new);
        }
        Change::Truncate(len) => bytes.resize(*len as usize, 0),
    }
}

/// A name that points to a file (`Some`), a directory (`None` inside `Some`), or nothing.
type Target = Option<usize>;

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    /// Path → file inode, or `None` for a directory.
    names: BTreeMap<String, Target>,
    durable_names: BTreeMap<String, Target>,
    operations: u64,
    fault: Option<Fault>,
    locked: bool,
}

/// What happens at one operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// From the operation on, nothing happens any more and everything fails: the power is gone.
    PowerAt(u64),
    /// The operation fails and does nothing; the following ones work.
    FailAt(u64),
    /// The operation happens and is reported as failed; the following ones work.
    LieAt(u64),
    /// Every operation from the first to before the second fails.
    FailBetween(u64, u64),
}

/// See the module's text. Clones share the disk.
#[derive(Clone, Default)]
pub(super) struct Sim(Arc<Mutex<State>>);

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A small generator of numbers that is the same on every machine.
pub(super) struct Dice(pub(super) u64);
impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

impl Sim {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Operations that change something, so far.
    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// The disk as it may be found after the power came back.
    pub(super) fn after_power_loss(&self, seed: u64) -> Sim {
        let mut dice = Dice(seed);
        let mut state = self.state().clone();
        state.fault = None;
        state.locked = false;
        // Each unsynced name change is there or not.
        let mut names = state.durable_names.clone();
        let changed: Vec<String> = state
            .names
            .keys()
            .chain(state.durable_names.keys())
            .filter(|p| state.names.get(*p) != state.durable_names.get(*p))
            .cloned()
            .collect();
        for path in changed {
            if dice.below(2) == 0 {
                match state.names.get(&path) {
                    Some(target) => drop(names.insert(path, *target)),
                    None => drop(names.remove(&path)),
                }
            }
        }
        // A name below a directory that is gone is gone with it.
        let kept = names.clone();
        names.retain(|path, _| parent(path).is_empty() || kept.contains_key(parent(path)));
        for inode in &mut state.inodes {
            let keep = dice.below(inode.pending.len() as u64 + 1) as usize;
            let mut bytes = inode.durable.clone();
            for change in &inode.pending[..keep] {
                apply(&mut bytes, change);
            }
            if let Some(Change::Write(offset, new)) = inode.pending.get(keep) {
                // Torn: some of its bytes, in pieces of 512, in any order.
                for (at, piece) in new.chunks(512).enumerate() {
                    if dice.below(2) == 0 {
                        apply(&mut bytes, &Change::Write(offset + 512 * at as u64, piece.to_vec()));
                    }
                }
            }
            *inode = Inode {
                durable: bytes.clone(),
                now: bytes,
                pending: Vec::new(),
            };
        }
        state.durable_names = names.clone();
        state.names = names;
        Sim(Arc::new(Mutex::new(state)))
    }

    /// The disk as the next process finds it when only the process died.
    pub(super) fn after_kill(&self) -> Sim {
        let mut state = self.state().clone();
        state.fault = None;
        state.locked = false;
        Sim(Arc::new(Mutex::new(state)))
    }

    /// Every file with its content.
    pub(super) fn all(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let files = state
            .names
            .iter()
            .filter_map(|(p, t)| t.map(|i| (p.clone(), state.inodes[i].now.clone())));
        files.collect()
    }

    /// Replaces a file's content behind the ledger's back.
    pub(super) fn tamper(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let inode = state.names[path].expect("a file");
        state.inodes[inode] = Inode {
            durable: bytes.clone(),
            now: bytes,
            pending: Vec::new(),
        };
    }

    /// Removes a file behind the ledger's back.
    pub(super) fn lose(&self, path: &str) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// Runs one changing operation under the fault that is set.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let at = state.operations;
        state.operations += 1;
        let failed = || io::Error::other("the simulated disk failed");
        match state.fault {
            Some(Fault::PowerAt(n)) if at >= n => Err(failed()),
            Some(Fault::FailAt(n)) if at == n => Err(failed()),
            Some(Fault::FailBetween(from, to)) if (from..to).contains(&at) => Err(failed()),
            Some(Fault::LieAt(n)) if at == n => act(&mut state).and_then(|_| Err(failed())),
            _ => act(&mut state),
        }
    }
}

impl State {
    fn file(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Some(inode)) => Ok(*inode),
            Some(None) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn dir(&self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            None if path.is_empty() => Ok(()),
            Some(None) => Ok(()),
            Some(Some(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn alter(&mut self, inode: usize, change: Change) {
        apply(&mut self.inodes[inode].now, &change);
        self.inodes[inode].pending.push(change);
    }
}

impl Files for Sim {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        Ok(state.inodes[state.file(path)?].now.clone())
    }
    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(self.read(path)?.len() as u64)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        state.dir(dir)?;
        let below = state.names.keys().filter(|p| parent(p) == dir);
        Ok(below
            .map(|p| p.rsplit('/').next().unwrap_or_default().to_owned())
            .collect())
    }
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8], create: bool) -> io::Result<()> {
        self.change(|state| {
            let inode = match state.file(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                    state.dir(parent(path))?;
                    state.inodes.push(Inode::default());
                    let inode = state.inodes.len() - 1;
                    state.names.insert(path.to_owned(), Some(inode));
                    inode
                }
                other => other?,
            };
            state.alter(inode, Change::Write(offset, bytes.to_vec()));
            Ok(())
        })
    }
    fn truncate(&self, path: &str, len: u64) -> io::Result<()> {
        self.change(|state| {
            let inode = state.file(path)?;
            state.alter(inode, Change::Truncate(len));
            Ok(())
        })
    }
    fn sync(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            let inode = state.file(path)?;
            let inode = &mut state.inodes[inode];
            inode.durable = inode.now.clone();
            inode.pending.clear();
            Ok(())
        })
    }
    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            state.dir(path)?;
            let State {
                names, durable_names, ..
            } = state;
            durable_names.retain(|p, _| parent(p) != path);
            durable_names.extend(
                names
                    .iter()
                    .filter(|(p, _)| parent(p) == path)
                    .map(|(p, t)| (p.clone(), *t)),
            );
            Ok(())
        })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let inode = state.file(from)?;
            state.names.remove(from);
            state.names.insert(to.to_owned(), Some(inode));
            Ok(())
        })
    }
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            state.dir(parent(path))?;
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.insert(path.to_owned(), None);
            Ok(())
        })
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            state.file(path)?;
            state.names.remove(path);
            Ok(())
        })
    }
    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.change(|state| {
            state.dir(path)?;
            if state.names.keys().any(|p| parent(p) == path) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            state.names.remove(path);
            Ok(())
        })
    }
    fn lock(&self, _path: &str) -> io::Result<Box<dyn Send + Sync>> {
        struct Unlock(Sim);
        impl Drop for Unlock {
            fn drop(&mut self) {
                self.0.state().locked = false;
            }
        }
        let mut state = self.state();
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(Unlock(self.clone())))
    }
}

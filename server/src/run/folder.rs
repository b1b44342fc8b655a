//! The data folder: made once, opened by one process at a time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use custody_shared::id::SiteId;
use custody_shared::time::SharedClock;

use super::watched::Watched;
use crate::ca::Ca;
use crate::index::SledIndex;
use crate::keyholder::FileHolder;
use crate::ledger::{Ledger, LedgerOptions};
use crate::record::Record;
use crate::record::rules::Rules;
use crate::statements::StatementStore;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder.
    #[error("data folder: cannot {step} {path} ({source}); check that it exists and belongs to this user")]
    Io {
        /// What failed.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "data folder {0}: another process uses it; stop it, or let it do this (a running server answers the command line by itself)"
    )]
    Locked(PathBuf),
    /// There is a site already.
    #[error("data folder {0}: there is a site already; nothing was changed. Choose another folder with --data")]
    Exists(PathBuf),
    /// There is no site.
    #[error("data folder {0}: there is no site; `custody-server init --data {0} --name NAME` makes one")]
    Missing(PathBuf),
    /// `init` was cut short.
    #[error("data folder {0}: `custody-server init` did not finish here; run it again, it goes on where it ended")]
    Unfinished(PathBuf),
    /// A part that does not open.
    #[error("{part}: {reason}")]
    Part {
        /// Which one.
        part: &'static str,
        /// Why, with its remedy.
        reason: String,
    },
}

fn part<E: std::fmt::Display>(part: &'static str) -> impl Fn(E) -> FolderError {
    move |error| FolderError::Part {
        part,
        reason: error.to_string(),
    }
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { step, path, source }
}

/// A locked data folder. The lock ends with the process, however it ends.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Locks the folder of an existing site.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn lock(path: &Path) -> Result<Self, FolderError> {
        if !path.join("ca/root.crt").exists() || !path.join("ledger").exists() {
            return Err(FolderError::Missing(path.to_owned()));
        }
        Self::lock_any(path)
    }

    fn lock_any(path: &Path) -> Result<Self, FolderError> {
        let file = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(io_error("open", &file))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked(path.to_owned())),
            Err(error) => Err(io_error("lock", &file)(error.into())),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The parts that live in the folder, open.
pub struct Opened {
    /// The lock.
    pub folder: Folder,
    /// The site.
    pub site: SiteId,
    /// The authority.
    pub ca: Arc<Ca>,
    /// The ledger.
    pub ledger: Ledger,
    /// Whether its last write failed.
    pub ledger_failing: Arc<AtomicBool>,
    /// The record on it.
    pub record: Record,
    /// Footage keys.
    pub keyholder: Arc<FileHolder>,
}

/// The ledger's name in every checkpoint.
fn origin(site: SiteId) -> String {
    format!("custody.local/{site}")
}

fn rules(path: Option<&Path>) -> Result<Rules, FolderError> {
    match path {
        None => Ok(Rules::kr()),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(io_error("read", path))?;
            Rules::parse(&text).map_err(part("rules"))
        }
    }
}

impl Opened {
    /// Opens everything of a site that exists. Blocks on the disk.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path, rules_file: Option<&Path>, clock: &SharedClock) -> Result<Self, FolderError> {
        let folder = Folder::lock(path)?;
        let ca = Ca::open(&path.join("ca"), Arc::clone(clock)).map_err(part("certificate authority"))?;
        Self::with(folder, ca, rules_file, false, clock)
    }

    fn with(
        folder: Folder,
        ca: Ca,
        rules_file: Option<&Path>,
        create: bool,
        clock: &SharedClock,
    ) -> Result<Self, FolderError> {
        let (path, site) = (folder.path().to_owned(), ca.site());
        let rules = rules(rules_file)?;
        let options = LedgerOptions {
            origin: origin(site),
            create,
        };
        let ledger = Ledger::open(&path.join("ledger"), options).map_err(part("ledger"))?;
        let failing = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            ledger: ledger.clone(),
            failing: Arc::clone(&failing),
        };
        let record = Record::open(Arc::new(watched), rules, Arc::clone(clock)).map_err(part("record"))?;
        let keyholder = FileHolder::open(&path.join("keyholder"), Arc::clone(clock)).map_err(part("keyholder"))?;
        Ok(Self {
            folder,
            site,
            ca: Arc::new(ca),
            ledger,
            ledger_failing: failing,
            record,
            keyholder: Arc::new(keyholder),
        })
    }

    /// Opens the statement log and its index; what a crash cut off is said in the log.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn statements(&self) -> Result<(Arc<StatementStore>, Arc<SledIndex>), FolderError> {
        let path = self.folder.path();
        let (store, cut) = StatementStore::open(&path.join("statements")).map_err(part("statement log"))?;
        if cut > 0 {
            tracing::warn!(
                "statement log: a frame that a crash had cut off was dropped ({cut} bytes); its camera sends it again"
            );
        }
        let index = SledIndex::open(&path.join("index")).map_err(part("index"))?;
        Ok((Arc::new(store), Arc::new(index)))
    }
}

/// Makes a site: folders for their owner alone, authority, ledger with its first row, empty keyring, settings.
///
/// # Errors
/// [`FolderError::Exists`] where there is one; then nothing was changed.
pub async fn create(
    path: &Path,
    name: &str,
    zone: &str,
    settings: &str,
    clock: &SharedClock,
) -> Result<Opened, FolderError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error("make", path))?;
    let folder = Folder::lock_any(path)?;
    let file = path.join("custody.toml");
    if !file.exists() {
        fs::write(&file, settings).map_err(io_error("write", &file))?;
    }
    // An `init` that was cut short goes on where it ended: the site is there once its first row is.
    let ca = if path.join("ca/root.crt").exists() {
        Ca::open(&path.join("ca"), Arc::clone(clock))
    } else {
        Ca::init(&path.join("ca"), SiteId::random(), Arc::clone(clock))
    };
    let ca = ca.map_err(part("certificate authority"))?;
    let site = ca.site();
    let opened = Opened::with(folder, ca, None, true, clock)?;
    if opened.record.state().site().is_some() {
        return Err(FolderError::Exists(path.to_owned()));
    }
    opened
        .record
        .create_site_as(site, name, zone)
        .await
        .map_err(part("record"))?;
    Ok(opened)
}

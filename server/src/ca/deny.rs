//! The deny list: serial numbers of certificates, and cameras, that no gate lets in any more.
//!
//! It is a text file with one entry a line, replaced whole and durable before anybody hears of it. Every open
//! connection watches it, so that a revoked certificate is cut off at once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use custody_shared::id::CameraId;
use tokio::sync::watch;

use super::CaError;
use super::files::replace;

/// One state of the list.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DenyList {
    serials: BTreeSet<String>,
    cameras: BTreeSet<CameraId>,
}

impl DenyList {
    /// Whether a certificate with this serial number, of this camera, is refused.
    pub fn denies(&self, camera: CameraId, serial: &str) -> bool {
        self.cameras.contains(&camera) || self.serials.contains(serial)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for (number, line) in text.lines().enumerate() {
            match line.split_once(' ') {
                Some(("serial", serial)) if is_hex(serial) => {
                    list.serials.insert(serial.to_owned());
                }
                Some(("camera", camera)) => {
                    let camera = camera
                        .parse()
                        .map_err(|_| format!("line {}: not a camera", number + 1))?;
                    list.cameras.insert(camera);
                }
                _ => return Err(format!("line {}: neither serial nor camera", number + 1)),
            }
        }
        Ok(list)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for serial in &self.serials {
            text.push_str(&format!("serial {serial}\n"));
        }
        for camera in &self.cameras {
            text.push_str(&format!("camera {camera}\n"));
        }
        text
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The list as a running server holds it.
#[derive(Debug, Clone)]
pub struct DenyListHandle {
    path: PathBuf,
    sender: Arc<watch::Sender<Arc<DenyList>>>,
    writing: Arc<Mutex<()>>,
}

impl DenyListHandle {
    pub(super) fn open(path: &Path) -> Result<Self, CaError> {
        let list = match fs::read_to_string(path) {
            // A list that cannot be read must not become an empty one: everybody on it would be let in.
            Ok(text) => DenyList::parse(&text).map_err(|reason| CaError::Damaged { file: "deny", reason })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => DenyList::default(),
            Err(source) => {
                return Err(CaError::Io {
                    step: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Ok(Self {
            path: path.to_owned(),
            sender: Arc::new(watch::Sender::new(Arc::new(list))),
            writing: Arc::default(),
        })
    }

    /// Watches the list. Register a connection first, then look at the list: in the other order a revocation in
    /// between would be missed.
    pub fn watch(&self) -> watch::Receiver<Arc<DenyList>> {
        self.sender.subscribe()
    }

    /// Refuses one certificate from now on; durable on return, connections are cut off at once.
    pub fn deny_serial(&self, serial: &str) -> Result<(), CaError> {
        if !is_hex(serial) {
            return Err(CaError::Request("a serial number is lowercase hex".to_owned()));
        }
        self.change(|list| list.serials.insert(serial.to_owned()))
    }

    /// Refuses several certificates from now on, with one write.
    pub fn deny_serials(&self, serials: &[String]) -> Result<(), CaError> {
        if !serials.iter().all(|serial| is_hex(serial)) {
            return Err(CaError::Request("a serial number is lowercase hex".to_owned()));
        }
        self.change(|list| {
            let before = list.serials.len();
            list.serials.extend(serials.iter().cloned());
            list.serials.len() != before
        })
    }

    /// Refuses every certificate of a camera from now on.
    pub fn deny_camera(&self, camera: CameraId) -> Result<(), CaError> {
        self.change(|list| list.cameras.insert(camera))
    }

    /// Lets a camera in again, with certificates whose serial numbers are not denied.
    pub fn allow_camera(&self, camera: CameraId) -> Result<(), CaError> {
        self.change(|list| list.cameras.remove(&camera))
    }

    fn change(&self, change: impl FnOnce(&mut DenyList) -> bool) -> Result<(), CaError> {
        let _guard = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut list = DenyList::clone(&self.sender.borrow());
        if !change(&mut list) {
            return Ok(());
        }
        replace(&self.path, list.text().as_bytes(), 0o600).map_err(|source| CaError::Io {
            step: "write",
            path: self.path.clone(),
            source,
        })?;
        self.sender.send_replace(Arc::new(list));
        Ok(())
    }
}

//! What the command line asks of a site: of a running server through its socket, else of the data folder itself.
//!
//! One JSON line each way. The socket lies in the data folder and is its owner's alone; whoever can open it could as well read
//! the folder.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use custody_shared::id::CameraId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::{Zeroize, Zeroizing};

use crate::access::Grade;
use crate::fleet::Fleet;
use crate::index::{self, IndexStore};
use crate::record::enrolment::CameraDraft;
use crate::record::people::PersonDraft;
use crate::record::terms::LocationClass;
use crate::record::{Actor, RecordError};
use crate::retention::Retention;
use crate::run::Opened;
use crate::statements::StatementStore;

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// A question's longest line.
const MOST_BYTES: u64 = 64 * 1024;
/// Time for a question to arrive.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A question.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Enter a camera.
    CameraAdd {
        /// Name.
        name: String,
        /// Place.
        location: String,
        /// Kind of place.
        class: LocationClass,
        /// What it films for.
        purpose: String,
        /// On which ground.
        legal_ground: String,
    },
    /// All cameras.
    CameraList,
    /// A token for these cameras, by name or id.
    CameraToken {
        /// Names or ids.
        cameras: Vec<String>,
    },
    /// Add an account.
    PersonAdd {
        /// Name for signing in.
        name: String,
        /// Shown name.
        display: String,
        /// Grade.
        grade: Grade,
        /// Password.
        password: String,
    },
    /// Recreate the index.
    Rebuild,
}

/// An answer: text to print, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Done; what to print.
    Done(String),
    /// Not done; why, with the remedy.
    Failed(String),
}

/// What questions are answered with.
pub struct Control {
    /// The folder's parts.
    pub opened: Opened,
    /// Lays keys for new cameras.
    pub retention: Arc<Retention>,
    /// The agents, where the server runs.
    pub fleet: Option<Arc<Fleet>>,
    /// The statement log.
    pub statements: Arc<StatementStore>,
    /// The index.
    pub index: Arc<dyn IndexStore>,
    /// Where agents join.
    pub agents_url: String,
}

impl Control {
    /// Answers a question.
    pub async fn answer(&self, ask: Ask) -> Told {
        match self.act(ask).await {
            Ok(text) => Told::Done(text),
            Err(text) => Told::Failed(text),
        }
    }

    async fn act(&self, ask: Ask) -> Result<String, String> {
        let record = &self.opened.record;
        match ask {
            Ask::CameraAdd {
                name,
                location,
                class,
                purpose,
                legal_ground,
            } => {
                let draft = CameraDraft {
                    name: name.clone(),
                    location,
                    class,
                    purpose,
                    legal_ground,
                };
                let camera = record
                    .add_camera(Actor::Console, draft)
                    .await
                    .map_err(|error| told("camera", &name, error))?;
                // Its agent gets keys when it joins; they are laid now.
                let tick = self.retention.tick().await;
                if let Some(alarm) = tick.alarms.first() {
                    return Err(format!("camera {name}: entered as {camera}, but {alarm}"));
                }
                Ok(format!("{camera}\t{name}"))
            }
            Ask::CameraList => {
                let state = record.state();
                let mut cameras: Vec<_> = state.cameras().collect();
                cameras.sort_by(|one, other| one.name.cmp(&other.name));
                let line = |camera: &&crate::record::Camera| {
                    let joined = if camera.enrolments.is_empty() {
                        "not joined"
                    } else {
                        "joined"
                    };
                    format!(
                        "{}\t{}\t{}\t{}\t{joined}",
                        camera.id, camera.name, camera.location, camera.class
                    )
                };
                Ok(cameras.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            Ask::CameraToken { cameras } => self.token(&cameras).await,
            Ask::PersonAdd {
                name,
                display,
                grade,
                password,
            } => {
                let draft = PersonDraft {
                    name: name.clone(),
                    display,
                    grade,
                    password: Zeroizing::new(password),
                };
                let person = record
                    .add_person(Actor::Console, draft)
                    .await
                    .map_err(|error| told("person", &name, error))?;
                Ok(format!("{person}\t{name}"))
            }
            Ask::Rebuild => self.rebuild().await,
        }
    }

    async fn token(&self, wanted: &[String]) -> Result<String, String> {
        let state = self.opened.record.state();
        let find = |name: &String| {
            let by_id = name.parse::<CameraId>().ok().and_then(|id| state.camera(id));
            by_id
                .or_else(|| state.camera_by_name(name))
                .map(|camera| camera.id)
                .ok_or_else(|| {
                    format!("camera {name}: there is none of that name or id; `custody-server camera list` shows them")
                })
        };
        let cameras = wanted.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let many = cameras.len() > 1;
        let (token, expires) = self
            .opened
            .record
            .issue_token(Actor::Console, cameras)
            .await
            .map_err(|error| told("token", &wanted.join(", "), error))?;
        let slot = if many { " --slot CAMERA" } else { "" };
        Ok(format!(
            "custody-agent join --server {} --token {} --ca-pin {}{slot} --data /var/lib/custody-agent\n# good until {expires}, once for each camera",
            self.agents_url,
            token.as_str(),
            self.opened.ca.pin()
        ))
    }

    async fn rebuild(&self) -> Result<String, String> {
        if self.fleet.is_some() {
            return Err("rebuild: the server is running and writes the index; stop it, then run this again".into());
        }
        let (statements, index, record) = (
            Arc::clone(&self.statements),
            Arc::clone(&self.index),
            self.opened.record.clone(),
        );
        let report = tokio::task::spawn_blocking(move || index::rebuild(&statements, &*index, &record))
            .await
            .map_err(|error| format!("rebuild: {error}"))?
            .map_err(|error| format!("rebuild: {error}"))?;
        let mut text = format!("index rebuilt from {} statements", report.statements);
        if !report.is_clean() {
            text.push_str(&format!(
                "; not whole: {} refused, {} broken chains, {} damaged stretches",
                report.refused,
                report.broken.len(),
                report.damage.len()
            ));
            for damage in &report.damage {
                text.push_str(&format!(
                    "\n  {}: {} bytes from byte {}",
                    damage.path.display(),
                    damage.bytes,
                    damage.offset
                ));
            }
        }
        Ok(text)
    }
}

fn told(what: &str, name: &str, error: RecordError) -> String {
    match error {
        RecordError::Refused(refusal) => format!("{what} {name}: {} (rule {})", refusal.message, refusal.rule),
        other => format!("{what} {name}: {other}"),
    }
}

/// Answers on the socket until `stop`.
///
/// # Errors
/// If the socket cannot be made.
pub fn listen(data: &Path, control: Control, stop: CancellationToken) -> io::Result<JoinHandle<()>> {
    let path = data.join(SOCKET);
    // The folder is locked: a socket that lies there is a dead server's.
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            // One at a time: the command line is a person's.
            if let Ok((stream, _)) = accepted {
                tokio::select! {
                    () = stop.cancelled() => break,
                    outcome = converse(stream, &control) => {
                        if let Err(error) = outcome {
                            tracing::debug!("control socket: {error}");
                        }
                    }
                }
            }
        }
        // Gone before the lock is: the next command opens the folder itself.
        let _ = std::fs::remove_file(&path);
    }))
}

async fn converse(mut stream: UnixStream, control: &Control) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MOST_BYTES));
    tokio::time::timeout(ASK_TIMEOUT, reader.read_line(&mut line))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    let told = match serde_json::from_str(&line) {
        Ok(ask) => control.answer(ask).await,
        Err(error) => Told::Failed(format!(
            "the command line speaks otherwise than the server ({error}); use the same version of both"
        )),
    };
    // It may have held a password.
    line.zeroize();
    let mut text = serde_json::to_string(&told).map_err(io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    write.shutdown().await
}

/// Asks a running server; `None` where none runs.
///
/// # Errors
/// If the server went away in between.
pub async fn ask(data: &Path, ask: &Ask) -> io::Result<Option<Told>> {
    let mut stream = match UnixStream::connect(data.join(SOCKET)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut line = Zeroizing::new(serde_json::to_string(ask).map_err(io::Error::other)?);
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).take(1 << 20).read_to_string(&mut answer).await?;
    serde_json::from_str(&answer).map(Some).map_err(io::Error::other)
}

//! A ledger in memory that fails both ways, and a small site to act on.

use std::sync::{Arc, Mutex, OnceLock};

use custody_shared::id::{CameraId, PersonId};
use custody_shared::time::{ManualClock, TimeRange, UtcMicros};
use custody_shared::tlog::commitment::commit;
use custody_shared::tlog::tree::{inclusion_proof, root};
use custody_shared::tlog::{LogSigner, LogVerifier, NodeHash, RowEvidence, Salt};
use zeroize::Zeroizing;

use super::cases::RequestDraft;
use super::enrolment::CameraDraft;
use super::port::{LedgerFuture, LedgerPort};
use super::terms::{LocationClass, RequestGround, RequestKind};
use super::{Actor, Record, Row, Rules};
use crate::access::{Grade, password};
use crate::ledger::{LedgerError, NewRow, RowKind};

/// 2026-11-22 12:00 in Seoul.
pub(crate) const NOON: UtcMicros = UtcMicros::new(1_795_316_400_000_000);
pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;
pub(crate) const PASSWORD: &str = "correct horse battery";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// Nothing is written, and said so.
    Lost,
    /// Written, and reported lost.
    WrittenButLost,
}

pub(crate) struct MemoryLedger {
    rows: Mutex<(Vec<(Salt, NewRow)>, Mode)>,
    signer: LogSigner,
}

impl MemoryLedger {
    pub(crate) fn new(seed: u8) -> Arc<Self> {
        let signer = LogSigner::from_seed("custody/test", &[seed; 32]).unwrap();
        Arc::new(Self {
            rows: Mutex::new((Vec::new(), Mode::Works)),
            signer,
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.rows.lock().unwrap().1 = mode;
    }

    pub(crate) fn verifier(&self) -> LogVerifier {
        self.signer.verifier()
    }

    /// Number of rows of one kind.
    pub(crate) fn of_kind(&self, kind: u16) -> usize {
        self.rows
            .lock()
            .unwrap()
            .0
            .iter()
            .filter(|(_, row)| row.kind == RowKind(kind))
            .count()
    }

    /// Appends a row past every check of the record.
    pub(crate) fn force(&self, at: UtcMicros, actor: Actor, row: Row) -> u64 {
        let body = super::encode(&super::Entry { at, actor, row }).unwrap();
        let mut rows = self.rows.lock().unwrap();
        rows.0.push((
            Salt::random().unwrap(),
            NewRow {
                kind: RowKind(0),
                purge_on_day: 0,
                body,
            },
        ));
        rows.0.len() as u64 - 1
    }
}

fn unwritable() -> LedgerError {
    LedgerError::Unwritable {
        step: "append to",
        path: "memory".to_owned(),
        cause: Arc::new(std::io::Error::other("no space")),
    }
}

impl LedgerPort for MemoryLedger {
    fn append(&self, new: Vec<NewRow>) -> LedgerFuture<'_, Vec<u64>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut rows = self.rows.lock().unwrap();
            let first = rows.0.len() as u64;
            let mode = rows.1;
            if mode == Mode::Lost {
                return Err(unwritable());
            }
            rows.0.extend(new.into_iter().map(|row| (Salt::random().unwrap(), row)));
            if mode == Mode::WrittenButLost {
                return Err(unwritable());
            }
            Ok((first..rows.0.len() as u64).collect())
        })
    }

    fn len(&self) -> u64 {
        self.rows.lock().unwrap().0.len() as u64
    }

    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, LedgerError> {
        Ok(self
            .rows
            .lock()
            .unwrap()
            .0
            .get(usize::try_from(index).unwrap())
            .map(|(_, row)| row.body.clone()))
    }

    fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError> {
        let rows = self.rows.lock().unwrap();
        let hashes: Vec<NodeHash> = rows
            .0
            .iter()
            .map(|(salt, row)| commit(salt, &row.body).hash())
            .collect();
        let size = hashes.len() as u64;
        let (salt, row) = &rows.0[usize::try_from(index).unwrap()];
        Ok(RowEvidence {
            index,
            leaf: commit(salt, &row.body),
            salt: Some(salt.clone()),
            body: Some(row.body.clone()),
            path: inclusion_proof(&hashes, index, size).unwrap(),
            checkpoint: self.signer.sign(size, root(&hashes, size).unwrap()),
        })
    }
}

/// A site with two who ask, two who decide, one who administers, and two cameras.
pub(crate) struct Clinic {
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) clock: ManualClock,
    pub(crate) record: Record,
    pub(crate) desk: PersonId,
    pub(crate) manager: PersonId,
    pub(crate) owner: PersonId,
    pub(crate) contractor: PersonId,
    pub(crate) cameras: Vec<CameraId>,
}

/// One verifier for all: hashing takes its time.
fn verifier() -> String {
    static VERIFIER: OnceLock<String> = OnceLock::new();
    VERIFIER
        .get_or_init(|| password::hash("any", PASSWORD).unwrap())
        .clone()
}

pub(crate) async fn clinic() -> Clinic {
    let ledger = MemoryLedger::new(1);
    clinic_on(ledger.clone(), ledger).await
}

/// The same site on another ledger; `ledger` stands by unused.
pub(crate) async fn clinic_on(port: Arc<dyn LedgerPort>, ledger: Arc<MemoryLedger>) -> Clinic {
    let clock = ManualClock::new(NOON);
    let record = Record::open(port, Rules::kr(), Arc::new(clock.clone())).unwrap();
    record.create_site("Clinic", "Asia/Seoul").await.unwrap();
    let mut people = Vec::new();
    for (name, grade) in [
        ("desk", Grade::Asks),
        ("manager", Grade::Decides),
        ("owner", Grade::Decides),
        ("contractor", Grade::Administers),
    ] {
        let person = PersonId::random();
        let row = Row::PersonAdded {
            person,
            name: name.to_owned(),
            display: name.to_owned(),
            grade,
            verifier: verifier(),
        };
        record.commit(Actor::Console, |_, _| Ok((vec![row], ()))).await.unwrap();
        people.push(person);
    }
    let mut cameras = Vec::new();
    for name in ["entry", "corridor"] {
        cameras.push(record.add_camera(Actor::Console, camera(name)).await.unwrap());
    }
    cameras.sort_unstable();
    let [desk, manager, owner, contractor] = people.try_into().unwrap();
    Clinic {
        ledger,
        clock,
        record,
        desk,
        manager,
        owner,
        contractor,
        cameras,
    }
}

pub(crate) fn camera(name: &str) -> CameraDraft {
    CameraDraft {
        name: name.to_owned(),
        location: "ground floor".to_owned(),
        class: LocationClass::Open,
        purpose: "safety of the facility".to_owned(),
        legal_ground: "PIPA 25(1)".to_owned(),
    }
}

/// A window from `from` to `to` minutes before noon.
pub(crate) fn window(from: i64, to: i64) -> TimeRange {
    TimeRange::new(
        UtcMicros::new(NOON.get() - from * MINUTE),
        UtcMicros::new(NOON.get() - to * MINUTE),
    )
    .unwrap()
}

impl Clinic {
    pub(crate) fn draft(&self) -> RequestDraft {
        RequestDraft {
            kind: RequestKind::Reading,
            cameras: self.cameras.clone(),
            range: window(60, 50),
            purpose: "a lost bag".to_owned(),
            ground: RequestGround::UrgentNeed,
            copy: true,
            recipient: None,
        }
    }

    /// A request of the desk's, approved by the manager.
    pub(crate) async fn granted(&self) -> custody_shared::id::GrantId {
        let request = self.record.file_request(self.desk, self.draft()).await.unwrap();
        let approve = super::cases::DecisionDraft {
            verdict: Some(super::Verdict::Approve),
            note: String::new(),
        };
        self.record
            .decide_request(self.manager, request, approve)
            .await
            .unwrap()
            .unwrap()
    }
}

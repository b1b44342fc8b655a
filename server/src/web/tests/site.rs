//! A site for tests: people, one camera, segments sealed to its real day key, a ledger that can be broken.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use custody_shared::fmp4::{Codec, ParameterSets, Sample, VideoParameters, fragment_head, free_box, init_section};
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{BootId, CameraId};
use custody_shared::segment::{Extent, Header, Sealer};
use custody_shared::time::{Clock, ManualClock, SECOND_US, SharedClock, TimeRange, UtcMicros};
use custody_shared::tlog::RowEvidence;
use tempfile::TempDir;
use tower::ServiceExt;
use zeroize::Zeroizing;

use crate::access::Grade;
use crate::access::session::Sessions;
use crate::access::signin::Door;
use crate::config;
use crate::export::Exports;
use crate::keyholder::{FileHolder, Keyholder};
use crate::ledger::{Ledger, LedgerError, LedgerOptions, NewRow};
use crate::record::enrolment::CameraDraft;
use crate::record::people::PersonDraft;
use crate::record::port::{LedgerFuture, LedgerPort};
use crate::record::rules::Rules;
use crate::record::terms::LocationClass;
use crate::record::{Actor, Record, Row};
use crate::retention::Retention;
use crate::retrieval::footage::{
    CameraState, Footage, FootageError, Pending, Sealed, SegmentInfo, Stretch, StretchKind,
};
use crate::retrieval::{Retrieval, clip};
use crate::web::guard::Guard;
use crate::web::{App, AppParts, router};

/// 2026-11-22T05:00:00Z, 14:00 in Seoul.
pub(super) const START: i64 = 1_795_323_600 * SECOND_US;
pub(super) const PASSWORD: &str = "correct-horse-battery-9";

fn full() -> LedgerError {
    LedgerError::Unwritable {
        step: "write",
        path: "journal".into(),
        cause: Arc::new(std::io::ErrorKind::StorageFull.into()),
    }
}

/// A ledger that fails when told to.
struct Breakable {
    ledger: Ledger,
    broken: Arc<AtomicBool>,
    failing: Arc<AtomicBool>,
}

impl LedgerPort for Breakable {
    fn append(&self, rows: Vec<NewRow>) -> LedgerFuture<'_, Vec<u64>> {
        Box::pin(async move {
            let broken = self.broken.load(Ordering::SeqCst);
            self.failing.store(broken, Ordering::SeqCst);
            if broken {
                Err(full())
            } else {
                LedgerPort::append(&self.ledger, rows).await
            }
        })
    }
    fn len(&self) -> u64 {
        self.ledger.len()
    }
    fn body(&self, index: u64) -> Result<Option<Zeroizing<Vec<u8>>>, LedgerError> {
        LedgerPort::body(&self.ledger, index)
    }
    fn evidence(&self, index: u64) -> Result<RowEvidence, LedgerError> {
        LedgerPort::evidence(&self.ledger, index)
    }
}

/// Footage in memory.
#[derive(Default)]
pub(super) struct Made {
    segments: Mutex<Vec<(SegmentInfo, Vec<u8>)>>,
    pub(super) away: AtomicBool,
}

impl Footage for Made {
    fn segments(&self, _: CameraId, range: TimeRange, limit: usize) -> Result<Vec<SegmentInfo>, FootageError> {
        let all = self.segments.lock().unwrap();
        Ok(all
            .iter()
            .map(|(info, _)| info.clone())
            .filter(|info| info.range.overlaps(&range))
            .take(limit)
            .collect())
    }
    fn segment(&self, _: CameraId, seq: u64) -> Result<Option<SegmentInfo>, FootageError> {
        Ok(self
            .segments
            .lock()
            .unwrap()
            .iter()
            .map(|(info, _)| info.clone())
            .find(|info| info.seq == seq))
    }
    fn coverage(&self, camera: CameraId, range: TimeRange, _: usize) -> Result<Vec<Stretch>, FootageError> {
        let kept = self.segments(camera, range, usize::MAX)?;
        Ok(kept
            .iter()
            .filter_map(|info| info.range.intersect(&range))
            .map(|range| Stretch {
                range,
                kind: StretchKind::Kept,
            })
            .collect())
    }
    fn sealed(&self, _: CameraId, seq: u64) -> Pending<'_, Result<Sealed, FootageError>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(FootageError::Away);
            }
            let all = self.segments.lock().unwrap();
            let (_, bytes) = all.iter().find(|(info, _)| info.seq == seq).unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            rewind(&mut file);
            Ok(Sealed {
                extent: Extent::complete(bytes.len() as u64).unwrap(),
                file,
            })
        })
    }
    fn prefetch(&self, _: CameraId, _: Vec<u64>) {}
    fn state(&self, _: CameraId) -> CameraState {
        CameraState::Recording
    }
    fn statements(&self, _: CameraId, _: TimeRange) -> Result<Vec<Vec<u8>>, FootageError> {
        Ok(vec![b"signed".to_vec()])
    }
}

fn rewind(file: &mut File) {
    std::io::Seek::rewind(file).unwrap();
}

/// A site and its router.
pub(super) struct Site {
    _folder: TempDir,
    pub(super) clock: ManualClock,
    pub(super) record: Record,
    pub(super) footage: Arc<Made>,
    pub(super) broken: Arc<AtomicBool>,
    pub(super) camera: CameraId,
    router: Router,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    /// Status and the problem's kind and rule.
    #[track_caller]
    pub(super) fn problem(&self) -> (u16, String, Option<String>) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}",
            self.text()
        );
        let body = self.json();
        for field in ["title", "detail", "remedy"] {
            assert!(
                body[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field} is missing in {body}"
            );
        }
        assert_eq!(body["status"], self.status.as_u16());
        let kind = body["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:custody:problem:")
            .unwrap()
            .to_owned();
        (self.status.as_u16(), kind, body["rule"].as_str().map(str::to_owned))
    }
    /// The session's cookie, as a browser sends it back.
    pub(super) fn cookie(&self) -> String {
        let set = self.headers[header::SET_COOKIE].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

impl Site {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let clock = ManualClock::new(UtcMicros::new(START));
        let shared: SharedClock = Arc::new(clock.clone());
        let ledger = Ledger::open(
            &data.join("ledger"),
            LedgerOptions {
                origin: "test.invalid/log".into(),
                create: true,
            },
        )
        .unwrap();
        let (broken, failing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let port = Breakable {
            ledger: ledger.clone(),
            broken: broken.clone(),
            failing: failing.clone(),
        };
        let record = Record::open(Arc::new(port), Rules::kr(), shared.clone()).unwrap();
        record.create_site("Clinic", "Asia/Seoul").await.unwrap();
        for (name, grade) in [
            ("asker", Grade::Asks),
            ("other", Grade::Asks),
            ("decider", Grade::Decides),
            ("admin", Grade::Administers),
        ] {
            let draft = PersonDraft {
                name: name.into(),
                display: format!("{name} <b>"),
                grade,
                password: Zeroizing::new(PASSWORD.into()),
            };
            record.add_person(Actor::Console, draft).await.unwrap();
        }
        let draft = CameraDraft {
            name: "Gate".into(),
            location: "1F".into(),
            class: LocationClass::Open,
            purpose: "safety".into(),
            legal_ground: "PIPA 25(1)".into(),
        };
        let camera = record.add_camera(Actor::Console, draft).await.unwrap();
        let keyholder: Arc<dyn Keyholder> =
            Arc::new(FileHolder::open(&data.join("keyholder"), shared.clone()).unwrap());
        let retention = Retention::new(
            record.clone(),
            keyholder.clone(),
            Arc::new(|_, _| Ok(0)),
            Retention::system_monotonic(),
        );
        let tick = retention.tick().await;
        assert_eq!(tick.alarms, Vec::<String>::new());

        let footage = Arc::new(Made::default());
        let seen: Arc<dyn Footage> = footage.clone();
        let retrieval = Arc::new(Retrieval::new(
            record.clone(),
            keyholder,
            seen.clone(),
            ledger.verifier().clone(),
            failing.clone(),
            shared.clone(),
        ));
        let config = config::parse(
            data,
            std::path::Path::new("test"),
            "[site]\nname = \"Clinic\"\nlanguage = \"en\"\n",
        )
        .unwrap();
        let app = App::new(AppParts {
            config: Arc::new(config),
            clock: shared,
            record: record.clone(),
            exports: Arc::new(Exports::new(
                record.clone(),
                retrieval.clone(),
                seen.clone(),
                ledger.clone(),
            )),
            ledger,
            ledger_failing: failing,
            door: Door::new(record.clone(), Arc::new(Sessions::new())),
            footage: seen,
            retrieval,
            other_metrics: Box::new(String::new),
        });
        let guard = Guard {
            hosts: vec!["localhost".into()],
            tls: false,
        };
        let router = router(Arc::new(app), Arc::new(guard));
        let site = Self {
            _folder: folder,
            clock,
            record,
            footage,
            broken,
            camera,
            router,
        };
        for seq in 0..3 {
            site.film(seq, "avc1");
        }
        // What was filmed has passed by now.
        site.clock.advance(3600 * SECOND_US);
        site
    }

    /// Films segment `seq`: 10 s from START + 10 s × seq, five fragments of 2 s, each with a keyframe.
    pub(super) fn film(&self, seq: u64, codec: &str) {
        let t_start = UtcMicros::new(START + seq as i64 * 10 * SECOND_US);
        let mut sets = ParameterSets::new(Codec::H264);
        sets.offer(&[0x67, 66, 0, 10, 0x80]);
        sets.offer(&[0x68, 0x80]);
        let mut plain = init_section(&VideoParameters::from_parameter_sets(&sets, 64, 48).unwrap()).unwrap();
        for part in 0..5_u64 {
            let at = clip::ticks(t_start) + part * 180_000;
            let samples = [true, false].map(|sync| Sample {
                size: 4,
                duration: 90_000,
                composition_offset: 0,
                sync,
            });
            plain.extend(fragment_head(part as u32 + 1, at, &samples).unwrap());
            plain.extend([0, 0, 0, 0, 1, seq as u8, part as u8, 1]);
            plain.extend(free_box(40).unwrap());
        }
        let state = self.record.state();
        let keys = state.descriptors(self.camera);
        let key = custody_shared::keys::choose(&keys, t_start).expect("a key was laid");
        let header = Header {
            camera: self.camera,
            key_id: key.key_id,
            seq,
            t_start,
            boot_id: BootId::from_bytes([1; 16]),
            prev_statement: Sha256Hash::of(b""),
        };
        let (mut sealer, preamble) = Sealer::new(header, &key.public).unwrap();
        let mut file = preamble.to_bytes();
        sealer.push(&plain, &mut file).unwrap();
        sealer.finish(&mut file);
        let range = TimeRange::new(t_start, UtcMicros::new(t_start.get() + 10 * SECOND_US)).unwrap();
        let info = SegmentInfo {
            seq,
            range,
            file_len: file.len() as u64,
            rfc6381: format!("{codec}.64001f"),
            width: 64,
            height: 48,
            truncated: false,
            closed_gop: true,
        };
        let mut all = self.footage.segments.lock().unwrap();
        all.retain(|(known, _)| known.seq != seq);
        all.push((info, file));
        all.sort_by_key(|(info, _)| info.seq);
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(super) async fn get(&self, session: &str, path: &str) -> Answer {
        let request = Request::get(path)
            .header("host", "localhost")
            .header("cookie", session)
            .body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub(super) async fn post(&self, session: &str, path: &str, body: serde_json::Value) -> Answer {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/json")
            .header("cookie", session)
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    pub(super) async fn submit(&self, session: &str, path: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", session)
            .body(Body::from(form.to_owned()));
        self.send(request.unwrap()).await
    }

    pub(super) async fn sign_in(&self, name: &str) -> String {
        let answer = self
            .post(
                "",
                "/api/v1/session",
                serde_json::json!({"name": name, "password": PASSWORD}),
            )
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.cookie()
    }

    /// An instant of the filmed half minute, RFC 3339.
    pub(super) fn at(seconds: i64) -> String {
        UtcMicros::new(START + seconds * SECOND_US).to_string()
    }

    pub(super) fn asking(&self, from: i64, to: i64, form: &str) -> serde_json::Value {
        serde_json::json!({"ground": "own-image", "cameras": [self.camera.to_string()], "from": Self::at(from), "to": Self::at(to),
            "purpose": "a lost wallet", "form": form})
    }

    /// A request of `asker`, approved by `decider`: their sessions, the request and the grant.
    pub(super) async fn granted(&self, from: i64, to: i64, form: &str) -> Granted {
        let (asker, decider) = (self.sign_in("asker").await, self.sign_in("decider").await);
        let filed = self.post(&asker, "/api/v1/requests", self.asking(from, to, form)).await;
        assert_eq!(filed.status, 201, "{}", filed.text());
        let request = filed.json()["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/requests/{request}/decision");
        let decided = self
            .post(&decider, &path, serde_json::json!({"decision": "approve"}))
            .await;
        assert_eq!(decided.status, 200, "{}", decided.text());
        let grant = decided.json()["grant"].as_str().unwrap().to_owned();
        let media = format!("/api/v1/grants/{grant}/{}", self.camera);
        Granted {
            asker,
            decider,
            request,
            grant,
            media,
        }
    }

    /// The rows of the ledger, newest last.
    pub(super) fn rows(&self) -> Vec<Row> {
        (0..self.record.state().rows())
            .filter_map(|row| self.record.entry(row).unwrap())
            .map(|entry| entry.row)
            .collect()
    }

    /// Rules of the refusals that are rows.
    pub(super) fn refusals(&self) -> Vec<String> {
        let rule = |row| match row {
            Row::AccessRefused { rule, .. } => Some(rule.to_string()),
            _ => None,
        };
        self.rows().into_iter().filter_map(rule).collect()
    }

    pub(super) fn advance_hours(&self, hours: i64) {
        self.clock.advance(hours * 3600 * SECOND_US);
        assert!(self.clock.now().get() > START);
    }
}

/// An approved request.
pub(super) struct Granted {
    pub(super) asker: String,
    pub(super) decider: String,
    pub(super) request: String,
    pub(super) grant: String,
    pub(super) media: String,
}

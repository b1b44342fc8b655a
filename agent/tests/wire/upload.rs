//! Sealed files on their way to the server: resumed where the line broke, compared with their statements before they go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Answer, Server, status};
use bytes::Bytes;
use custody_agent::cli::Join;
use custody_agent::identity::Identity;
use custody_agent::join::join;
use custody_agent::keeper::{self, Head, Opening, Pulse};
use custody_agent::paths::Folder;
use custody_agent::segmenter::{Action, FragmentData};
use custody_agent::upload;
use custody_shared::fmp4::{Codec, ParameterSets, VideoParameters};
use custody_shared::join::JoinRequest;
use custody_shared::statement::Timing;
use custody_shared::time::{ManualClock, UtcMicros};
use tokio::sync::{mpsc, watch};

const NOON: i64 = 1_790_000_000_000_000;

fn parameters() -> Arc<VideoParameters> {
    let mut sets = ParameterSets::new(Codec::H264);
    assert!(sets.offer(&[0x67, 66, 0, 10, 0x80]) && sets.offer(&[0x68, 0x80]));
    Arc::new(VideoParameters::from_parameter_sets(&sets, 64, 48).expect("valid sets"))
}

/// An enrolled folder with `count` recorded segments of half a megabyte.
struct Rig {
    server: &'static Server,
    _folder: tempfile::TempDir,
    place: Folder,
    identity: Arc<Identity>,
}

impl Rig {
    async fn new(count: i64) -> Self {
        let server: &'static Server = Box::leak(Box::new(Server::start().await));
        server.answer(|request| {
            let asked: JoinRequest = serde_json::from_slice(&request.body).expect("a join request");
            Answer::Status(
                201,
                vec![],
                serde_json::to_vec(&server.welcome(&asked.csr_pem)).expect("json"),
            )
        });
        let folder = tempfile::tempdir().expect("folder");
        let arguments = Join {
            server: server.url(),
            token: "0123456789ab.00112233445566778899aabbccddeeff".to_owned(),
            ca_pin: server.authority.pin.clone(),
            data: folder.path().to_owned(),
            slot: None,
        };
        join(arguments).await.expect("joined");
        let place = Folder::new(folder.path());
        let identity = Arc::new(Identity::load(&place).expect("usable"));
        record(&place, &identity, count);
        server.requests.lock().expect("requests").clear();
        Self {
            server,
            _folder: folder,
            place,
            identity,
        }
    }

    fn file(&self, seq: u64) -> PathBuf {
        keeper::find_segment_file(&self.place, seq)
            .expect("listed")
            .expect("there")
    }

    /// Asks for segments and waits until `done` has been seen.
    async fn send(
        &self,
        wanted: (u64, u64),
        done: impl Fn(&[crate::support::Request]) -> bool,
    ) -> Vec<crate::support::Request> {
        let (sender, receiver) = mpsc::channel(4);
        let task = tokio::spawn(upload::run(
            self.identity.clone(),
            self.place.clone(),
            Arc::default(),
            receiver,
        ));
        sender.send(wanted).await.expect("room");
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while !done(&self.server.requests.lock().expect("requests")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("in time");
        task.abort();
        self.server.requests.lock().expect("requests").clone()
    }
}

fn record(place: &Folder, identity: &Identity, count: i64) {
    let mut keeper = keeper::open(Opening {
        folder: place.clone(),
        site: identity.site,
        camera: identity.camera,
        signer: identity.statement_key(),
        server: identity.server_command,
        clock: Arc::new(ManualClock::new(UtcMicros::new(NOON))),
        reserve_bytes: 0,
        free_bytes: Box::new(|_: &Path| Ok(u64::MAX)),
        pulse: Arc::new(Pulse::default()),
        head: watch::channel(Head::START).0,
    })
    .expect("opened");
    let at = |seconds: i64| UtcMicros::new(NOON + seconds * 1_000_000);
    for number in 0..count {
        let (t_start, t_end) = (at(number * 10), at(number * 10 + 10));
        let data = FragmentData {
            head: vec![0; 8],
            samples: vec![Bytes::from(vec![number as u8; 500_000])],
        };
        let (timing, closed_gop, b_frames) = (Timing::Source, true, false);
        keeper.take(vec![
            Action::Begin {
                t_start,
                init: vec![0; 32],
                parameters: parameters(),
            },
            Action::Fragment {
                data,
                t_start,
                t_end,
                frames: 10,
            },
            Action::End {
                t_end,
                frames: 10,
                fragments: 1,
                closed_gop,
                b_frames,
                timing,
            },
        ]);
    }
    keeper.stop();
}

fn offset(bytes: usize, code: u16) -> Answer {
    Answer::Status(code, vec![("Upload-Offset", bytes.to_string())], vec![])
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_broke() {
    let rig = Rig::new(1).await;
    let file = std::fs::read(rig.file(0)).expect("file");
    let mut here = 0;
    rig.server.answer(move |request| match request.method.as_str() {
        "HEAD" => offset(here, 200),
        "PATCH" if here == 0 => {
            here = 123_456;
            Answer::BreakAfter(123_456)
        }
        _ => status(204),
    });
    let requests = rig
        .send((0, 0), |requests| {
            requests.iter().filter(|r| r.method == "PATCH").count() == 2
        })
        .await;
    let parts: Vec<&crate::support::Request> = requests.iter().filter(|request| request.method == "PATCH").collect();
    assert_eq!(parts[0].header("upload-offset"), Some("0"));
    assert_eq!(parts[1].header("upload-offset"), Some("123456"));
    assert!(
        parts
            .iter()
            .all(|part| part.known && part.path == "/agent/v1/segments/0")
    );
    assert_eq!([&parts[0].body[..], &parts[1].body[..]].concat(), file);
}

#[tokio::test]
async fn every_segment_of_a_range_goes_and_what_is_there_or_unwanted_does_not() {
    let rig = Rig::new(4).await;
    let length = std::fs::metadata(rig.file(1)).expect("file").len() as usize;
    rig.server.answer(
        move |request| match (request.method.as_str(), request.path.rsplit('/').next()) {
            ("HEAD", Some("1")) => offset(length, 200),
            ("HEAD", Some("2")) => status(404),
            ("HEAD", _) => offset(0, 200),
            _ => status(204),
        },
    );
    rig.send((0, 3), |requests| {
        requests
            .last()
            .is_some_and(|r| r.method == "PATCH" && r.path.ends_with("/3"))
    })
    .await;
    let sent: Vec<String> = rig
        .server
        .seen()
        .into_iter()
        .filter(|seen| seen.starts_with("PATCH"))
        .collect();
    assert_eq!(sent, ["PATCH /agent/v1/segments/0", "PATCH /agent/v1/segments/3"]);
}

#[tokio::test]
async fn a_file_that_the_disk_has_changed_is_named_and_not_sent() {
    let rig = Rig::new(4).await;
    let mut flipped = std::fs::read(rig.file(0)).expect("file");
    flipped[250_000] ^= 0x10;
    std::fs::write(rig.file(0), flipped).expect("flip");
    let cut = std::fs::read(rig.file(1)).expect("file");
    std::fs::write(rig.file(1), &cut[..cut.len() - 5000]).expect("cut");
    std::fs::remove_file(rig.file(2)).expect("gone");
    rig.server.answer(|request| match request.method.as_str() {
        "HEAD" => offset(0, 200),
        _ => status(204),
    });
    let requests = rig
        .send((0, 3), |requests| requests.last().is_some_and(|r| r.method == "PATCH"))
        .await;
    let told: Vec<(String, Option<&str>)> = requests
        .iter()
        .filter(|request| request.method != "HEAD")
        .map(|request| {
            (
                format!("{} {}", request.method, request.path),
                request.header("custody-reason"),
            )
        })
        .collect();
    let address = |method: &str, seq: u64| format!("{method} /agent/v1/segments/{seq}");
    assert_eq!(
        told,
        [
            (address("DELETE", 0), Some("damaged")),
            (address("DELETE", 1), Some("damaged")),
            (address("DELETE", 2), Some("absent")),
            (address("PATCH", 3), None),
        ]
    );
    assert!(
        rig.file(0).exists() && rig.file(1).exists(),
        "kept for whoever examines the disk"
    );
}

#[tokio::test]
async fn a_server_that_discards_gets_it_again_from_the_start_but_not_for_ever() {
    let rig = Rig::new(2).await;
    rig.server.answer(
        |request| match (request.method.as_str(), request.path.ends_with("/0")) {
            ("HEAD", _) => offset(0, 200),
            (_, true) => offset(0, 409),
            _ => status(204),
        },
    );
    let requests = rig
        .send((0, 1), |requests| {
            requests
                .last()
                .is_some_and(|r| r.method == "PATCH" && r.path.ends_with("/1"))
        })
        .await;
    let tried = requests
        .iter()
        .filter(|request| request.method == "PATCH" && request.path.ends_with("/0"))
        .count();
    assert_eq!(tried, 5);
}

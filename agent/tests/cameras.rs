//! The source and the segmenter on real RTSP, through GStreamer's server: passwords, transports, sound beside the picture,
//! cameras that hang, reordered pictures, lost packets.

#[path = "common/cameras.rs"]
mod cameras;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cameras::{Cameras, LOGIN, film, pictures, stream};
use custody_agent::segmenter::{Action, Segmenter, SegmenterConfig};
use custody_agent::source::{self, Moment, Source, SourceConfig, SourceError, SourceEvent};
use custody_shared::statement::GapCause;
use custody_shared::time::{SharedClock, SystemClock, TimeRange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

async fn open(url: &str, more: &str) -> Result<Source, SourceError> {
    let text = format!("kind = \"rtsp\"\nurl = \"{url}\"\ntimeouts = {{ connect_s = 5, stall_s = 2 }}\n{more}");
    let config: SourceConfig = toml::from_str(&text).expect("a source");
    source::open(&config, &clock()).await
}

/// The next pictures: how many, and how many packets were lost on the way.
async fn watch(source: &mut Source, count: usize) -> Result<u32, SourceError> {
    let (mut seen, mut lost) = (0, 0);
    while seen < count {
        match source.next().await? {
            SourceEvent::AccessUnit(_) => seen += 1,
            SourceEvent::Loss { packets } => lost += packets,
            SourceEvent::Parameters(_) => {}
        }
    }
    Ok(lost)
}

#[tokio::test]
async fn digest_authentication_right_wrong_and_missing() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), "", true);
    let login = format!("username = \"{}\"\npassword = \"{}\"", LOGIN.0, LOGIN.1);
    let mut source = open(&cameras.url(), &login).await.expect("the right password opens");
    assert!(watch(&mut source, 10).await.is_ok());
    for (name, more) in [
        (
            "wrong",
            format!("username = \"{}\"\npassword = \"not-the-password\"", LOGIN.0),
        ),
        ("missing", String::new()),
    ] {
        let error = open(&cameras.url(), &more).await.err().expect(name);
        let text = error.to_string();
        assert_eq!(error.cause, GapCause::CameraRefused, "{name}: {text}");
        assert!(
            text.contains("127.0.0.1") && text.contains("check the user name"),
            "{text}"
        );
        assert!(!text.contains("not-the-password") && !text.contains(LOGIN.0), "{text}");
    }
}

#[tokio::test]
async fn pictures_come_over_udp() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), "", false);
    let mut source = open(&cameras.url(), "transport = \"udp\"").await.expect("it plays");
    watch(&mut source, 50).await.expect("two seconds of pictures");
}

/// Passes RTSP on and keeps what both sides say at the beginning.
async fn tapped(port: u16) -> (u16, Arc<Mutex<[Vec<u8>; 2]>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let near = listener.local_addr().expect("an address").port();
    let heard: Arc<Mutex<[Vec<u8>; 2]>> = Arc::default();
    let kept = heard.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
                return;
            };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            for (side, mut from, mut to) in [(0, from_client, to_server), (1, from_server, to_client)] {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut block = [0; 4096];
                    while let Ok(length @ 1..) = from.read(&mut block).await {
                        let bytes = &block[..length];
                        if let Ok(mut kept) = kept.lock()
                            && kept[side].len() < 64 * 1024
                        {
                            kept[side].extend(bytes);
                        }
                        if to.write_all(bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (near, heard)
}

#[tokio::test]
async fn sound_beside_the_picture_is_never_set_up() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), r#", "audio": "pcmu""#, false);
    let (port, heard) = tapped(cameras.port()).await;
    let mut source = open(&format!("rtsp://127.0.0.1:{port}/gate"), "")
        .await
        .expect("it plays");
    watch(&mut source, 25).await.expect("a second of pictures");
    let heard = heard.lock().expect("whole").clone();
    let [asked, answered] = heard.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(answered.contains("m=audio"), "the camera offers sound: {answered}");
    let set_up: Vec<_> = asked.lines().filter(|line| line.starts_with("SETUP ")).collect();
    assert!(matches!(set_up[..], [one] if one.contains("stream=0")), "{set_up:?}");
    // Interleaved, the one stream has the channels 0 and 1.
    assert!(
        asked.contains("interleaved=0-1") && !asked.contains("interleaved=2-3"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_camera_that_hangs_is_noticed_in_time_and_taken_up_again() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), "", false);
    for transport in ["tcp", "udp"] {
        let more = format!("transport = \"{transport}\"");
        let mut source = open(&cameras.url(), &more).await.expect("it plays");
        watch(&mut source, 10).await.expect("pictures");
        cameras.freeze();
        let frozen = Instant::now();
        let error = watch(&mut source, 1000).await.expect_err("no pictures come");
        let took = frozen.elapsed();
        assert_eq!(error.cause, GapCause::CameraStalled, "{transport}: {error}");
        assert!(
            (1500..3000).contains(&took.as_millis()),
            "{transport}: noticed after {took:?}"
        );
        // A server that hangs answers nobody.
        let error = open(&cameras.url(), "").await.err().expect("it hangs");
        assert_eq!(error.cause, GapCause::CameraUnreachable, "{transport}: {error}");
        cameras.thaw();
        drop(source);
        let mut source = open(&cameras.url(), &more).await.expect("it plays again");
        watch(&mut source, 10).await.expect("pictures again");
    }
}

struct Recorded {
    frames: u32,
    gaps: Vec<(TimeRange, GapCause)>,
    b_frames: bool,
}

/// Records until the source ends and writes all segments behind each other, the first init section only.
async fn record(source: &mut Source, to: &Path) -> Recorded {
    let clock = clock();
    let mut segmenter = Segmenter::new(SegmenterConfig::default());
    let mut actions = Vec::new();
    let cause = loop {
        match tokio::time::timeout(Duration::from_secs(30), source.next()).await {
            Ok(Ok(event)) => actions.extend(segmenter.push(event)),
            Ok(Err(error)) => break error.cause,
            Err(_) => panic!("a source that neither goes on nor ends"),
        }
    };
    let before = actions.len();
    actions.extend(segmenter.interrupt(cause, Moment::now(&clock)));
    assert!(actions.len() > before, "the end is on record");
    let mut bytes = Vec::new();
    let mut recorded = Recorded {
        frames: 0,
        gaps: Vec::new(),
        b_frames: false,
    };
    for action in actions {
        match action {
            Action::Begin { init, .. } if bytes.is_empty() => bytes.extend(init),
            Action::Fragment { data, frames, .. } => {
                recorded.frames += frames;
                data.pieces().for_each(|piece| bytes.extend_from_slice(piece));
            }
            Action::End { b_frames, .. } => recorded.b_frames |= b_frames,
            Action::Gap { range, cause } => recorded.gaps.push((range, cause)),
            Action::Begin { .. } | Action::ClockStep { .. } => {}
        }
    }
    std::fs::write(to, bytes).expect("written");
    recorded
}

#[tokio::test]
async fn reordered_pictures_and_open_groups_come_back_bit_for_bit() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let h264 = ["-c:v", "libx264", "-bf", "3", "-g", "25", "-x264-params"];
    let h265 = ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params"];
    let cases: [(&str, &str, Vec<&str>); 3] = [
        ("closed.mp4", "h264", [&h264[..], &["b-pyramid=2:open-gop=0"]].concat()),
        ("open.mp4", "h264", [&h264[..], &["open-gop=1"]].concat()),
        (
            "h265.mp4",
            "h265",
            [&h265[..], &["log-level=error:bframes=3:open-gop=1:keyint=25"]].concat(),
        ),
    ];
    for (name, codec, options) in cases {
        let original = film(folder.path(), name, &options);
        let cameras = Cameras::played(&original, codec, "");
        let mut source = open(&cameras.url(), "").await.expect("it plays");
        let copy = folder.path().join("copy.mp4");
        let recorded = record(&mut source, &copy).await;
        assert_eq!(
            (recorded.frames, recorded.b_frames, recorded.gaps.len()),
            (100, true, 0),
            "{name}"
        );
        assert_eq!(pictures(&copy), pictures(&original), "{name}");
    }
}

#[tokio::test]
async fn lost_packets_are_gaps_that_add_up() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-c:v", "libx264", "-bf", "0", "-g", "10"];
    let original = film(folder.path(), "film.mp4", &options);
    let cameras = Cameras::played(&original, "h264", "! identity drop-probability=0.08 name=pay0");
    let mut source = open(&cameras.url(), "").await.expect("it plays");
    let recorded = record(&mut source, &folder.path().join("copy.mp4")).await;
    assert!((20..100).contains(&recorded.frames), "{} pictures", recorded.frames);
    assert!(!recorded.gaps.is_empty());
    assert!(
        recorded.gaps.iter().all(|(_, cause)| *cause == GapCause::PacketLoss),
        "{:?}",
        recorded.gaps
    );
    // What comes before the first keyframe and after the last picture is in no gap of this record.
    let missing: i64 = recorded.gaps.iter().map(|(range, _)| range.len_us()).sum();
    let stated = missing / 40_000;
    let lost = i64::from(100 - recorded.frames);
    assert!(
        (lost / 2..=lost * 2).contains(&stated),
        "{lost} lost, {stated} stated: {:?}",
        recorded.gaps
    );
}

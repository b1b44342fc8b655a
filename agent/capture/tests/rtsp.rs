//! RTSP through FFmpeg, from GStreamer's server: passwords, a camera that hangs, sound that is left out, reordered pictures.

#[path = "../../tests/common/cameras.rs"]
mod cameras;
mod common;

use std::time::Instant;

use cameras::{Cameras, LOGIN, film, stream};
use common::Running;
use custody_shared::capture::{Ending, Input};

fn rtsp(cameras: &Cameras, login: &str) -> Input {
    Input::Rtsp {
        url: cameras.url().replace("rtsp://", &format!("rtsp://{login}")),
    }
}

#[test]
fn digest_authentication_right_wrong_and_missing() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), r#", "audio": "aac""#, true);
    let mut running = Running::start(rtsp(&cameras, &format!("{}:{}@", LOGIN.0, LOGIN.1)));
    assert_eq!(running.pictures(25).1.len(), 25);
    assert_eq!(running.end(true).0, Some(Ending::Ended));
    for login in ["operator:s3cret@", ""] {
        let (ending, words) = Running::start(rtsp(&cameras, login)).end(false);
        assert_eq!(ending, Some(Ending::Refused), "{login}: {words}");
        assert!(!words.contains("s3cret") && !words.contains("operator"), "{words}");
    }
}

#[test]
fn a_camera_that_hangs_ends_the_child_in_time() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cameras = Cameras::looped(&stream(folder.path()), "", false);
    let mut running = Running::start(rtsp(&cameras, ""));
    assert_eq!(running.pictures(10).1.len(), 10);
    cameras.freeze();
    let frozen = Instant::now();
    running.pictures_until_the_end();
    let took = frozen.elapsed();
    assert!((700..2000).contains(&took.as_millis()), "noticed after {took:?}");
    let (ending, words) = running.end(false);
    assert_eq!((ending, words.trim()), (Some(Ending::Stalled), "no picture for 1 s"));
}

#[test]
fn every_picture_of_a_reordered_stream_comes() {
    if !cameras::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let original = film(folder.path(), "film.mp4", &["-c:v", "libx264", "-bf", "3", "-g", "25"]);
    let cameras = Cameras::played(&original, "h264", "");
    let mut running = Running::start(rtsp(&cameras, ""));
    let (_, pictures) = running.pictures(usize::MAX);
    assert_eq!(pictures.len(), 100);
    let (ending, words) = running.end(false);
    assert!(
        matches!(ending, Some(Ending::Unreachable | Ending::Stalled)),
        "{ending:?} {words}"
    );
}

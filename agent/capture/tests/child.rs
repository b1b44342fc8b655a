//! The child from outside: jobs in, frames out, endings on time.

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{PICTURE, Running, Timed, ffmpeg, motion_jpeg};
use custody_shared::capture::{Ending, Input};
use custody_shared::fmp4::nal::{RandomAccess, random_access};
use custody_shared::fmp4::{Codec, Sample, VideoParameters, fragment_head, init_section};

fn framemd5(arguments: &[&str], input: &[u8]) -> Vec<String> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(arguments)
        .args(["-an", "-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit(',').next())
        .map(|md5| md5.trim().to_owned())
        .collect()
}

/// One fragment of everything, 40 ms a picture.
fn mp4(parameters: &VideoParameters, pictures: &[Timed]) -> Vec<u8> {
    let least = pictures.iter().filter_map(|(pts, _)| *pts).min().expect("times");
    let samples: Vec<_> = pictures
        .iter()
        .zip((0i64..).step_by(3600))
        .map(|((pts, data), decode)| Sample {
            size: u32::try_from(data.len()).expect("short"),
            duration: 3600,
            composition_offset: i32::try_from(pts.expect("a time") - least - decode).expect("near"),
            sync: random_access(parameters.codec(), data) != RandomAccess::None,
        })
        .collect();
    let mut out = init_section(parameters).expect("an init section");
    out.extend(fragment_head(1, 0, &samples).expect("a head"));
    out.extend(pictures.iter().flat_map(|(_, data)| data));
    out
}

#[test]
fn files_are_copied_bit_for_bit_and_without_their_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=25",
        "-f",
        "lavfi",
        "-i",
        "sine",
        "-t",
        "1.6",
        "-c:a",
        "aac",
    ];
    let cases: [(&str, &[&str]); 4] = [
        ("plain.mp4", &["-c:v", "libx264", "-bf", "0", "-g", "20"]),
        (
            "open.mp4",
            &["-c:v", "libx264", "-bf", "3", "-g", "20", "-x264-params", "open-gop=1"],
        ),
        (
            "h265.mkv",
            &[
                "-c:v",
                "libx265",
                "-x265-params",
                "log-level=error:bframes=3:open-gop=1:keyint=20",
                "-tag:v",
                "hvc1",
            ],
        ),
        (
            "stream.ts",
            &["-c:v", "libx264", "-bf", "2", "-g", "20", "-pix_fmt", "yuv420p"],
        ),
    ];
    for (name, options) in cases {
        let path = folder.path().join(name);
        ffmpeg(&[&source[..], options].concat(), &path);
        let text = path.to_str().expect("a path");
        let mut running = Running::start(Input::File {
            path: text.into(),
            repeat: false,
        });
        let begun = Instant::now();
        let (parameters, pictures) = running.pictures(usize::MAX);
        assert_eq!(
            parameters.codec(),
            if name == "h265.mkv" { Codec::H265 } else { Codec::H264 },
            "{name}"
        );
        assert!(
            begun.elapsed() > Duration::from_millis(1300),
            "{name} is played in real time"
        );
        assert_eq!(
            framemd5(&["-i", "-"], &mp4(&parameters, &pictures)),
            framemd5(&["-i", text], &[]),
            "{name}"
        );
        assert_eq!(running.end(false).0, Some(Ending::Ended), "{name}");
    }
}

#[test]
fn a_looped_file_goes_on_without_a_jump() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("short.mp4");
    let options = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x120:r=25",
        "-t",
        "0.4",
        "-c:v",
        "libx264",
        "-bf",
        "0",
    ];
    ffmpeg(&options, &path);
    let mut running = Running::start(Input::File {
        path: path.to_str().expect("a path").into(),
        repeat: true,
    });
    let (_, pictures) = running.pictures(25);
    let steps: Vec<_> = pictures
        .windows(2)
        .map(|pair| pair[1].0.expect("a time") - pair[0].0.expect("a time"))
        .collect();
    assert_eq!(steps, vec![3600; 24]);
    assert_eq!(running.end(true).0, Some(Ending::Ended));
}

#[test]
fn other_codecs_are_encoded_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old.avi");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=160x120:r=25",
            "-t",
            "0.6",
            "-c:v",
            "mpeg4",
        ],
        &path,
    );
    let mut running = Running::start(Input::File {
        path: path.to_str().expect("a path").into(),
        repeat: false,
    });
    let (parameters, pictures) = running.pictures(usize::MAX);
    assert_eq!(
        (parameters.codec(), parameters.width(), pictures.len()),
        (Codec::H264, 160, 15)
    );
    assert_eq!(running.end(false).0, Some(Ending::Ended));
}

#[test]
fn the_test_picture_has_a_closed_group_every_two_seconds() {
    let mut running = Running::start(Input::TestPicture {
        name: "gate".into(),
        picture: PICTURE,
    });
    let (parameters, pictures) = running.pictures(25);
    assert_eq!((parameters.width(), parameters.height()), (320, 180));
    let keys: Vec<_> = pictures
        .iter()
        .enumerate()
        .filter(|(_, (_, data))| random_access(Codec::H264, data) != RandomAccess::None)
        .map(|(index, (_, data))| (index, random_access(Codec::H264, data)))
        .collect();
    assert_eq!(keys, [(0, RandomAccess::Closed), (20, RandomAccess::Closed)]);
    assert!(
        pictures
            .windows(2)
            .all(|pair| pair[1].0.unwrap() - pair[0].0.unwrap() == 9000)
    );
    assert_eq!(running.end(true).0, Some(Ending::Ended));
}

#[test]
fn endings_name_the_flaw_without_the_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "this is no video\n".repeat(1000)).expect("written");
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let check = |input: Input, expected: Ending| {
        let (ending, words) = Running::start(input).end(false);
        assert_eq!(ending, Some(expected), "{words}");
        assert!(!words.contains("s3cret") && words.lines().count() == 1, "{words}");
    };
    check(
        Input::File {
            path: "/absent/file.mp4".into(),
            repeat: false,
        },
        Ending::Unreachable,
    );
    check(
        Input::File {
            path: text.to_str().expect("a path").into(),
            repeat: false,
        },
        Ending::Unsupported,
    );
    check(
        Input::Rtsp {
            url: format!("rtsp://u:s3cret@{closed}/a"),
        },
        Ending::Unreachable,
    );
    check(
        Input::V4l2 {
            device: "/dev/absent".into(),
            format: None,
            picture: PICTURE,
        },
        Ending::Unreachable,
    );
}

#[test]
fn a_file_cannot_make_the_child_talk_to_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let playlist = folder.path().join("list.m3u8");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let address = listener.local_addr().expect("an address");
    std::fs::write(
        &playlist,
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{address}/a.ts\n"),
    )
    .expect("written");
    let path = playlist.to_str().expect("a path").into();
    let (ending, words) = Running::start(Input::File { path, repeat: false }).end(false);
    // FFmpeg does follow the playlist, and tries until its time is over.
    let expected = [Some(Ending::Unsupported), Some(Ending::Unreachable)];
    assert!(expected.contains(&ending), "{ending:?} {words}");
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn a_job_that_is_none_is_refused() {
    for job in [&b"{}"[..], b"", b"\xff\xff"] {
        let (ending, words) = Running::start_with(job).end(false);
        assert_eq!(ending, Some(Ending::Unable), "{words}");
    }
}

#[test]
fn an_mjpeg_camera_is_encoded_until_it_stalls() {
    let mut running = Running::start(Input::HttpMjpeg {
        url: motion_jpeg("200 OK", 12),
        picture: PICTURE,
    });
    let (parameters, pictures) = running.pictures(usize::MAX);
    assert_eq!((parameters.codec(), parameters.width()), (Codec::H264, 320));
    let (ending, words) = running.end(false);
    assert!(pictures.len() >= 8, "{} pictures, {ending:?} {words}", pictures.len());
    assert_eq!((ending, words.trim()), (Some(Ending::Stalled), "no picture for 1 s"));
}

#[test]
fn a_camera_that_refuses_or_says_nothing_ends_the_child_in_time() {
    let (ending, words) = Running::start(Input::HttpMjpeg {
        url: motion_jpeg("401 Unauthorized", 0),
        picture: PICTURE,
    })
    .end(false);
    assert_eq!(ending, Some(Ending::Refused), "{words}");
    for input in [
        Input::HttpMjpeg {
            url: motion_jpeg("", 0),
            picture: PICTURE,
        },
        Input::Rtsp {
            url: motion_jpeg("", 0).replace("http:", "rtsp:"),
        },
    ] {
        let begun = Instant::now();
        let (ending, words) = Running::start(input).end(false);
        assert_eq!(
            (ending, words.trim()),
            (Some(Ending::Unreachable), "no answer within 2 s")
        );
        let took = begun.elapsed();
        assert!((1900..3000).contains(&took.as_millis()), "{took:?}");
    }
}

//! The judges judged: before they say anything about Custody, they must be right about a plain FFmpeg recording.

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use custody_tests::browser::Browser;
use custody_tests::camera::{Cameras, LOGIN, Mount};
use custody_tests::footage::{Codec, Footage};
use custody_tests::frames::{self, Frames};
use custody_tests::process::run;
use custody_tests::search::Searcher;
use custody_tests::strace;

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_delivers_its_footage_bit_for_bit_with_sound_beside_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (codec, audio) in [(Codec::H264, "aac"), (Codec::H265, "pcmu")] {
        let footage = Footage::small(codec);
        let source = footage.make()?;
        let mount = Mount::stream("gate", codec, &source, footage.fps).with_audio(audio);
        let cameras = Cameras::start_guarded(folder.path(), &[mount]).await?;
        let film = folder.path().join("film.mkv");
        let url = cameras
            .url("gate")
            .replace("://", &format!("://{}:{}@", LOGIN.0, LOGIN.1));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args([
            "-v",
            "error",
            "-y",
            "-rtsp_transport",
            "tcp",
            "-i",
            &url,
            "-t",
            "4",
            "-map",
            "0",
            "-c",
            "copy",
        ]);
        run(ffmpeg.arg(&film))?;
        assert_eq!(
            frames::tracks(&film)?,
            ["video", "audio"],
            "the sound track is there to be dropped"
        );
        let same = frames::same_and_contiguous(&Frames::decode(&film)?, &Frames::decode(&source)?)?;
        assert!(same.frames > 30, "{same:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_recorder_is_caught_writing_video() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let source = Footage::small(Codec::H264).make()?;
    let (film, trace) = (folder.path().join("film.mp4"), folder.path().join("trace"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-y", "-i"])
        .arg(&source)
        .args(["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]);
    run(&mut strace::wrap(ffmpeg.arg(&film), &trace, strace::Watch::Writes))?;

    let mut searcher = Searcher::default();
    searcher.learn(&std::fs::read(&source)?);
    let found = searcher.walk(&[folder.path().to_owned()], SystemTime::UNIX_EPOCH)?;
    assert!(
        found.finds.iter().any(|(path, _)| *path == film),
        "the file is found on disk"
    );

    let written = strace::files_written(&trace)?;
    let file = &written[film.to_str().expect("a plain path")];
    assert_eq!(file.bytes, std::fs::metadata(&film)?.len(), "strace saw every byte");
    assert!(searcher.find(&file.data).is_some());
    let frames_alone = &file.data[4000..];
    assert!(
        searcher.find(frames_alone).is_some_and(|f| f.what.contains("frame")),
        "frames are known without their boxes"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_tells_a_scene_from_an_empty_player() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-y", "-i"])
        .arg(Footage::small(Codec::H264).make()?)
        .args(["-c", "copy"]);
    run(ffmpeg.arg(&film))?;
    let page = folder.path().join("page.html");
    std::fs::write(
        &page,
        "<video id=film src=film.mp4 autoplay muted></video><video id=none width=640 height=360></video>",
    )?;

    let browser = Browser::start(folder.path()).await?;
    browser.open(&format!("file://{}", page.display())).await?;
    browser
        .until(
            "the film plays",
            "return document.getElementById('film').currentTime > 1",
            Duration::from_secs(30),
        )
        .await?;
    browser
        .picture("#film", &folder.path().join("film.png"))
        .await?
        .expect_a_scene()?;
    assert!(
        browser
            .picture("#none", &folder.path().join("none.png"))
            .await?
            .expect_a_scene()
            .is_err()
    );
    browser.close().await
}

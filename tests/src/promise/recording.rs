//! Real cameras: what comes out is what went in, bit for bit, without a gap and without a sound.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Scale;
use crate::agent::Source;
use crate::camera::{Cameras, LOGIN, Mount};
use crate::footage::{Codec, Footage};
use crate::frames::{self, Frames};
use crate::journey::now;
use crate::site::{Person, Site};

/// H.264 over RTSP with AAC beside it.
pub(super) async fn h264(scale: Scale) -> Result<String> {
    real_camera(Codec::H264, "aac", scale).await
}

/// H.265 over RTSP with G.711 beside it.
pub(super) async fn h265(scale: Scale) -> Result<String> {
    real_camera(Codec::H265, "pcmu", scale).await
}

async fn real_camera(codec: Codec, audio: &str, scale: Scale) -> Result<String> {
    let footage = Footage::camera(codec);
    let source = footage.make()?;
    let mut site = Site::start(codec.name()).await?;
    let mount = Mount::stream("gate", codec, &source, footage.fps).with_audio(audio);
    let cameras = Cameras::start_guarded(&site.folder().join("logs"), &[mount]).await?;
    let camera = site
        .add_camera("Gate", Source::rtsp_with_login(&cameras.url("gate"), LOGIN.0, LOGIN.1))
        .await?;
    let id = site.agents[camera].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;

    let begun = site
        .until_kept(&asker, &id, now() - 1_000_000, 0.5, Duration::from_secs(60))
        .await?;
    let from = begun.iter().find(|s| s.kind == "kept").context("a kept stretch")?.from;
    tokio::time::sleep(scale.time(20, 600)).await;
    let to = now() - 6_000_000;
    // Ten idle minutes end a session.
    let asker = site.sign_in(Person::Asker).await?;
    let wanted = (to - from) as f64 / 1e6;
    let coverage = site
        .until_kept(&asker, &id, from, wanted, Duration::from_secs(60))
        .await?;
    let inside: Vec<_> = coverage.iter().filter(|s| s.from < to && s.kind != "kept").collect();
    ensure!(inside.is_empty(), "the time line has holes: {inside:?}");

    let granted = site.granted(&[&id], from, to, "copy").await?;
    let folder = site.folder().join("received");
    std::fs::create_dir_all(&folder)?;
    let films = site.export(&granted, &folder).await?;
    ensure!(films.len() == 1, "one film was expected: {films:?}");
    let film = &films[0];
    ensure!(
        frames::tracks(film)? == ["video"],
        "the copy has other tracks than the picture: {:?}",
        frames::tracks(film)?
    );
    let same = frames::same_and_contiguous(&Frames::decode(film)?, &Frames::decode(&source)?)?;
    let expected = wanted * f64::from(footage.fps);
    ensure!(
        same.frames as f64 >= expected * 0.98,
        "{} frames of {expected:.0}",
        same.frames
    );
    let pause = frames::longest_pause(&frames::times(film)?);
    ensure!(
        pause < 1.5 / f64::from(footage.fps),
        "two frames lie {pause:.3} s apart"
    );
    site.close().await?;
    Ok(format!(
        "{wanted:.0} s without a gap; {} frames bit for bit; tracks: video",
        same.frames
    ))
}

//! How long a person waits: for the first picture, for a seek, for a copy; and how fast a backlog goes away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::agent::Source;
use crate::browser::Browser;
use crate::camera::{Cameras, Mount};
use crate::footage::{Codec, Footage, Scene};
use crate::journey::{kept_seconds, now};
use crate::process::Usage;
use crate::site::{Person, Site};

const RECORDED: Duration = Duration::from_secs(90);

/// From the decision to the picture, and from a seek to its picture, in a browser.
pub(super) async fn first_frame_and_seek() -> Result<Vec<Row>> {
    let footage = Footage::camera(Codec::H264);
    let mut site = Site::start("bench-viewing").await?;
    let mount = Mount::stream("c", Codec::H264, &footage.make()?, footage.fps);
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let source = Source::rtsp(&cameras.url("c"));
    let number = site.enrol_camera("c", source.clone())?;
    site.agents[number].configure_as_shipped(&source)?;
    site.start_agent(number)?;
    tokio::time::sleep(RECORDED).await;
    let id = site.agents[number].camera.clone();
    let (asker, decider) = (site.sign_in(Person::Asker).await?, site.sign_in(Person::Decider).await?);
    let browser = Browser::start(site.folder()).await?;
    crate::promise::first_picture::sign_in(&site, &browser, Person::Asker).await?;
    let request = site.ask(&asker, &[&id], now() - 600_000_000, now(), "view").await?;
    let decided = Instant::now();
    site.decide(&decider, &request, "approve").await?.json("the decision")?;
    browser
        .open(&format!("{}/requests/{request}/view", site.base()))
        .await?;
    crate::promise::first_picture::until_it_plays(&browser).await?;
    let first = decided.elapsed();

    let mut seeks = Vec::new();
    for part in [0.8, 0.1, 0.6, 0.3, 0.9, 0.5, 0.2] {
        let code = format!(
            "const done = arguments[arguments.length - 1], video = document.querySelector('video'), began = performance.now();
             const at = video.buffered.length ? video.seekable.start(0) + (video.seekable.end(0) - video.seekable.start(0)) * {part} : 0;
             video.addEventListener('seeked', () => done(performance.now() - began), {{ once: true }});
             video.currentTime = at;"
        );
        let took = browser.page().execute_async(&code, vec![]).await?;
        seeks.push(took.as_f64().context("a number of milliseconds")?);
    }
    seeks.sort_by(f64::total_cmp);
    browser.close().await?;
    site.close().await?;
    let shown = format!("{} s recorded in a window of 10 min", RECORDED.as_secs());
    Ok(vec![
        Row::columns(
            "decision to first picture",
            &format!("{:.2} s", first.as_secs_f64()),
            &shown,
            "",
        )
        .aim("≤ 1 s"),
        Row::columns(
            "seek to a picture",
            &format!("median {:.0} ms", seeks[seeks.len() / 2]),
            &format!("slowest of {} {:.0} ms", seeks.len(), seeks[seeks.len() - 1]),
            "",
        )
        .aim("≤ 300 ms"),
    ])
}

/// Megabytes of footage a second from the request for a copy to its last byte, and what the server needs for it.
pub(super) async fn export() -> Result<Vec<Row>> {
    let footage = Footage {
        codec: Codec::H264,
        scene: Scene::Pattern,
        width: 1920,
        height: 1080,
        fps: 25,
        seconds: 4,
        gop: 25,
        kbits: 150_000,
    };
    let mut site = Site::start("bench-export").await?;
    let mount = Mount::stream("c", Codec::H264, &footage.make()?, footage.fps);
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let began = now();
    let number = site.add_camera("c", Source::rtsp(&cameras.url("c"))).await?;
    let id = site.agents[number].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;
    site.until_kept(&asker, &id, began, 40.0, Duration::from_secs(120))
        .await?;
    let granted = site.granted(&[&id], began, now(), "copy").await?;
    let server = site.server()?.id();
    let before = Usage::of(server)?;
    let started = Instant::now();
    let export = site.prepare_export(&granted).await?;
    let ready = started.elapsed();
    let mut bytes = 0;
    for file in export["files"].as_array().into_iter().flatten() {
        bytes += granted
            .asker
            .drain(file["href"].as_str().context("an address")?)
            .await?;
    }
    let (took, after) = (started.elapsed(), Usage::of(server)?);
    ensure!(bytes > 100_000_000, "only {bytes} bytes were exported");
    site.close().await?;
    let mb = bytes as f64 / 1e6;
    let grown = after.resident_peak.saturating_sub(before.resident_peak) >> 20;
    Ok(vec![
        Row::columns(
            "copy, from the request to its last byte",
            &format!("{:.0} MB/s", mb / took.as_secs_f64()),
            &format!(
                "{mb:.0} MB; ready after {:.1} s, fetching included",
                ready.as_secs_f64()
            ),
            "",
        ),
        Row::columns(
            "copy, footage per CPU second of the server",
            &format!("{:.0} MB/s", mb / (after.cpu_s - before.cpu_s)),
            "one core",
            "",
        )
        .aim("≥ 150 MB/s"),
        Row::columns(
            "copy, growth of the server's memory",
            &format!("{grown} MiB"),
            &format!("{mb:.0} MB copied"),
            "",
        )
        .aim("independent of length"),
    ])
}

/// A server that was away: seconds of recording stated a second, once it is back.
pub(super) async fn catching_up() -> Result<Vec<Row>> {
    let mut site = Site::start("bench-catching-up").await?;
    for n in 0..3 {
        site.add_camera(&format!("c{n}"), Source::test_picture("c")).await?;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    site.stop_server().await?;
    let left = now();
    tokio::time::sleep(Duration::from_secs(90)).await;
    let back = now();
    site.start_server().await?;
    let asker = site.sign_in(Person::Asker).await?;
    let started = Instant::now();
    let wanted = (back - left) as f64 / 1e6 - 6.0;
    for agent in &site.agents {
        while kept_seconds(&site.coverage(&asker, &agent.camera, left, back).await?) < wanted {
            ensure!(
                started.elapsed() < Duration::from_secs(120),
                "not caught up after two minutes"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let speed = wanted / started.elapsed().as_secs_f64().max(0.02);
    site.close().await?;
    Ok(vec![
        Row::compare(
            "catching up after 90 s, 3 cameras each",
            "× real time",
            speed,
            ("real time", 1.0),
        )
        .aim("≥ 50"),
    ])
}

//! No plaintext video on a disk: not while recording, not while exporting, not while somebody watches.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::Scale;
use crate::agent::Source;
use crate::browser::Browser;
use crate::camera::{Cameras, Mount};
use crate::footage::{Codec, Footage};
use crate::journey::now;
use crate::search::Searcher;
use crate::site::{Person, Site};
use crate::strace;

/// Two cameras (RTSP and the generated picture), a browser that watches, an export that is received into memory: then every file
/// that changed since the beginning is searched, and every write that the kernel saw.
pub(super) async fn nowhere_on_a_disk(scale: Scale) -> Result<String> {
    let footage = Footage::camera(Codec::H264);
    let source = footage.make()?;
    // The source itself, made just now perhaps, is not among what is searched.
    let since = SystemTime::now();
    let mut searcher = Searcher::default();
    searcher.learn(&std::fs::read(&source)?);
    ensure!(
        searcher.known() > 1000,
        "the source gave only {} pieces to look for",
        searcher.known()
    );

    let mut site = Site::start_traced("no-plaintext").await?;
    let mount = Mount::stream("gate", Codec::H264, &source, footage.fps).with_audio("aac");
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    site.add_camera("Gate", Source::rtsp(&cameras.url("gate"))).await?;
    site.add_camera("Hall", Source::test_picture("Hall")).await?;
    let ids: Vec<String> = site.agents.iter().map(|a| a.camera.clone()).collect();
    let asker = site.sign_in(Person::Asker).await?;
    let began = now();
    tokio::time::sleep(scale.time(10, 120)).await;
    for id in &ids {
        site.until_kept(&asker, id, began, 8.0, Duration::from_secs(60)).await?;
    }

    let browser = Browser::start(site.folder()).await?;
    let both: Vec<&str> = ids.iter().map(String::as_str).collect();
    let granted = site.granted(&both, began, now(), "copy").await?;
    watch(&site, &browser, &granted.request).await?;
    let export = site.prepare_export(&granted).await?;
    let mut received = Vec::new();
    for file in export["files"].as_array().context("files")? {
        let href = file["href"].as_str().context("an address")?;
        received.push(granted.asker.get(href).await?.body);
    }
    let film = received.iter().find(|b| {
        searcher
            .find(b)
            .is_some_and(|f| f.what.contains("frame") || f.what.contains("MP4"))
    });
    let film = film
        .context("the export that was received shows nothing to the search: it is blind or the export is empty")?
        .clone();
    let profile = browser.profile().to_owned();
    let watched = searcher
        .walk(&[site.folder().to_owned()], since)?
        .expect_nothing()
        .context("while in use")?;
    browser.close().await?;
    site.stop().await?;

    let roots: Vec<PathBuf> = [site.folder(), "/tmp".as_ref(), "/var/tmp".as_ref(), "/dev/shm".as_ref()]
        .map(PathBuf::from)
        .into();
    let walk = searcher.walk(&roots, since)?.expect_nothing()?;
    for folder in [site.data(), site.folder().join("tmp"), profile] {
        searcher.must_find(&film, &folder)?;
    }
    let traced = traced_writes(&site, &searcher)?;
    site.close().await?;
    Ok(format!(
        "{} files and {} MiB searched at rest, {} files in use, positive control found in 3 folders; {traced}",
        walk.files,
        walk.bytes >> 20,
        watched.files
    ))
}

async fn watch(site: &Site, browser: &Browser, request: &str) -> Result<()> {
    super::first_picture::sign_in(site, browser, Person::Asker).await?;
    browser
        .open(&format!("{}/requests/{request}/view", site.base()))
        .await?;
    super::first_picture::until_it_plays(browser).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Searches what each traced process wrote to files, and demands that nothing was written unseen.
fn traced_writes(site: &Site, searcher: &Searcher) -> Result<String> {
    let (mut files, mut bytes) = (0, 0);
    for name in ["server", "Gate", "Hall"] {
        let trace = site.trace(name);
        let written = strace::files_written(&trace)?;
        ensure!(!written.is_empty(), "{name}: the trace shows no write at all");
        for (path, content) in written {
            ensure!(
                !content.unseen,
                "{name}: {path} was written in a way that the trace cannot show"
            );
            if let Some(find) = searcher.find(&content.data) {
                anyhow::bail!("{name}: wrote {} to {path}", find.what);
            }
            files += 1;
            bytes += content.bytes;
        }
        std::fs::remove_file(&trace)?;
    }
    Ok(format!(
        "strace: {} MiB written to {files} files by 3 processes and their children, no video among it",
        bytes >> 20
    ))
}

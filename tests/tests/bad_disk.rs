//! Disks that are full, segments that are damaged: stated, named, and nothing else is touched.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use custody_tests::agent::Source;
use custody_tests::camera::{Cameras, Mount};
use custody_tests::footage::{Codec, Footage};
use custody_tests::journey::{nothing_lost, now};
use custody_tests::site::{Person, Site};

const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_stated_and_deletes_nothing() -> Result<()> {
    let mut site = Site::start("disk-full").await?;
    let footage = Footage::camera(Codec::H264);
    let mount = Mount::stream("gate", Codec::H264, &footage.make()?, footage.fps);
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let source = Source::rtsp(&cameras.url("gate"));
    site.enrol_camera("Gate", source.clone())?;
    site.agents[0].configure(&source, "[disk]\nreserve_mib = 1\n")?;
    let began = now();
    site.start_agent_on_small_disk(0, 8)?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    let before = site.until_kept(&asker, &id, began, 4.0, SOON).await?;
    let gap = site
        .until_gap(&asker, &id, began, "disk-full", SOON)
        .await
        .context("a full disk is stated")?;
    ensure!(gap.from > before[0].from);
    site.agents[0].must_run()?;
    nothing_lost(&before, &site.coverage(&asker, &id, began, now()).await?)?;
    let said = site.agents[0].process()?.output();
    ensure!(
        said.contains("cannot ") && said.to_lowercase().contains("disk"),
        "the log says:\n{said}"
    );
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_segments_are_named_and_the_others_stay_good() -> Result<()> {
    let mut site = Site::start("damaged-segments").await?;
    site.add_camera("Gate", Source::test_picture("Gate")).await?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    let began = now();
    site.until_kept(&asker, &id, began, 22.0, SOON).await?;
    let coverage = site.coverage(&asker, &id, began, now()).await?;
    let segments = site.agents[0].segments();
    ensure!(
        segments.len() >= 5,
        "five finished segments were expected: {segments:?}"
    );
    let mut flipped = std::fs::read(&segments[1])?;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    std::fs::write(&segments[1], &flipped)?;
    let whole = std::fs::read(&segments[2])?;
    std::fs::write(&segments[2], &whole[..whole.len() - 5000])?;
    let last = coverage
        .iter()
        .rfind(|s| s.kind == "kept")
        .context("something kept")?
        .to;
    let granted = site.granted(&[&id], began, last, "copy").await?;
    let export = site.prepare_export(&granted).await;
    let said = match &export {
        Ok(report) => report.to_string(),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        said.contains("segment") && said.contains("not what it had signed"),
        "nothing names the two damaged segments: {said}"
    );
    // The third to last segment is untouched and still watched.
    let healthy = site.granted(&[&id], last - 4_000_000, last, "copy").await?;
    let folder = site.folder().join("received");
    std::fs::create_dir_all(&folder)?;
    ensure!(!site.export(&healthy, &folder).await?.is_empty());
    site.close().await
}

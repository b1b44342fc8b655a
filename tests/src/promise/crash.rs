//! Crashes at random moments: what was acknowledged stays, and everything goes on by itself.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Scale;
use crate::agent::Source;
use crate::camera::{Cameras, Mount};
use crate::footage::{Codec, Footage};
use crate::frames::{self, Frames};
use crate::http::Client;
use crate::journey::{Stretch, kept_seconds, nothing_lost, now};
use crate::site::{Person, Site};

const CAMERAS: usize = 2;

struct Load {
    site: Site,
    cameras: Cameras,
    ids: Vec<String>,
    began: i64,
}

/// A site under load: real streams, quick segments, and somebody who keeps asking for coverage.
async fn load(name: &str) -> Result<Load> {
    let footage = Footage::small(Codec::H264);
    let source = footage.make()?;
    let mut site = Site::start(name).await?;
    let mounts: Vec<Mount> = (0..CAMERAS)
        .map(|n| Mount::stream(&format!("c{n}"), Codec::H264, &source, footage.fps))
        .collect();
    let cameras = Cameras::start(&site.folder().join("logs"), &mounts).await?;
    let began = now();
    let mut ids = Vec::new();
    for n in 0..CAMERAS {
        let number = site
            .add_camera(&format!("Place {n}"), Source::rtsp(&cameras.url(&format!("c{n}"))))
            .await?;
        ids.push(site.agents[number].camera.clone());
    }
    let load = Load {
        site,
        cameras,
        ids,
        began,
    };
    let asker = load.site.sign_in(Person::Asker).await?;
    for id in &load.ids {
        load.site
            .until_kept(&asker, id, began, 4.0, Duration::from_secs(60))
            .await?;
    }
    Ok(load)
}

impl Load {
    async fn coverage(&self, asker: &Client) -> Result<Vec<Vec<Stretch>>> {
        let mut all = Vec::new();
        for id in &self.ids {
            all.push(self.site.coverage(asker, id, self.began, now()).await?);
        }
        Ok(all)
    }

    /// Every camera has recorded at least this much more than `before`.
    async fn goes_on(&self, asker: &Client, before: &[Vec<Stretch>], within: Duration) -> Result<()> {
        for (id, old) in self.ids.iter().zip(before) {
            self.site
                .until_kept(asker, id, self.began, kept_seconds(old) + 2.0, within)
                .await?;
        }
        Ok(())
    }

    /// No moment without an explanation, and everything kept can still be watched, frame by frame as it was filmed.
    async fn account(&self, asker: &Client) -> Result<String> {
        let source = Frames::decode(&Footage::small(Codec::H264).make()?)?;
        let folder = self.site.folder().join("received");
        std::fs::create_dir_all(&folder)?;
        let mut evidence = Vec::new();
        for id in &self.ids {
            let coverage = self.site.coverage(asker, id, self.began, now()).await?;
            let kept: Vec<&Stretch> = coverage.iter().filter(|s| s.kind == "kept").collect();
            let (first, last) = (kept[0].from, kept[kept.len() - 1].to);
            let between = coverage.iter().filter(|s| s.from >= first && s.to <= last);
            let unexplained: Vec<&Stretch> = between.filter(|s| s.kind == "unknown" && s.seconds() > 0.1).collect();
            ensure!(
                unexplained.is_empty(),
                "moments without an explanation: {unexplained:?} in {coverage:?}"
            );
            let granted = self.site.granted(&[id], first, last, "copy").await?;
            let (mut frames_shown, mut stretches, mut shown_at) = (0, 0, Vec::new());
            for film in self.site.export(&granted, &folder).await? {
                let shown = Frames::decode(&film)?;
                stretches += frames::runs(&shown, &source)?.len();
                frames_shown += shown.len();
                shown_at.push(frames::stretches(&frames::times(&film)?, 0.15));
            }
            let seconds = frames_shown as f64 / f64::from(Footage::small(Codec::H264).fps);
            let kept = kept_seconds(&coverage);
            ensure!(
                seconds >= kept - 1.0,
                "{seconds} s of film for {kept} s kept: {shown_at:?} of {coverage:?}"
            );
            evidence.push(format!("{seconds:.0} s of film in {stretches} stretches"));
        }
        Ok(evidence.join(", "))
    }
}

/// kill -9 of an agent, again and again.
pub(super) async fn kill_agent(scale: Scale) -> Result<String> {
    let mut load = load("kill-agent").await?;
    let asker = load.site.sign_in(Person::Asker).await?;
    let times = scale.times(3, 30);
    for round in 0..times {
        random_pause(4000).await;
        let before = load.coverage(&asker).await?;
        let victim = round as usize % CAMERAS;
        load.site.agents[victim].kill()?;
        load.site.start_agent(victim)?;
        load.goes_on(&asker, &before, Duration::from_secs(60)).await?;
        for (old, new) in before.iter().zip(load.coverage(&asker).await?) {
            nothing_lost(old, &new)?;
        }
    }
    let evidence = load.account(&asker).await?;
    load.cameras.unplug()?;
    load.site.close().await?;
    Ok(format!("{times} times killed; {evidence}"))
}

/// kill -9 of the server, again and again; then its index is thrown away.
pub(super) async fn kill_server(scale: Scale) -> Result<String> {
    let mut load = load("kill-server").await?;
    let times = scale.times(3, 30);
    let mut slowest = Duration::ZERO;
    let mut asker = load.site.sign_in(Person::Asker).await?;
    for _ in 0..times {
        random_pause(4000).await;
        let before = load.coverage(&asker).await?;
        load.site.kill_server()?;
        slowest = slowest.max(load.site.start_server().await?);
        asker = load.site.sign_in(Person::Asker).await?;
        for (old, new) in before.iter().zip(load.coverage(&asker).await?) {
            nothing_lost(old, &new)?;
        }
        load.goes_on(&asker, &before, Duration::from_secs(60)).await?;
    }
    let evidence = load.account(&asker).await?;
    let same = forget_the_index(&mut load).await?;
    load.site.close().await?;
    Ok(format!(
        "{times} times killed, back within {:.1} s; {evidence}; {same}",
        slowest.as_secs_f64()
    ))
}

/// The index deleted and rebuilt answers as before.
async fn forget_the_index(load: &mut Load) -> Result<String> {
    for agent in &mut load.site.agents {
        agent.process.take();
    }
    // What the agents had sent is taken in before the comparison.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asker = load.site.sign_in(Person::Asker).await?;
    let until = now();
    let answers = async |site: &Site, asker: &Client| -> Result<Vec<Vec<Stretch>>> {
        let mut all = Vec::new();
        for id in &load.ids {
            all.push(site.coverage(asker, id, load.began, until).await?);
        }
        Ok(all)
    };
    let before = answers(&load.site, &asker).await?;
    load.site.stop_server().await?;
    std::fs::remove_dir_all(load.site.data().join("index"))?;
    load.site.custody(&["rebuild"], None)?;
    load.site.start_server().await?;
    let asker = load.site.sign_in(Person::Asker).await?;
    let after = answers(&load.site, &asker).await?;
    ensure!(
        before == after,
        "the rebuilt index answers otherwise:\n{before:?}\n{after:?}"
    );
    Ok(format!(
        "index rebuilt: the same {} stretches",
        after.iter().map(Vec::len).sum::<usize>()
    ))
}

/// The server away for long: the agents record on, and everything arrives in order.
pub(super) async fn server_away(scale: Scale) -> Result<String> {
    let mut load = load("server-away").await?;
    let away = scale.time(15, 600);
    load.site.stop_server().await?;
    let left = now();
    tokio::time::sleep(away).await;
    let back = now();
    load.site.start_server().await?;
    let asker = load.site.sign_in(Person::Asker).await?;
    let missing = (back - left) as f64 / 1e6 - 8.0;
    let mut caught_up = Duration::ZERO;
    for id in &load.ids {
        let began = std::time::Instant::now();
        let kept = async |site: &Site| site.coverage(&asker, id, left, back - 5_000_000).await;
        while kept_seconds(&kept(&load.site).await?) < missing {
            ensure!(
                began.elapsed() < away + Duration::from_secs(60),
                "not caught up: {:?}",
                kept(&load.site).await?
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        caught_up = caught_up.max(began.elapsed());
        let coverage = load.site.coverage(&asker, id, load.began, back - 5_000_000).await?;
        let first = coverage.iter().position(|s| s.kind == "kept").unwrap_or(0);
        let holes: Vec<&Stretch> = coverage[first..].iter().filter(|s| s.kind != "kept").collect();
        ensure!(
            holes.is_empty(),
            "recording was not continuous while the server was away: {holes:?}"
        );
    }
    let evidence = load.account(&asker).await?;
    load.site.close().await?;
    Ok(format!(
        "away {} s, caught up in {:.1} s; {evidence}",
        away.as_secs(),
        caught_up.as_secs_f64()
    ))
}

async fn random_pause(up_to_ms: u64) {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::from(d.subsec_nanos()));
    tokio::time::sleep(Duration::from_millis(nanos / 1000 % up_to_ms)).await;
}

//! What recording costs: ours with sealing, hashing, signing, syncing and MQTT; FFmpeg copying to plain files; retina only reading.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Row;
use crate::agent::{Source, disk_use};
use crate::binaries;
use crate::camera::{Cameras, Mount};
use crate::footage::{Codec, Footage};
use crate::process::{Process, Usage};
use crate::site::Site;

const SETTLE: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(45);

/// What a group of processes used within the window.
struct Cost {
    cpu_s: f64,
    resident: u64,
    written: u64,
}

/// CPU, memory and bytes for so many streams of 1080p25 at 3 Mbit/s.
pub(super) async fn streams(count: usize) -> Result<Vec<Row>> {
    let footage = Footage::camera(Codec::H264);
    let source = footage.make()?;
    let stream_bytes =
        std::fs::metadata(&source)?.len() as f64 / f64::from(footage.seconds) * WINDOW.as_secs_f64() * count as f64;
    let folder = tempfile::tempdir()?;
    let mounts: Vec<Mount> = (0..count)
        .map(|n| Mount::stream(&format!("c{n}"), Codec::H264, &source, footage.fps))
        .collect();
    let cameras = Cameras::start(folder.path(), &mounts).await?;

    let (ours, kept, server) = ours(&cameras, count).await?;
    let ffmpeg = others(count, folder.path(), |n, out| {
        ffmpeg(&cameras.url(&format!("c{n}")), out)
    })
    .await?;
    let floor = others(count, folder.path(), |n, _| floor(&cameras.url(&format!("c{n}")))).await;

    let per_hour = |cost: &Cost| cost.cpu_s / count as f64 * 3600.0 / WINDOW.as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut rows = vec![
        Row::compare(
            "CPU per stream-hour",
            "s",
            per_hour(&ours),
            ("ffmpeg -c copy, no encryption", per_hour(&ffmpeg)),
        ),
        Row::compare(
            "memory, all processes",
            "MiB",
            mib(ours.resident),
            ("ffmpeg -c copy", mib(ffmpeg.resident)),
        ),
        Row::alone(
            "memory, one process",
            format!("{:.1} MiB", mib(ours.resident) / count as f64),
        )
        .aim("≤ 16 MiB"),
        Row::compare(
            "bytes kept ÷ stream",
            "",
            kept as f64 / stream_bytes,
            ("the stream", 1.0),
        )
        .aim("≤ 1.03"),
        Row::compare(
            "bytes sent to the disk ÷ stream",
            "",
            ours.written as f64 / stream_bytes,
            ("ffmpeg -c copy", ffmpeg.written as f64 / stream_bytes),
        ),
        Row::alone(
            "server meanwhile",
            format!(
                "{:.1} % of a core, {:.0} MiB",
                server.cpu_s / WINDOW.as_secs_f64() * 100.0,
                mib(server.resident)
            ),
        )
        .aim("≤ 3 %, ≤ 200 MiB"),
    ];
    let against_floor = match floor {
        Ok(floor) => Row::compare(
            "CPU per stream-hour",
            "s",
            per_hour(&ours),
            ("retina, reading only", per_hour(&floor)),
        ),
        Err(error) => Row::impossible("CPU per stream-hour against retina", &format!("{error:#}")),
    };
    rows.insert(1, against_floor);
    rows.insert(
        2,
        Row::impossible(
            "CPU per stream-hour against Moonfire NVR",
            "no package of it exists for this system; aim ≤ 1.0",
        ),
    );
    Ok(rows)
}

async fn ours(cameras: &Cameras, count: usize) -> Result<(Cost, u64, Cost)> {
    let mut site = Site::start("bench-recorder").await?;
    for n in 0..count {
        let source = Source::rtsp(&cameras.url(&format!("c{n}")));
        let number = site.enrol_camera(&format!("c{n}"), source.clone())?;
        site.agents[number].configure_as_shipped(&source)?;
        site.start_agent(number)?;
    }
    tokio::time::sleep(SETTLE).await;
    let agents: Vec<u32> = site
        .agents
        .iter_mut()
        .map(|a| a.process().map(|p| p.id()))
        .collect::<Result<_>>()?;
    let server = [site.server()?.id()];
    let kept = |site: &Site| -> Result<u64> { site.agents.iter().map(|a| disk_use(&a.data)).sum() };
    let (before, server_before, kept_before) = (sum(&agents)?, sum(&server)?, kept(&site)?);
    tokio::time::sleep(WINDOW).await;
    let (after, server_after, kept_after) = (sum(&agents)?, sum(&server)?, kept(&site)?);
    site.close().await?;
    Ok((
        difference(&before, &after),
        kept_after - kept_before,
        difference(&server_before, &server_after),
    ))
}

async fn others(count: usize, folder: &Path, command: impl Fn(usize, &Path) -> Command) -> Result<Cost> {
    let mut processes = Vec::new();
    for n in 0..count {
        let out = folder.join(format!("plain-{n}"));
        std::fs::create_dir_all(&out)?;
        processes.push(Process::start("peer", command(n, &out), &folder.join("peer.log"))?);
    }
    tokio::time::sleep(SETTLE).await;
    let ids: Vec<u32> = processes.iter().map(Process::id).collect();
    let before = sum(&ids)?;
    tokio::time::sleep(WINDOW).await;
    let after = sum(&ids)?;
    for process in &mut processes {
        ensure!(process.running(), "the peer ended early:\n{}", process.output());
        process.kill()?;
    }
    Ok(difference(&before, &after))
}

fn ffmpeg(url: &str, out: &Path) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-nostdin",
        "-rtsp_transport",
        "tcp",
        "-i",
        url,
        "-an",
        "-c",
        "copy",
        "-f",
        "segment",
    ]);
    ffmpeg
        .args(["-segment_time", "10", "-reset_timestamps", "1"])
        .arg(out.join("%06d.mp4"));
    ffmpeg
}

fn floor(url: &str) -> Command {
    let mut floor = Command::new(binaries::folder().join("examples/rtsp_floor"));
    floor.args([url, "3600"]);
    floor
}

fn sum(ids: &[u32]) -> Result<Usage> {
    ids.iter().try_fold(Usage::default(), |all, &id| {
        let one = Usage::of(id)?;
        Ok(Usage {
            cpu_s: all.cpu_s + one.cpu_s,
            resident: all.resident + one.resident,
            resident_peak: all.resident_peak + one.resident_peak,
            written: all.written + one.written,
        })
    })
}

fn difference(before: &Usage, after: &Usage) -> Cost {
    Cost {
        cpu_s: after.cpu_s - before.cpu_s,
        resident: after.resident,
        written: after.written - before.written,
    }
}

/// How often a fragment is synced to the disk, counted by the kernel.
pub(super) async fn syncs() -> Result<Vec<Row>> {
    let footage = Footage::camera(Codec::H264);
    let folder = tempfile::tempdir()?;
    let mount = Mount::stream("c", Codec::H264, &footage.make()?, footage.fps);
    let cameras = Cameras::start(folder.path(), &[mount]).await?;
    let mut site = Site::start("bench-syncs").await?;
    let source = Source::rtsp(&cameras.url("c"));
    let number = site.enrol_camera("c", source.clone())?;
    site.agents[number].configure_as_shipped(&source)?;
    site.watch_syncs();
    site.start_agent(number)?;
    tokio::time::sleep(SETTLE).await;
    let trace = site.trace("c");
    let count = || std::fs::read_to_string(&trace).map(|t| t.lines().filter(|l| l.contains("sync")).count());
    let before = count()?;
    let window = Duration::from_secs(40);
    tokio::time::sleep(window).await;
    let syncs = (count()? - before) as f64;
    let fragments = window.as_secs_f64() * f64::from(footage.fps) / f64::from(footage.gop);
    site.close().await?;
    std::fs::remove_file(&trace)?;
    let row = Row::alone(
        "syncs per fragment of 2 s, everything included",
        format!("{:.2}", syncs / fragments),
    );
    Ok(vec![row.aim("≤ 2")])
}

//! Cameras that are wrong, broken or false: each becomes a signed gap with its cause and a message with a remedy, and recording
//! resumes by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use custody_tests::agent::{Source, check};
use custody_tests::camera::{Cameras, FalseCamera, LOGIN, Mount, Pretence};
use custody_tests::footage::{Codec, Footage};
use custody_tests::journey::{kept_seconds, now};
use custody_tests::site::{Person, Site, free_port};
use rustix::process::{Signal, kill_process};

const SOON: Duration = Duration::from_secs(60);

fn quick(source: Source) -> Source {
    source.with("timeouts = { connect_s = 2, stall_s = 3 }")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_camera_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let footage = Footage::small(Codec::H264);
    let mut site = Site::start("wrong-cameras").await?;
    let mounts = [
        Mount::stream("gate", Codec::H264, &footage.make()?, footage.fps),
        Mount::unsupported("odd"),
    ];
    let guarded = Cameras::start_guarded(&site.folder().join("logs"), &mounts).await?;
    let open = Cameras::start(&site.folder().join("logs"), &[Mount::unsupported("odd")]).await?;
    let (garbage, silence) = (
        FalseCamera::start(Pretence::Garbage).await?,
        FalseCamera::start(Pretence::Silence).await?,
    );
    let endless = FalseCamera::start(Pretence::EndlessLine).await?;
    let nobody = format!("rtsp://127.0.0.1:{}/gate", free_port()?);
    let wrong_password = "not-the-password-47";
    let cases = [
        (
            "wrong address",
            Source::rtsp(&nobody),
            "camera-unreachable",
            "check the address",
        ),
        (
            "wrong path",
            Source::rtsp_with_login(&guarded.url("nowhere"), LOGIN.0, LOGIN.1),
            "camera-refused",
            "check the",
        ),
        (
            "wrong password",
            Source::rtsp_with_login(&guarded.url("gate"), LOGIN.0, wrong_password),
            "camera-refused",
            "password",
        ),
        (
            "no password",
            Source::rtsp(&guarded.url("gate")),
            "camera-refused",
            "password",
        ),
        (
            "unsupported codec",
            Source::rtsp(&open.url("odd")),
            "unsupported-codec",
            "H.264 or H.265",
        ),
        (
            "garbage",
            Source::rtsp(&garbage.url()),
            "camera-unreachable",
            "check the address",
        ),
        (
            "endless line",
            Source::rtsp(&endless.url()),
            "camera-unreachable",
            "check the address",
        ),
        (
            "silence",
            Source::rtsp(&silence.url()),
            "camera-unreachable",
            "check the address",
        ),
    ];
    let began = now();
    for (name, source, ..) in &cases {
        site.add_camera(name, quick(source.clone())).await?;
    }
    let asker = site.sign_in(Person::Asker).await?;
    for (number, (name, _, _, remedy)) in cases.iter().enumerate() {
        site.agents[number]
            .process()?
            .wait_for(remedy, SOON)
            .await
            .with_context(|| format!("{name}: no remedy"))?;
        let said = site.agents[number].process()?.output();
        let line = said.lines().find(|l| l.contains("cannot ") && l.contains(remedy));
        ensure!(
            line.is_some_and(|l| l.contains("127.0.0.1")),
            "{name}: no line with step, subject and remedy:\n{said}"
        );
        ensure!(
            !said.contains(wrong_password) && !said.contains(LOGIN.1),
            "{name}: a password stands in the log"
        );
        let verdict = check(&site, site.agents[number].config_file())?;
        ensure!(
            verdict.contains("FAIL") && verdict.contains(remedy),
            "{name}: custody-agent check says\n{verdict}"
        );
        ensure!(
            !verdict.contains(wrong_password),
            "{name}: a password stands in check's output"
        );
    }
    // Stopped, each agent states what was missing until then, with its cause.
    for agent in &mut site.agents {
        agent.must_run()?;
        agent.stop().await?;
    }
    for (number, (name, _, cause, _)) in cases.iter().enumerate() {
        let id = site.agents[number].camera.clone();
        let gap = site
            .until_gap(&asker, &id, began, cause, SOON)
            .await
            .with_context(|| (*name).to_owned())?;
        ensure!(gap.seconds() > 1.0, "{name}: {gap:?}");
    }
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_hangs_is_noticed_stated_and_taken_up_again() -> Result<()> {
    let footage = Footage::small(Codec::H264);
    let mut site = Site::start("stalled-camera").await?;
    let mount = Mount::stream("gate", Codec::H264, &footage.make()?, footage.fps);
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let began = now();
    site.add_camera("Gate", quick(Source::rtsp(&cameras.url("gate"))))
        .await?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    site.until_kept(&asker, &id, began, 5.0, SOON).await?;

    cameras.freeze()?;
    let frozen = now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    cameras.thaw()?;
    let thawed = now();
    let after = site.until_kept(&asker, &id, thawed, 4.0, SOON).await?;
    ensure!(kept_seconds(&after) >= 4.0);
    let coverage = site.coverage(&asker, &id, frozen - 2_000_000, now()).await?;
    let gap = coverage
        .iter()
        .find(|s| s.kind == "gap")
        .with_context(|| format!("no gap: {coverage:?}"))?;
    // Frozen for long, the camera refuses to be connected to as well; either is a true cause.
    let cause = gap.cause.as_deref().unwrap_or_default();
    ensure!(["camera-stalled", "camera-unreachable"].contains(&cause), "{gap:?}");
    ensure!(
        (gap.from - frozen).abs() < 1_500_000,
        "the gap begins {} s after the last picture",
        (gap.from - frozen) as f64 / 1e6
    );
    let said = site.agents[0].process()?.output();
    ensure!(
        said.contains("no picture for 3 s") && said.contains("check the camera"),
        "the log says:\n{said}"
    );
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_cut_off_leaves_one_gap_of_the_right_length() -> Result<()> {
    let footage = Footage::small(Codec::H264);
    let mut site = Site::start("cut-camera").await?;
    let mount = Mount::stream("gate", Codec::H264, &footage.make()?, footage.fps);
    let mut cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let began = now();
    site.add_camera("Gate", quick(Source::rtsp(&cameras.url("gate"))))
        .await?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    site.until_kept(&asker, &id, began, 5.0, SOON).await?;

    cameras.unplug()?;
    let cut = now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    cameras.plug_in().await?;
    let coverage = site
        .until_kept(&asker, &id, now(), 4.0, SOON)
        .await
        .and(site.coverage(&asker, &id, began, now()).await)?;
    let first = coverage.iter().position(|s| s.kind == "kept").unwrap_or(0);
    let last = coverage.iter().rposition(|s| s.kind == "kept").unwrap_or(0);
    let between: Vec<_> = coverage[first..=last].iter().filter(|s| s.kind != "kept").collect();
    ensure!(between.iter().all(|s| s.kind == "gap"), "{between:?}");
    let (from, to) = (between[0].from, between[between.len() - 1].to);
    ensure!(
        (from - cut).abs() < 1_000_000,
        "the gap begins {} s from the cut",
        (from - cut) as f64 / 1e6
    );
    ensure!(
        to > cut + 9_000_000,
        "the gap ends before the camera was back: {between:?}"
    );
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pictures_stop_nothing() -> Result<()> {
    let footage = Footage::small(Codec::H264);
    let mut site = Site::start("damaged-pictures").await?;
    let mount = Mount::stream("gate", Codec::H264, &footage.make()?, footage.fps).damaged_every(7);
    let cameras = Cameras::start(&site.folder().join("logs"), &[mount]).await?;
    let began = now();
    site.add_camera("Gate", quick(Source::rtsp(&cameras.url("gate"))))
        .await?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    site.until_kept(&asker, &id, began, 12.0, SOON).await?;
    site.agents[0].must_run()?;
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_child_that_crashes_or_hangs_is_stated_and_replaced() -> Result<()> {
    let mut site = Site::start("capture-crash").await?;
    let began = now();
    site.add_camera("Gate", quick(Source::test_picture("Gate"))).await?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    site.until_kept(&asker, &id, began, 5.0, SOON).await?;

    for (signal, words) in [(Signal::KILL, "crashed"), (Signal::STOP, "no picture for 3 s")] {
        let children = site.agents[0].process()?.children();
        ensure!(children.len() == 1, "the agent has {children:?}");
        kill_process(children[0], signal)?;
        let hit = now();
        let gap = site
            .until_gap(&asker, &id, hit - 1_000_000, "camera-stalled", SOON)
            .await?;
        ensure!(
            (gap.from - hit).abs() < 1_500_000,
            "{words}: the gap begins {} s after the last picture",
            (gap.from - hit) as f64 / 1e6
        );
        site.until_kept(&asker, &id, hit + 3_000_000, 4.0, SOON).await?;
        let said = site.agents[0].process()?.output();
        ensure!(
            said.contains(words) && said.contains("check the camera"),
            "the log says:\n{said}"
        );
        let after = site.agents[0].process()?.children();
        ensure!(after.len() == 1 && after != children, "no new child: {after:?}");
        site.agents[0].must_run()?;
    }
    site.close().await
}

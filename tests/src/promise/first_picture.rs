//! From `make demo` to a picture: what the README tells a newcomer to do, done by a browser.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::Scale;
use crate::binaries;
use crate::browser::Browser;
use crate::process::Process;
use crate::site::{Person, Ports, Site};

/// The demonstration, a request filed on its pages, approved by the other account, and watched.
pub(super) async fn demo(_scale: Scale) -> Result<String> {
    let outside = tempfile::Builder::new().prefix("custody-demo-").tempdir()?;
    let folder = outside.path().join("demo-data");
    let mut demo = Command::new(binaries::program("demo")?);
    demo.env("CUSTODY_DEMO_DIR", &folder)
        .env_remove("CUSTODY_DEMO_CAMERA")
        .current_dir(outside.path());
    let mut demo = Process::start("demo", demo, &outside.path().join("demo.log"))?;
    demo.wait_for("Three things to try", Duration::from_secs(120)).await?;
    demo.wait_for("Entry 0:0", Duration::from_secs(120)).await?;

    let site = known_site(&folder)?;
    let asker = site.sign_in(Person::Asker).await?;
    let cameras = asker.get_json("/api/v1/cameras").await?;
    let list = cameras
        .as_array()
        .or(cameras["cameras"].as_array())
        .context("a list of cameras")?;
    let id = list[0]["id"].as_str().context("the camera's id")?;
    site.until_kept(
        &asker,
        id,
        crate::journey::now() - 600_000_000,
        8.0,
        Duration::from_secs(120),
    )
    .await?;

    let browser = Browser::start(outside.path()).await?;
    let request = file_request(&site, &browser).await?;
    decide(&site, &browser, &request).await?;
    sign_in(&site, &browser, Person::Asker).await?;
    browser.open(&request).await?;
    browser.click("main a.button[href$='/view']").await?;
    until_it_plays(&browser).await?;
    let picture = browser
        .picture("video", &binaries::target().join("first-picture.png"))
        .await?
        .expect_a_scene()?;
    let foreign: Vec<String> = browser
        .requests()
        .await?
        .into_iter()
        .filter(|url| !url.starts_with(&site.base()) && !url.starts_with("blob:"))
        .collect();
    ensure!(foreign.is_empty(), "the pages ask other hosts: {foreign:?}");
    browser.close().await?;

    demo.signal(Signal::INT)?;
    let status = demo.wait(Duration::from_secs(60)).await?;
    ensure!(
        status.success(),
        "the demonstration ended with {status}:\n{}",
        demo.output()
    );
    leaves_only_its_folder(&folder)?;
    Ok(format!(
        "picture with {} shades, deviation {:.0}: target/first-picture.png",
        picture.shades, picture.deviation
    ))
}

fn known_site(folder: &Path) -> Result<Site> {
    let ports: Ports = serde_json::from_slice(&std::fs::read(folder.join("ports.json"))?)?;
    let mut site = Site::at(folder.to_owned(), ports)?;
    site.know_passwords(&serde_json::from_slice(&std::fs::read(folder.join("accounts.json"))?)?);
    site.keep();
    Ok(site)
}

fn leaves_only_its_folder(folder: &Path) -> Result<()> {
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Ok(line) = std::fs::read(process.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        ensure!(
            !line.contains(&*folder.to_string_lossy()),
            "a process was left behind: {line}"
        );
    }
    Ok(())
}

/// Signs in on the page, whoever was signed in before.
pub(crate) async fn sign_in(site: &Site, browser: &Browser, person: Person) -> Result<()> {
    browser.page().delete_all_cookies().await?;
    browser.open(&format!("{}/sign-in", site.base())).await?;
    browser.fill("input[name=name]", person.name()).await?;
    browser.fill("input[name=password]", site.password(person)?).await?;
    browser.click("form.card button").await?;
    let signed_in =
        "return !location.pathname.startsWith('/sign-in') && document.querySelector('header .who') !== null";
    browser
        .until("signed in", signed_in, Duration::from_secs(20))
        .await
        .map(drop)
}

/// Files a request on the page and returns its address.
async fn file_request(site: &Site, browser: &Browser) -> Result<String> {
    sign_in(site, browser, Person::Asker).await?;
    browser.open(&format!("{}/requests/new", site.base())).await?;
    // The chips are labels over hidden inputs: a person clicks the label, the script does the same.
    let choose = "
        const click = css => { const e = document.querySelector(css); if (!e) return css; e.click(); return null; };
        const now = new Date(Date.now() - 60000);
        const all = [...document.querySelectorAll('input[name=slot]')].map(e => e.value);
        const zone = { hour12: false, hour: '2-digit', minute: '2-digit', timeZone: 'Asia/Seoul' };
        const [h, m] = now.toLocaleTimeString('en-GB', zone).split(':').map(Number);
        const half = String(h).padStart(2, '0') + ':' + (m < 30 ? '00' : '30');
        const slot = all.find(v => v === half) ?? all.find(v => v.includes(half)) ?? all[h * 2 + (m < 30 ? 0 : 1)];
        return [click('input[name=camera]'), click('input[name=day]'), click(`input[name=slot][value='${slot}']`),
                click('input[name=ground]')].filter(x => x);";
    let missing = browser.script(choose).await?;
    ensure!(missing == Value::Array(vec![]), "the form lacks {missing}");
    browser
        .fill("textarea[name=purpose]", "A bag was taken at the entry")
        .await?;
    browser
        .script("document.querySelector('main form[action=\"/requests\"] > button').click()")
        .await?;
    let filed = "return /^\\/requests\\/[0-9a-f]{32}$/.test(location.pathname)";
    browser
        .until("the request is filed", filed, Duration::from_secs(20))
        .await?;
    Ok(browser.page().current_url().await?.to_string())
}

async fn decide(site: &Site, browser: &Browser, request: &str) -> Result<()> {
    sign_in(site, browser, Person::Decider).await?;
    browser.open(request).await?;
    browser.click("button[name=decision][value=approve]").await?;
    let decided = "return document.querySelector('button[name=decision]') === null";
    browser
        .until("the request is decided", decided, Duration::from_secs(20))
        .await
        .map(drop)
}

/// Waits until the player shows moving pictures.
pub(crate) async fn until_it_plays(browser: &Browser) -> Result<Duration> {
    let start = "
        const video = document.querySelector('video');
        if (video && video.paused && video.readyState >= 2) document.querySelector('#play')?.click();
        return Boolean(video && video.videoWidth > 0 && video.currentTime > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 3)";
    browser.until("the film plays", start, Duration::from_secs(60)).await
}

//! The server's parts out of reach, one by one: recording goes on, everything arrives later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use custody_tests::agent::Source;
use custody_tests::journey::{kept_seconds, now};
use custody_tests::proxy::Proxy;
use custody_tests::site::{Person, Site};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_away_costs_nothing_but_time() -> Result<()> {
    let mut site = Site::start("broker-away").await?;
    site.enrol_camera("Gate", Source::test_picture("Gate"))?;
    let mut proxy = Proxy::start(site.ports.mqtt).await?;
    redirect_mqtt(&site, proxy.port())?;
    site.start_agent(0)?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    let began = now();
    let before = site.until_kept(&asker, &id, began, 5.0, SOON).await?;

    proxy.cut().await;
    let cut = now();
    tokio::time::sleep(Duration::from_secs(12)).await;
    site.agents[0].must_run()?;
    let during = site.coverage(&asker, &id, cut, now()).await?;
    ensure!(
        kept_seconds(&during) < 6.0,
        "the broker is cut off, and yet: {during:?}"
    );
    let said = site.agents[0].process()?.output();
    ensure!(
        said.contains("cannot ") && said.contains("check"),
        "nothing in the log says that the broker is away:\n{said}"
    );

    proxy.mend().await?;
    let mended = now();
    site.until_kept(&asker, &id, cut, (mended - cut) as f64 / 1e6 - 1.0, SOON)
        .await?;
    let all = site.coverage(&asker, &id, before[0].from, mended).await?;
    let first = all.iter().position(|s| s.kind == "kept").context("something kept")?;
    let last = all.iter().rposition(|s| s.kind == "kept").context("something kept")?;
    ensure!(
        all[first..=last].iter().all(|s| s.kind == "kept"),
        "recording did not go on without the broker: {all:?}"
    );
    site.close().await
}

fn redirect_mqtt(site: &Site, port: u16) -> Result<()> {
    let path = site.agents[0].data.join("identity/agent.json");
    let mut identity: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let known = identity
        .pointer_mut("/mqtt/port")
        .context("agent.json names the broker's port")?;
    *known = port.into();
    Ok(std::fs::write(path, serde_json::to_vec(&identity)?)?)
}

//! The agent's clock jumps by an hour and by a day, forward and back: the jump is stated, recording goes on, nothing acknowledged
//! is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use custody_tests::agent::Source;
use custody_tests::journey::{kept_seconds, nothing_lost, now};
use custody_tests::site::{Person, Site};

const SOON: Duration = Duration::from_secs(90);
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[tokio::test(flavor = "multi_thread")]
async fn a_jumping_clock_is_stated_and_loses_nothing() -> Result<()> {
    let mut site = Site::start("clock-steps").await?;
    site.enrol_camera("Gate", Source::test_picture("Gate"))?;
    site.start_agent_with_clock(0)?;
    let (asker, id) = (site.sign_in(Person::Asker).await?, site.agents[0].camera.clone());
    let began = now();
    let mut before = site.until_kept(&asker, &id, began, 5.0, SOON).await?;
    let (from, to) = (began - 2 * DAY * 1_000_000, began + 2 * DAY * 1_000_000);
    for (name, offset) in [
        ("an hour ahead", HOUR),
        ("back", 0),
        ("an hour behind", -HOUR),
        ("back again", 0),
        ("a day ahead", DAY),
    ] {
        site.set_agent_clock(0, offset)?;
        let enough = kept_seconds(&site.coverage(&asker, &id, from, to).await?) + 5.0;
        let deadline = std::time::Instant::now() + SOON;
        let after = loop {
            let coverage = site.coverage(&asker, &id, from, to).await?;
            if kept_seconds(&coverage) >= enough {
                break coverage;
            }
            ensure!(
                std::time::Instant::now() < deadline,
                "{name}: recording does not go on: {coverage:?}"
            );
            site.agents[0].must_run()?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        nothing_lost(&before, &after)?;
        before = after;
        let said = site.agents[0].process()?.output();
        ensure!(
            said.to_lowercase().contains("clock"),
            "{name}: the log does not speak of the clock:\n{said}"
        );
    }
    // A day back: certificates made today are not yet valid then; recording goes on, and all arrives once the clock is right.
    site.set_agent_clock(0, -DAY)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    site.agents[0].must_run()?;
    site.set_agent_clock(0, 0)?;
    let mended = now();
    site.until_kept(&asker, &id, mended, 5.0, SOON).await?;
    let after = site.coverage(&asker, &id, from, to).await?;
    nothing_lost(&before, &after)?;
    let there = site
        .coverage(
            &asker,
            &id,
            mended - (DAY + 60) * 1_000_000,
            mended - (DAY - 60) * 1_000_000,
        )
        .await?;
    ensure!(
        kept_seconds(&there) > 4.0,
        "what was recorded a day back did not arrive: {there:?}"
    );
    site.close().await
}

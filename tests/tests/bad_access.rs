//! What the wrong person, the wrong moment and the wrong grant get: nothing, with the rule's name, and a row.

use std::time::Duration;

use anyhow::{Result, ensure};
use custody_tests::agent::Source;
use custody_tests::http::Answer;
use custody_tests::journey::now;
use custody_tests::site::{Person, Site};

const SOON: Duration = Duration::from_secs(60);

/// A refusal is a problem document without pictures; `status` is one of those allowed.
fn is_refused(what: &str, answer: &Answer, status: &[u16]) -> Result<()> {
    let kind = answer
        .headers
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    ensure!(
        status.contains(&answer.status.as_u16()),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    ensure!(
        kind.starts_with("application/problem+json"),
        "{what}: not a problem document but {kind}"
    );
    let stores = answer
        .headers
        .get("cache-control")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    ensure!(
        stores.contains("no-store"),
        "{what}: may be stored by a cache: {stores:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_grant_opens_nothing() -> Result<()> {
    let mut site = Site::start("foreign-grant").await?;
    site.add_camera("Gate", Source::test_picture("Gate")).await?;
    let id = site.agents[0].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;
    let began = now();
    site.until_kept(&asker, &id, began, 8.0, SOON).await?;
    let granted = site.granted(&[&id], began, now(), "copy").await?;
    let media = format!("/api/v1/grants/{}/{id}/playlist.m3u8", granted.grant);
    ensure!(
        granted.asker.get(&media).await?.status.is_success(),
        "the grant's own viewer sees it"
    );

    let (visitor, decider) = (site.visitor()?, site.sign_in(Person::Decider).await?);
    let administrator = site.sign_in(Person::Administrator).await?;
    is_refused("without a session", &visitor.get(&media).await?, &[401])?;
    is_refused("the decider", &decider.get(&media).await?, &[403, 404])?;
    is_refused("the administrator", &administrator.get(&media).await?, &[403, 404])?;
    let export = format!("/api/v1/grants/{}/export", granted.grant);
    is_refused(
        "a foreign export",
        &decider.post(&export, &serde_json::json!({})).await?,
        &[403, 404],
    )?;
    let other = format!("/api/v1/grants/{}/{}/playlist.m3u8", granted.grant, "0".repeat(32));
    is_refused("another camera", &granted.asker.get(&other).await?, &[403, 404])?;
    let unknown = format!("/api/v1/grants/{}/{id}/playlist.m3u8", "f".repeat(32));
    is_refused("a grant that is none", &granted.asker.get(&unknown).await?, &[403, 404])?;

    let request = site.ask(&decider, &[&id], began, now(), "view").await;
    if let Ok(own) = request {
        is_refused(
            "deciding one's own request",
            &site.decide(&decider, &own, "approve").await?,
            &[403],
        )?;
    }
    let request = site.ask(&asker, &[&id], began, now(), "view").await?;
    is_refused(
        "the asker deciding",
        &site.decide(&asker, &request, "approve").await?,
        &[403],
    )?;
    is_refused(
        "a grant before its decision",
        &asker.get(&format!("/api/v1/requests/{request}/grant")).await?,
        &[403, 404, 409],
    )?;
    site.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_grant_opens_nothing() -> Result<()> {
    let mut site = Site::start("expired-grant").await?;
    site.add_camera("Gate", Source::test_picture("Gate")).await?;
    let id = site.agents[0].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;
    let began = now();
    site.until_kept(&asker, &id, began, 8.0, SOON).await?;
    let granted = site.granted(&[&id], began, now(), "copy").await?;
    let media = format!("/api/v1/grants/{}/{id}/playlist.m3u8", granted.grant);
    ensure!(granted.asker.get(&media).await?.status.is_success());

    site.agents[0].kill()?;
    site.stop_server().await?;
    site.set_clock(4 * 24 * 3600);
    site.start_server().await?;
    let later = site.sign_in(Person::Asker).await?;
    is_refused("after its time", &later.get(&media).await?, &[403, 410])?;
    let export = later
        .post(
            &format!("/api/v1/grants/{}/export", granted.grant),
            &serde_json::json!({}),
        )
        .await?;
    is_refused("an export after its time", &export, &[403, 410])?;
    site.close().await
}

//! The record cannot be altered unnoticed, and without a record nothing is shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Scale;
use crate::agent::Source;
use crate::journey::now;
use crate::site::{Person, Site};

/// One byte of any leaf, body or tile flipped: the verifier names the place.
pub(super) async fn tampering_is_named(scale: Scale) -> Result<String> {
    let mut site = Site::start("record-tamper").await?;
    for name in ["Gate", "Hall", "Yard"] {
        site.enrol_camera(name, Source::test_picture(name))?;
    }
    let id = site.agents[0].camera.clone();
    for _ in 0..3 {
        site.granted(&[&id], now() - 60_000_000, now(), "view").await?;
    }
    site.stop_server().await?;
    let clean = verify(&site)?;
    ensure!(clean.0, "the untouched ledger does not verify:\n{}", clean.1);

    let ledger = site.data().join("ledger");
    let files: Vec<PathBuf> = files_below(&ledger)?
        .into_iter()
        .filter(|p| is_record(p, &ledger))
        .collect();
    ensure!(
        files.len() >= 3,
        "tiles, bodies and a checkpoint were expected: {files:?}"
    );
    let rounds = scale.times(6, 200) as usize;
    let mut flipped = 0;
    for file in &files {
        let whole = std::fs::read(file)?;
        for round in 0..rounds.min(whole.len()) {
            let at = (round * whole.len() / rounds.min(whole.len()) + round * 7919) % whole.len();
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            std::fs::write(file, &damaged)?;
            let (good, said) = verify(&site)?;
            ensure!(
                !good,
                "byte {at} of {} flipped, and the ledger still verifies:\n{said}",
                file.display()
            );
            ensure!(
                names_a_place(&said),
                "byte {at} of {} flipped, and no place is named:\n{said}",
                file.display()
            );
            flipped += 1;
        }
        std::fs::write(file, &whole)?;
    }
    ensure!(verify(&site)?.0, "put back as it was, the ledger verifies again");
    site.close().await?;
    Ok(format!(
        "{flipped} single bytes flipped in {} files, each noticed and named",
        files.len()
    ))
}

fn verify(site: &Site) -> Result<(bool, String)> {
    let output = site
        .command("custody-server")?
        .args(["ledger", "verify", "--data"])
        .arg(site.data())
        .output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((output.status.success(), said))
}

fn names_a_place(said: &str) -> bool {
    let said = said.to_lowercase();
    ["leaf", "body", "tile", "checkpoint", "row", "bodies"]
        .iter()
        .any(|word| said.contains(word))
}

/// Leaves, bodies, tiles and the checkpoint; not the keys, which are secrets and no record.
fn is_record(path: &Path, ledger: &Path) -> bool {
    let inner = path.strip_prefix(ledger).unwrap_or(path).to_string_lossy().into_owned();
    inner.starts_with("tile") || inner.starts_with("bodies") || inner.contains("body") || inner == "checkpoint"
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)?.flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The ledger made unwritable: no media, no export, no decision; what was running goes on when it heals.
pub(super) async fn unwritable_means_closed(_scale: Scale) -> Result<String> {
    let mut site = Site::start("ledger-unwritable").await?;
    site.add_camera("Gate", Source::test_picture("Gate")).await?;
    let id = site.agents[0].camera.clone();
    let asker = site.sign_in(Person::Asker).await?;
    let began = now();
    site.until_kept(&asker, &id, began, 8.0, Duration::from_secs(60))
        .await?;
    let granted = site.granted(&[&id], began, now(), "copy").await?;
    let unseen = site.granted(&[&id], began, now(), "copy").await?;

    let ledger = site.data().join("ledger");
    let aside = site.data().join("ledger-aside");
    std::fs::rename(&ledger, &aside)?;
    std::fs::write(&ledger, b"in the way")?;

    let media = unseen
        .asker
        .get(&format!("/api/v1/grants/{}/{id}/playlist.m3u8", unseen.grant))
        .await?;
    ensure!(
        media.status.is_server_error(),
        "media without a record: {} {}",
        media.status,
        media.text()
    );
    let export = granted
        .asker
        .post(&format!("/api/v1/grants/{}/export", granted.grant), &json!({}))
        .await?;
    if export.status.is_success() {
        let export = site.prepare_export(&granted).await;
        ensure!(export.is_err(), "an export without a record: {export:?}");
    }
    let filed = site.ask(&asker, &[&id], began, now(), "view").await;
    ensure!(filed.is_err(), "a request was filed without a record");
    ensure!(!media.text().contains("moof"), "pictures in a refusal");

    std::fs::remove_file(&ledger)?;
    std::fs::rename(&aside, &ledger)?;
    // Healed or restarted: the record goes on, and with it the pictures.
    if site.ask(&asker, &[&id], began, now(), "view").await.is_err() {
        site.stop_server().await?;
        site.start_server().await?;
    }
    let again = site.granted(&[&id], began, now(), "copy").await?;
    let folder = site.folder().join("received");
    std::fs::create_dir_all(&folder)?;
    site.export(&again, &folder).await?;
    site.close().await?;
    Ok(format!(
        "media refused with {}, export and request refused; afterwards all work again",
        media.status
    ))
}

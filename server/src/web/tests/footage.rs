//! From a grant to pictures, and everything that must keep them closed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use custody_shared::fmp4;
use custody_shared::hash::Sha256Hash;
use serde_json::json;

use super::site::{Granted, Site};
use crate::record::Row;
use crate::record::terms::Outcome;

#[tokio::test]
async fn an_approved_window_plays_and_only_that_window() {
    let site = Site::new().await;
    let granted = site.granted(5, 14, "view").await;
    let grant = site
        .get(&granted.asker, &format!("/api/v1/requests/{}/grant", granted.request))
        .await
        .json();
    assert_eq!(
        (&grant["cameras"][0]["playable"], &grant["play_until"]),
        (&json!(true), &json!(null))
    );
    let playlist = site
        .get(&granted.asker, &format!("{}/playlist.m3u8", granted.media))
        .await;
    assert_eq!(playlist.status, 200, "{}", playlist.text());
    let text = playlist.text();
    // 5 s lies in the fragment that begins at 4 s; the window ends at 14 s.
    for line in [
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T05:00:04.000Z",
        "#EXTINF:6.000000,",
        "#EXTINF:4.000000,",
        "segment/1.m4s",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("segment/2.m4s"));
    for (path, starts) in [("segment/0.m4s", vec![4, 6, 8]), ("segment/1.m4s", vec![10, 12])] {
        let segment = site.get(&granted.asker, &format!("{}/{path}", granted.media)).await;
        assert_eq!(segment.headers["cache-control"], "no-store, no-transform");
        assert_eq!(segment.headers["x-accel-buffering"], "no");
        assert_eq!(fragments(&segment.body), starts, "{path}");
        assert!(
            !segment.body.windows(4).any(|four| four == b"free"),
            "padding is dropped"
        );
    }
    let init = site.get(&granted.asker, &format!("{}/init/0.mp4", granted.media)).await;
    assert_eq!(&init.body[4..8], b"ftyp");
    // Segment 2 exists, but not for this grant.
    let outside = site
        .get(&granted.asker, &format!("{}/segment/2.m4s", granted.media))
        .await;
    assert_eq!(outside.problem(), (403, "refused".into(), Some("outside-grant".into())));
    assert_eq!(site.refusals(), ["outside-grant"]);
    let intents = site
        .rows()
        .into_iter()
        .filter(|row| matches!(row, Row::ReleaseIntended { .. }))
        .count();
    assert_eq!(intents, 1, "one intent covers the viewing");
    let grant = site
        .get(&granted.asker, &format!("/api/v1/requests/{}/grant", granted.request))
        .await
        .json();
    assert!(grant["play_until"].is_string(), "the minutes count from the first play");
}

/// Begin of each fragment in seconds, as the segment tells it.
fn fragments(bytes: &[u8]) -> Vec<u64> {
    let mut out = Vec::new();
    let mut at = 0;
    for found in fmp4::boxes(bytes) {
        let (header, range) = found.unwrap();
        if &header.kind == b"moof" {
            at = range.start;
        } else {
            out.push(fmp4::decode_time(&bytes[at..range.end]).unwrap() / u64::from(fmp4::TIMESCALE));
        }
    }
    out
}

#[tokio::test]
async fn nobody_else_and_no_later_time_opens_it_and_each_attempt_is_a_row() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "view").await;
    let other = site.sign_in("other").await;
    let paths = |granted: &Granted| {
        ["playlist.m3u8", "init/0.mp4", "segment/0.m4s"].map(|path| format!("{}/{path}", granted.media))
    };
    for session in [&other, &granted.decider] {
        for path in paths(&granted) {
            assert_eq!(
                site.get(session, &path).await.problem(),
                (404, "not-found".into(), Some("not-yours".into())),
                "{path}"
            );
        }
    }
    assert_eq!(site.refusals(), vec!["not-yours"; 6]);
    let foreign = format!("/api/v1/grants/{}/{}/segment/0.m4s", granted.grant, "0".repeat(32));
    assert_eq!(
        site.get(&granted.asker, &foreign).await.problem().2.as_deref(),
        Some("outside-grant")
    );
    // A week and an hour later.
    site.advance_hours(7 * 24 + 1);
    let asker = site.sign_in("asker").await;
    for path in paths(&granted) {
        assert_eq!(
            site.get(&asker, &path).await.problem(),
            (403, "refused".into(), Some("grant-expired".into())),
            "{path}"
        );
    }
    assert_eq!(
        site.refusals().iter().filter(|rule| *rule == "grant-expired").count(),
        3
    );
}

#[tokio::test]
async fn the_minutes_of_viewing_end() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "view").await;
    let path = format!("{}/segment/0.m4s", granted.media);
    assert_eq!(site.get(&granted.asker, &path).await.status, 200);
    site.advance_hours(2);
    let asker = site.sign_in("asker").await;
    assert_eq!(
        site.get(&asker, &path).await.problem().2.as_deref(),
        Some("minutes-used")
    );
}

#[tokio::test]
async fn while_the_ledger_cannot_be_written_nothing_is_opened_filed_or_decided() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "copy").await;
    let unseen = site.granted(0, 30, "copy").await;
    let segment = format!("{}/segment/0.m4s", granted.media);
    assert_eq!(site.get(&granted.asker, &segment).await.status, 200);
    site.broken.store(true, Ordering::SeqCst);
    let shut = (503, "ledger-unwritable".to_owned(), None);
    assert_eq!(
        site.get(&unseen.asker, &format!("{}/playlist.m3u8", unseen.media))
            .await
            .problem(),
        shut
    );
    assert_eq!(
        site.get(&unseen.asker, &format!("{}/segment/0.m4s", unseen.media))
            .await
            .problem(),
        shut
    );
    assert_eq!(
        site.get(&granted.asker, &segment).await.problem(),
        shut,
        "not even under an intent that stands"
    );
    let export = format!("/api/v1/grants/{}/export", granted.grant);
    assert_eq!(site.post(&granted.asker, &export, json!({})).await.problem(), shut);
    assert_eq!(
        site.post(&granted.asker, "/api/v1/requests", site.asking(0, 30, "view"))
            .await
            .problem(),
        shut
    );
    assert_eq!(site.get("", "/healthz").await.status, 503);
    site.broken.store(false, Ordering::SeqCst);
    assert_eq!(
        site.get(&granted.asker, &segment).await.status,
        200,
        "it goes on by itself"
    );
    assert_eq!(site.get("", "/healthz").await.json()["status"], "ok");
}

#[tokio::test]
async fn a_camera_that_is_away_and_a_format_that_does_not_play_are_said_plainly() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "view").await;
    site.footage.away.store(true, Ordering::SeqCst);
    let playlist = format!("{}/playlist.m3u8", granted.media);
    assert_eq!(
        site.get(&granted.asker, &playlist).await.problem(),
        (504, "camera-away".into(), None)
    );
    site.footage.away.store(false, Ordering::SeqCst);
    site.film(1, "hvc1");
    assert_eq!(
        site.get(&granted.asker, &playlist).await.problem(),
        (409, "not-playable".into(), None)
    );
}

async fn ready(site: &Site, granted: &Granted) -> serde_json::Value {
    let begun = site
        .post(
            &granted.asker,
            &format!("/api/v1/grants/{}/export", granted.grant),
            json!({}),
        )
        .await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let at = begun.headers["location"].to_str().unwrap().to_owned();
    loop {
        let state = site.get(&granted.asker, &at).await.json();
        match state["state"].as_str().unwrap() {
            "preparing" => tokio::time::sleep(Duration::from_millis(5)).await,
            "ready" => return state,
            other => panic!("{other}: {state}"),
        }
    }
}

#[tokio::test]
async fn a_copy_is_one_film_and_an_archive_that_others_unpack() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "copy").await;
    let state = ready(&site, &granted).await;
    let file = &state["files"][0];
    let film = site.get(&granted.asker, file["href"].as_str().unwrap()).await;
    assert_eq!(film.body.len() as u64, file["bytes"].as_u64().unwrap());
    assert_eq!(Sha256Hash::of(&film.body).to_string(), file["sha256"].as_str().unwrap());
    let layout = fmp4::layout(&film.body).unwrap();
    let begins: Vec<u64> = layout
        .fragments
        .iter()
        .map(|fragment| fragment.decode_time / 90_000)
        .collect();
    assert_eq!(
        begins,
        (0..15).map(|part| part * 2).collect::<Vec<_>>(),
        "one init section, time from zero, no seam"
    );
    let archive = site
        .get(&granted.asker, state["bundle"]["href"].as_str().unwrap())
        .await;
    assert_eq!(archive.body.len() as u64, state["bundle"]["bytes"].as_u64().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.zip");
    std::fs::write(&path, &archive.body).unwrap();
    let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nprint('\\n'.join(sorted(z.namelist())))\n\
                  open(sys.argv[2],'wb').write(z.read(sys.argv[3]))\nprint(z.read('START.html').decode().count('&#60;b&#62;'))";
    let (name, out) = (file["name"].as_str().unwrap(), folder.path().join("film.mp4"));
    let unpacked = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .arg(&out)
        .arg(name)
        .output()
        .unwrap();
    assert!(
        unpacked.status.success(),
        "{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    let listed = String::from_utf8(unpacked.stdout).unwrap();
    for part in [
        "START.html",
        "README.txt",
        "SHA256SUMS",
        "gaps.json",
        "grant.json",
        "proofs/checkpoint",
        "proofs/grant.tlog-proof",
        "statements/",
        name,
    ] {
        assert!(listed.contains(part), "{part} is missing in\n{listed}");
    }
    assert!(
        listed.trim_end().ends_with('2'),
        "names are escaped in START.html: {listed}"
    );
    assert_eq!(std::fs::read(out).unwrap(), film.body);
    // Preparing and each fetch are copies of their own in the record, closed with what came of them.
    let mut done = 0;
    for _ in 0..200 {
        done = site
            .rows()
            .iter()
            .filter(|row| {
                matches!(
                    row,
                    Row::ExportDone {
                        outcome: Outcome::Completed,
                        ..
                    }
                )
            })
            .count();
        if done == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(done, 3);
}

#[tokio::test]
async fn a_copy_needs_a_grant_for_one_and_its_own_viewer() {
    let site = Site::new().await;
    let view = site.granted(0, 30, "view").await;
    let refused = site
        .post(&view.asker, &format!("/api/v1/grants/{}/export", view.grant), json!({}))
        .await;
    assert_eq!(refused.problem(), (403, "refused".into(), Some("view-only".into())));
    let copy = site.granted(0, 30, "copy").await;
    let state = ready(&site, &copy).await;
    let other = site.sign_in("other").await;
    for path in [
        format!("/api/v1/exports/{}", state["id"].as_str().unwrap()),
        state["bundle"]["href"].as_str().unwrap().to_owned(),
    ] {
        assert_eq!(site.get(&other, &path).await.problem().0, 404, "{path}");
    }
    assert_eq!(site.refusals(), ["view-only", "not-yours", "not-yours"]);
}

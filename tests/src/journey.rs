//! What people do: sign in, see what is kept, ask, decide, fetch. Everything through the API, as a browser would.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use custody_shared::time::{Clock, SystemClock, UtcMicros};
use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::site::{Person, Site};

/// A stretch of a camera's time line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Begin, µs UTC.
    pub from: i64,
    /// End, µs UTC.
    pub to: i64,
    /// `kept`, `gap`, `destroyed` or `unknown`.
    pub kind: String,
    /// A gap's cause.
    pub cause: Option<String>,
}

impl Stretch {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.to - self.from) as f64 / 1e6
    }
}

/// The present moment, µs UTC.
pub fn now() -> i64 {
    SystemClock.now().get()
}

/// As the API writes times.
pub fn text(micros: i64) -> String {
    UtcMicros::new(micros).to_string()
}

/// Seconds kept, of all stretches.
pub fn kept_seconds(coverage: &[Stretch]) -> f64 {
    coverage.iter().filter(|s| s.kind == "kept").map(Stretch::seconds).sum()
}

/// Whether every moment that `before` has as kept is kept in `after` too, to a tolerance of a millisecond.
pub fn nothing_lost(before: &[Stretch], after: &[Stretch]) -> Result<()> {
    let kept: Vec<(i64, i64)> = merged(after);
    for (from, to) in merged(before) {
        let covered = kept.iter().any(|&(f, t)| f <= from + 1000 && t >= to - 1000);
        ensure!(
            covered,
            "{} to {} was acknowledged as kept and is no longer; kept now: {kept:?}",
            text(from),
            text(to)
        );
    }
    Ok(())
}

/// The kept stretches, those that touch joined.
pub fn merged(coverage: &[Stretch]) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = coverage
        .iter()
        .filter(|s| s.kind == "kept")
        .map(|s| (s.from, s.to))
        .collect();
    all.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match joined.last_mut() {
            Some(last) if from <= last.1 + 1000 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// An approved request.
pub struct Granted {
    /// The request.
    pub request: String,
    /// The grant.
    pub grant: String,
    /// The asker, signed in.
    pub asker: Client,
}

impl Site {
    /// Signs somebody in.
    pub async fn sign_in(&self, person: Person) -> Result<Client> {
        let client = self.visitor()?;
        let login = json!({"name": person.name(), "password": self.password(person)?});
        client.post_json("/api/v1/session", &login).await?;
        Ok(client)
    }

    /// What is kept and missing of a camera.
    pub async fn coverage(&self, client: &Client, camera: &str, from: i64, to: i64) -> Result<Vec<Stretch>> {
        let path = format!("/api/v1/cameras/{camera}/coverage?from={}&to={}", text(from), text(to));
        let answer = client.get_json(&path).await?;
        let list = answer["stretches"]
            .as_array()
            .with_context(|| format!("no stretches in {answer}"))?;
        list.iter().map(stretch).collect()
    }

    /// Waits until at least `seconds` of a camera are kept after `from`.
    pub async fn until_kept(
        &self,
        client: &Client,
        camera: &str,
        from: i64,
        seconds: f64,
        within: Duration,
    ) -> Result<Vec<Stretch>> {
        let began = Instant::now();
        loop {
            let coverage = self.coverage(client, camera, from, now()).await?;
            if kept_seconds(&coverage) >= seconds {
                return Ok(coverage);
            }
            if began.elapsed() > within {
                bail!(
                    "only {:.1} of {seconds} s are kept after {within:?}: {coverage:?}",
                    kept_seconds(&coverage)
                );
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until the camera's time line shows a gap with this cause after `from`.
    pub async fn until_gap(
        &self,
        client: &Client,
        camera: &str,
        from: i64,
        cause: &str,
        within: Duration,
    ) -> Result<Stretch> {
        let began = Instant::now();
        loop {
            let coverage = self.coverage(client, camera, from, now()).await?;
            if let Some(gap) = coverage.iter().find(|s| s.cause.as_deref() == Some(cause)) {
                return Ok(gap.clone());
            }
            if began.elapsed() > within {
                bail!("no gap {cause:?} after {within:?}: {coverage:?}");
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Files a request as `asker`; `form` is `view` or `copy`.
    pub async fn ask(&self, asker: &Client, cameras: &[&str], from: i64, to: i64, form: &str) -> Result<String> {
        let body = json!({
            "cameras": cameras, "from": text(from), "to": text(to), "form": form,
            "purpose": "A bag was taken in the corridor", "ground": "urgent-need",
        });
        let filed = asker.post_json("/api/v1/requests", &body).await?;
        filed["id"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no id in {filed}"))
    }

    /// Decides a request; any answer.
    pub async fn decide(&self, decider: &Client, request: &str, decision: &str) -> Result<Answer> {
        decider
            .post(
                &format!("/api/v1/requests/{request}/decision"),
                &json!({"decision": decision}),
            )
            .await
    }

    /// One person asks, another approves.
    pub async fn granted(&self, cameras: &[&str], from: i64, to: i64, form: &str) -> Result<Granted> {
        let (asker, decider) = (self.sign_in(Person::Asker).await?, self.sign_in(Person::Decider).await?);
        let request = self.ask(&asker, cameras, from, to, form).await?;
        self.decide(&decider, &request, "approve").await?.json("the decision")?;
        let grant = asker.get_json(&format!("/api/v1/requests/{request}/grant")).await?;
        let id = grant["id"]
            .as_str()
            .with_context(|| format!("no id in {grant}"))?
            .to_owned();
        Ok(Granted {
            request,
            grant: id,
            asker,
        })
    }

    /// Prepares an export and saves its files below `folder`; returns the films.
    pub async fn export(&self, granted: &Granted, folder: &Path) -> Result<Vec<PathBuf>> {
        let export = self.prepare_export(granted).await?;
        let mut films = Vec::new();
        for file in export["files"].as_array().into_iter().flatten() {
            let (name, href) = (
                file["name"].as_str().context("a name")?,
                file["href"].as_str().context("an address")?,
            );
            let answer = granted.asker.get(href).await?;
            ensure!(
                answer.status.is_success(),
                "{href}: {} {}",
                answer.status,
                answer.text()
            );
            let path = folder.join(name.replace('/', "_"));
            std::fs::write(&path, &answer.body)?;
            if path.extension().is_some_and(|e| e == "mp4") {
                films.push(path);
            }
        }
        ensure!(!films.is_empty(), "the export holds no film: {export}");
        Ok(films)
    }

    /// Asks for an export and waits until it is ready or has failed.
    pub async fn prepare_export(&self, granted: &Granted) -> Result<Value> {
        let begun = granted
            .asker
            .post_json(&format!("/api/v1/grants/{}/export", granted.grant), &json!({}))
            .await?;
        let id = begun["id"]
            .as_str()
            .with_context(|| format!("no id in {begun}"))?
            .to_owned();
        let began = Instant::now();
        loop {
            let export = granted.asker.get_json(&format!("/api/v1/exports/{id}")).await?;
            match export["state"].as_str() {
                Some("ready") => return Ok(export),
                Some("failed") => bail!("the export failed: {export}"),
                _ if began.elapsed() > Duration::from_secs(300) => bail!("the export does not end: {export}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

fn stretch(value: &Value) -> Result<Stretch> {
    let time = |key: &str| -> Result<i64> {
        let text = value[key].as_str().with_context(|| format!("no {key} in {value}"))?;
        Ok(text
            .parse::<UtcMicros>()
            .map_err(|e| anyhow::anyhow!("{text}: {e}"))?
            .get())
    };
    let cause = value["cause"].as_str().map(str::to_owned);
    Ok(Stretch {
        from: time("from")?,
        to: time("to")?,
        kind: value["kind"].as_str().context("a kind")?.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ranges: &[(i64, i64)]) -> Vec<Stretch> {
        ranges
            .iter()
            .map(|&(from, to)| Stretch {
                from,
                to,
                kind: "kept".into(),
                cause: None,
            })
            .collect()
    }

    #[test]
    fn what_was_kept_must_stay_kept() {
        let before = kept(&[(0, 4_000_000), (4_000_000, 8_000_000), (20_000_000, 24_000_000)]);
        let check = |after: &[(i64, i64)]| nothing_lost(&before, &kept(after)).is_ok();
        assert!(check(&[(0, 8_000_000), (20_000_000, 30_000_000)]));
        assert!(
            !check(&[(0, 7_000_000), (20_000_000, 30_000_000)]),
            "an end that is gone"
        );
        assert!(!check(&[(0, 8_000_000)]), "a stretch that is gone");
        assert!(
            !check(&[(0, 3_000_000), (5_000_000, 8_000_000), (20_000_000, 24_000_000)]),
            "a hole"
        );
    }
}

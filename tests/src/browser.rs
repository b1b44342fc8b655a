//! A headless Chromium with a profile of its own, driven through chromedriver.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::process::{Process, run_bytes};

/// One browser window.
pub struct Browser {
    client: Client,
    profile: PathBuf,
    driver: Process,
}

impl Browser {
    /// Starts Chromium with its profile, temporary files and log below `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (profile, temporary) = (folder.join("browser-profile"), folder.join("browser-tmp"));
        std::fs::create_dir_all(&profile)?;
        std::fs::create_dir_all(&temporary)?;
        let mut chromedriver = Command::new("chromedriver");
        chromedriver
            .arg(format!("--port={port}"))
            .env("TMPDIR", &temporary)
            .env("HOME", folder)
            .current_dir(folder);
        let mut driver = Process::start("chromedriver", chromedriver, &folder.join("chromedriver.log"))?;
        driver.wait_for("started successfully", Duration::from_secs(20)).await?;

        let options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--window-size=1280,900",
            "--autoplay-policy=no-user-gesture-required", "--lang=en",
            // A small shared-memory folder, as in containers, would crash the renderer.
            "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            format!("--user-data-dir={}", profile.display()),
        ]});
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let address = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&address)
            .await;
        let client = client.context("Chromium did not start; deploy/install-deps installs it")?;
        Ok(Self {
            client,
            profile,
            driver,
        })
    }

    /// The WebDriver client.
    pub fn page(&self) -> &Client {
        &self.client
    }

    /// The folder that Chromium keeps everything in.
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.client
            .goto(url)
            .await
            .with_context(|| format!("{url} does not open"))
    }

    /// Fills a form field.
    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = self
            .client
            .find(Locator::Css(css))
            .await
            .with_context(|| format!("no field {css}"))?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Clicks an element and waits for nothing.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self
            .client
            .find(Locator::Css(css))
            .await
            .with_context(|| format!("nothing to click: {css}"))?;
        element.click().await.with_context(|| format!("cannot click {css}"))
    }

    /// Runs script in the page and returns what it returns.
    pub async fn script(&self, code: &str) -> Result<Value> {
        Ok(self.client.execute(code, vec![]).await?)
    }

    /// Waits until `code` returns something true.
    pub async fn until(&self, what: &str, code: &str, within: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let value = self.script(code).await?;
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > within {
                let text = self.script("return document.body.innerText").await.unwrap_or_default();
                bail!(
                    "{what}: not within {within:?}; the page says:\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every address that the present page has loaded from.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let list = self
            .script("return performance.getEntriesByType('resource').map(e => e.name)")
            .await?;
        Ok(list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| Some(v.as_str()?.to_owned()))
            .collect())
    }

    /// Takes a picture of the first element that matches, as PNG, into `file`, and says how much it shows.
    pub async fn picture(&self, css: &str, file: &Path) -> Result<Picture> {
        let element = self
            .client
            .find(Locator::Css(css))
            .await
            .with_context(|| format!("no element {css}"))?;
        std::fs::write(file, element.screenshot().await?)?;
        Picture::measure(file)
    }

    /// Closes the window and the driver.
    pub async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        self.driver.kill()
    }
}

/// What can be told of a picture without looking at it.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    /// Standard deviation of its grey values (0 … 127): a flat picture has none.
    pub deviation: f64,
    /// Different grey values (1 … 256).
    pub shades: usize,
}

impl Picture {
    fn measure(file: &Path) -> Result<Self> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-v", "error", "-i"])
            .arg(file)
            .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"]);
        let pixels = run_bytes(&mut ffmpeg)?;
        ensure!(!pixels.is_empty(), "{} holds no picture", file.display());
        let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
        let variance = pixels.iter().map(|&p| (f64::from(p) - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
        let shades = pixels.iter().collect::<std::collections::HashSet<_>>().len();
        Ok(Self {
            deviation: variance.sqrt(),
            shades,
        })
    }

    /// An error for a black, white or empty player.
    pub fn expect_a_scene(self) -> Result<Self> {
        ensure!(
            self.deviation > 12.0 && self.shades > 40,
            "the picture shows nothing: {self:?}"
        );
        Ok(self)
    }
}

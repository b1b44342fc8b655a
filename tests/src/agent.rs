//! One camera's agent, enrolled and configured as an installer would.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{Process, run, tail};
use crate::site::{START, Site, run_with_input};

/// Where an agent's pictures come from, as the `[source]` section says it.
#[derive(Clone, Debug)]
pub struct Source(String);

impl Source {
    /// The generated picture.
    pub fn test_picture(name: &str) -> Self {
        Self(format!("kind = \"test-picture\"\nname = \"{name}\"\n"))
    }

    /// An RTSP camera without a password.
    pub fn rtsp(url: &str) -> Self {
        Self(format!("kind = \"rtsp\"\nurl = \"{url}\"\n"))
    }

    /// An RTSP camera with a password.
    pub fn rtsp_with_login(url: &str, user: &str, password: &str) -> Self {
        Self(format!(
            "kind = \"rtsp\"\nurl = \"{url}\"\nusername = \"{user}\"\npassword = \"{password}\"\n"
        ))
    }

    /// With a further line.
    pub fn with(mut self, line: &str) -> Self {
        self.0.push_str(line);
        self.0.push('\n');
        self
    }
}

/// An enrolled agent.
pub struct Agent {
    /// The camera's name.
    pub name: String,
    /// The camera's id, 32 hexadecimal digits.
    pub camera: String,
    /// The agent's data folder.
    pub data: PathBuf,
    config: PathBuf,
    /// The running process, if it runs.
    pub process: Option<Process>,
}

impl Agent {
    /// An agent that joined before, where the site's folder holds one for this camera.
    pub fn joined(site: &Site, name: &str) -> Option<Self> {
        let data = site.agent_data(name);
        let listed = site.custody(&["camera", "list"], None).ok()?;
        let line = listed.lines().find(|l| l.split('\t').nth(1) == Some(name))?;
        let camera = line.split('\t').next()?.to_owned();
        let config = data.with_extension("toml");
        data.exists().then_some(Self {
            name: name.to_owned(),
            camera,
            config,
            data,
            process: None,
        })
    }

    pub(crate) fn enrol(site: &Site, name: &str, place: &str, source: Source) -> Result<Self> {
        let said = site.custody(&["camera", "add", name, "--location", place, "--class", "open"], None)?;
        let camera = hex_word(&said, 32).with_context(|| format!("no camera id in {said:?}"))?;
        let said = site.custody(&["camera", "token", name], None)?;
        let value = |flag: &str| argument_of(&said, flag).with_context(|| format!("no {flag} in {said:?}"));
        let data = site.agent_data(name);
        let mut join = site.command("custody-agent")?;
        // The token on standard input: a command line is everybody's to read.
        join.args([
            "join",
            "--token",
            "-",
            "--server",
            &value("--server")?,
            "--ca-pin",
            &value("--ca-pin")?,
        ]);
        run_with_input(join.arg("--data").arg(&data), &value("--token")?).context("custody-agent join")?;
        let agent = Self {
            name: name.to_owned(),
            camera,
            config: data.with_extension("toml"),
            data,
            process: None,
        };
        agent.configure(&source, "")?;
        Ok(agent)
    }

    /// Writes the configuration: short segments and a quick cadence, so that a test sees results in seconds.
    pub fn configure(&self, source: &Source, more: &str) -> Result<()> {
        self.write_config(
            source,
            &format!("[segment]\nlength_s = 4\n\n[outbox]\ncadence_s = 1\n\n{more}"),
        )
    }

    /// Writes the configuration with everything but the source as it ships.
    pub fn configure_as_shipped(&self, source: &Source) -> Result<()> {
        self.write_config(source, "")
    }

    fn write_config(&self, source: &Source, more: &str) -> Result<()> {
        let text = format!(
            "data_dir = \"{}\"\n\n[source]\n{}\n{more}",
            self.data.display(),
            source.0
        );
        // It may hold a camera's password.
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.config)?;
        Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
    }

    /// The configuration's path.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The running process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process
            .as_mut()
            .with_context(|| format!("{}: the agent is not running", self.name))
    }

    /// An error where the agent has ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        let name = self.name.clone();
        let process = self.process()?;
        ensure!(
            process.running(),
            "{name}: the agent has ended; its log is {}:\n{}",
            process.log().display(),
            tail(&process.output())
        );
        Ok(())
    }

    /// SIGTERM; it must end cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the agent is not running")?
            .stop(START)
            .await
    }

    /// kill -9.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the agent is not running")?.kill()
    }

    /// Every sealed segment on the agent's disk.
    pub fn segments(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.data.join("segments")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "csg") {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }
}

/// `custody-agent check` for an agent's configuration; its output whatever its verdict.
pub fn check(site: &Site, config: &Path) -> Result<String> {
    let output = site
        .command("custody-agent")?
        .arg("check")
        .arg("--config")
        .arg(config)
        .output()?;
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The sum of all files below a folder, by `du`: what an agent keeps.
pub fn disk_use(folder: &Path) -> Result<u64> {
    let said = run(std::process::Command::new("du").args(["-sb"]).arg(folder))?;
    said.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .context("du prints a number")
}

fn hex_word(text: &str, length: usize) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.filter(|w| w.len() == length).map(str::to_owned).next()
}

fn argument_of(text: &str, flag: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|w| *w != flag);
    words.nth(1).map(|w| w.trim_matches(['\'', '"', '\\']).to_owned())
}

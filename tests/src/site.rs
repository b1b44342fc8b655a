//! A whole site in a folder of its own: one server on free ports, people with passwords, cameras with agents.
//!
//! Everything that a process writes anywhere lands below the folder: data, temporary files, home, working folder, logs. A site
//! that is not ended with [`Site::close`] has failed its test: its folder stays, and the logs' last lines are printed.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Source};
use crate::binaries;
use crate::http::Client;
use crate::process::{Process, run, tail};
use crate::strace::{self, Watch};
use crate::{clock, small_disk};

/// How long a debug build on a busy machine may take to come up.
pub const START: Duration = Duration::from_secs(60);

/// Somebody with an account.
#[derive(Clone, Copy, Debug)]
pub enum Person {
    /// Asks for footage.
    Asker,
    /// Decides requests of others.
    Decider,
    /// Looks after cameras and people.
    Administrator,
}

impl Person {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Asker, Self::Decider, Self::Administrator];

    /// The name to sign in with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asker => "seo-yeon",
            Self::Decider => "min-jun",
            Self::Administrator => "ha-eun",
        }
    }

    /// The grade, as the command line writes it.
    pub fn grade(self) -> &'static str {
        match self {
            Self::Asker => "asks",
            Self::Decider => "decides",
            Self::Administrator => "administers",
        }
    }
}

/// Ports of the server, free when the site was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ports {
    /// Pages and API.
    pub web: u16,
    /// HTTPS for agents.
    pub agents: u16,
    /// MQTT for agents.
    pub mqtt: u16,
}

/// The site.
pub struct Site {
    folder: PathBuf,
    /// Its ports.
    pub ports: Ports,
    server: Option<Process>,
    /// What strace records of the server and of agents started from now on.
    traced: Option<Watch>,
    clock_offset_s: i64,
    /// Its agents, in the order they were added.
    pub agents: Vec<Agent>,
    passwords: BTreeMap<String, String>,
    ending: Ending,
}

/// What becomes of the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The test has not reached its end: the folder stays and the logs are printed.
    Failed,
    Removed,
    Kept,
}

impl Site {
    /// A new site with its people, its server running.
    pub async fn start(name: &str) -> Result<Self> {
        let mut site = Self::make(name)?;
        site.start_server().await?;
        Ok(site)
    }

    /// A new site whose server and agents will run under strace; see [`Site::trace`].
    pub async fn start_traced(name: &str) -> Result<Self> {
        let mut site = Self::make(name)?;
        site.traced = Some(Watch::Writes);
        site.start_server().await?;
        Ok(site)
    }

    fn make(name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("custody-{name}-"))
            .tempdir()?
            .keep();
        let ports = Ports {
            web: free_port()?,
            agents: free_port()?,
            mqtt: free_port()?,
        };
        let mut site = Self::at(folder, ports)?;
        site.initialise("Test Clinic", "en")?;
        for person in Person::ALL {
            site.add_person(person, "correct-horse-battery-58")?;
        }
        Ok(site)
    }

    /// A site in a given folder, which may hold one already; nothing is started.
    pub fn at(folder: PathBuf, ports: Ports) -> Result<Self> {
        for part in ["tmp", "home", "work", "logs", "agents"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let agents = Vec::new();
        Ok(Self {
            folder,
            ports,
            server: None,
            traced: None,
            clock_offset_s: 0,
            agents,
            passwords: BTreeMap::new(),
            ending: Ending::Failed,
        })
    }

    /// `custody-server init`.
    pub fn initialise(&self, name: &str, language: &str) -> Result<()> {
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let (web, agents, mqtt) = (
            listen(self.ports.web),
            listen(self.ports.agents),
            listen(self.ports.mqtt),
        );
        let listens = ["--web-listen", &web, "--agents-listen", &agents, "--mqtt-listen", &mqtt];
        let named = ["init", "--name", name, "--host", "127.0.0.1", "--language", language];
        self.custody(&[&named[..], &listens].concat(), None).map(drop)
    }

    /// `custody-server person add`.
    pub fn add_person(&mut self, person: Person, password: &str) -> Result<()> {
        self.custody(
            &[
                "person",
                "add",
                person.name(),
                "--grade",
                person.grade(),
                "--password-stdin",
            ],
            Some(password),
        )?;
        self.passwords.insert(person.name().to_owned(), password.to_owned());
        Ok(())
    }

    /// The passwords of all people of the site.
    pub fn passwords(&self) -> &BTreeMap<String, String> {
        &self.passwords
    }

    /// Takes over the passwords of a site that was made before.
    pub fn know_passwords(&mut self, passwords: &BTreeMap<String, String>) {
        self.passwords.extend(passwords.clone());
    }

    /// The password of somebody of the site.
    pub fn password(&self, person: Person) -> Result<&str> {
        self.passwords
            .get(person.name())
            .map(String::as_str)
            .context("this person has no account")
    }

    /// The site's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// The folder of an agent.
    pub fn agent_data(&self, name: &str) -> PathBuf {
        self.folder.join("agents").join(name)
    }

    /// A command that keeps everything it writes below the folder.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(binaries::program(program)?);
        command.current_dir(self.folder.join("work"));
        command
            .env("TMPDIR", self.folder.join("tmp"))
            .env("HOME", self.folder.join("home"));
        command.env_remove("RUST_LOG").env_remove("CUSTODY_LOG");
        Ok(command)
    }

    /// Runs `custody-server …` to its end; `input` goes to its standard input. Returns what it printed.
    pub fn custody(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = self.command("custody-server")?;
        command.args(arguments).arg("--data").arg(self.data());
        match input {
            None => run(&mut command),
            Some(text) => run_with_input(&mut command, text),
        }
        .with_context(|| format!("custody-server {}", arguments.join(" ")))
    }

    /// Starts the server and waits until it answers.
    pub async fn start_server(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let mut command = self.command("custody-server")?;
        command.arg("run").arg("--data").arg(self.data());
        if self.clock_offset_s != 0 {
            let file = self.folder.join("work/clock-server");
            clock::set(&file, self.clock_offset_s)?;
            clock::fake(&mut command, &file)?;
        }
        if let Some(watch) = self.traced {
            command = strace::wrap(&command, &self.trace("server"), watch);
        }
        let mut process = Process::start("custody-server", command, &self.log("server"))?;
        let client = self.visitor()?;
        loop {
            if client.get("/healthz").await.is_ok_and(|a| a.status.is_success()) {
                self.server = Some(process);
                return Ok(began.elapsed());
            }
            ensure!(
                process.running(),
                "the server ended while starting:\n{}",
                tail(&process.output())
            );
            ensure!(
                began.elapsed() < START,
                "the server does not answer:\n{}",
                tail(&process.output())
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Records from now on how agents that are started wait for the disk.
    pub fn watch_syncs(&mut self) {
        self.traced = Some(Watch::Syncs);
    }

    /// The server's process.
    pub fn server(&mut self) -> Result<&mut Process> {
        self.server.as_mut().context("the server is not running")
    }

    /// An error where the server has ended by itself.
    pub fn server_must_run(&mut self) -> Result<()> {
        let log = self.log("server");
        let process = self.server()?;
        ensure!(
            process.running(),
            "the server has ended; its log is {}:\n{}",
            log.display(),
            tail(&process.output())
        );
        Ok(())
    }

    /// kill -9.
    pub fn kill_server(&mut self) -> Result<()> {
        self.server.take().context("the server is not running")?.kill()
    }

    /// SIGTERM; it must end cleanly.
    pub async fn stop_server(&mut self) -> Result<()> {
        self.server
            .take()
            .context("the server is not running")?
            .stop(START)
            .await
    }

    /// Path of a process's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Path of a process's system call trace. It holds what was written, in hexadecimal, beside the searched folders.
    pub fn trace(&self, name: &str) -> PathBuf {
        self.folder.with_extension(format!("{name}.trace"))
    }

    /// The address of the pages.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.web)
    }

    /// A client without a session.
    pub fn visitor(&self) -> Result<Client> {
        Client::new(&self.base())
    }

    /// Adds a camera to the record, enrols an agent for it and starts it.
    pub async fn add_camera(&mut self, name: &str, source: Source) -> Result<usize> {
        let number = self.enrol_camera(name, source)?;
        self.start_agent(number)?;
        Ok(number)
    }

    /// Adds a camera to the record and enrols an agent for it, which is not started yet.
    pub fn enrol_camera(&mut self, name: &str, source: Source) -> Result<usize> {
        self.enrol_camera_at(name, "Corridor", source)
    }

    /// As [`Self::enrol_camera`], saying where the camera hangs.
    pub fn enrol_camera_at(&mut self, name: &str, place: &str, source: Source) -> Result<usize> {
        let agent = Agent::enrol(self, name, place, source)?;
        Ok(self.adopt(agent))
    }

    /// Takes in an agent that joined before.
    pub fn adopt(&mut self, agent: Agent) -> usize {
        self.agents.push(agent);
        self.agents.len() - 1
    }

    /// Starts an agent.
    pub fn start_agent(&mut self, number: usize) -> Result<()> {
        let mut command = self.agent_command(number)?;
        if let Some(watch) = self.traced {
            command = strace::wrap(&command, &self.trace(&self.agents[number].name), watch);
        }
        self.launch_agent(number, command)
    }

    /// Starts an agent whose clock [`Self::set_agent_clock`] can move.
    pub fn start_agent_with_clock(&mut self, number: usize) -> Result<()> {
        self.set_agent_clock(number, 0)?;
        let mut command = self.agent_command(number)?;
        clock::fake(&mut command, &self.clock_file(number))?;
        self.launch_agent(number, command)
    }

    /// Moves an agent's clock to `offset_s` seconds from the true time.
    pub fn set_agent_clock(&self, number: usize, offset_s: i64) -> Result<()> {
        clock::set(&self.clock_file(number), offset_s)
    }

    fn clock_file(&self, number: usize) -> PathBuf {
        self.folder.join("work").join(format!("clock-{number}"))
    }

    /// Starts an agent whose folder lies on a disk of its own of so many MiB.
    pub fn start_agent_on_small_disk(&mut self, number: usize, mib: u32) -> Result<()> {
        let inner = self.agent_command(number)?;
        let command = small_disk::wrap(&inner, &self.agents[number].data, mib);
        self.launch_agent(number, command)
    }

    fn agent_command(&self, number: usize) -> Result<Command> {
        let mut command = self.command("custody-agent")?;
        command
            .arg("run")
            .arg("--config")
            .arg(self.agents[number].config_file());
        Ok(command)
    }

    fn launch_agent(&mut self, number: usize, command: Command) -> Result<()> {
        let name = self.agents[number].name.clone();
        let process = Process::start(&name, command, &self.log(&name))?;
        self.agents[number].process = Some(process);
        Ok(())
    }

    /// The server's clock from its next start on, as seconds from the true time.
    pub fn set_clock(&mut self, offset_s: i64) {
        self.clock_offset_s = offset_s;
    }

    /// Ends a test that passed: stops everything cleanly and removes the folder.
    pub async fn close(mut self) -> Result<()> {
        self.stop().await?;
        self.ending = Ending::Removed;
        Ok(())
    }

    /// The folder stays, and that is no sign of failure.
    pub fn keep(&mut self) {
        self.ending = Ending::Kept;
    }

    /// Stops everything cleanly and leaves the folder.
    pub async fn stop(&mut self) -> Result<()> {
        for agent in &mut self.agents {
            if let Some(mut process) = agent.process.take() {
                process.stop(START).await?;
            }
        }
        if self.server.is_some() {
            self.stop_server().await?;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.agents.clear();
        self.server = None;
        match self.ending {
            Ending::Kept => return,
            Ending::Removed => return drop(std::fs::remove_dir_all(&self.folder)),
            Ending::Failed => {}
        }
        eprintln!("the site's folder is kept: {}", self.folder.display());
        for entry in std::fs::read_dir(self.folder.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()).into_owned();
            eprintln!("--- {}\n{}", entry.path().display(), tail(&text));
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a command with text on its standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    use std::io::Write;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("{:?} could not be started", command.get_program()))?;
    child
        .stdin
        .take()
        .context("a piped input")?
        .write_all(format!("{input}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "ended with {}:\n{}",
            output.status,
            tail(&String::from_utf8_lossy(&output.stderr))
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

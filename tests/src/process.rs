//! Child processes that cannot outlive their test: each in its own process group, with its output in a log file.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running program of ours or a camera; its whole process group dies with this value.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    traced: bool,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("log {}", log.display()))?;
        command
            .stdout(out.try_clone()?)
            .stderr(out)
            .stdin(Stdio::null())
            .process_group(0);
        let traced = command.get_program() == "strace";
        let child = command
            .spawn()
            .with_context(|| format!("{name}: cannot start {:?}", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            traced,
            ended: None,
        })
    }

    /// As [`Self::start`], with `input` on standard input.
    pub fn start_with_input(name: &str, mut command: Command, log: &Path, input: &[u8]) -> Result<Self> {
        use std::io::Write;
        let out = File::options().create(true).append(true).open(log)?;
        command
            .stdout(out.try_clone()?)
            .stderr(out)
            .stdin(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name}: cannot start {:?}", command.get_program()))?;
        child.stdin.take().context("a piped input")?.write_all(input)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            traced: false,
            ended: None,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Processes that it has started itself and that still run.
    pub fn children(&self) -> Vec<Pid> {
        let parent = format!("PPid:\t{}", self.id());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let own = numbers.filter(|number| {
            let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        });
        own.filter_map(Pid::from_raw).collect()
    }

    /// Everything the process has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Path of the log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs; reaps it when not.
    pub fn running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// Sends a signal to the process alone; below strace, which blocks it, to what it traces.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.traced {
            return kill_process_group(self.pid(), signal)
                .with_context(|| format!("{}: cannot be signalled", self.name));
        }
        kill_process(self.pid(), signal).with_context(|| format!("{}: cannot be signalled", self.name))
    }

    /// Freezes the process and its children, as a hung camera or machine is.
    pub fn freeze(&self) -> Result<()> {
        kill_process_group(self.pid(), Signal::STOP).with_context(|| format!("{}: cannot be frozen", self.name))
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> Result<()> {
        kill_process_group(self.pid(), Signal::CONT).with_context(|| format!("{}: cannot go on", self.name))
    }

    /// kill -9 of the whole group, at once.
    pub fn kill(&mut self) -> Result<()> {
        if self.running() {
            kill_process_group(self.pid(), Signal::KILL).ok();
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// SIGTERM, then waits; an error where it does not end in time or ends badly.
    pub async fn stop(&mut self, within: Duration) -> Result<()> {
        if !self.running() {
            return self.ended_well();
        }
        self.signal(Signal::TERM)?;
        let status = self.wait(within).await?;
        if !status.success() && status.signal() != Some(15) {
            bail!(
                "{}: ended with {status} after SIGTERM\n{}",
                self.name,
                tail(&self.output())
            );
        }
        Ok(())
    }

    fn ended_well(&self) -> Result<()> {
        match self.ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!(
                "{}: had already ended with {status}\n{}",
                self.name,
                tail(&self.output())
            ),
            None => Ok(()),
        }
    }

    /// Waits for the end of the process.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        while self.running() {
            if Instant::now() > deadline {
                bail!(
                    "{}: still running after {within:?}\n{}",
                    self.name,
                    tail(&self.output())
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.ended.expect("it has ended"))
    }

    /// Waits until the log holds `text`; fails at once when the process ends first.
    pub async fn wait_for(&mut self, text: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let output = self.output();
            if output.contains(text) {
                return Ok(output);
            }
            if !self.running() {
                bail!(
                    "{}: ended ({:?}) before it said {text:?}\n{}",
                    self.name,
                    self.ended,
                    tail(&output)
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: did not say {text:?} within {within:?}\n{}",
                    self.name,
                    tail(&output)
                );
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// CPU seconds used so far and resident memory in bytes, of this process alone.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Highest resident memory, in bytes.
    pub resident_peak: u64,
    /// Bytes sent to storage (`write_bytes`), in bytes.
    pub written: u64,
}

impl Usage {
    /// Reads `/proc/<pid>`.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
        let after = stat.rsplit_once(") ").context("the form of /proc/pid/stat")?.1;
        let field = |n: usize| after.split(' ').nth(n).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        // /proc counts in USER_HZ, which Linux fixes at 100 for programs.
        let ticks = 100.0;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| line_number(&status, name) * 1024;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Ok(Self {
            cpu_s: (field(11) + field(12)) as f64 / ticks,
            resident: kib("VmRSS:"),
            resident_peak: kib("VmHWM:"),
            written: line_number(&io, "write_bytes:"),
        })
    }
}

fn line_number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// The last lines of an output, for error messages.
pub fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// Runs a command to its end and returns its standard output; a failure carries its error output.
pub fn run(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&run_bytes(command)?).into_owned())
}

/// As [`run`], for output that is not text.
pub fn run_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        bail!("{name} ended with {}:\n{}", output.status, tail(&said));
    }
    Ok(output.stdout)
}

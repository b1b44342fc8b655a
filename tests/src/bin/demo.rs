//! The demonstration: a server and its agents on this machine, quick settings, everything in one folder.
//!
//! Started by `make demo`. `CUSTODY_DEMO_DIR` names the folder (default `demo-data`), `CUSTODY_DEMO_CAMERA` a real camera.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use custody_tests::agent::{Agent, Source};
use custody_tests::http::Client;
use custody_tests::journey::{kept_seconds, now};
use custody_tests::site::{Person, Ports, Site, free_port};

const PLACES: [(&str, &str); 3] = [
    ("Entry", "1F entry"),
    ("Corridor", "1F corridor"),
    ("Waiting room", "1F east"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = std::env::var_os("CUSTODY_DEMO_DIR").map_or_else(|| PathBuf::from("demo-data"), PathBuf::from);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let real = std::env::var("CUSTODY_DEMO_CAMERA").ok().filter(|url| !url.is_empty());

    let (interrupted, ended) = (tokio::signal::ctrl_c(), terminated());
    tokio::pin!(interrupted, ended);
    let mut site = prepare(&folder)?;
    let outcome = tokio::select! {
        outcome = show(&mut site, real) => outcome,
        _ = &mut interrupted => Ok(()),
        _ = &mut ended => Ok(()),
    };
    println!("\nStopping …");
    let stopped = site.stop().await;
    site.keep();
    outcome?;
    stopped?;
    println!(
        "Stopped. Everything the demonstration made is in {}; delete that folder and nothing is left.",
        folder.display()
    );
    Ok(())
}

async fn terminated() -> Option<()> {
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok()?;
    signal.recv().await
}

/// Makes the site on first use; a second demonstration goes on where the first one ended.
fn prepare(folder: &Path) -> Result<Site> {
    let known = folder.join("ports.json");
    let ports = match std::fs::read_to_string(&known)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
    {
        Some(ports) => ports,
        None => {
            let web = if std::net::TcpListener::bind("127.0.0.1:8080").is_ok() {
                8080
            } else {
                free_port()?
            };
            Ports {
                web,
                agents: free_port()?,
                mqtt: free_port()?,
            }
        }
    };
    let mut site = Site::at(folder.to_owned(), ports)?;
    let accounts = folder.join("accounts.json");
    if accounts.exists() {
        site.know_passwords(&serde_json::from_slice(&std::fs::read(&accounts)?)?);
        return Ok(site);
    }
    println!("Making a site in {} …", folder.display());
    site.initialise("Demo Clinic", "en")?;
    for person in [Person::Asker, Person::Decider] {
        site.add_person(person, &password()?)?;
    }
    std::fs::write(&known, serde_json::to_vec(&ports)?)?;
    write_private(&accounts, &serde_json::to_vec(site.passwords())?)?;
    Ok(site)
}

async fn show(site: &mut Site, real: Option<String>) -> Result<()> {
    site.start_server().await?;
    let mut cameras: Vec<(&str, &str, Source)> = PLACES
        .iter()
        .map(|&(name, place)| (name, place, Source::test_picture(name)))
        .collect();
    if let Some(url) = &real {
        cameras.insert(0, ("Camera", "at the given address", Source::rtsp(url)));
    }
    for (name, place, source) in cameras {
        let number = match Agent::joined(site, name) {
            Some(agent) => site.adopt(agent),
            None => site.enrol_camera_at(name, place, source.clone())?,
        };
        site.agents[number].configure(&source, "")?;
        site.start_agent(number)?;
    }
    introduce(site)?;
    watch(site).await
}

fn introduce(site: &Site) -> Result<()> {
    let program = custody_tests::binaries::program("custody-server")?;
    println!("\n  Pages     {}", site.base());
    println!(
        "  Accounts  {:10} {}   asks for footage, watches what was approved",
        Person::Asker.name(),
        site.password(Person::Asker)?
    );
    println!(
        "            {:10} {}   decides requests of others",
        Person::Decider.name(),
        site.password(Person::Decider)?
    );
    println!("\n  Three things to try next:");
    println!(
        "  1. Sign in as {} and file a request for the last half hour of a camera.",
        Person::Asker.name()
    );
    println!(
        "  2. In a private window sign in as {} and approve it; then watch it as {}.",
        Person::Decider.name(),
        Person::Asker.name()
    );
    println!(
        "  3. See that the record is whole: {} ledger verify --data {}",
        program.display(),
        site.data().display()
    );
    println!(
        "\n  The pages' API is described at {}/api/v1/; logs are in {}. Ctrl-C ends it.\n",
        site.base(),
        site.folder().join("logs").display()
    );
    Ok(())
}

/// One line, again and again: how much of each camera is recorded, as the API says it.
async fn watch(site: &mut Site) -> Result<()> {
    let began = now();
    let client = site.sign_in(Person::Asker).await?;
    let terminal = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        for agent in &mut site.agents {
            agent.must_run()?;
        }
        site.server_must_run()?;
        let line = status(site, &client, began)
            .await
            .unwrap_or_else(|error| format!("the server does not answer: {error}"));
        if terminal {
            print!("\r\x1b[K  {line}");
            std::io::stdout().flush()?;
        } else if line != last {
            println!("  {line}");
        }
        last = line;
        tokio::time::sleep(Duration::from_secs(if terminal { 1 } else { 5 })).await;
    }
}

async fn status(site: &Site, client: &Client, began: i64) -> Result<String> {
    let mut parts = Vec::new();
    for agent in &site.agents {
        let coverage = site.coverage(client, &agent.camera, began, now()).await?;
        let seconds = kept_seconds(&coverage) as u64;
        let missing = coverage
            .iter()
            .rev()
            .find(|s| s.kind == "gap")
            .and_then(|s| s.cause.clone());
        let note = missing
            .filter(|_| seconds == 0)
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        parts.push(format!("{} {}:{:02}{note}", agent.name, seconds / 60, seconds % 60));
    }
    Ok(format!("recorded: {}", parts.join(" · ")))
}

/// Five groups of letters that are hard to mistake for each other: 100 bits.
fn password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";
    let mut random = [0u8; 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
    Ok(random.iter().map(|b| LETTERS[usize::from(b % 31)] as char).collect())
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(bytes)?)
}

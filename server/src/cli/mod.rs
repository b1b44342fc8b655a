//! The command line: gathers what was typed, asks the running server or opens the folder, prints.

pub mod args;
pub mod control;
mod password;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use custody_shared::time::{SharedClock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use crate::access::Grade;
use crate::config;
use crate::record::terms::LocationClass;
use crate::retention::Retention;
use crate::run::{self, Listeners, Opened, Server};
use args::{Camera, CameraAdd, Cli, Command, GradeName, Init, Ledger, Person, PersonAdd, PlaceClass};
use control::{Ask, Control, Told};

/// Does what the command line says. The answer goes to standard output, everything else to standard error.
///
/// # Errors
/// What failed, on what, and what to do.
pub async fn run(cli: Cli) -> Result<()> {
    let data = std::path::absolute(&cli.data).unwrap_or(cli.data);
    match cli.command {
        Command::Init(init) => self::init(&data, &init).await,
        Command::Run(run) => serve(&data, run.config.as_deref()).await,
        Command::Camera(Camera::Add(add)) => put(&data, camera_add(add)).await,
        Command::Camera(Camera::List) => put(&data, Ask::CameraList).await,
        Command::Camera(Camera::Token(token)) => put(&data, Ask::CameraToken { cameras: token.cameras }).await,
        Command::Person(Person::Add(add)) => person_add(&data, add).await,
        Command::Ledger(Ledger::Verify) => verify(&data),
        Command::Rebuild => put(&data, Ask::Rebuild).await,
    }
}

async fn init(data: &Path, init: &Init) -> Result<()> {
    let settings = settings(init);
    config::parse(data, Path::new("init"), &settings).context("init")?;
    let clock: SharedClock = Arc::new(SystemClock);
    let opened = run::create(data, &init.name, &init.time_zone, &settings, &clock)
        .await
        .context("init")?;
    println!("site {} in {}", opened.site, data.display());
    println!("CA pin {}", opened.ca.pin());
    println!("settings {}", data.join("custody.toml").display());
    eprintln!(
        "next: custody-server person add NAME --grade asks|decides|administers, then custody-server run --data {}",
        data.display()
    );
    Ok(())
}

/// The settings that `init` writes: what was said, and where to read about the rest.
fn settings(init: &Init) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let hosts = init
        .hosts
        .iter()
        .map(|host| quoted(host))
        .collect::<Vec<_>>()
        .join(", ");
    let tls = if init.web_listen.ip().is_loopback() {
        "none"
    } else {
        "own-ca"
    };
    format!(
        "# deploy/server.toml shows every setting.\n\n[site]\nname = {}\ntime_zone = {}\nlanguage = {}\n\n[web]\nlisten = \"{}\"\ntls = \"{tls}\"\nhosts = [{}]\n\n\
         [agents]\nlisten = \"{}\"\nmqtt_listen = \"{}\"\nhosts = [{hosts}]\n",
        quoted(&init.name),
        quoted(&init.time_zone),
        quoted(&init.language),
        init.web_listen,
        web_hosts(init.web_listen, &init.hosts)
            .iter()
            .map(|host| quoted(host))
            .collect::<Vec<_>>()
            .join(", "),
        init.agents_listen,
        init.mqtt_listen,
    )
}

fn web_hosts(listen: SocketAddr, hosts: &[String]) -> Vec<String> {
    let mut all: Vec<String> = hosts.to_vec();
    for name in ["localhost", "127.0.0.1"] {
        if listen.ip().is_loopback() && !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    all
}

async fn serve(data: &Path, path: Option<&Path>) -> Result<()> {
    let config = config::load(data, path)?;
    run::forbid_core_dumps();
    let mut terminate = signal(SignalKind::terminate()).context("run: cannot wait for SIGTERM")?;
    let listeners = Listeners::bind(&config).await?;
    let scheme = if config.web.tls == config::WebTls::None {
        "http"
    } else {
        "https"
    };
    let (pages, agents, mqtt) = (config.web.listen, config.agents.listen, config.agents.mqtt_listen);
    let server = Server::start(config, Arc::new(SystemClock), listeners).await?;
    tracing::info!("pages on {scheme}://{pages}, agents on https://{agents}, mqtt on {mqtt}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

fn camera_add(add: CameraAdd) -> Ask {
    let class = match add.class {
        PlaceClass::Open => LocationClass::Open,
        PlaceClass::Waiting => LocationClass::Waiting,
        PlaceClass::Private => LocationClass::Private,
        PlaceClass::Prohibited => LocationClass::Prohibited,
    };
    Ask::CameraAdd {
        name: add.name,
        location: add.location,
        class,
        purpose: add.purpose,
        legal_ground: add.legal_ground,
    }
}

async fn person_add(data: &Path, add: PersonAdd) -> Result<()> {
    let grade = match add.grade {
        GradeName::Asks => Grade::Asks,
        GradeName::Decides => Grade::Decides,
        GradeName::Administers => Grade::Administers,
    };
    let password = password::take(&add).context("person add: no password")?;
    let display = add.display.unwrap_or_else(|| add.name.clone());
    put(
        data,
        Ask::PersonAdd {
            name: add.name,
            display,
            grade,
            password: password.to_string(),
        },
    )
    .await?;
    if add.generate {
        println!("password {}", password.as_str());
    }
    Ok(())
}

/// Verification reads the files and needs no lock: it runs beside a server, and where a server would not start.
fn verify(data: &Path) -> Result<()> {
    let report = crate::ledger::verify(&data.join("ledger")).context("ledger verify")?;
    println!("{report}");
    if report.is_clean() {
        return Ok(());
    }
    bail!(
        "ledger verify: the ledger is not as it was written; stop the server, keep a copy of the folder, and restore the named parts from the backup"
    )
}

/// Asks the running server, or does it on the folder, and prints the answer.
async fn put(data: &Path, ask: Ask) -> Result<()> {
    let told = match control::ask(data, &ask)
        .await
        .context("control socket: the server does not answer; is it stopping?")?
    {
        Some(told) => told,
        None => offline(data)?.answer(ask).await,
    };
    match told {
        Told::Done(text) => {
            println!("{text}");
            Ok(())
        }
        Told::Failed(text) => bail!(text),
    }
}

/// The folder's parts without a server around them.
fn offline(data: &Path) -> Result<Control> {
    let config = config::load(data, None)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let opened = Opened::open(data, config.site.rules.as_deref(), &clock)?;
    let (statements, index) = opened.statements()?;
    // Nothing lies in the cache that this could delete; the server sweeps when it starts.
    let sweep = Arc::new(|_, _| Ok(0));
    let retention = Retention::new(
        opened.record.clone(),
        opened.keyholder.clone(),
        sweep,
        Retention::system_monotonic(),
    );
    let host = config.agents.hosts.first().cloned().unwrap_or_default();
    Ok(Control {
        opened,
        retention: Arc::new(retention),
        fleet: None,
        statements,
        index,
        agents_url: format!("https://{}:{}", crate::run::in_url(&host), config.agents.listen.port()),
    })
}

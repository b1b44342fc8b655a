//! The command line of the agent; everything else is in the library.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use custody_agent::check::Grade;
use custody_agent::cli::{Cli, Command};
use custody_agent::config::Config;
use custody_agent::failure::Failure;
use custody_agent::{check, join, run, sys};
use custody_shared::time::{SharedClock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = sys::protect_process() {
        eprintln!(
            "custody-agent: cannot forbid core dumps ({error}); stop here, or run it where prctl and setrlimit are allowed"
        );
        return ExitCode::FAILURE;
    }
    let filter =
        EnvFilter::try_from_env("CUSTODY_LOG").unwrap_or_else(|_| EnvFilter::new("info,retina=warn,rumqttc=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    // One thread for everything that waits; a second and third for reading files that are to be sent.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("custody-agent: cannot start ({error}); check the limits on open files and threads");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(command(cli.command));
    // A blocked read of a dying disk must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn command(command: Command) -> ExitCode {
    let clock: SharedClock = Arc::new(SystemClock);
    let outcome = match command {
        Command::Join(arguments) => join::join(arguments).await.map(|told| println!("{told}")),
        Command::Run(configured) => record(&configured.config, clock).await,
        Command::Check(configured) => {
            let worst = check::check(&configured.config, clock, &mut |line| println!("{line}")).await;
            return match worst {
                Grade::Ok => ExitCode::SUCCESS,
                Grade::Warn => ExitCode::from(1),
                Grade::Fail => ExitCode::from(2),
            };
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("custody-agent: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn record(config: &std::path::Path, clock: SharedClock) -> Result<(), Failure> {
    let config = Config::load(config)?;
    let (stop, stopped) = watch::channel(false);
    let handler = |kind| {
        signal(kind)
            .map_err(|error| Failure::new("the agent", "listen for signals", error, "check the system's limits"))
    };
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    });
    run::run(config, clock, stopped).await
}

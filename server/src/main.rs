//! `custody-server`: see `--help`.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use custody_server::cli::{self, args::Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The log goes to standard error; CUSTODY_LOG chooses what, as in `info,custody_server::ingest=debug`. The embedded
    // broker tells of every connection, some of them as errors; what matters of it is said by the gate in front of it.
    let wanted = std::env::var("CUSTODY_LOG").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::new(format!("rumqttd=warn,rumqttd::router::routing=off,{wanted}"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("custody-server: cannot start its threads ({error}); check the limits of this user");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custody-server: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: many messages already hold their cause.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

//! Runs promises in full: `promises [list | NAME…]`.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use custody_tests::promise::{self, Promise, Scale};

#[tokio::main]
async fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.first().is_some_and(|n| n == "list") {
        for promise in promise::ALL {
            println!("{:28} {}", promise.name, promise.says);
        }
        return ExitCode::SUCCESS;
    }
    let mut chosen: Vec<&Promise> = Vec::new();
    for name in &names {
        let Some(promise) = promise::named(name) else {
            eprintln!("no promise is called {name:?}; ONLY=list shows the names");
            return ExitCode::FAILURE;
        };
        chosen.push(promise);
    }
    if names.is_empty() {
        chosen.extend(promise::ALL);
    }
    let mut broken = 0;
    for promise in &chosen {
        println!("{}: {} …", promise.name, promise.says);
        let began = Instant::now();
        match (promise.check)(Scale::full()).await {
            Ok(evidence) => println!("  kept ({} s): {evidence}", began.elapsed().as_secs()),
            Err(error) => {
                broken += 1;
                println!("  BROKEN ({} s): {error:#}", began.elapsed().as_secs());
            }
        }
    }
    println!("{} of {} promises kept", chosen.len() - broken, chosen.len());
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! Measures and writes `docs/benchmarks.md`: `bench [part of a group's name]`.

#![forbid(unsafe_code)]

use anyhow::Result;
use custody_tests::{bench, binaries, journey};

#[tokio::main]
async fn main() -> Result<()> {
    let only = std::env::args().nth(1).map(|name| name.to_lowercase());
    let table = bench::measure(only.as_deref()).await;
    let page = table.page(&machine(), &journey::text(journey::now())[..10]);
    println!("\n{page}");
    if only.is_none() {
        let path = binaries::root().join("docs/benchmarks.md");
        std::fs::write(&path, page)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .and_then(|l| l.split_once(": "))
        .map_or("unknown", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    let kib = read("/proc/meminfo")
        .lines()
        .next()
        .and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    format!(
        "{cores} cores of {model}, {} GiB, Linux {}",
        kib >> 20,
        read("/proc/sys/kernel/osrelease").trim()
    )
}

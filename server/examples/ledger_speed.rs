//! Measures the ledger beside the disk it runs on: durable appends per second with group commit, the latency of a single
//! append, the time of a proof, and the machine's bare fdatasync in the same run.
//!
//! `cargo run --release --example ledger_speed [-- DIR [ROWS]]`; DIR defaults to the temporary directory. Lines are
//! `name TAB ours TAB floor TAB ratio`, after one line of headings; what is going on is said on standard error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use custody_server::ledger::{Ledger, LedgerOptions, NewRow, RowKind, verify};
use zeroize::Zeroizing;

/// A row like those of the record: a few hundred bytes.
fn row() -> NewRow {
    NewRow {
        kind: RowKind(1),
        purge_on_day: 30_000,
        body: Zeroizing::new(vec![0x5a; 240]),
    }
}

/// The middle and the 99th of a hundred.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Appends of one kilobyte to a growing file, each followed by fdatasync.
fn floor(dir: &Path) -> io::Result<(Duration, Duration)> {
    let path = dir.join("floor");
    let file = File::create(&path)?;
    let mut times = Vec::new();
    for n in 0..500u64 {
        let start = Instant::now();
        file.write_all_at(&[0xa5; 1024], n * 1024)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(quantiles(times))
}

/// `clients` tasks append one row each, again and again; rows per second.
fn appends(ledger: &Ledger, clients: usize, run: Duration) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let start = Instant::now();
    let before = ledger.len();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let ledger = ledger.clone();
            runtime.spawn(async move {
                while start.elapsed() < run {
                    ledger.append(vec![row()]).await.expect("a healthy disk");
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("no task panics");
    }
    (ledger.len() - before) as f64 / start.elapsed().as_secs_f64()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    let rows: u64 = args.next().and_then(|a| a.to_str()?.parse().ok()).unwrap_or(200_000);
    let dir = base.join(format!("custody-ledger-speed-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let outcome = measure(&dir, rows);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

/// Milliseconds, as a table shows them.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(dir: &Path, rows: u64) -> Result<(), Box<dyn std::error::Error>> {
    println!("what\tours\tfloor\tratio");
    let (p50, p99) = floor(dir)?;
    let floor_rate = 1.0 / p50.as_secs_f64();

    let path = dir.join("ledger");
    let options = LedgerOptions {
        origin: "custody/speed".into(),
        create: true,
    };
    let ledger = Ledger::open(&path, options.clone())?;
    let mut times = Vec::new();
    for _ in 0..500 {
        let start = Instant::now();
        ledger.append_blocking(vec![row()])?;
        times.push(start.elapsed());
    }
    let (one50, one99) = quantiles(times);
    for (name, ours, floor) in [("p50", one50, p50), ("p99", one99, p99)] {
        let (ours, floor) = (ms(ours), ms(floor));
        println!(
            "one durable append alone, {name}; fdatasync\t{ours:.3} ms\t{floor:.3} ms\t{:.2}",
            ours / floor
        );
    }
    for clients in [8, 64, 512] {
        let rate = appends(&ledger, clients, Duration::from_secs(3));
        let ratio = rate / floor_rate;
        println!(
            "durable appends/s, {clients} waiting (aim: 2000); fdatasyncs/s\t{rate:.0}\t{floor_rate:.0}\t{ratio:.2}"
        );
    }
    let start = Instant::now();
    while ledger.len() < rows {
        ledger.append_blocking((0..1000).map(|_| row()).collect())?;
    }
    eprintln!("{} rows after {:.1?}", ledger.len(), start.elapsed());
    drop(ledger);

    let start = Instant::now();
    let ledger = Ledger::open(&path, options)?;
    println!("opening {} rows\t{:.1} ms\t-\t-", ledger.len(), ms(start.elapsed()));
    let mut times = Vec::new();
    for n in 0..1000u64 {
        let index = n.wrapping_mul(2_654_435_761) % ledger.len();
        let start = Instant::now();
        let evidence = ledger.evidence(index)?;
        times.push(start.elapsed());
        assert_eq!(evidence.index, index);
    }
    let (proof50, proof99) = quantiles(times);
    println!(
        "row with inclusion proof, p50 (aim: 1 ms)\t{:.3} ms\t1 ms\t{:.2}",
        ms(proof50),
        ms(proof50)
    );
    println!(
        "row with inclusion proof, p99\t{:.3} ms\t1 ms\t{:.2}",
        ms(proof99),
        ms(proof99)
    );
    let start = Instant::now();
    let mut bytes = 0;
    for row in ledger.iter(0) {
        bytes += row?.body.map_or(0, |body| body.len());
    }
    let rate = ledger.len() as f64 / start.elapsed().as_secs_f64();
    eprintln!("read {bytes} bytes of bodies");
    println!("reading rows one after the other, rows/s\t{rate:.0}\t-\t-");
    drop(ledger);
    let start = Instant::now();
    let report = verify(&path)?;
    assert!(report.is_clean(), "{report}");
    println!(
        "verifying, rows/s\t{:.0}\t-\t-",
        report.rows as f64 / start.elapsed().as_secs_f64()
    );
    Ok(())
}

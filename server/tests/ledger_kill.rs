//! A child process appends as fast as it can and tells each acknowledged row; it is killed at a random moment, many
//! times. Nothing it told may be missing afterwards, and nothing that it ever showed may be contradicted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use custody_server::ledger::{Ledger, LedgerOptions, NewRow, RowKind, verify};
use custody_shared::tlog::tree::{self, NodeHash};
use zeroize::Zeroizing;

const CHILD: &str = "CUSTODY_LEDGER_KILL_CHILD";

fn options() -> LedgerOptions {
    LedgerOptions {
        origin: "custody/kill".into(),
        create: true,
    }
}

fn row(body: String) -> NewRow {
    NewRow {
        kind: RowKind(1),
        purge_on_day: 30_000,
        body: Zeroizing::new(body.into_bytes()),
    }
}

/// The child: four threads append, each row says who wrote it; standard output says what was acknowledged.
fn child(dir: &std::path::Path, round: u32) {
    let ledger = Ledger::open(dir, options()).expect("the child opens the ledger");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0.. {
                    let rows = (0..n % 7 + 1)
                        .map(|part| row(format!("{round}/{thread}/{n}/{part}")))
                        .collect();
                    let indices = ledger.append_blocking(rows).expect("an append on a healthy disk");
                    let mut lines = String::new();
                    for (part, index) in indices.iter().enumerate() {
                        lines += &format!("row {index} {round}/{thread}/{n}/{part}\n");
                    }
                    if n % 16 == 0 {
                        lines += &format!("note {}\n", ledger.checkpoint().escape_default());
                    }
                    // One write per message: a pipe keeps it whole.
                    std::io::stdout()
                        .write_all(lines.as_bytes())
                        .expect("the parent listens");
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_nine() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let round = std::env::var("CUSTODY_LEDGER_KILL_ROUND").unwrap().parse().unwrap();
        return child(dir.as_ref(), round);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut acknowledged, mut shown) = (Vec::<(u64, String)>::new(), Vec::<String>::new());
    let start = Instant::now();
    let mut rounds = 0u32;
    while rounds < 30 && start.elapsed() < Duration::from_secs(12) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "nothing_acknowledged_is_lost_to_kill_nine",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, &path)
            .env("CUSTODY_LEDGER_KILL_ROUND", rounds.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The moment is random and wide enough to hit appends, settling and opening.
        let mut random = [0u8; 2];
        getrandom::fill(&mut random).unwrap();
        let moment = Duration::from_millis(40 + u64::from(u16::from_le_bytes(random)) % 360);
        let output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            // A line that the kill cut off was not told.
            BufReader::new(output)
                .split(b'\n')
                .map_while(Result::ok)
                .map(|l| String::from_utf8_lossy(&l).into_owned())
                .collect::<Vec<_>>()
        });
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut lines = reader.join().unwrap();
        lines.pop();
        for line in lines {
            if let Some(rest) = line.strip_prefix("row ") {
                let (index, body) = rest.split_once(' ').unwrap();
                acknowledged.push((index.parse().unwrap(), body.to_owned()));
            } else if let Some(note) = line.strip_prefix("note ") {
                shown.push(note.replace("\\n", "\n").replace("\\u{2014}", "\u{2014}"));
            }
        }
        rounds += 1;
    }
    assert!(
        rounds >= 5 && acknowledged.len() > 100,
        "{rounds} rounds with {} rows test little",
        acknowledged.len()
    );

    let ledger = Ledger::open(&path, options()).unwrap();
    for (index, body) in &acknowledged {
        let (_, there) = ledger
            .read(*index)
            .unwrap()
            .unwrap_or_else(|| panic!("row {index} ({body}) is gone"));
        assert_eq!(std::str::from_utf8(&there).unwrap(), body, "row {index} is another one");
    }
    let leaves: Vec<NodeHash> = (0..ledger.len().div_ceil(256))
        .flat_map(|n| {
            let tile = custody_shared::tlog::Tile::in_tree(0, n, ledger.len()).unwrap();
            ledger
                .tile(&tile.path())
                .unwrap()
                .unwrap()
                .bytes
                .as_chunks::<32>()
                .0
                .to_vec()
        })
        .collect();
    for note in &shown {
        let checkpoint = ledger.verifier().open(note).unwrap();
        assert_eq!(
            tree::root(&leaves, checkpoint.size).unwrap(),
            checkpoint.root,
            "the log forked"
        );
    }
    drop(ledger);
    let report = verify(&path).unwrap();
    assert!(report.is_clean(), "{report}");
    println!(
        "{rounds} kills, {} rows acknowledged, {} checkpoints shown, nothing lost",
        acknowledged.len(),
        shown.len()
    );
}

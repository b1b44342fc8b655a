//! The index at size: 12 cameras whose segments of ten seconds fill the statement log, rebuilt from it with everything verified again.
//!
//! Argument: rows (default 311040, three days; 3110400 is thirty days and takes 5 GB of disk for the log). Where there is an aim, it stands
//! in the third column.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use custody_server::index::{IndexStore, SledIndex, StatementKeys, coverage, rebuild};
use custody_server::statements::StatementStore;
use custody_shared::cose::{SigningKey, VerifyingKey};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::RecipientSecret;
use custody_shared::id::{BootId, CameraId, KeyId};
use custody_shared::segment::{Header, Preamble, Sealer};
use custody_shared::statement::{
    ClockSource, Codec, CodecParameters, Kind, SegmentStatement, SignedStatement, Statement, Timing,
};
use custody_shared::time::{SECOND_US, TimeRange, UtcMicros};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const CAMERAS: usize = 12;
const BEGIN: i64 = 1_790_000_000 * SECOND_US;
const HOUR: i64 = 3600 * SECOND_US;

struct Camera {
    id: CameraId,
    key: SigningKey,
    key_id: KeyId,
    boot: BootId,
    template: Preamble,
    next: u64,
    last: Sha256Hash,
}

struct Keys(HashMap<CameraId, VerifyingKey>);

impl StatementKeys for Keys {
    fn statement_keys(&self, camera: CameraId) -> Vec<VerifyingKey> {
        self.0.get(&camera).copied().into_iter().collect()
    }
}

fn main() -> Result<(), Failure> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(311_040), |text| text.parse())?;
    let dir = tempfile::tempdir_in(".")?;
    let mut cameras = (0..CAMERAS).map(|_| Camera::new()).collect::<Result<Vec<_>, _>>()?;
    let keys = Keys(cameras.iter().map(|camera| (camera.id, camera.key.public())).collect());
    let (store, _) = StatementStore::open(&dir.path().join("statements"))?;
    eprintln!("writing a log of {rows} statements");
    fill(&store, &mut cameras, rows)?;

    let folder = dir.path().join("index");
    let index = SledIndex::open(&folder)?;
    forget_peak();
    let started = Instant::now();
    let report = rebuild(&store, &index, &keys)?;
    let rebuilding = started.elapsed();
    let peak = memory("VmHWM:");
    if report.statements != rows as u64 || !report.is_clean() {
        return Err(format!("rebuilt {} of {rows}, {:?}", report.statements, report.broken.first()).into());
    }
    drop(index);
    let size = folder_bytes(&folder)?;

    let started = Instant::now();
    let index = SledIndex::open(&folder)?;
    let opening = started.elapsed();
    let end = BEGIN + (rows / CAMERAS) as i64 * 10 * SECOND_US;
    let mut hours = camera_hours(&index, &cameras, end)?;
    hours.sort_unstable();
    let started = Instant::now();
    let day = TimeRange::new(UtcMicros::new(BEGIN), UtcMicros::new(end.min(BEGIN + 24 * HOUR)))?;
    let stretches = coverage(&index, cameras[0].id, day)?.len();
    let covering = started.elapsed();
    if stretches != 1 {
        return Err(format!("{stretches} stretches where one was recorded").into());
    }

    let scale = rows as f64 / 3_110_400.0;
    let rate = rows as f64 / rebuilding.as_secs_f64();
    println!("what\tours\tfloor\tratio");
    println!(
        "rebuild from the log, {rows} rows (aim: 90 s for 3.1 million)\t{:.1} s\t{:.1} s\t{:.2}",
        rebuilding.as_secs_f64(),
        90.0 * scale,
        rebuilding.as_secs_f64() / (90.0 * scale)
    );
    println!("rebuild, rows a second\t{rate:.0}\t-\t-");
    println!(
        "memory while rebuilding (aim: 600 MiB)\t{} MiB\t600 MiB\t{:.2}",
        peak >> 10,
        peak as f64 / 1024.0 / 600.0
    );
    println!(
        "bytes on disk a row (aim: 200)\t{:.0}\t200\t{:.2}",
        size as f64 / rows as f64,
        size as f64 / rows as f64 / 200.0
    );
    println!(
        "opening (aim: 2 s)\t{:.2} s\t2 s\t{:.2}",
        opening.as_secs_f64(),
        opening.as_secs_f64() / 2.0
    );
    let p99 = hours[hours.len() * 99 / 100].as_secs_f64() * 1000.0;
    println!("one camera-hour, p99 (aim: 1 ms)\t{p99:.3} ms\t1 ms\t{p99:.2}");
    println!(
        "coverage of one camera-day\t{:.1} ms\t-\t-",
        covering.as_secs_f64() * 1000.0
    );
    println!(
        "memory after reopening and reading\t{} MiB\t-\t-",
        memory("VmRSS:") >> 10
    );
    Ok(())
}

impl Camera {
    fn new() -> Result<Self, Failure> {
        let (id, key_id, boot) = (CameraId::random(), KeyId::random(), BootId::random());
        let header = Header {
            camera: id,
            key_id,
            seq: 0,
            t_start: UtcMicros::new(BEGIN),
            boot_id: boot,
            prev_statement: Sha256Hash::ZERO,
        };
        let (_, template) = Sealer::new(header, &RecipientSecret::generate()?.1)?;
        Ok(Self {
            id,
            key: SigningKey::generate()?,
            key_id,
            boot,
            template,
            next: 0,
            last: Sha256Hash::ZERO,
        })
    }

    fn record(&mut self) -> Result<SignedStatement, Failure> {
        let seq = self.next;
        let t_start = UtcMicros::new(BEGIN + seq as i64 * 10 * SECOND_US);
        if seq.is_multiple_of(8640) {
            self.key_id = KeyId::random();
        }
        let header = Header {
            seq,
            t_start,
            key_id: self.key_id,
            prev_statement: self.last,
            ..self.template.header
        };
        let t_end = t_start.saturating_add(10 * SECOND_US);
        let segment = SegmentStatement {
            preamble: Preamble {
                header,
                ..self.template.clone()
            },
            file_sha256: Sha256Hash::of(&seq.to_be_bytes()),
            file_len: 3_750_000 + seq % 1000,
            t_end,
            frames: 250,
            fragments: 5,
            codec: CodecParameters {
                codec: Codec::H264,
                rfc6381: "avc1.640028".to_owned(),
                width: 1920,
                height: 1080,
            },
            truncated: false,
            clock: ClockSource::Ntp,
            timing: Timing::Source,
            closed_gop: true,
            b_frames: false,
        };
        let kind = Kind::Segment(Box::new(segment));
        let statement = Statement {
            camera: self.id,
            index: seq,
            prev: self.last,
            at: t_end,
            boot: self.boot,
            kind,
        };
        let signed = statement.sign(&self.key)?;
        self.next += 1;
        self.last = signed.hash();
        Ok(signed)
    }
}

fn fill(store: &StatementStore, cameras: &mut [Camera], rows: usize) -> Result<(), Failure> {
    let mut left = rows;
    while left > 0 {
        let part = left.min(2400);
        let mut signed = Vec::with_capacity(part);
        for number in 0..part {
            signed.push(cameras[number % CAMERAS].record()?);
        }
        let frames: Vec<_> = signed.iter().map(SignedStatement::as_bytes).collect();
        store.append(UtcMicros::new(BEGIN), &frames)?;
        left -= part;
    }
    Ok(())
}

/// How long each of many queries for one hour of one camera takes, spread over all that is there.
fn camera_hours(index: &SledIndex, cameras: &[Camera], end: i64) -> Result<Vec<Duration>, Failure> {
    let hours = ((end - BEGIN) / HOUR).max(1);
    let mut times = Vec::new();
    for query in 0..3000_i64 {
        let camera = &cameras[query.unsigned_abs() as usize * 7 % CAMERAS];
        let from = BEGIN + (query * 7919 % hours) * HOUR;
        let range = TimeRange::new(UtcMicros::new(from), UtcMicros::new(from + HOUR))?;
        let started = Instant::now();
        let rows = index.segments(camera.id, range, 1000)?;
        times.push(started.elapsed());
        std::hint::black_box(rows);
    }
    Ok(times)
}

/// A line of the process's status, in KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Lets the peak begin anew, where the system allows it.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn folder_bytes(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

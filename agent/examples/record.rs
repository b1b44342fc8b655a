//! Records a source without sealing and writes the segments, one after the other, to standard output: for judging the
//! recorder's bits with other tools, and for measuring it. Nothing is written to a disk.
//!
//!     record 'kind = "rtsp"
//!     url = "rtsp://127.0.0.1:8554/cam1"' 20 | ffmpeg -i - -f framemd5 -

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use custody_agent::segmenter::{Action, Segmenter, SegmenterConfig};
use custody_agent::source::{self, Moment, SourceConfig};
use custody_shared::statement::GapCause;
use custody_shared::time::{SharedClock, SystemClock};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let config: SourceConfig = toml::from_str(&arguments.next().context("no source given")?)?;
    let seconds = arguments.next().context("no duration given")?.parse()?;
    let clock: SharedClock = Arc::new(SystemClock);
    let mut segmenter = Segmenter::new(SegmenterConfig::default());
    let mut source = source::open(&config, &clock).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut begun = false;
    let cause = loop {
        match tokio::time::timeout_at(end, source.next()).await {
            Ok(Ok(event)) => perform(segmenter.push(event), &mut begun)?,
            Ok(Err(error)) => {
                eprintln!("{error}");
                break error.cause;
            }
            Err(_) => break GapCause::Stopped,
        }
    };
    perform(segmenter.interrupt(cause, Moment::now(&clock)), &mut begun)
}

/// Repeated init sections are left out, as a player's playlist would.
fn perform(actions: Vec<Action>, begun: &mut bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for action in actions {
        match action {
            Action::Begin {
                t_start,
                init,
                parameters,
            } => {
                eprintln!("segment {t_start} {}", parameters.rfc6381());
                if !std::mem::replace(begun, true) {
                    out.write_all(&init)?;
                }
            }
            Action::Fragment { data, .. } => {
                for piece in data.pieces() {
                    out.write_all(piece)?;
                }
            }
            Action::End {
                t_end,
                frames,
                fragments,
                closed_gop,
                b_frames,
                timing,
            } => eprintln!(
                "  until {t_end}: {frames} frames, {fragments} fragments, closed {closed_gop}, B {b_frames}, {timing:?}"
            ),
            Action::Gap { range, cause } => eprintln!("gap {}–{} {cause:?}", range.start(), range.end()),
            Action::ClockStep { offset_us, .. } => eprintln!("clock {offset_us:+} µs"),
        }
    }
    out.flush()?;
    Ok(())
}

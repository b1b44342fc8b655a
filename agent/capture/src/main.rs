//! The recorder's child for everything that needs FFmpeg: cameras at this machine, MJPEG, files, odd RTSP servers, and a
//! picture made up for trials.
//!
//! It reads one job from standard input and writes framed access units to standard output, as
//! `custody_shared::capture` describes. It holds no key, writes no file, and lives behind a fence. Time-outs are kept by a watchdog that ends the
//! process, because no call into FFmpeg can be trusted to return in time.

mod copy;
mod encoder;
mod failure;
mod fence;
mod hardware;
mod output;
mod picture;
mod source;
mod sys;
mod test_picture;
mod transcode;
mod watchdog;

use std::io::Read;
use std::process::ExitCode;

use clap::Parser;
use custody_shared::capture::{Ending, Input, Job, MAX_JOB};
use ffmpeg_next as ffmpeg;

use failure::Failure;
use fence::Fence;
use output::Output;
use watchdog::Watchdog;

/// Reads video that needs FFmpeg for custody-agent, which starts it when its configuration asks for such a source.
///
/// There is nothing to set here: the job comes through standard input, so that no password shows in a list of processes.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match run() {
        Ok(()) => ExitCode::from(Ending::Ended.code()),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.ending.code())
        }
    }
}

fn run() -> Result<(), Failure> {
    let unable = |error: &dyn std::fmt::Display| Failure::new(Ending::Unable, error);
    // Pictures lie in this memory: no core dumps, and nobody attaches.
    let private = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    private.map_err(|error| unable(&error))?;
    let job = read_job()?;
    let fence = Fence::raise(&job.input);
    let watchdog = Watchdog::start(&job);
    watchdog::end_with_standard_input();
    ffmpeg::init().map_err(|error| unable(&error))?;
    // FFmpeg's own log repeats addresses with passwords.
    ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    let mut output = Output::new(watchdog, fence).map_err(|error| unable(&error))?;
    match job.input {
        Input::Rtsp { url } => copy::network(&url, job.connect_s, &mut output),
        Input::File { path, repeat } => copy::file(&path, repeat, &mut output),
        Input::V4l2 {
            device,
            format,
            picture,
        } => transcode::device(&device, format.as_deref(), picture, &mut output),
        Input::HttpMjpeg { url, picture } => transcode::network(&url, picture, &mut output),
        Input::TestPicture { name, picture } => test_picture::run(&name, picture, &mut output),
    }
}

/// A length of four bytes and the job; the pipe stays open afterwards.
fn read_job() -> Result<Job, Failure> {
    let refuse = |error: &dyn std::fmt::Display| Failure::new(Ending::Unable, format!("no job: {error}"));
    let mut input = std::io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(|error| refuse(&error))?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_JOB {
        return Err(refuse(&"it is too long"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes).map_err(|error| refuse(&error))?;
    Job::from_bytes(&bytes).map_err(|error| refuse(&error))
}

//! Decode and encode: cameras at this machine, MJPEG over HTTP, and files in other codecs.

use std::time::Instant;

use custody_shared::capture::Picture;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::util::frame::video::Video;
use ffmpeg_next::{Dictionary, Packet, Rescale};

use crate::copy::{Pace, TICKS};
use crate::encoder::Encoder;
use crate::failure::Failure;
use crate::output::Output;
use crate::source::{self, Opened};
use crate::sys;

/// A camera at this machine.
pub(crate) fn device(path: &str, format: Option<&str>, picture: Picture, output: &mut Output) -> Result<(), Failure> {
    let mut options = Dictionary::new();
    options.set("video_size", &format!("{}x{}", picture.width, picture.height));
    options.set("framerate", &picture.rate.to_string());
    match format {
        Some("mjpeg") => options.set("input_format", "mjpeg"),
        Some(pixels) => options.set("pixel_format", pixels),
        None => {}
    }
    let opened = source::open(path, Some("v4l2"), options)?;
    live(opened, picture, output)
}

/// MJPEG over HTTP.
pub(crate) fn network(url: &str, picture: Picture, output: &mut Output) -> Result<(), Failure> {
    let opened = source::open(url, None, source::http_options())?;
    live(opened, picture, output)
}

/// Pictures get the time of their arrival: such sources have no clock worth trusting.
fn live(opened: Opened, picture: Picture, output: &mut Output) -> Result<(), Failure> {
    output.connected();
    let zero = Instant::now();
    // Slightly early pictures are kept, so that a camera at the same rate loses none.
    let least = 90_000 / i64::from(picture.rate.max(1)) * 8 / 10;
    let mut last = i64::MIN / 2;
    decode(opened, picture, output, |_| {
        let now = i64::try_from(zero.elapsed().as_micros()).unwrap_or(0) * 9 / 100;
        (now - last >= least).then(|| {
            last = now;
            now
        })
    })
}

/// A file in another codec, in real time; returns where a following round would begin, in ticks.
pub(crate) fn file(opened: Opened, pace: Pace, output: &mut Output) -> Result<Option<i64>, Failure> {
    let rate = opened.rate();
    let picture = Picture {
        width: 0,
        height: 0,
        rate,
        kbit_s: 4000,
    };
    let step = 90_000 / i64::from(rate.max(1));
    let (time_base, mut zero, mut end) = (opened.time_base, None, None);
    decode(opened, picture, output, |pts| {
        let now = pts.map_or_else(
            || end.map_or(0, |end: i64| end - pace.place(0)),
            |pts| pts.rescale(time_base, TICKS),
        );
        let placed = pace.wait(now - *zero.get_or_insert(now));
        end = Some(placed + step);
        Some(placed)
    })?;
    Ok(end)
}

/// Decodes everything; `place` gives each picture its time, or leaves it out.
fn decode(
    mut opened: Opened,
    mut picture: Picture,
    output: &mut Output,
    mut place: impl FnMut(Option<i64>) -> Option<i64>,
) -> Result<(), Failure> {
    let failed = |error| Failure::from_ffmpeg("cannot decode it", error);
    let facts = sys::stream_facts(&opened.parameters);
    (picture.width, picture.height) = (facts.width, facts.height);
    let mut decoder = ffmpeg::codec::context::Context::from_parameters(opened.parameters.clone())
        .and_then(|context| context.decoder().video())
        .map_err(failed)?;
    let mut encoder = Encoder::open(picture)?;
    let mut over = false;
    while !over {
        let mut packet = Packet::empty();
        match packet.read(&mut opened.input) {
            Ok(()) if packet.stream() != opened.index => continue,
            // A broken picture is skipped; a stream of nothing else ends at the watchdog.
            Ok(()) => drop(decoder.send_packet(&packet)),
            Err(ffmpeg::Error::Eof) => {
                over = true;
                decoder.send_eof().map_err(failed)?;
            }
            Err(error) => return Err(Failure::from_ffmpeg("cannot read from it", error)),
        }
        loop {
            // A frame that is used again leaks.
            let mut frame = Video::empty();
            if decoder.receive_frame(&mut frame).is_err() {
                break;
            }
            if let Some(pts) = place(frame.timestamp()) {
                encoder.encode(&mut frame, pts, output)?;
            }
        }
    }
    encoder.finish(output)
}

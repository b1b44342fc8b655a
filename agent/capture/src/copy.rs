//! H.264 and H.265 passed on as they are: files at real time, and RTSP servers that only FFmpeg understands.

use std::time::{Duration, Instant};

use custody_shared::capture::Ending;
use custody_shared::fmp4::{Codec, ParameterSets, nal};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::{Packet, Rational, Rescale};

use crate::failure::Failure;
use crate::output::Output;
use crate::source::{self, Opened};
use crate::{sys, transcode};

pub(crate) const TICKS: Rational = Rational(1, 90_000);

/// RTSP through FFmpeg.
pub(crate) fn network(url: &str, connect_s: u32, output: &mut Output) -> Result<(), Failure> {
    let opened = source::open(url, None, source::rtsp_options(connect_s))?;
    output.connected();
    let codec = codec_of(&opened)
        .ok_or_else(|| Failure::new(Ending::Unsupported, format!("it sends {:?}", opened.parameters.id())))?;
    pass_on(opened, codec, None, output)?;
    Err(Failure::new(Ending::Unreachable, "it ended the stream"))
}

/// A file in real time, once or again and again.
pub(crate) fn file(path: &str, repeat: bool, output: &mut Output) -> Result<(), Failure> {
    let address = format!("file:{path}");
    let mut pace = Pace {
        start: Instant::now(),
        offset: 0,
    };
    loop {
        let opened = source::open(&address, None, source::file_options())?;
        output.connected();
        let end = match codec_of(&opened) {
            Some(codec) => pass_on(opened, codec, Some(pace), output)?,
            None => transcode::file(opened, pace, output)?,
        };
        match end {
            Some(end) if repeat => pace.offset = end,
            _ => return Ok(()),
        }
    }
}

/// Plays a file at the speed it was filmed.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    start: Instant,
    /// Ticks of the file's earlier rounds.
    offset: i64,
}

impl Pace {
    /// Waits until `ticks` of this round have passed and returns the time in all rounds.
    pub(crate) fn wait(&self, ticks: i64) -> i64 {
        let ticks = ticks + self.offset;
        let due = Duration::from_micros(u64::try_from(ticks).unwrap_or(0) * 100 / 9);
        std::thread::sleep(due.saturating_sub(self.start.elapsed()));
        ticks
    }

    /// The same moment without waiting.
    pub(crate) fn place(&self, ticks: i64) -> i64 {
        ticks + self.offset
    }
}

fn codec_of(opened: &Opened) -> Option<Codec> {
    match opened.parameters.id() {
        ffmpeg::codec::Id::H264 => Some(Codec::H264),
        ffmpeg::codec::Id::HEVC => Some(Codec::H265),
        _ => None,
    }
}

/// Reads packets until the end and sends them; returns where a following round would begin, in ticks.
fn pass_on(mut opened: Opened, codec: Codec, pace: Option<Pace>, output: &mut Output) -> Result<Option<i64>, Failure> {
    let facts = sys::stream_facts(&opened.parameters);
    let (mut sets, width) = ParameterSets::from_record(codec, &facts.extradata);
    let size = (facts.width, facts.height);
    let (mut zero, mut end) = (None, None);
    let mut step = 3600;
    loop {
        let mut packet = Packet::empty();
        match packet.read(&mut opened.input) {
            Ok(()) => {}
            Err(ffmpeg::Error::Eof) => return Ok(end),
            Err(error) => return Err(Failure::from_ffmpeg("cannot read from it", error)),
        }
        if packet.stream() != opened.index {
            continue;
        }
        let ticks = |time: Option<i64>| time.map(|time| time.rescale(opened.time_base, TICKS));
        let (pts, dts) = (ticks(packet.pts()), ticks(packet.dts()));
        let pts = match pace {
            None => pts,
            Some(pace) => {
                // A bare elementary stream has no times: one picture after the other.
                let now = dts
                    .or(pts)
                    .unwrap_or_else(|| end.unwrap_or(pace.place(0)) - pace.place(0));
                let zero = *zero.get_or_insert(now);
                if packet.duration() > 0 {
                    step = packet.duration().rescale(opened.time_base, TICKS);
                }
                let placed = pace.wait(now - zero);
                end = Some(placed + step);
                Some(pts.map_or(placed, |pts| pace.place(pts - zero)))
            }
        };
        let Some(data) = packet.data() else { continue };
        match width {
            Some(width) => output.send(nal::with_lengths_of(width, data), &mut sets, size, pts)?,
            None => output.send(nal::annex_b(data), &mut sets, size, pts)?,
        }
    }
}

//! The first H.264 encoder that works on this machine.

use custody_shared::capture::{Ending, Picture};
use custody_shared::fmp4::{Codec, ParameterSets, nal};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::Flags;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::util::frame::video::Video;
use ffmpeg_next::util::picture;
use ffmpeg_next::{Dictionary, Packet, Rational};

use crate::copy::TICKS;
use crate::failure::Failure;
use crate::output::Output;
use crate::sys;

/// Ticks between keyframes.
const GROUP: i64 = 2 * 90_000;
/// In order of preference: what costs the processor least first.
const ENCODERS: [&str; 2] = ["h264_v4l2m2m", "libx264"];

/// An encoder of pictures of one size.
pub(crate) struct Encoder {
    name: &'static str,
    encoder: ffmpeg::encoder::video::Encoder,
    scaler: Option<scaling::Context>,
    scaled: Video,
    sets: ParameterSets,
    size: (u16, u16),
    last_key: Option<i64>,
    last_pts: i64,
}

impl Encoder {
    /// Opens the first encoder that takes such pictures; `picture` tells size and rate of what is recorded.
    pub(crate) fn open(picture: Picture) -> Result<Self, Failure> {
        Self::open_from(picture, 0)
    }

    fn open_from(picture: Picture, first: usize) -> Result<Self, Failure> {
        let mut last = String::from("none is built in");
        for name in &ENCODERS[first..] {
            match open_one(name, picture) {
                Ok(encoder) => {
                    let facts = sys::encoder_facts(&encoder);
                    let (sets, _) = ParameterSets::from_record(Codec::H264, &facts.extradata);
                    let size = (facts.width, facts.height);
                    return Ok(Self {
                        name,
                        encoder,
                        scaler: None,
                        scaled: Video::empty(),
                        sets,
                        size,
                        last_key: None,
                        last_pts: i64::MIN,
                    });
                }
                Err(error) => last = format!("{name}: {error}"),
            }
        }
        Err(Failure::new(
            Ending::Unable,
            format!("no H.264 encoder works here ({last})"),
        ))
    }

    /// Encodes one picture of any format and size and sends what comes out.
    pub(crate) fn encode(&mut self, frame: &mut Video, pts: i64, output: &mut Output) -> Result<(), Failure> {
        if pts <= self.last_pts {
            return Ok(());
        }
        self.last_pts = pts;
        let failed = |error| Failure::from_ffmpeg("cannot encode", error);
        let (width, height) = (u32::from(self.size.0), u32::from(self.size.1));
        let fits = frame.format() == Pixel::YUV420P && frame.width() == width && frame.height() == height;
        if !fits {
            let context = match &mut self.scaler {
                Some(scaler) => {
                    let flags = scaling::Flags::FAST_BILINEAR;
                    scaler.cached(
                        frame.format(),
                        frame.width(),
                        frame.height(),
                        Pixel::YUV420P,
                        width,
                        height,
                        flags,
                    );
                    scaler
                }
                none => none.insert(
                    scaling::Context::get(
                        frame.format(),
                        frame.width(),
                        frame.height(),
                        Pixel::YUV420P,
                        width,
                        height,
                        scaling::Flags::FAST_BILINEAR,
                    )
                    .map_err(failed)?,
                ),
            };
            context.run(frame, &mut self.scaled).map_err(failed)?;
        }
        let key = self.last_key.is_none_or(|last| pts - last >= GROUP);
        if key {
            self.last_key = Some(pts);
        }
        let chosen = if fits { frame } else { &mut self.scaled };
        // Left alone, decoded pictures keep their kind, and everything would become a keyframe.
        chosen.set_kind(if key { picture::Type::I } else { picture::Type::None });
        chosen.set_pts(Some(pts));
        self.encoder.send_frame(chosen).map_err(failed)?;
        self.drain(output)
    }

    /// Ends the stream and sends what is left.
    pub(crate) fn finish(mut self, output: &mut Output) -> Result<(), Failure> {
        self.encoder
            .send_eof()
            .map_err(|error| Failure::from_ffmpeg("cannot encode", error))?;
        self.drain(output)
    }

    fn drain(&mut self, output: &mut Output) -> Result<(), Failure> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    let pts = packet.pts();
                    if let Some(data) = packet.data() {
                        output.send(nal::annex_b(data), &mut self.sets, self.size, pts)?;
                    }
                }
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => return Ok(()),
                Err(error) => return Err(Failure::from_ffmpeg(self.name, error)),
            }
        }
    }
}

fn open_one(name: &str, picture: Picture) -> Result<ffmpeg::encoder::video::Encoder, ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name(name).ok_or(ffmpeg::Error::EncoderNotFound)?;
    let mut video = ffmpeg::codec::context::Context::new_with_codec(codec)
        .encoder()
        .video()?;
    let rate = i32::from(picture.rate.max(1));
    video.set_width(u32::from(picture.width & !1));
    video.set_height(u32::from(picture.height & !1));
    video.set_format(Pixel::YUV420P);
    video.set_time_base(TICKS);
    video.set_frame_rate(Some(Rational(rate, 1)));
    // Keyframes are asked for by time; this only catches what goes wrong.
    video.set_gop(u32::from(picture.rate.max(1)) * 4);
    video.set_max_b_frames(0);
    video.set_bit_rate(picture.kbit_s as usize * 1000);
    video.set_flags(Flags::GLOBAL_HEADER | Flags::CLOSED_GOP);
    let mut options = Dictionary::new();
    if name == "libx264" {
        options.set("preset", "veryfast");
        options.set("tune", "zerolatency");
        options.set("forced-idr", "1");
        options.set("profile", "high");
        options.set("threads", "2");
        options.set("x264-params", "scenecut=0:open-gop=0:repeat-headers=0");
        options.set("maxrate", &format!("{}k", picture.kbit_s));
        options.set("bufsize", &format!("{}k", picture.kbit_s.saturating_mul(2)));
    }
    video.open_as_with(codec, options)
}

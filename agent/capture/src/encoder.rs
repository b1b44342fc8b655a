//! The first H.264 encoder that works on this machine.
//!
//! `h264_v4l2m2m` is what small boards have, `h264_vaapi` what graphics processors have, `libx264` works everywhere. The first
//! two are taken only where their devices are, and given up for the next if they do not open or fail at the first picture. What
//! they do with pictures has not been tried on hardware here; that they step aside has.

use std::ffi::CString;

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
use crate::hardware;
use crate::output::Output;
use crate::sys::{self, Surfaces};

/// Ticks between keyframes.
const GROUP: i64 = 2 * 90_000;
/// In order of preference: what costs the processor least first.
const ENCODERS: &[&str] = &["h264_v4l2m2m", VAAPI, "libx264"];
const VAAPI: &str = "h264_vaapi";

/// An encoder of pictures of one size.
pub(crate) struct Encoder {
    name: &'static str,
    /// Tried if this one fails before it has given anything.
    next: &'static [&'static str],
    picture: Picture,
    encoder: ffmpeg::encoder::video::Encoder,
    surfaces: Option<Surfaces>,
    scaler: Option<scaling::Context>,
    scaled: Video,
    sets: ParameterSets,
    size: (u16, u16),
    last_key: Option<i64>,
    last_pts: i64,
    proven: bool,
}

impl Encoder {
    /// Opens the first encoder that takes such pictures; `picture` tells size and rate of what is recorded.
    pub(crate) fn open(picture: Picture) -> Result<Self, Failure> {
        Self::open_first_of(ENCODERS, picture)
    }

    fn open_first_of(mut candidates: &'static [&'static str], picture: Picture) -> Result<Self, Failure> {
        let mut last = String::from("none is built in");
        while let [name, next @ ..] = candidates {
            candidates = next;
            match open_one(name, picture) {
                Ok((encoder, surfaces)) => {
                    let facts = sys::encoder_facts(&encoder);
                    let (sets, _) = ParameterSets::from_record(Codec::H264, &facts.extradata);
                    let size = (facts.width, facts.height);
                    return Ok(Self {
                        name,
                        next,
                        picture,
                        encoder,
                        surfaces,
                        scaler: None,
                        scaled: Video::empty(),
                        sets,
                        size,
                        last_key: None,
                        last_pts: i64::MIN,
                        proven: false,
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
        while let Err(failure) = self.try_encode(frame, pts, output) {
            if self.proven || self.next.is_empty() {
                return Err(failure);
            }
            *self = Self::open_first_of(self.next, self.picture)?;
        }
        self.last_pts = pts;
        Ok(())
    }

    fn try_encode(&mut self, frame: &mut Video, pts: i64, output: &mut Output) -> Result<(), Failure> {
        let failed = |error| Failure::from_ffmpeg("cannot encode", error);
        let format = pictures_of(self.name);
        let (width, height) = (u32::from(self.size.0), u32::from(self.size.1));
        let fits = frame.format() == format && frame.width() == width && frame.height() == height;
        if !fits {
            let flags = scaling::Flags::FAST_BILINEAR;
            let (from, columns, rows) = (frame.format(), frame.width(), frame.height());
            let context = match &mut self.scaler {
                Some(scaler) => {
                    scaler.cached(from, columns, rows, format, width, height, flags);
                    scaler
                }
                none => none
                    .insert(scaling::Context::get(from, columns, rows, format, width, height, flags).map_err(failed)?),
            };
            context.run(frame, &mut self.scaled).map_err(failed)?;
        }
        let key = self.last_key.is_none_or(|last| pts - last >= GROUP);
        if key {
            self.last_key = Some(pts);
        }
        let mut surface;
        let mut chosen = if fits { frame } else { &mut self.scaled };
        if let Some(surfaces) = &self.surfaces {
            surface = surfaces.upload(chosen).map_err(failed)?;
            chosen = &mut surface;
        }
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
                        self.proven = true;
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

/// What an encoder takes.
fn pictures_of(name: &str) -> Pixel {
    if name == VAAPI { Pixel::NV12 } else { Pixel::YUV420P }
}

type Opened = (ffmpeg::encoder::video::Encoder, Option<Surfaces>);

fn open_one(name: &str, picture: Picture) -> Result<Opened, ffmpeg::Error> {
    let codec = ffmpeg::encoder::find_by_name(name).ok_or(ffmpeg::Error::EncoderNotFound)?;
    if name != VAAPI {
        return Ok((
            prepare(name, codec, picture)?.open_as_with(codec, options(name, picture))?,
            None,
        ));
    }
    let mut last = ffmpeg::Error::EncoderNotFound;
    for node in hardware::render_nodes() {
        let Ok(path) = CString::new(node.into_os_string().into_encoded_bytes()) else {
            continue;
        };
        let opened = Surfaces::open(&path, picture.width & !1, picture.height & !1).and_then(|surfaces| {
            let mut video = prepare(name, codec, picture)?;
            surfaces.feed(&mut video);
            Ok((video.open_as_with(codec, options(name, picture))?, Some(surfaces)))
        });
        match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepare(name: &str, codec: ffmpeg::Codec, picture: Picture) -> Result<ffmpeg::encoder::video::Video, ffmpeg::Error> {
    let mut video = ffmpeg::codec::context::Context::new_with_codec(codec)
        .encoder()
        .video()?;
    let rate = i32::from(picture.rate.max(1));
    video.set_width(u32::from(picture.width & !1));
    video.set_height(u32::from(picture.height & !1));
    video.set_format(pictures_of(name));
    video.set_time_base(TICKS);
    video.set_frame_rate(Some(Rational(rate, 1)));
    // Keyframes are asked for by time; this only catches what goes wrong.
    video.set_gop(u32::from(picture.rate.max(1)) * 4);
    video.set_max_b_frames(0);
    video.set_bit_rate(picture.kbit_s as usize * 1000);
    video.set_flags(Flags::GLOBAL_HEADER | Flags::CLOSED_GOP);
    Ok(video)
}

fn options(name: &str, picture: Picture) -> Dictionary<'static> {
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
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Picture = Picture {
        width: 320,
        height: 180,
        rate: 10,
        kbit_s: 300,
    };

    #[test]
    fn encoders_whose_devices_are_absent_step_aside() {
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
        if !hardware::render_nodes().is_empty() || !hardware::codec_nodes().is_empty() {
            eprintln!("skipped: this machine has an encoder in hardware");
            return;
        }
        assert!(open_one(VAAPI, PICTURE).is_err());
        let encoder = Encoder::open(PICTURE).map_err(|failure| failure.to_string());
        assert_eq!(
            encoder.map(|encoder| (encoder.name, encoder.next.len())),
            Ok(("libx264", 0))
        );
    }

    #[test]
    fn a_device_that_is_none_is_an_error() {
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
        for node in [c"/dev/null", c"/absent"] {
            assert!(Surfaces::open(node, 320, 180).is_err(), "{node:?}");
        }
    }

    #[test]
    fn where_nothing_encodes_the_last_reason_is_told() {
        let failure = Encoder::open_first_of(&["absent", "also_absent"], PICTURE)
            .err()
            .map(|failure| failure.to_string());
        assert!(failure.is_some_and(|words| words.contains("also_absent")));
    }
}

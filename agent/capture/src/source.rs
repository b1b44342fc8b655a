//! Opening FFmpeg inputs, each confined to the protocols it needs.

use custody_shared::capture::Ending;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, media};

use crate::failure::Failure;

/// An open input and its video stream.
pub(crate) struct Opened {
    pub(crate) input: Input,
    pub(crate) index: usize,
    pub(crate) parameters: ffmpeg::codec::Parameters,
    pub(crate) time_base: ffmpeg::Rational,
}

impl Opened {
    /// Pictures a second as the container tells, or 25.
    pub(crate) fn rate(&self) -> u16 {
        let rate = self.input.stream(self.index).map(|stream| stream.avg_frame_rate());
        let rate = rate
            .filter(|rate| rate.denominator() > 0)
            .map(|rate| rate.numerator() / rate.denominator());
        rate.and_then(|rate| u16::try_from(rate).ok())
            .filter(|rate| (1..=120).contains(rate))
            .unwrap_or(25)
    }
}

/// Opens and chooses the best video stream; all others are thrown away unread.
pub(crate) fn open(address: &str, format: Option<&str>, options: Dictionary) -> Result<Opened, Failure> {
    let failed = |error| Failure::from_ffmpeg("cannot open it", error);
    let input = match format {
        None => ffmpeg::format::input_with_dictionary(address, options).map_err(failed)?,
        Some(name) => {
            ffmpeg::device::register_all();
            let format = ffmpeg::device::input::video()
                .find(|format| format.name().split(',').any(|known| known == name))
                .ok_or_else(|| Failure::new(Ending::Unable, format!("this FFmpeg has no {name}")))?;
            ffmpeg::format::open_with(address, &format, options)
                .map_err(failed)?
                .input()
        }
    };
    let none = || Failure::new(Ending::Unsupported, "it has no video");
    let stream = input.streams().best(media::Type::Video).ok_or_else(none)?;
    let (index, parameters, time_base) = (stream.index(), stream.parameters(), stream.time_base());
    Ok(Opened {
        input,
        index,
        parameters,
        time_base,
    })
}

/// RTSP over TCP, video only: audio is never set up.
pub(crate) fn rtsp_options(connect_s: u32) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("rtsp_transport", "tcp");
    options.set("allowed_media_types", "video");
    options.set("protocol_whitelist", "rtsp,rtp,tcp,tls,crypto");
    options.set("timeout", &(u64::from(connect_s) * 1_000_000).to_string());
    options.set("analyzeduration", "3000000");
    options
}

/// HTTP only.
pub(crate) fn http_options() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "http,https,httpproxy,tcp,tls,crypto");
    options.set("analyzeduration", "1000000");
    options
}

/// Local files only: a playlist in a file cannot reach the network.
pub(crate) fn file_options() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "file");
    options
}

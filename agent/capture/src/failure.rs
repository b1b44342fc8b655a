//! Why the child ends: an exit code for the recorder and words for people, without addresses.

use custody_shared::capture::Ending;
use ffmpeg_next::Error;

/// A failure on its way to the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) ending: Ending,
    words: String,
}

impl Failure {
    pub(crate) fn new(ending: Ending, words: impl std::fmt::Display) -> Self {
        Self {
            ending,
            words: words.to_string(),
        }
    }

    /// Sorts FFmpeg's errors: what the other side refused, what cannot be reached, what cannot be read.
    pub(crate) fn from_ffmpeg(step: &str, error: Error) -> Self {
        let ending = match error {
            Error::HttpBadRequest
            | Error::HttpUnauthorized
            | Error::HttpForbidden
            | Error::HttpNotFound
            | Error::HttpOther4xx => Ending::Refused,
            Error::InvalidData
            | Error::PatchWelcome
            | Error::DecoderNotFound
            | Error::DemuxerNotFound
            | Error::StreamNotFound => Ending::Unsupported,
            Error::EncoderNotFound => Ending::Unable,
            Error::Eof => Ending::Ended,
            _ => Ending::Unreachable,
        };
        Self::new(ending, format!("{step}: {error}"))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

//! A source's failure: the failed step, its subject without secrets, the remedy, and the cause a gap is stated with.

use custody_shared::statement::GapCause;
use thiserror::Error;

/// Why a source ended.
#[derive(Debug, Error)]
#[error("cannot {step} {subject}: {reason}; {remedy}")]
pub struct SourceError {
    /// What the gap that follows is stated with.
    pub cause: GapCause,
    /// What failed, as a verb: `connect to`, `read from`.
    pub step: &'static str,
    /// The camera's address without user name and password.
    pub subject: String,
    /// What the other side or the system said, one line.
    pub reason: String,
    /// What a person can do about it.
    pub remedy: &'static str,
}

impl SourceError {
    pub(super) fn new(cause: GapCause, step: &'static str, subject: &str, reason: impl std::fmt::Display) -> Self {
        // retina describes its context in further lines; they name local ports, not remedies.
        let reason = reason.to_string();
        let mut reason: String = reason.lines().next().unwrap_or_default().chars().take(300).collect();
        if reason.is_empty() {
            reason = "no reason given".into();
        }
        let remedy = match cause {
            GapCause::CameraUnreachable => "check the address, the cable and the firewall",
            GapCause::CameraRefused => "check the user name, the password and the path",
            GapCause::CameraStalled => "check the camera's load and its network; restart it if this repeats",
            GapCause::UnsupportedCodec => "set the camera to H.264 or H.265",
            GapCause::SourceEnded => "set `mode = \"loop\"` if the file is meant to go on",
            _ => "see the log above this line",
        };
        Self {
            cause,
            step,
            subject: subject.into(),
            reason,
            remedy,
        }
    }
}

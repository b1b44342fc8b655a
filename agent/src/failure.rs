//! What a person reads when something fails: the step, its subject, the cause and the remedy.

use std::fmt;

/// An error at the edge of the program, for a person who has to do something about it.
///
/// It reads `subject: cannot step (cause); remedy`. Nothing secret may enter any of the four parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    subject: String,
    step: String,
    cause: String,
    remedy: String,
}

impl Failure {
    /// Builds a failure from its four parts; `cause` is anything that can be shown.
    pub fn new(
        subject: impl Into<String>,
        step: impl Into<String>,
        cause: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            step: step.into(),
            cause: cause.to_string(),
            remedy: remedy.into(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// What went wrong underneath.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: cannot {} ({}); {}",
            self.subject, self.step, self.cause, self.remedy
        )
    }
}

impl std::error::Error for Failure {}

/// Turns `user:password@` inside a URL-like text into `user:…@`, so that it can be logged.
pub fn redact(text: &str) -> String {
    let Some(scheme_end) = text.find("://") else {
        return text.to_owned();
    };
    let rest = &text[scheme_end + 3..];
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may itself contain an `@`; the last one ends it.
    let Some(at) = rest[..authority_end].rfind('@') else {
        return text.to_owned();
    };
    let user = rest[..at].split(':').next().unwrap_or("");
    format!("{}://{}:…@{}", &text[..scheme_end], user, &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_step_subject_cause_remedy() {
        let failure = Failure::new(
            "camera gate-2",
            "open rtsp://10.0.0.9/live",
            "connection refused",
            "check the address and the firewall",
        );
        assert_eq!(
            failure.to_string(),
            "camera gate-2: cannot open rtsp://10.0.0.9/live (connection refused); check the address and the firewall"
        );
    }

    #[test]
    fn passwords_leave_urls() {
        for (given, wanted) in [
            ("rtsp://admin:secret@host:554/a?b=c", "rtsp://admin:…@host:554/a?b=c"),
            ("rtsp://admin:p@ss@host/a", "rtsp://admin:…@host/a"),
            ("rtsp://host/a@b", "rtsp://host/a@b"),
            ("/dev/video0", "/dev/video0"),
        ] {
            assert_eq!(redact(given), wanted);
        }
    }
}

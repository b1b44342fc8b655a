//! The configuration: one documented TOML file, unknown keys refused, validated into values without leftover options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::failure::Failure;
use crate::source::SourceConfig;

/// A configuration larger than this is not one.
const MAX_BYTES: u64 = 64 * 1024;

/// The validated configuration.
#[derive(Debug)]
pub struct Config {
    /// The agent's folder.
    pub data_dir: PathBuf,
    /// Where pictures come from.
    pub source: SourceConfig,
    /// How recordings are cut.
    pub segment: Segment,
    /// How statements leave.
    pub outbox: Outbox,
    /// What is kept free, and when to warn.
    pub disk: Disk,
    /// Bytes of sealed-to-be fragments that may wait for a slow disk.
    pub queue_bytes: usize,
}

/// How recordings are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// A new file at the first keyframe after this long, µs.
    pub segment_us: i64,
    /// A new fragment after this long even without a keyframe, µs.
    pub fragment_us: i64,
    /// A new fragment after this many bytes even without a keyframe.
    pub fragment_bytes: usize,
}

/// How statements leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// One batch per this long, full or empty.
    pub cadence: Duration,
}

/// What is kept free, and when to warn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Recording pauses, with a stated gap, below this many free bytes; the statements need the rest.
    pub reserve_bytes: u64,
    /// Warn when the disk will be full within this many days.
    pub warn_days: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    data_dir: PathBuf,
    source: SourceConfig,
    #[serde(default)]
    segment: SegmentForm,
    #[serde(default)]
    outbox: OutboxForm,
    #[serde(default)]
    disk: DiskForm,
    #[serde(default)]
    queue: QueueForm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SegmentForm {
    length_s: u32,
    fragment_s: u32,
    fragment_mib: u32,
}

impl Default for SegmentForm {
    fn default() -> Self {
        Self {
            length_s: 10,
            fragment_s: 2,
            fragment_mib: 4,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OutboxForm {
    cadence_s: u32,
}

impl Default for OutboxForm {
    fn default() -> Self {
        Self { cadence_s: 10 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DiskForm {
    reserve_mib: u32,
    warn_days: u16,
}

impl Default for DiskForm {
    fn default() -> Self {
        Self {
            reserve_mib: 256,
            warn_days: 7,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QueueForm {
    mib: u32,
}

impl Default for QueueForm {
    fn default() -> Self {
        Self { mib: 8 }
    }
}

/// Refuses a number outside its bounds, by name.
fn within(name: &str, value: u32, least: u32, most: u32) -> Result<u32, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{name} = {value} is not within {least} to {most}"))
    }
}

impl Config {
    /// Reads and validates `path`.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let subject = format!("configuration {}", path.display());
        let bytes = crate::files::read_bounded(path, MAX_BYTES).map_err(|error| {
            Failure::new(
                &subject,
                "read the file",
                error,
                "check the path and that this user may read it",
            )
        })?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(
                &subject,
                "read the file",
                "it is not UTF-8 text",
                "save it as UTF-8 and try again",
            )
        })?;
        Self::parse(&text, &subject)
    }

    /// Validates the text of a configuration; `subject` names it in messages.
    pub fn parse(text: &str, subject: &str) -> Result<Self, Failure> {
        let form: FileForm = toml::from_str(text).map_err(|error| {
            // The error's own display quotes the offending line, which may hold a password: say where, not what.
            let line = error.span().map(|span| {
                1 + text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
            });
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            Failure::new(
                subject,
                "understand the settings",
                format!("{place}{}", error.message()),
                "correct that line; deploy/agent.toml explains every setting",
            )
        })?;
        form.validate().map_err(|cause| {
            Failure::new(
                subject,
                "accept the settings",
                cause,
                "correct that setting; deploy/agent.toml gives its bounds",
            )
        })
    }
}

impl FileForm {
    fn validate(self) -> Result<Config, String> {
        if !self.data_dir.is_absolute() {
            return Err(format!(
                "data_dir = {} is not an absolute path",
                self.data_dir.display()
            ));
        }
        let length_s = within("segment.length_s", self.segment.length_s, 2, 60)?;
        let fragment_s = within("segment.fragment_s", self.segment.fragment_s, 1, length_s)?;
        let fragment_mib = within("segment.fragment_mib", self.segment.fragment_mib, 1, 16)?;
        let queue_mib = within("queue.mib", self.queue.mib, 1, 64)?;
        if queue_mib < fragment_mib {
            return Err(format!(
                "queue.mib = {queue_mib} holds no fragment of segment.fragment_mib = {fragment_mib}"
            ));
        }
        Ok(Config {
            data_dir: self.data_dir,
            source: self.source,
            segment: Segment {
                segment_us: i64::from(length_s) * 1_000_000,
                fragment_us: i64::from(fragment_s) * 1_000_000,
                fragment_bytes: (fragment_mib as usize) << 20,
            },
            outbox: Outbox {
                cadence: Duration::from_secs(u64::from(within("outbox.cadence_s", self.outbox.cadence_s, 1, 300)?)),
            },
            disk: Disk {
                reserve_bytes: u64::from(within("disk.reserve_mib", self.disk.reserve_mib, 1, 1 << 20)?) << 20,
                warn_days: self.disk.warn_days,
            },
            queue_bytes: (queue_mib as usize) << 20,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "data_dir = \"/d\"\n[source]\nkind = \"test-picture\"\n";

    fn message(text: &str) -> String {
        Config::parse(text, "configuration agent.toml")
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn the_least_configuration_is_enough() {
        let config = Config::parse(LEAST, "least").expect("accepted");
        assert_eq!(
            config.segment,
            Segment {
                segment_us: 10_000_000,
                fragment_us: 2_000_000,
                fragment_bytes: 4 << 20
            }
        );
        assert_eq!(config.outbox.cadence, Duration::from_secs(10));
    }

    #[test]
    fn the_example_that_ships_is_accepted() {
        Config::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/agent.toml"))).expect("accepted");
    }

    #[test]
    fn refusals_name_step_subject_and_remedy() {
        for (name, text, wanted) in [
            ("no quotes", "data_dir = /d\n".to_owned(), "line 1"),
            ("unknown section", format!("{LEAST}[audio]\nenabled = true\n"), "audio"),
            ("unknown setting", format!("{LEAST}[outbox]\ncadence = 3\n"), "cadence"),
            (
                "cadence of nothing",
                format!("{LEAST}[outbox]\ncadence_s = 0\n"),
                "outbox.cadence_s = 0",
            ),
            (
                "segments of an hour",
                format!("{LEAST}[segment]\nlength_s = 3600\n"),
                "segment.length_s",
            ),
            (
                "fragment longer than its segment",
                format!("{LEAST}[segment]\nlength_s = 4\nfragment_s = 5\n"),
                "segment.fragment_s",
            ),
            (
                "queue smaller than a fragment",
                format!("{LEAST}[queue]\nmib = 2\n"),
                "queue.mib",
            ),
            ("relative folder", LEAST.replace("/d", "d"), "data_dir = d"),
            ("no source", "data_dir = \"/d\"\n".to_owned(), "source"),
        ] {
            let message = message(&text);
            assert!(
                message.starts_with("configuration agent.toml: cannot "),
                "{name}: {message}"
            );
            assert!(message.contains(wanted), "{name}: {message}");
            assert!(message.contains("; correct that "), "{name}: {message}");
        }
    }

    #[test]
    fn a_refusal_never_quotes_a_password() {
        let text = "data_dir = \"/d\"\n[source]\nkind = \"rtsp\"\nurl = \"rtsp://a:hunter2@h/\" oops\n";
        assert!(!message(text).contains("hunter2"));
    }
}

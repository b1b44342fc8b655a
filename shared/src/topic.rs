//! MQTT topics: `custody/1/{site}/{camera}/{what}`.

use crate::id::{CameraId, SiteId};

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Up: batches of statements.
    Statement,
    /// Up, retained: online or offline; also the last will.
    Status,
    /// Up: health.
    Health,
    /// Up: a witness's signature under a checkpoint.
    Cosignature,
    /// Down: how far the server holds the chain.
    Acked,
    /// Down: orders.
    Command,
    /// Down, retained: public keys for the days ahead.
    Keys,
    /// Down: a checkpoint to be witnessed.
    Checkpoint,
}

/// From the agent to the server.
pub const UP: [Topic; 4] = [Topic::Statement, Topic::Status, Topic::Health, Topic::Cosignature];
/// From the server to the agent.
pub const DOWN: [Topic; 4] = [Topic::Acked, Topic::Command, Topic::Keys, Topic::Checkpoint];
/// No topic name is longer than this, in bytes.
pub const MAX_TOPIC_LEN: usize = 128;
const PREFIX: &str = "custody/1";

impl Topic {
    /// The last part of the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Status => "status",
            Self::Health => "health",
            Self::Cosignature => "cosignature",
            Self::Acked => "acked",
            Self::Command => "command",
            Self::Keys => "keys",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// Whether it goes from the agent to the server.
    pub fn is_up(self) -> bool {
        UP.contains(&self)
    }

    /// Whether the broker keeps the last message for whoever subscribes later.
    pub const fn retained(self) -> bool {
        matches!(self, Self::Status | Self::Keys)
    }

    /// The MQTT quality of service: 1, or 0 where the next message replaces a lost one.
    pub const fn qos(self) -> u8 {
        if matches!(self, Self::Health) { 0 } else { 1 }
    }

    /// The longest payload that is published here, in bytes.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Statement => 262_144,
            Self::Status => crate::message::MAX_STATUS_LEN,
            Self::Health => crate::message::HEALTH_LEN,
            Self::Keys => crate::message::MAX_DOWNLINK_LEN,
            Self::Acked | Self::Command => 1_024,
            Self::Cosignature | Self::Checkpoint => 16_384,
        }
    }

    /// The full name for one camera.
    pub fn path(self, site: SiteId, camera: CameraId) -> String {
        format!("{PREFIX}/{site}/{camera}/{}", self.as_str())
    }

    /// What the server subscribes to: this topic of every camera of a site.
    pub fn filter(self, site: SiteId) -> String {
        format!("{PREFIX}/{site}/+/{}", self.as_str())
    }

    /// Site, camera and topic of a full name. Wildcards and other spellings are no names.
    pub fn parse(path: &str) -> Option<(SiteId, CameraId, Self)> {
        let mut parts = path.strip_prefix(PREFIX)?.strip_prefix('/')?.splitn(3, '/');
        let site = parts.next()?.parse().ok()?;
        let camera = parts.next()?.parse().ok()?;
        let last = parts.next()?;
        let topic = UP.into_iter().chain(DOWN).find(|topic| topic.as_str() == last)?;
        Some((site, camera, topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let (site, camera) = (SiteId::from_bytes([0xab; 16]), CameraId::from_bytes([1; 16]));
        for topic in UP.into_iter().chain(DOWN) {
            let path = topic.path(site, camera);
            assert!(path.len() <= MAX_TOPIC_LEN);
            assert_eq!(Topic::parse(&path), Some((site, camera, topic)));
            assert_eq!(topic.is_up(), UP.contains(&topic));
        }
    }

    #[test]
    fn other_names_are_refused() {
        let good = Topic::Status.path(SiteId::from_bytes([0xab; 16]), CameraId::from_bytes([1; 16]));
        for bad in [
            good.replace("status", "+"),
            good.replace("status", "#"),
            good.replace("status", "Status"),
            good.replace("custody/1", "custody/2"),
            good.replace("abab", "ABAB"),
            format!("/{good}"),
            format!("{good}/"),
            format!("$share/g/{good}"),
            good.replace("/status", "//status"),
            String::new(),
        ] {
            assert_eq!(Topic::parse(&bad), None, "{bad}");
        }
    }
}

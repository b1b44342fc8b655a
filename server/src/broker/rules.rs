//! What a client may do. Pure: packet in, verdict out.

use custody_shared::id::{CameraId, SiteId};
use custody_shared::topic::{self, Topic};
use rumqttd::protocol::{Filter, LastWill, Publish, QoS};

/// Largest payload: a statement batch of the largest size, sealed.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// Filters in one SUBSCRIBE.
const MAX_FILTERS: usize = 8;

/// Something a client may not do; the connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("published to a topic that is not its own to publish to")]
    PublishTopic,
    #[error("subscribed to a topic that is not its own to read")]
    SubscribeTopic,
    #[error("too many filters in one packet")]
    TooManyFilters,
    #[error("a last will on a topic other than its own status")]
    WillTopic,
    #[error("payload longer than the topic's bound")]
    Payload,
    #[error("retained message on a topic that keeps none")]
    Retain,
    #[error("QoS 2 is not served")]
    ExactlyOnce,
    #[error("sent a second CONNECT")]
    SecondConnect,
    #[error("wrong name or secret at the server's own door")]
    Secret,
    #[error("a packet that clients do not send")]
    Unexpected,
}

/// Who is on the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Camera(CameraId),
    Server,
}

/// The rules for one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) site: SiteId,
    pub(super) role: Role,
}

impl Rules {
    pub(super) fn publish(&self, publish: &Publish) -> Result<(), Refusal> {
        let topic = match self.role {
            Role::Camera(camera) => own(self.site, camera, &topic::UP, &publish.topic),
            Role::Server => {
                let path = std::str::from_utf8(&publish.topic).map_err(|_| Refusal::PublishTopic)?;
                Topic::parse(path)
                    .filter(|(site, _, topic)| *site == self.site && !topic.is_up())
                    .map(|(_, _, topic)| topic)
            }
        };
        let topic = topic.ok_or(Refusal::PublishTopic)?;
        if publish.payload.len() > topic.max_payload() {
            return Err(Refusal::Payload);
        }
        if publish.retain && !topic.retained() {
            return Err(Refusal::Retain);
        }
        Ok(())
    }

    pub(super) fn subscribe(&self, filters: &[Filter]) -> Result<(), Refusal> {
        if filters.len() > MAX_FILTERS {
            return Err(Refusal::TooManyFilters);
        }
        for filter in filters {
            if filter.qos == QoS::ExactlyOnce {
                return Err(Refusal::ExactlyOnce);
            }
            self.filter(&filter.path)?;
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&self, filters: &[String]) -> Result<(), Refusal> {
        if filters.len() > MAX_FILTERS {
            return Err(Refusal::TooManyFilters);
        }
        filters.iter().try_for_each(|filter| self.filter(filter))
    }

    pub(super) fn will(&self, will: &LastWill) -> Result<(), Refusal> {
        let Role::Camera(camera) = self.role else {
            return Err(Refusal::WillTopic);
        };
        if own(self.site, camera, &[Topic::Status], &will.topic).is_none() {
            return Err(Refusal::WillTopic);
        }
        if will.message.len() > Topic::Status.max_payload() {
            return Err(Refusal::Payload);
        }
        if will.qos == QoS::ExactlyOnce {
            return Err(Refusal::ExactlyOnce);
        }
        Ok(())
    }

    // Whole paths are compared: a wildcard, `$share/…` or `$SYS/…` equals no path of ours.
    fn filter(&self, path: &str) -> Result<(), Refusal> {
        let allowed = match self.role {
            Role::Camera(camera) => own(self.site, camera, &topic::DOWN, path.as_bytes()).is_some(),
            Role::Server => topic::UP.iter().any(|topic| topic.filter(self.site) == path),
        };
        if allowed { Ok(()) } else { Err(Refusal::SubscribeTopic) }
    }
}

fn own(site: SiteId, camera: CameraId, topics: &[Topic], path: &[u8]) -> Option<Topic> {
    topics
        .iter()
        .copied()
        .find(|topic| topic.path(site, camera).as_bytes() == path)
}

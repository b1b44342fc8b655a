//! How the agents are: what they say of themselves, signed.

use std::sync::Arc;

use custody_shared::id::{BootId, CameraId};
use custody_shared::message::{Health, Status};
use custody_shared::time::UtcMicros;
use custody_shared::topic::Topic;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Fleet, lock};
use crate::ingest::Uplink;

/// Whether an agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// Nothing has been heard since the server started.
    #[default]
    Unknown,
    /// Connected.
    Online,
    /// Not connected.
    Offline,
}

/// What is known of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentState {
    /// Whether it is connected.
    pub presence: Presence,
    /// When its present or last connection began, by its own clock.
    pub since: Option<UtcMicros>,
    /// When the server heard of it last.
    pub heard: Option<UtcMicros>,
    /// What it last said of its health.
    pub health: Option<Health>,
    /// Its present start.
    pub boot: Option<BootId>,
}

pub(super) async fn listen(fleet: Arc<Fleet>, mut uplinks: mpsc::Receiver<Uplink>, stop: CancellationToken) {
    loop {
        let uplink = tokio::select! {
            () = stop.cancelled() => return,
            uplink = uplinks.recv() => uplink,
        };
        let Some(uplink) = uplink else { return };
        let camera = uplink.camera;
        if fleet.hear(&uplink) {
            // An agent that has just connected may have missed anything: it is told again.
            if let Err(error) = fleet.publish_keys(camera).await {
                tracing::warn!(%error, "keys could not be announced");
            }
            fleet.command_again(camera).await;
        }
    }
}

impl Fleet {
    /// Takes a message; true if the agent has just connected.
    fn hear(&self, uplink: &Uplink) -> bool {
        let camera = uplink.camera;
        let Some(key) = self.parts.directory.statement_keys(camera).into_iter().next() else {
            return false;
        };
        let now = self.parts.downlinks.now();
        match uplink.topic {
            Topic::Status => match Status::verify(&key, camera, &uplink.payload) {
                Ok(status) => self.take_status(camera, &status, now),
                Err(error) => {
                    tracing::warn!(%camera, %error, "a status was refused");
                    false
                }
            },
            Topic::Health => {
                match Health::open(self.parts.keys.transport(), &key, camera, &uplink.payload) {
                    Ok(health) => self.take_health(camera, health, now),
                    Err(error) => tracing::warn!(%camera, %error, "a health message was refused"),
                }
                false
            }
            _ => false,
        }
    }

    fn take_status(&self, camera: CameraId, status: &Status, now: UtcMicros) -> bool {
        let mut presence = lock(&self.presence);
        let state = presence.entry(camera).or_default();
        // The last will of an earlier connection can come after the next one's greeting.
        let stale =
            !status.online && state.boot == Some(status.boot) && state.since.is_some_and(|since| status.since < since);
        if stale {
            return false;
        }
        state.presence = if status.online {
            Presence::Online
        } else {
            Presence::Offline
        };
        state.since = Some(status.since);
        state.boot = Some(status.boot);
        state.heard = Some(now);
        status.online
    }

    fn take_health(&self, camera: CameraId, health: Health, now: UtcMicros) {
        let mut presence = lock(&self.presence);
        let state = presence.entry(camera).or_default();
        // QoS 0 may bring an old one late.
        if state.health.is_none_or(|known| known.at <= health.at) {
            state.health = Some(health);
            state.heard = Some(now);
        }
    }
}

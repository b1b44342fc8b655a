//! The agents' HTTPS interface: joining, renewing, time, and the resumable upload of sealed files.
//!
//! Every request but joining and the time needs a client certificate of this site's authority that is not on the deny list; the camera is
//! the certificate's, never a parameter. Nothing here can be read by a browser: there is nothing to read.

mod join;
mod listen;
mod problem;
mod segments;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, head, post};
use custody_shared::id::CameraId;
use custody_shared::join::{MAX_REQUEST_LEN, MqttEndpoint};
use custody_shared::time::SharedClock;
use serde::Serialize;

use crate::ca::Ca;
use crate::fleet::Fleet;
use problem::Problem;

pub use listen::{AgentLimits, serve};

/// What the interface works with.
pub struct AgentApi {
    /// Issues certificates.
    pub ca: Arc<Ca>,
    /// The agents.
    pub fleet: Arc<Fleet>,
    /// Where agents find the broker.
    pub mqtt: MqttEndpoint,
    /// Where agents find this interface.
    pub agents_url: String,
    /// The time.
    pub clock: SharedClock,
}

/// Who is on the other end of a connection, by its certificate; none while joining.
#[derive(Debug, Clone, Default)]
pub struct Peer(pub(crate) Option<PeerIdentity>);

#[derive(Debug, Clone)]
pub(crate) struct PeerIdentity {
    pub(crate) camera: CameraId,
    pub(crate) serial: String,
}

impl AgentApi {
    /// The camera a request comes from. The deny list is asked each time: a connection can outlive a revocation.
    fn camera(&self, peer: &Peer) -> Result<CameraId, Problem> {
        let identity = peer.0.as_ref().ok_or_else(Problem::no_certificate)?;
        if self
            .ca
            .deny_list()
            .watch()
            .borrow()
            .denies(identity.camera, &identity.serial)
        {
            return Err(Problem::revoked());
        }
        Ok(identity.camera)
    }
}

/// The interface's routes; [`serve`] puts the peer's identity into every request.
pub fn agent_router(api: Arc<AgentApi>) -> Router {
    Router::new()
        .route("/agent/v1/join", post(join::join))
        .route("/agent/v1/renew", post(join::renew))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_LEN))
        .route("/agent/v1/time", get(time))
        .route(
            "/agent/v1/segments/{seq}",
            head(segments::offset)
                .patch(segments::upload)
                .delete(segments::undeliverable),
        )
        .with_state(api)
}

#[derive(Serialize)]
struct Time {
    utc_us: i64,
}

async fn time(State(api): State<Arc<AgentApi>>) -> Json<Time> {
    Json(Time {
        utc_us: api.clock.now().get(),
    })
}

#[cfg(test)]
mod tests;

//! Joining with a token, and renewing a certificate with the one before.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use custody_shared::join::{JoinRequest, JoinResponse, RenewRequest, RenewResponse};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::{AgentApi, Peer};
use crate::ca::{CaError, IssuedCertificate};
use crate::fleet::{Joining, Refused};
use custody_shared::id::CameraId;

/// Takes an agent in: token checked, certificate made, join recorded; only then is anything handed out.
pub(super) async fn join(
    State(api): State<Arc<AgentApi>>,
    body: Bytes,
) -> Result<(StatusCode, Json<JoinResponse>), Problem> {
    let request: JoinRequest = parse(&body)?;
    let token = request.token.reveal();
    let slot = request.slot.as_deref();
    let directory = api.fleet.directory();
    let camera = directory.slot(&token, slot).map_err(refused)?;
    let issued = issue(&api, camera, request.csr_pem).await?;
    // Before the token is used up: without keys the agent could not record.
    let unavailable = |reason: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-keys", reason);
    let keys = api.fleet.signed_keys(camera).map_err(unavailable)?;
    let joining = Joining {
        token: &token,
        slot,
        statement_public: request.statement_public,
        witness_public: request.witness_public,
        certificate: issued.serial,
    };
    // A crash after this leaves a used token and an agent without a certificate: it joins again with a new token.
    let joined = directory.enrol(joining).await.map_err(refused)?;
    if joined != camera {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "slot-taken",
            "the place was taken meanwhile; try again",
        ));
    }
    // The agent that was here before, if any, ends now.
    api.deny_ended().await.map_err(|error| internal(&error))?;
    let response = JoinResponse {
        site: api.ca.site(),
        camera,
        camera_name: directory.camera_name(camera).unwrap_or_default(),
        certificate_pem: issued.pem,
        ca_pem: api.ca.bundle_pem(),
        mqtt: api.mqtt.clone(),
        agents_url: api.agents_url.clone(),
        server_transport_public: api.fleet.keys().transport_public().clone(),
        server_command_public: api.fleet.keys().command_public(),
        keys,
    };
    tracing::info!(%camera, "an agent has joined");
    Ok((StatusCode::CREATED, Json(response)))
}

/// Gives a new certificate to the holder of a good one.
pub(super) async fn renew(
    State(api): State<Arc<AgentApi>>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Json<RenewResponse>, Problem> {
    let camera = api.camera(&peer)?;
    let request: RenewRequest = parse(&body)?;
    let issued = issue(&api, camera, request.csr_pem).await?;
    api.fleet
        .directory()
        .renew(camera, issued.serial, issued.not_after)
        .await
        .map_err(refused)?;
    Ok(Json(RenewResponse {
        certificate_pem: issued.pem,
    }))
}

impl AgentApi {
    /// Puts every certificate that the record has ended on the deny list. Also for the start, in case a crash came between the two.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub async fn deny_ended(self: &Arc<Self>) -> Result<(), CaError> {
        let api = self.clone();
        let deny = move || {
            api.ca
                .deny_list()
                .deny_serials(&api.fleet.directory().ended_certificates())
        };
        let failed = |error: tokio::task::JoinError| CaError::Request(error.to_string());
        tokio::task::spawn_blocking(deny).await.map_err(failed)?
    }
}

async fn issue(api: &Arc<AgentApi>, camera: CameraId, csr_pem: String) -> Result<IssuedCertificate, Problem> {
    let api = api.clone();
    let issued = tokio::task::spawn_blocking(move || api.ca.issue_agent(camera, &csr_pem)).await;
    issued.map_err(|error| internal(&error))?.map_err(|error| match error {
        CaError::Request(_) => Problem::malformed(error.to_string()),
        other => internal(&other),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde's message can quote the input, and the input holds a token.
    serde_json::from_slice(body).map_err(|error| {
        Problem::malformed(format!(
            "the body is not the JSON expected (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Token(detail) => Problem::new(StatusCode::UNAUTHORIZED, "token", detail),
        Refused::Taken(detail) => Problem::new(StatusCode::CONFLICT, "taken", detail),
        Refused::Unwritable(detail) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "record", detail),
    }
}

fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "an agent's request failed");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed; its log says why",
    )
}

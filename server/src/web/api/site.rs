//! `/healthz` and `/metrics`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::app::App;
use super::super::caller::caller;
use super::super::metrics::gauge;
use super::super::problem::{Problem, ProblemBody};
use super::super::serve::Peer;
use super::types::HealthView;
use crate::retrieval::CameraState;

/// Whether the server works. Says nothing about cameras or people.
#[utoipa::path(get, path = "/healthz", tag = "site", responses(
    (status = 200, description = "It works", body = HealthView), (status = 503, description = "The ledger cannot be written", body = HealthView)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    if app.ledger_works() {
        Json(HealthView {
            status: "ok",
            ledger: "writable",
        })
        .into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(HealthView {
                status: "failing",
                ledger: "unwritable",
            }),
        )
            .into_response()
    }
}

/// Counters in the Prometheus text format; no names. Only for the machine itself or a signed-in person.
#[utoipa::path(get, path = "/metrics", tag = "site", responses(
    (status = 200, body = String, content_type = "text/plain"), (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    if !Peer::is_local(&request) && caller(&app, request.headers()).is_none() {
        return Err(Problem::not_signed_in());
    }
    let state = app.record.state();
    let mut out = app.counters.text();
    let (mut recording, mut away) = (0, 0);
    for camera in state.cameras() {
        match app.footage.state(camera.id) {
            CameraState::Recording => recording += 1,
            CameraState::Away => away += 1,
            CameraState::Late | CameraState::Never => {}
        }
    }
    gauge(
        &mut out,
        "custody_cameras",
        "Cameras in the record.",
        state.cameras().count(),
    );
    gauge(
        &mut out,
        "custody_cameras_recording",
        "Cameras that are recording.",
        recording,
    );
    gauge(
        &mut out,
        "custody_cameras_away",
        "Cameras whose recorder is not connected.",
        away,
    );
    gauge(&mut out, "custody_ledger_rows", "Rows of the ledger.", app.ledger.len());
    gauge(
        &mut out,
        "custody_ledger_writable",
        "1 if the ledger can be written.",
        u8::from(app.ledger_works()),
    );
    gauge(
        &mut out,
        "custody_sessions",
        "Signed-in sessions.",
        app.door.sessions().count(app.now()),
    );
    gauge(
        &mut out,
        "custody_releases",
        "Releases that are going on.",
        app.retrieval.releases().count().await,
    );
    out.push_str(&(app.other_metrics)());
    Ok((
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        )],
        out,
    )
        .into_response())
}

//! `/api/v1`: what pages do, for programs. The document at `/api/v1/openapi.json` lists every route; a test compares them.

mod cameras;
mod exports;
mod ledger;
mod media;
mod requests;
mod session;
mod site;
pub mod types;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::routing::{get, post};
use utoipa::OpenApi;

use super::app::App;
use super::problem::{Problem, ProblemBody};

pub(super) use cameras::stretches as cameras_stretches;
pub(super) use exports::{begin_export, export_view};
pub(super) use requests::{camera_name, decide_request, decision_draft, person_view, read, readable};
pub(super) use types::{NewDecision, PageQuery};

/// The document of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Custody",
        version = "1",
        description = "Who may see what was filmed, and the record of it. Sign in with POST /api/v1/session; the session is a cookie. \
Instants are RFC 3339 in UTC; ids are 32 hexadecimal digits. Errors are RFC 9457 problem details with `remedy` and, where an access rule \
refused, `rule`. Every release of footage is a row of the ledger before it happens."
    ),
    paths(
        session::sign_in, session::who, session::sign_out,
        cameras::list, cameras::coverage,
        requests::list, requests::file, requests::one, requests::decide, requests::withdraw, requests::grant,
        media::playlist, media::init, media::segment,
        exports::begin, exports::state, exports::file, exports::bundle,
        ledger::checkpoint, ledger::tile,
        site::health, site::metrics,
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "session", description = "Signing in and out"),
        (name = "cameras", description = "Which cameras there are and what they recorded"),
        (name = "requests", description = "Asking for footage and deciding"),
        (name = "footage", description = "Watching and copying what was approved"),
        (name = "ledger", description = "The record, as C2SP tlog-tiles"),
        (name = "site", description = "Health and counters")
    )
)]
pub struct ApiDoc;

pub(super) fn router(_app: &Arc<App>) -> Router<Arc<App>> {
    let docs = utoipa_swagger_ui::SwaggerUi::new("/api/docs").url("/api/v1/openapi.json", ApiDoc::openapi());
    Router::new()
        .route(
            "/api/v1/session",
            post(session::sign_in).get(session::who).delete(session::sign_out),
        )
        .route("/api/v1/cameras", get(cameras::list))
        .route("/api/v1/cameras/{camera}/coverage", get(cameras::coverage))
        .route("/api/v1/requests", post(requests::file).get(requests::list))
        .route("/api/v1/requests/{request}", get(requests::one))
        .route("/api/v1/requests/{request}/decision", post(requests::decide))
        .route("/api/v1/requests/{request}/withdrawal", post(requests::withdraw))
        .route("/api/v1/requests/{request}/grant", get(requests::grant))
        .route("/api/v1/grants/{grant}/{camera}/playlist.m3u8", get(media::playlist))
        .route("/api/v1/grants/{grant}/{camera}/init/{name}", get(media::init))
        .route("/api/v1/grants/{grant}/{camera}/segment/{name}", get(media::segment))
        .route("/api/v1/grants/{grant}/export", post(exports::begin))
        .route("/api/v1/exports/{export}", get(exports::state))
        .route("/api/v1/exports/{export}/{name}", get(exports::file))
        .route("/api/v1/exports/{export}/bundle.zip", get(exports::bundle))
        .route("/ledger/checkpoint", get(ledger::checkpoint))
        .route("/ledger/tile/{*path}", get(ledger::tile))
        .route("/healthz", get(site::health))
        .route("/metrics", get(site::metrics))
        .merge(docs)
}

/// A JSON body whose faults are problems.
pub(super) struct Body<T>(pub(super) T);

/// Query parameters whose faults are problems.
pub(super) struct Query<T>(pub(super) T);

/// Path parameters whose faults are problems.
pub(super) struct Path<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: serde::de::DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let mut problem = Self::malformed(format!("The body: {}.", rejection.body_text()));
        problem.status = rejection.status();
        problem
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(format!("The query: {}.", rejection.body_text()))
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::not_found("address")
    }
}

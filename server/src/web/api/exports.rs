//! `/api/v1/grants/{grant}/export` and `/api/v1/exports/{export}`

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use custody_shared::id::{ExportId, GrantId};

use super::super::app::App;
use super::super::caller::Caller;
use super::super::problem::{Problem, ProblemBody};
use super::Path;
use super::types::{ExportBundle, ExportFile, ExportView};
use crate::access::Action;
use crate::export::Progress;
use crate::record::cases::allowed_on_grant;

/// Begin a copy under a grant of the form `copy`. Its row stands in the ledger before anything is opened; watch it at the address in `Location`.
#[utoipa::path(post, path = "/api/v1/grants/{grant}/export", tag = "footage", params(("grant" = String, Path, description = "Id of the grant")), responses(
    (status = 202, description = "Being prepared", body = ExportView),
    (status = 403, description = "Not (or no longer) allowed; `rule` says why", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The ledger cannot be written: no copy", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(grant): Path<String>,
) -> Result<Response, Problem> {
    let grant: GrantId = grant.parse().map_err(|_| Problem::not_found("grant"))?;
    let id = begin_export(&app, &caller, grant).await?;
    let view = export_view(&app, &caller, id).await?;
    let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
    let location = HeaderValue::try_from(format!("/api/v1/exports/{id}"))
        .map_err(|error| Problem::internal("name an export", error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

pub(crate) async fn begin_export(app: &App, caller: &Caller, grant: GrantId) -> Result<ExportId, Problem> {
    if let Err(refusal) = allowed_on_grant(&caller.state, caller.person, grant, None, Action::Export, app.now()) {
        return Err(app.refuse(caller.person, refusal).await);
    }
    Ok(app.exports.begin(caller.person, grant).await?)
}

/// The copy, if its grant is the caller's and still usable.
async fn checked(app: &App, caller: &Caller, id: ExportId) -> Result<GrantId, Problem> {
    // The record may be newer than the caller's snapshot when the copy has just begun.
    let state = app.record.state();
    let Some(grant) = state.export(id).map(|export| export.grant) else {
        return Err(Problem::not_found("export"));
    };
    match allowed_on_grant(&state, caller.person, grant, None, Action::Export, app.now()) {
        Ok(_) => Ok(grant),
        Err(refusal) => Err(app.refuse(caller.person, refusal).await),
    }
}

/// Where a copy stands, and its files once it is ready.
#[utoipa::path(get, path = "/api/v1/exports/{export}", tag = "footage", params(("export" = String, Path, description = "Id of the export")),
    responses((status = 200, body = ExportView), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn state(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ExportView>, Problem> {
    let id: ExportId = id.parse().map_err(|_| Problem::not_found("export"))?;
    export_view(&app, &caller, id).await.map(Json)
}

pub(crate) async fn export_view(app: &App, caller: &Caller, id: ExportId) -> Result<ExportView, Problem> {
    let grant = checked(app, caller, id).await?;
    let mut view = ExportView {
        id: id.to_string(),
        grant: grant.to_string(),
        state: "gone",
        segments_done: 0,
        segments_total: 0,
        files: Vec::new(),
        bundle: None,
        failure: None,
    };
    match app.exports.progress(id) {
        None => {}
        Some(Progress::Preparing { done, total }) => {
            (view.state, view.segments_done, view.segments_total) = ("preparing", done, total);
        }
        Some(Progress::Failed(reason)) => (view.state, view.failure) = ("failed", Some(reason)),
        Some(Progress::Ready(plan)) => {
            view.state = "ready";
            view.segments_total = plan.parts.iter().map(|part| part.segments.len() as u64).sum();
            view.segments_done = view.segments_total;
            view.bundle = Some(ExportBundle {
                href: format!("/api/v1/exports/{id}/bundle.zip"),
                bytes: plan.archive_len(),
            });
            view.files = plan
                .parts
                .iter()
                .map(|part| ExportFile {
                    camera: part.camera.to_string(),
                    name: part.name.clone(),
                    href: format!("/api/v1/exports/{id}/{}.mp4", part.address),
                    bytes: part.bytes,
                    sha256: part.sha256.to_string(),
                })
                .collect();
        }
    }
    Ok(view)
}

fn not_ready() -> Problem {
    Problem::conflict(
        "The copy is not ready, or the server was restarted since.",
        "Look at its state, or begin another one.",
    )
}

/// One camera's footage as a playable MP4, opened while it is fetched. The name is `{camera}.mp4` as in the copy's list of files.
#[utoipa::path(get, path = "/api/v1/exports/{export}/{name}", tag = "footage",
    params(("export" = String, Path, description = "Id of the export"), ("name" = String, Path, description = "`{camera}.mp4`")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "video/mp4"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"), (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn file(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id: ExportId = id.parse().map_err(|_| Problem::not_found("export"))?;
    let address = name.strip_suffix(".mp4").ok_or_else(|| Problem::not_found("file"))?;
    checked(&app, &caller, id).await?;
    let (part, stream) = app.exports.fetch_part(id, address).await?.ok_or_else(not_ready)?;
    let file = part.name.rsplit('/').next().unwrap_or(&part.name).to_owned();
    download("video/mp4", part.bytes, &file, Body::from_stream(stream))
}

/// Everything as one `.zip`: footage, statements, gaps, the decision, proofs, and a page that explains them.
#[utoipa::path(get, path = "/api/v1/exports/{export}/bundle.zip", tag = "footage", params(("export" = String, Path, description = "Id of the export")),
    responses((status = 200, description = "The archive", body = Vec<u8>, content_type = "application/zip"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"), (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn bundle(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: ExportId = id.parse().map_err(|_| Problem::not_found("export"))?;
    checked(&app, &caller, id).await?;
    let (plan, stream) = app.exports.fetch_archive(id).await?.ok_or_else(not_ready)?;
    download(
        "application/zip",
        plan.archive_len(),
        &format!("custody-{}.zip", &id.to_string()[..8]),
        Body::from_stream(stream),
    )
}

fn download(kind: &'static str, bytes: u64, name: &str, body: Body) -> Result<Response, Problem> {
    let encoded: String = name
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let disposition = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{encoded}"))
        .map_err(|error| Problem::internal("name a file", error))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, body).into_response())
}

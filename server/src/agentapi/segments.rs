//! The resumable upload: `HEAD` says how much is here, `PATCH` with `Upload-Offset` goes on from there.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, UPLOAD_OFFSET};
use super::{AgentApi, Peer};
use crate::fleet::{UploadError, Uploaded};

pub(super) async fn offset(
    State(api): State<Arc<AgentApi>>,
    Extension(peer): Extension<Peer>,
    Path(seq): Path<u64>,
) -> Result<Response, Problem> {
    let camera = api.camera(&peer)?;
    match api.fleet.upload_offset(camera, seq) {
        Some(offset) => Ok(answer(StatusCode::OK, offset)),
        None => Err(problem(UploadError::NotOrdered(seq))),
    }
}

pub(super) async fn upload(
    State(api): State<Arc<AgentApi>>,
    Extension(peer): Extension<Peer>,
    Path(seq): Path<u64>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let camera = api.camera(&peer)?;
    let offset = headers
        .get(UPLOAD_OFFSET)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let offset =
        offset.ok_or_else(|| Problem::malformed("Upload-Offset: the byte this request begins at is required"))?;
    // Bytes over the file's stated length end the upload; nothing else bounds a stream.
    match api.fleet.receive(camera, seq, offset, body.into_data_stream()).await {
        Ok(Uploaded::Part(here) | Uploaded::Whole(here)) => Ok(answer(StatusCode::NO_CONTENT, here)),
        Err(error) => Err(problem(error)),
    }
}

/// The agent says that an ordered file cannot come: `damaged` on its disk, or `absent`.
pub(super) async fn undeliverable(
    State(api): State<Arc<AgentApi>>,
    Extension(peer): Extension<Peer>,
    Path(seq): Path<u64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let camera = api.camera(&peer)?;
    let damaged = match headers.get("custody-reason").map(|reason| reason.as_bytes()) {
        Some(b"damaged") => true,
        Some(b"absent") => false,
        _ => return Err(Problem::malformed("Custody-Reason: `damaged` or `absent` is required")),
    };
    if api.fleet.undeliverable(camera, seq, damaged) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(problem(UploadError::NotOrdered(seq)))
    }
}

fn answer(status: StatusCode, offset: u64) -> Response {
    (status, [(UPLOAD_OFFSET, offset.to_string())]).into_response()
}

fn problem(error: UploadError) -> Problem {
    let detail = error.to_string();
    match error {
        UploadError::NotOrdered(_) => Problem::new(StatusCode::NOT_FOUND, "not-ordered", detail),
        UploadError::Offset(here) => Problem::new(StatusCode::CONFLICT, "upload-offset", detail).at(here),
        UploadError::TooLong(_) => Problem::new(StatusCode::CONFLICT, "too-long", detail).at(0),
        UploadError::Damaged => Problem::new(StatusCode::CONFLICT, "damaged", detail).at(0),
        UploadError::Broken(_) => Problem::new(StatusCode::BAD_REQUEST, "broken-off", detail),
        UploadError::Disk(_) => {
            tracing::error!(detail, "an upload failed");
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "cache", detail)
        }
    }
}

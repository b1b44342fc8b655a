//! `/ledger`: checkpoint and tiles, for anybody who checks the record. It needs a sign-in: sizes and times tell of activity.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::super::app::App;
use super::super::caller::Caller;
use super::super::problem::{Problem, ProblemBody};
use super::Path;
use crate::access::{Action, Resource};

/// The latest signed checkpoint (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/ledger/checkpoint", tag = "ledger", responses(
    (status = 200, description = "A signed note", body = String, content_type = "text/plain"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn checkpoint(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.may(&app, Action::ReadLedger, Resource::Site).await?;
    let note = app.ledger.checkpoint();
    Ok((
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )],
        note,
    )
        .into_response())
}

/// A tile (C2SP tlog-tiles): hashes only.
#[utoipa::path(get, path = "/ledger/tile/{path}", tag = "ledger", params(("path" = String, Path, description = "Level and index, as in `0/x001/067`")),
    responses((status = 200, description = "The tile", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn tile(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    caller.may(&app, Action::ReadLedger, Resource::Site).await?;
    if path.len() > 128 {
        return Err(Problem::not_found("tile"));
    }
    let found = app
        .ledger
        .tile(&format!("tile/{path}"))
        .map_err(|error| Problem::internal("read a tile", error))?;
    let tile = found.ok_or_else(|| Problem::not_found("tile"))?;
    let mut answer = ([
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, tile.cache_control()),
    ])
    .into_response();
    if let Ok(etag) = HeaderValue::from_str(&tile.etag()) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    *answer.body_mut() = tile.bytes.into();
    Ok(answer)
}

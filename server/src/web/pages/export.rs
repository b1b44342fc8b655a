//! The page of a copy.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use custody_shared::id::ExportId;

use super::super::api::{Path, begin_export, export_view, read};
use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::frame::Frame;
use super::render;

#[derive(askama::Template)]
#[template(path = "export.html")]
struct Page {
    f: Frame,
    id: String,
    request: String,
    title: String,
    running: bool,
    failure: Option<String>,
    done: u64,
    total: u64,
    permille: u64,
    percent: u64,
    usable_until: String,
    bundle_size: String,
    files: Vec<FileRow>,
}

struct FileRow {
    href: String,
    name: String,
    size: String,
    sha256: String,
}

pub(super) async fn begin(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let request = read(&app, &caller, &id).await?;
    let grant = request.grant.ok_or_else(|| Problem::not_found("grant"))?;
    let export = begin_export(&app, &caller, grant).await?;
    Ok(Redirect::to(&format!("/exports/{export}")).into_response())
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let id: ExportId = id.parse().map_err(|_| Problem::not_found("export"))?;
    let view = export_view(&app, &caller, id).await?;
    let state = app.record.state();
    let grant = view
        .grant
        .parse()
        .ok()
        .and_then(|grant| state.grant(grant))
        .ok_or_else(|| Problem::not_found("grant"))?;
    let request = state
        .request(grant.grant.request)
        .ok_or_else(|| Problem::not_found("request"))?;
    let until = grant
        .minutes_end()
        .map_or(grant.grant.not_after, |end| end.min(grant.grant.not_after));
    let failure = match view.state {
        "failed" | "gone" => Some(t.with(
            "export-failed",
            "why",
            view.failure.clone().unwrap_or_else(|| t.get("export-gone")),
        )),
        _ => None,
    };
    render(&Page {
        f: Frame::new(&app, Some(&caller), t, "requests", uri.path()),
        id: view.id,
        request: request.id.to_string(),
        title: t.with("request-title", "number", request.number),
        running: view.state == "preparing",
        failure,
        done: view.segments_done,
        total: view.segments_total,
        permille: view.segments_done * 1000 / view.segments_total.max(1),
        percent: view.segments_done * 100 / view.segments_total.max(1),
        usable_until: when::minute(until, &state.zone()),
        bundle_size: view.bundle.map(|bundle| size(bundle.bytes)).unwrap_or_default(),
        files: view
            .files
            .into_iter()
            .map(|file| FileRow {
                href: file.href,
                name: file.name,
                size: size(file.bytes),
                sha256: file.sha256,
            })
            .collect(),
    })
}

/// `12.3 MB`
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

//! Style, scripts and the player library, embedded; nothing else is ever loaded.
//!
//! Scripts are plain ES modules with JSDoc types, served as they are written: a build needs no Node and no bundler, and what
//! runs in a browser is what was reviewed.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use custody_shared::hash::Sha256Hash;

use super::app::App;
use super::problem::Problem;

/// Our own files.
#[derive(rust_embed::Embed)]
#[folder = "ui/"]
struct Own;

/// The player library; `deploy/fetch-ui` fetches it, the build script checks that it is there.
const LIBRARY: &[(&str, &[u8])] = &[
    (
        "hls.light.min.js",
        include_bytes!(concat!(env!("CUSTODY_UI"), "/hls.light.min.js")),
    ),
    (
        "hls.LICENSE",
        include_bytes!(concat!(env!("CUSTODY_UI"), "/hls.LICENSE")),
    ),
];

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/assets/{name}", get(asset))
}

/// Files carry a tag of their content, so that a browser keeps them and still asks.
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let content: Vec<u8> = match LIBRARY.iter().find(|(known, _)| *known == name) {
        Some((_, content)) => content.to_vec(),
        None => Own::get(&name)
            .ok_or_else(|| Problem::not_found("file"))?
            .data
            .into_owned(),
    };
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    let tag = format!("\"{}\"", &Sha256Hash::of(&content).to_string()[..16]);
    let tag = HeaderValue::try_from(tag).map_err(|error| Problem::internal("tag a file", error))?;
    let unchanged = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        content.into_response()
    };
    let answer = response.headers_mut();
    answer.insert(header::ETAG, tag);
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

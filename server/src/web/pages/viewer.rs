//! The page of the player.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::api::{Path, camera_name, person_view, read};
use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::frame::Frame;
use super::render;
use crate::access::Action;
use crate::record::cases::allowed_on_grant;

#[derive(askama::Template)]
#[template(path = "viewer.html")]
struct Page {
    f: Frame,
    request: String,
    title: String,
    viewer: String,
    now: String,
    cameras: Vec<Choice>,
}

struct Choice {
    id: String,
    name: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let request = read(&app, &caller, &id).await?;
    let grant = request.grant.ok_or_else(|| Problem::not_found("grant"))?;
    let record = match allowed_on_grant(&caller.state, caller.person, grant, None, Action::Play, app.now()) {
        Ok((record, _)) => record,
        Err(refusal) => return Err(app.refuse(caller.person, refusal).await),
    };
    // Opening the page is the best sign that footage will be wanted in a moment.
    app.retrieval.fetch_ahead(&record.grant);
    render(&Page {
        f: Frame::new(&app, Some(&caller), t, "requests", uri.path()),
        request: request.id.to_string(),
        title: t.with("request-title", "number", request.number),
        viewer: person_view(&caller.state, caller.person).name,
        now: when::minute(app.now(), &caller.state.zone()),
        cameras: record
            .grant
            .cameras
            .iter()
            .map(|camera| Choice {
                id: camera.to_string(),
                name: camera_name(&caller.state, *camera),
            })
            .collect(),
    })
}

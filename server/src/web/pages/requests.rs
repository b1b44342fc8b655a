//! The list of requests, by number, with the days left.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::api::{PageQuery, Query, camera_name, person_view, readable};
use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::frame::Frame;
use super::render;
use crate::access::{Action, Resource};
use crate::record::FootageRequest;
use crate::record::terms::RequestState;

#[derive(askama::Template)]
#[template(path = "requests.html")]
struct Page {
    f: Frame,
    may_ask: bool,
    requests: Vec<Row>,
    older: Option<u64>,
}

struct Row {
    id: String,
    title: String,
    due: String,
    due_class: &'static str,
    window: String,
    cameras: String,
    asked_by: String,
    state_key: String,
    state_class: &'static str,
    mine_to_decide: bool,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Query(page): Query<PageQuery>,
) -> Result<Response, Problem> {
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let zone = caller.state.zone();
    let (found, older) = readable(&app, &caller, page.before, 50).await?;
    let requests = found
        .into_iter()
        .map(|request| {
            let (due, due_class) = due(t, &app, request, &zone);
            let resource = Resource::Request {
                request: request.id,
                requester: request.requester,
            };
            Row {
                id: request.id.to_string(),
                title: t.with("request-title", "number", request.number),
                due,
                due_class,
                window: when::window(request.range.start(), request.range.end(), &zone),
                cameras: request
                    .cameras
                    .iter()
                    .map(|camera| camera_name(&caller.state, *camera))
                    .collect::<Vec<_>>()
                    .join(", "),
                asked_by: person_view(&caller.state, request.requester).name,
                state_key: format!("state-{}", request.state),
                state_class: state_class(request.state),
                mine_to_decide: request.state == RequestState::Received
                    && caller.could(&app, Action::DecideRequest, resource),
            }
        })
        .collect();
    render(&Page {
        f: Frame::new(&app, Some(&caller), t, "requests", uri.path()),
        may_ask: caller.could(&app, Action::FileRequest, Resource::Site),
        requests,
        older,
    })
}

/// Days left in words, and how loud.
pub(super) fn due(t: Text, app: &App, request: &FootageRequest, zone: &jiff::tz::TimeZone) -> (String, &'static str) {
    if request.state != RequestState::Received {
        return (t.get("due-done"), "");
    }
    let days = when::days_left(app.now(), request.due, zone);
    match days {
        ..0 => (t.with("due-over", "days", -days), "bad"),
        0..=2 => (t.with("due-days", "days", days), "bad"),
        3..=5 => (t.with("due-days", "days", days), "warn"),
        _ => (t.with("due-days", "days", days), "good"),
    }
}

pub(super) fn state_class(state: RequestState) -> &'static str {
    match state {
        RequestState::Received => "",
        RequestState::Approved | RequestState::PartlyApproved => "good",
        RequestState::Refused => "bad",
        RequestState::Withdrawn => "warn",
    }
}

//! Cameras with what they recorded in the last 24 hours.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::Response;
use custody_shared::time::{DAY_US, TimeRange, UtcMicros};

use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::bars::{self, Bar};
use super::frame::Frame;
use super::render;
use crate::access::{Action, Resource};
use crate::retrieval::CameraState;

#[derive(askama::Template)]
#[template(path = "cameras.html")]
struct Page {
    f: Frame,
    may_ask: bool,
    now: String,
    legend: bool,
    cameras: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    location: String,
    class_key: String,
    state_key: &'static str,
    state_class: &'static str,
    coverage: Option<Covered>,
}

/// The last hour and the last day: a minute is nothing in a day, a day is more than an hour tells.
struct Covered {
    hour: Bar,
    day: Bar,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.may(&app, Action::ListCameras, Resource::Site).await?;
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let zone = caller.state.zone();
    let now = app.now();
    let day = TimeRange::new(UtcMicros::new(now.get() - DAY_US), now)
        .map_err(|error| Problem::internal("read the clock", error))?;
    let hour = TimeRange::new(UtcMicros::new(now.get() - DAY_US / 24), now)
        .map_err(|error| Problem::internal("read the clock", error))?;
    let covers = caller.could(&app, Action::SeeCoverage, Resource::Site);
    let mut cameras = Vec::new();
    for camera in caller.state.cameras() {
        let coverage = if covers {
            Some(Covered {
                hour: bars::bar(&app, t, camera.id, hour, &zone)?,
                day: bars::bar(&app, t, camera.id, day, &zone)?,
            })
        } else {
            None
        };
        let (state_key, state_class) = match app.footage.state(camera.id) {
            CameraState::Recording => ("camera-recording", "good"),
            CameraState::Late => ("camera-late", "warn"),
            CameraState::Away => ("camera-away", "bad"),
            CameraState::Never => ("camera-never", ""),
        };
        cameras.push(Row {
            id: camera.id.to_string(),
            name: camera.name.clone(),
            location: camera.location.clone(),
            class_key: format!("class-{}", camera.class),
            state_key,
            state_class,
            coverage,
        });
    }
    cameras.sort_by(|one, other| one.name.cmp(&other.name));
    render(&Page {
        f: Frame::new(&app, Some(&caller), t, "cameras", uri.path()),
        may_ask: caller.could(&app, Action::FileRequest, Resource::Site),
        now: when::second(now, &zone),
        legend: covers && !cameras.is_empty(),
        cameras,
    })
}

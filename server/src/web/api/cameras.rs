//! `/api/v1/cameras`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use custody_shared::id::CameraId;
use custody_shared::time::{TimeRange, UtcMicros};

use super::super::app::App;
use super::super::caller::Caller;
use super::super::problem::{Problem, ProblemBody};
use super::super::when;
use super::types::{CameraList, CameraView, CoverageView, StretchView, WindowQuery};
use super::{Path, Query};
use crate::access::{Action, Resource};
use crate::retrieval::footage::{CameraState, FootageError, Stretch, StretchKind};

/// Longest window of one question, in microseconds.
const LONGEST_US: i64 = 31 * custody_shared::time::DAY_US;
/// Most stretches of one answer.
pub(crate) const MOST_STRETCHES: usize = 5000;

/// Every camera, by name.
#[utoipa::path(get, path = "/api/v1/cameras", tag = "cameras", responses(
    (status = 200, body = CameraList), (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<CameraList>, Problem> {
    caller.may(&app, Action::ListCameras, Resource::Site).await?;
    let sees = caller.could(&app, Action::SeeHealth, Resource::Site)
        || caller.could(&app, Action::SeeCoverage, Resource::Site);
    let mut cameras: Vec<CameraView> = caller
        .state
        .cameras()
        .map(|camera| CameraView {
            id: camera.id.to_string(),
            name: camera.name.clone(),
            location: camera.location.clone(),
            class: camera.class.word().to_owned(),
            state: sees.then(|| state_word(app.footage.state(camera.id))),
        })
        .collect();
    cameras.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(CameraList { cameras }))
}

pub(crate) fn state_word(state: CameraState) -> &'static str {
    match state {
        CameraState::Recording => "recording",
        CameraState::Late => "late",
        CameraState::Away => "away",
        CameraState::Never => "never",
    }
}

/// What a camera recorded: kept stretches, gaps with their causes, destroyed and unknown ones.
#[utoipa::path(get, path = "/api/v1/cameras/{camera}/coverage", tag = "cameras", params(
    ("camera" = String, Path, description = "Id of the camera"), WindowQuery), responses(
    (status = 200, body = CoverageView),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn coverage(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(camera): Path<String>,
    Query(window): Query<WindowQuery>,
) -> Result<Json<CoverageView>, Problem> {
    let camera: CameraId = camera.parse().map_err(|_| Problem::not_found("camera"))?;
    caller.may(&app, Action::SeeCoverage, Resource::Camera(camera)).await?;
    caller
        .state
        .camera(camera)
        .ok_or_else(|| Problem::not_found("camera"))?;
    let range = range(&window.from, &window.to)?;
    let found = stretches(&app, camera, range)?;
    Ok(Json(CoverageView {
        camera: camera.to_string(),
        from: range.start().to_string(),
        to: range.end().to_string(),
        cut: found.len() >= MOST_STRETCHES,
        stretches: found.iter().map(stretch_view).collect(),
    }))
}

/// A window from two texts.
pub(crate) fn range(from: &str, to: &str) -> Result<TimeRange, Problem> {
    let (from, to) = (when::parse("from", from)?, when::parse("to", to)?);
    checked_range(from, to)
}

/// A window of two instants, at most 31 days.
pub(crate) fn checked_range(from: UtcMicros, to: UtcMicros) -> Result<TimeRange, Problem> {
    let range = TimeRange::new(from, to).map_err(|_| {
        Problem::unacceptable(
            "The window's end is not after its beginning.",
            "Swap or widen the two instants.",
        )
    })?;
    if range.len_us() > LONGEST_US {
        return Err(Problem::unacceptable(
            "The window is longer than 31 days.",
            "Ask for a shorter one, piece by piece.",
        ));
    }
    Ok(range)
}

/// What is known of a window, as the index tells it.
pub(crate) fn stretches(app: &App, camera: CameraId, range: TimeRange) -> Result<Vec<Stretch>, Problem> {
    app.footage
        .coverage(camera, range, MOST_STRETCHES)
        .map_err(Problem::from)
}

pub(crate) fn stretch_view(stretch: &Stretch) -> StretchView {
    let (kind, cause) = match &stretch.kind {
        StretchKind::Kept => ("kept", None),
        StretchKind::Gap(cause) => ("gap", Some(cause.clone())),
        StretchKind::Destroyed => ("destroyed", None),
        StretchKind::Unknown => ("unknown", None),
    };
    StretchView {
        from: stretch.range.start().to_string(),
        to: stretch.range.end().to_string(),
        kind,
        cause,
    }
}

impl From<FootageError> for Problem {
    fn from(error: FootageError) -> Self {
        use axum::http::StatusCode;
        match error {
            FootageError::Away => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "camera-away",
                "The camera's recorder does not answer",
                "The footage lies with the camera's recorder, which does not answer.",
                "Look whether the recorder is on and connected, then try again; nothing is lost.",
            ),
            FootageError::Lost { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "footage-lost",
                "The recorder cannot deliver this footage",
                "The camera's recorder signed this footage but cannot deliver it.",
                "Tell the administrator; the log names the segment.",
            )
            .log(error),
            FootageError::Store(_) => Self::internal("read the index", error),
        }
    }
}

//! One request: what is asked, what there is, what is next, and its record.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use custody_shared::id::RequestId;
use custody_shared::time::UtcMicros;

use super::super::api::{self, NewDecision, Path, camera_name, person_view, read};
use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::bars::{self, Bar};
use super::frame::Frame;
use super::requests::{due, state_class};
use super::{Fields, render, words};
use crate::access::{Action, Resource};
use crate::record::cases::allowed_on_grant;
use crate::record::terms::{RefusalGround, RequestState};
use crate::record::{FootageRequest, Verdict};

#[derive(askama::Template)]
#[template(path = "request.html")]
struct Page {
    f: Frame,
    id: String,
    title: String,
    message: Option<String>,
    state_key: String,
    state_class: &'static str,
    open: bool,
    due: String,
    due_class: &'static str,
    due_date: String,
    next: Next,
    grounds: Vec<(&'static str, String)>,
    cameras: Vec<CameraRow>,
    window: String,
    form_key: &'static str,
    ground_key: String,
    purpose: String,
    asked_by: String,
    received: String,
    record: Vec<Step>,
}

/// The one next step, or why there is none.
pub(super) enum Next {
    Watch { until: String, export: bool },
    Decide,
    Nothing(String),
}

pub(super) struct CameraRow {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) verdict: String,
    pub(super) coverage: Bar,
}

struct Step {
    at: String,
    what: String,
    note: Option<String>,
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
    let f = Frame::new(&app, Some(&caller), t, "requests", uri.path());
    render(&draw(&app, &caller, f, request, None)?)
}

pub(super) async fn decide(
    State(app): State<Arc<App>>,
    mut caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Problem> {
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let body = NewDecision {
        decision: fields.one("decision").to_owned(),
        ground: Some(fields.one("ground").to_owned()),
        note: fields.one("note").to_owned(),
        ..NewDecision::default()
    };
    let request: RequestId = id.parse().map_err(|_| Problem::not_found("request"))?;
    let draft = api::decision_draft(&caller.state, request, body)?;
    match api::decide_request(&app, caller.person, request, draft).await {
        Ok(()) => Ok(Redirect::to(&format!("/requests/{id}")).into_response()),
        // What the form can mend is said beside the form; everything else is a page of its own.
        Err(problem) if problem.status.as_u16() == 422 || problem.status.as_u16() == 409 => {
            caller.state = app.record.state();
            let request = read(&app, &caller, &id).await?;
            let f = Frame::new(&app, Some(&caller), t, "requests", &format!("/requests/{id}"));
            let mut response = render(&draw(&app, &caller, f, request, Some(words(t, &problem)))?)?;
            *response.status_mut() = problem.status;
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

fn draw(
    app: &App,
    caller: &Caller,
    f: Frame,
    request: &FootageRequest,
    message: Option<String>,
) -> Result<Page, Problem> {
    let t = f.t;
    let state = &caller.state;
    let zone = state.zone();
    let (due_words, due_class) = due(t, app, request, &zone);
    let mut cameras = Vec::with_capacity(request.cameras.len());
    for camera in &request.cameras {
        cameras.push(camera_row(
            app,
            t,
            &camera_name(state, *camera),
            *camera,
            request.range,
            &zone,
        )?);
    }
    Ok(Page {
        id: request.id.to_string(),
        title: t.with("request-title", "number", request.number),
        message,
        state_key: format!("state-{}", request.state),
        state_class: state_class(request.state),
        open: request.state == RequestState::Received,
        due: due_words,
        due_class,
        due_date: when::zoned(UtcMicros::new(request.due.get() - 1), &zone)
            .strftime("%Y-%m-%d")
            .to_string(),
        next: next(app, caller, t, request),
        grounds: RefusalGround::ALL
            .iter()
            .map(|ground| (ground.word(), t.get(&format!("refusal-{ground}"))))
            .collect(),
        cameras,
        window: when::window(request.range.start(), request.range.end(), &zone),
        form_key: if request.copy { "form-copy" } else { "form-view" },
        ground_key: format!("ground-{}-{}", request.kind, request.ground),
        purpose: request.purpose.clone(),
        asked_by: person_view(state, request.requester).name,
        received: when::minute(request.filed_at, &zone),
        record: steps(caller, t, request),
        f,
    })
}

/// One camera's part of a window.
pub(super) fn camera_row(
    app: &App,
    t: Text,
    name: &str,
    camera: custody_shared::id::CameraId,
    range: custody_shared::time::TimeRange,
    zone: &jiff::tz::TimeZone,
) -> Result<CameraRow, Problem> {
    let coverage = bars::bar(app, t, camera, range, zone)?;
    let (verdict, class) = coverage.verdict();
    Ok(CameraRow {
        name: name.to_owned(),
        class,
        verdict: t.get(verdict),
        coverage,
    })
}

fn next(app: &App, caller: &Caller, t: Text, request: &FootageRequest) -> Next {
    let state = &caller.state;
    let resource = Resource::Request {
        request: request.id,
        requester: request.requester,
    };
    match request.state {
        RequestState::Received if caller.could(app, Action::DecideRequest, resource) => Next::Decide,
        RequestState::Received if request.requester == caller.person && app_decides(caller) => {
            Next::Nothing(t.get("why-not-yours"))
        }
        RequestState::Received => Next::Nothing(t.get("why-waiting")),
        RequestState::Refused => {
            let ground = match request.decision.as_ref().map(|decision| &decision.verdict) {
                Some(Verdict::Refuse { ground }) => t.get(&format!("refusal-{ground}")),
                _ => String::new(),
            };
            Next::Nothing(t.with("why-refused", "ground", ground))
        }
        RequestState::Withdrawn => Next::Nothing(t.get("why-withdrawn")),
        RequestState::Approved | RequestState::PartlyApproved => {
            let Some(grant) = state.grant_of(request.id) else {
                return Next::Nothing(t.get("why-answered"));
            };
            if grant.grant.viewer != caller.person {
                return Next::Nothing(t.with("why-not-viewer", "name", person_view(state, grant.grant.viewer).name));
            }
            match allowed_on_grant(state, caller.person, grant.grant.id, None, Action::Play, app.now()) {
                Ok((record, _)) => {
                    let until = record
                        .minutes_end()
                        .map_or(grant.grant.not_after, |end| end.min(grant.grant.not_after));
                    Next::Watch {
                        until: when::minute(until, &state.zone()),
                        export: record.copy(),
                    }
                }
                Err(refusal) => {
                    let id = format!("rule-{}", refusal.rule);
                    Next::Nothing(t.get(&id))
                }
            }
        }
    }
}

fn app_decides(caller: &Caller) -> bool {
    caller.principal.grade == crate::access::Grade::Decides
}

fn steps(caller: &Caller, t: Text, request: &FootageRequest) -> Vec<Step> {
    let state = &caller.state;
    let zone = state.zone();
    let by = |what: String, person| {
        let name = person_view(state, person).name;
        t.with2(
            "by-whom",
            ("what", what),
            ("name", if name.is_empty() { t.get("somebody") } else { name }),
        )
    };
    let at = |instant| when::second(instant, &zone);
    let mut steps = vec![Step {
        at: at(request.filed_at),
        what: by(t.get("step-filed"), request.requester),
        note: None,
    }];
    if let Some(decision) = &request.decision {
        let what = match &decision.verdict {
            Verdict::Approve => t.get("step-approved"),
            Verdict::ApproveInPart { .. } => t.get("step-partly-approved"),
            Verdict::Refuse { ground } => t.with("step-refused", "ground", t.get(&format!("refusal-{ground}"))),
        };
        let note = Some(decision.note.clone()).filter(|note| !note.is_empty());
        steps.push(Step {
            at: at(decision.at),
            what: by(what, decision.by),
            note,
        });
    }
    if let Some(grant) = state.grant_of(request.id) {
        if let Some(first) = grant.first_play {
            steps.push(Step {
                at: at(first),
                what: by(t.get("step-viewed"), grant.grant.viewer),
                note: None,
            });
        }
        for export in state.exports().filter(|export| export.grant == grant.grant.id) {
            steps.push(Step {
                at: at(export.at),
                what: by(t.get("step-exported"), grant.grant.viewer),
                note: None,
            });
        }
    }
    if request.state == RequestState::Withdrawn {
        steps.push(Step {
            at: String::new(),
            what: by(t.get("step-withdrawn"), request.requester),
            note: None,
        });
    }
    steps
}

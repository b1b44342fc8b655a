//! `/api/v1/requests`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use custody_shared::id::{CameraId, PersonId, RequestId};

use super::super::app::App;
use super::super::caller::Caller;
use super::super::problem::{Problem, ProblemBody};
use super::super::when;
use super::cameras::{range, stretch_view, stretches};
use super::types::{
    CameraName, DecisionView, GrantCamera, GrantView, NewDecision, NewRequest, PageQuery, PersonView, RangeView,
    RecipientView, RequestList, RequestView,
};
use super::{Body, Path, Query};
use crate::access::{Action, Resource};
use crate::record::cases::{DecisionDraft, RequestDraft, allowed_on_grant, allowed_on_request};
use crate::record::{FootageRequest, Recipient, State as Folded, Verdict};

/// Requests of one answer, at most.
const MOST: usize = 200;

/// Requests that the caller may read, newest first.
#[utoipa::path(get, path = "/api/v1/requests", tag = "requests", params(PageQuery), responses(
    (status = 200, body = RequestList), (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<RequestList>, Problem> {
    let (found, next) = readable(&app, &caller, page.before, page.limit.unwrap_or(50)).await?;
    let requests = found
        .into_iter()
        .map(|request| request_view(&app, &caller, request))
        .collect();
    Ok(Json(RequestList { requests, next }))
}

/// One page of what the caller may read, and where the next begins.
pub(crate) async fn readable<'a>(
    app: &App,
    caller: &'a Caller,
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<&'a FootageRequest>, Option<u64>), Problem> {
    let limit = limit.clamp(1, MOST);
    let own = Resource::Request {
        request: RequestId::from_bytes([0; 16]),
        requester: caller.person,
    };
    caller.may(app, Action::ReadRequest, own).await?;
    let all = caller.could(app, Action::ReadRegister, Resource::Site);
    let mut found: Vec<&FootageRequest> = caller
        .state
        .requests()
        .filter(|request| {
            (all || request.requester == caller.person) && before.is_none_or(|before| request.number < before)
        })
        .collect();
    found.sort_by_key(|request| std::cmp::Reverse(request.number));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|request| request.number);
    Ok((found, next))
}

/// File a request for footage.
#[utoipa::path(post, path = "/api/v1/requests", tag = "requests", request_body = NewRequest, responses(
    (status = 201, description = "Filed; its row is in the ledger", body = RequestView),
    (status = 422, description = "A rule of filing refused it; `rule` says which", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The ledger cannot be written", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn file(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body<NewRequest>,
) -> Result<Response, Problem> {
    let draft = request_draft(body)?;
    let id = app.record.file_request(caller.person, draft).await?;
    let view = fresh_view(&app, caller, id)?;
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    let location = HeaderValue::try_from(format!("/api/v1/requests/{id}"))
        .map_err(|error| Problem::internal("name a request", error))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// One request.
#[utoipa::path(get, path = "/api/v1/requests/{request}", tag = "requests", params(("request" = String, Path, description = "Id of the request")),
    responses((status = 200, body = RequestView), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RequestView>, Problem> {
    let request = read(&app, &caller, &id).await?;
    Ok(Json(request_view(&app, &caller, request)))
}

/// The request, if the caller may read it; a refusal is a row.
pub(crate) async fn read<'a>(app: &App, caller: &'a Caller, id: &str) -> Result<&'a FootageRequest, Problem> {
    let id: RequestId = id.parse().map_err(|_| Problem::not_found("request"))?;
    match allowed_on_request(&caller.state, caller.person, id, Action::ReadRequest, app.now()) {
        Ok(request) => Ok(request),
        Err(refusal) => Err(app.refuse(caller.person, refusal).await),
    }
}

/// Decide a request. An approval issues the grant; the sealed footage is asked for at once.
#[utoipa::path(post, path = "/api/v1/requests/{request}/decision", tag = "requests", params(("request" = String, Path, description = "Id of the request")),
    request_body = NewDecision, responses(
    (status = 200, description = "Decided", body = RequestView),
    (status = 403, description = "Nobody decides their own request", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Already decided", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refusal needs a ground", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The ledger cannot be written", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn decide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<NewDecision>,
) -> Result<Json<RequestView>, Problem> {
    let id: RequestId = id.parse().map_err(|_| Problem::not_found("request"))?;
    let draft = decision_draft(&caller.state, id, body)?;
    decide_request(&app, caller.person, id, draft).await?;
    fresh_view(&app, caller, id).map(Json)
}

/// Decides, and has the sealed footage of an approval fetched before anybody asks to see it.
pub(crate) async fn decide_request(
    app: &App,
    person: PersonId,
    id: RequestId,
    draft: DecisionDraft,
) -> Result<(), Problem> {
    if let Some(grant) = app.record.decide_request(person, id, draft).await? {
        let state = app.record.state();
        if let Some(record) = state.grant(grant) {
            app.retrieval.fetch_ahead(&record.grant);
        }
    }
    Ok(())
}

/// Take a request back.
#[utoipa::path(post, path = "/api/v1/requests/{request}/withdrawal", tag = "requests", params(("request" = String, Path, description = "Id of the request")),
    responses((status = 200, body = RequestView), (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RequestView>, Problem> {
    let id: RequestId = id.parse().map_err(|_| Problem::not_found("request"))?;
    app.record.withdraw_request(caller.person, id).await?;
    fresh_view(&app, caller, id).map(Json)
}

/// What an approval allows, for the player: playlists, coverage, minutes left. Only its viewer gets it.
#[utoipa::path(get, path = "/api/v1/requests/{request}/grant", tag = "requests", params(("request" = String, Path, description = "Id of the request")),
    responses((status = 200, body = GrantView),
    (status = 403, description = "Not yet, no longer, or not for the caller", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such request, or no grant (yet)", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn grant(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<GrantView>, Problem> {
    let request = read(&app, &caller, &id).await?;
    let Some(grant) = request.grant else {
        return Err(Problem::not_found("grant"));
    };
    let record = match allowed_on_grant(&caller.state, caller.person, grant, None, Action::Play, app.now()) {
        Ok((record, _)) => record,
        Err(refusal) => return Err(app.refuse(caller.person, refusal).await),
    };
    let grant = &record.grant;
    let cameras = grant
        .cameras
        .iter()
        .map(|camera| {
            let segments = app.footage.segments(*camera, grant.range, 1)?;
            Ok(GrantCamera {
                id: camera.to_string(),
                name: camera_name(&caller.state, *camera),
                playable: segments.first().is_none_or(crate::retrieval::SegmentInfo::playable),
                codec: segments.first().map(|segment| segment.rfc6381.clone()),
                playlist: format!("/api/v1/grants/{}/{camera}/playlist.m3u8", grant.id),
                stretches: stretches(&app, *camera, grant.range)?
                    .iter()
                    .map(stretch_view)
                    .collect(),
            })
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    Ok(Json(GrantView {
        id: grant.id.to_string(),
        request: request.id.to_string(),
        form: if record.copy() { "copy" } else { "view" },
        viewer: person_view(&caller.state, grant.viewer),
        range: RangeView {
            from: grant.range.start().to_string(),
            to: grant.range.end().to_string(),
        },
        not_before: grant.not_before.to_string(),
        not_after: grant.not_after.to_string(),
        play_minutes: grant.play_minutes,
        play_until: record.minutes_end().map(|at| at.to_string()),
        now: app.now().to_string(),
        cameras,
    }))
}

/// A request as typed, into the record's terms.
pub(crate) fn request_draft(body: NewRequest) -> Result<RequestDraft, Problem> {
    let copy = match body.form.as_str() {
        "view" => false,
        "copy" => true,
        _ => {
            return Err(Problem::unacceptable(
                "The form is neither `view` nor `copy`.",
                "Use one of the two.",
            ));
        }
    };
    let word =
        |error: crate::record::terms::UnknownWord| Problem::unacceptable(error.to_string(), "Use a word of the list.");
    Ok(RequestDraft {
        kind: body.kind.parse().map_err(word)?,
        ground: body.ground.parse().map_err(word)?,
        cameras: camera_ids(&body.cameras)?,
        range: range(&body.from, &body.to)?,
        purpose: body.purpose,
        copy,
        recipient: body.recipient.map(|given| Recipient {
            agency: given.agency,
            officer: given.officer,
            document: given.document,
        }),
    })
}

fn camera_ids(given: &[String]) -> Result<Vec<CameraId>, Problem> {
    given
        .iter()
        .take(1 + crate::record::cases::MAX_CAMERAS)
        .map(|id| {
            id.parse().map_err(|_| {
                Problem::unacceptable(
                    "A camera's id is not 32 hexadecimal digits.",
                    "Take ids from /api/v1/cameras.",
                )
            })
        })
        .collect()
}

/// A decision as typed, into the record's terms. What is left out of a partial approval stays as asked.
pub(crate) fn decision_draft(state: &Folded, id: RequestId, body: NewDecision) -> Result<DecisionDraft, Problem> {
    let verdict = match body.decision.as_str() {
        "approve" => Some(Verdict::Approve),
        "approve-in-part" => {
            let asked = state.request(id).ok_or_else(|| Problem::not_found("request"))?;
            let cameras = match &body.cameras {
                Some(given) => camera_ids(given)?,
                None => asked.cameras.clone(),
            };
            let from = body
                .from
                .as_deref()
                .map_or(Ok(asked.range.start()), |text| when::parse("from", text))?;
            let to = body
                .to
                .as_deref()
                .map_or(Ok(asked.range.end()), |text| when::parse("to", text))?;
            Some(Verdict::ApproveInPart {
                cameras,
                range: super::cameras::checked_range(from, to)?,
            })
        }
        "refuse" => match body.ground.as_deref().filter(|ground| !ground.is_empty()) {
            None => None,
            Some(ground) => Some(Verdict::Refuse {
                ground: ground.parse().map_err(|error: crate::record::terms::UnknownWord| {
                    Problem::unacceptable(error.to_string(), "Use a ground of the list.")
                })?,
            }),
        },
        _ => {
            return Err(Problem::unacceptable(
                "The decision is neither `approve`, `approve-in-part` nor `refuse`.",
                "Use one of the three.",
            ));
        }
    };
    Ok(DecisionDraft {
        verdict,
        note: body.note,
    })
}

/// The request as it is after an act.
fn fresh_view(app: &App, mut caller: Caller, id: RequestId) -> Result<RequestView, Problem> {
    caller.state = app.record.state();
    let request = caller.state.request(id).ok_or_else(|| Problem::not_found("request"))?;
    Ok(request_view(app, &caller, request))
}

/// A request as the caller sees it.
pub(crate) fn request_view(app: &App, caller: &Caller, request: &FootageRequest) -> RequestView {
    let state = &caller.state;
    let resource = Resource::Request {
        request: request.id,
        requester: request.requester,
    };
    let open = request.state == crate::record::terms::RequestState::Received;
    RequestView {
        id: request.id.to_string(),
        number: request.number,
        state: request.state.word(),
        kind: request.kind.word(),
        ground: request.ground.word(),
        requester: person_view(state, request.requester),
        cameras: request
            .cameras
            .iter()
            .map(|id| CameraName {
                id: id.to_string(),
                name: camera_name(state, *id),
            })
            .collect(),
        from: request.range.start().to_string(),
        to: request.range.end().to_string(),
        purpose: request.purpose.clone(),
        form: if request.copy { "copy" } else { "view" },
        recipient: request.recipient.clone().map(|given| RecipientView {
            agency: given.agency,
            officer: given.officer,
            document: given.document,
        }),
        filed_at: request.filed_at.to_string(),
        due: request.due.to_string(),
        days_left: when::days_left(app.now(), request.due, &state.zone()),
        decision: request.decision.as_ref().map(|decision| {
            let (word, ground) = match &decision.verdict {
                Verdict::Approve => ("approve", None),
                Verdict::ApproveInPart { .. } => ("approve-in-part", None),
                Verdict::Refuse { ground } => ("refuse", Some(ground.word())),
            };
            DecisionView {
                by: person_view(state, decision.by),
                at: decision.at.to_string(),
                decision: word,
                ground,
                note: decision.note.clone(),
            }
        }),
        grant: request.grant.map(|grant| grant.to_string()),
        may_decide: open && caller.could(app, Action::DecideRequest, resource),
    }
}

pub(crate) fn person_view(state: &Folded, person: PersonId) -> PersonView {
    let name = state
        .person(person)
        .map_or_else(String::new, |found| found.display.clone());
    PersonView {
        id: person.to_string(),
        name,
    }
}

pub(crate) fn camera_name(state: &Folded, camera: CameraId) -> String {
    state
        .camera(camera)
        .map_or_else(|| camera.to_string(), |found| found.name.clone())
}

//! `/api/v1/session`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use zeroize::Zeroizing;

use super::super::app::App;
use super::super::caller::{Caller, cookie, no_cookie, token};
use super::super::problem::{Problem, ProblemBody};
use super::Body;
use super::types::{PersonView, SessionView, SignIn};
use crate::record::State as Folded;

/// Sign in. The session is a cookie that scripts cannot read; an earlier session of the same browser ends.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, responses(
    (status = 201, description = "Signed in; the cookie is set", body = SessionView),
    (status = 401, description = "Wrong name or password, or the name is locked", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many at once", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response, Problem> {
    let (person, session) = app.door.sign_in(&body.name, Zeroizing::new(body.password)).await?;
    // A session that the browser brought along never becomes the new one.
    if let Some(old) = token(&app, &headers) {
        app.door.sessions().end(old);
    }
    let state = app.record.state();
    let view = view(&state, person).ok_or_else(Problem::not_signed_in)?;
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    response
        .headers_mut()
        .insert(header::SET_COOKIE, cookie(&app, &session)?);
    Ok(response)
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses(
    (status = 200, body = SessionView), (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn who(caller: Caller) -> Result<Json<SessionView>, Problem> {
    view(&caller.state, caller.person)
        .map(Json)
        .ok_or_else(Problem::not_signed_in)
}

/// Sign out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204, description = "The session ended")))]
pub(super) async fn sign_out(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(token) = token(&app, &headers) {
        app.door.sessions().end(token);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, no_cookie(&app)?);
    Ok(response)
}

fn view(state: &Folded, person: custody_shared::id::PersonId) -> Option<SessionView> {
    let found = state.person(person)?;
    Some(SessionView {
        person: PersonView {
            id: person.to_string(),
            name: found.display.clone(),
        },
        grade: found.grade.to_string(),
    })
}

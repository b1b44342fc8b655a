//! The pages: HTML that works without script, except the player. Forms post here and call the same acts as the API.

mod bars;
mod cameras;
mod export;
mod frame;
mod new_request;
mod request;
mod requests;
mod sign_in;
mod viewer;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use custody_shared::id::RequestId;

use super::app::App;
use super::caller::{Caller, caller, language};
use super::problem::Problem;
use super::text::Text;
use crate::access::{Action, Resource};
use frame::Frame;

pub(super) fn router(_app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/", get(start))
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/language", post(sign_in::language))
        .route("/cameras", get(cameras::page))
        .route("/requests", get(requests::page).post(new_request::submit))
        .route("/requests/new", get(new_request::page))
        .route("/requests/{request}", get(request::page))
        .route("/requests/{request}/decision", post(request::decide))
        .route("/requests/{request}/view", get(viewer::page))
        .route("/requests/{request}/export", post(export::begin))
        .route("/exports/{export}", get(export::page))
}

/// The first page: requests for whoever has to do with them, cameras for whoever looks after those.
async fn start(State(app): State<Arc<App>>, caller: Caller) -> Redirect {
    Redirect::to(if reads(&app, &caller) { "/requests" } else { "/cameras" })
}

/// Whether somebody has to do with requests at all.
fn reads(app: &App, caller: &Caller) -> bool {
    let own = Resource::Request {
        request: RequestId::from_bytes([0; 16]),
        requester: caller.person,
    };
    caller.could(app, Action::ReadRequest, own)
}

/// A template as an answer.
fn render(page: &impl askama::Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|error| Problem::internal("draw a page", error))?;
    Ok(Html(text).into_response())
}

/// A form whose faults are problems. Fields may repeat, as boxes of one name do.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value of a field; empty where there is none.
    fn one(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// Every value of a field.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Form(pairs) = axum::Form::<Vec<(String, String)>>::from_request(request, state).await?;
        Ok(Self(pairs))
    }
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        let mut problem = Self::malformed("The form's fields cannot be read.");
        problem.status = rejection.status();
        problem
    }
}

/// Gives people a page where programs get problem details: outside `/api` and the other machine routes. Whoever is not signed
/// in is asked to, and comes back to where they were.
pub(super) async fn html_for_people(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let machine = ["/api/", "/ledger/", "/assets/", "/healthz", "/metrics"]
        .iter()
        .any(|prefix| path.starts_with(prefix));
    let (headers, method) = (request.headers().clone(), request.method().clone());
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let response = next.run(request).await;
    let Some(problem) = response
        .extensions()
        .get::<Arc<Problem>>()
        .cloned()
        .filter(|_| !machine)
    else {
        return response;
    };
    let caller = caller(&app, &headers);
    if problem.status == StatusCode::UNAUTHORIZED && caller.is_none() {
        let back = if method == Method::GET { target.as_str() } else { "/" };
        return Redirect::to(&format!("/sign-in?back={}", escape(back))).into_response();
    }
    let t = Text::of(language(&app, caller.as_ref().map(|caller| caller.person), &headers));
    let frame = Frame::new(&app, caller.as_ref(), t, "", &target);
    let page = problem_page(frame, &problem);
    match render(&page) {
        Ok(mut page) => {
            *page.status_mut() = problem.status;
            if let Some(wait) = response.headers().get(header::RETRY_AFTER) {
                page.headers_mut().insert(header::RETRY_AFTER, wait.clone());
            }
            page
        }
        Err(_) => response,
    }
}

#[derive(askama::Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    f: Frame,
    title: String,
    detail: String,
    remedy: String,
    rule: Option<String>,
}

fn problem_page(f: Frame, problem: &Problem) -> ProblemPage {
    let t = f.t;
    let own = format!("problem-{}", problem.kind);
    let title = if t.has(&own) {
        t.get(&own)
    } else {
        t.get("problem-other")
    };
    let remedy = match problem.kind {
        "not-found" => t.get("check-address"),
        "refused" => t.get("ask-other-grade"),
        "ledger-unwritable" | "internal" => t.get("tell-administrator"),
        _ => String::new(),
    };
    ProblemPage {
        title,
        detail: words(t, problem),
        remedy,
        rule: problem.rule.clone(),
        f,
    }
}

/// What a problem says in the reader's language: the rule's words, the kind's, or the English detail.
fn words(t: Text, problem: &Problem) -> String {
    let by_rule = problem.rule.as_ref().map(|rule| format!("rule-{rule}"));
    let by_kind = format!("problem-{}-detail", problem.kind);
    match by_rule {
        Some(id) if t.has(&id) => t.get(&id),
        _ if t.has(&by_kind) => t.get(&by_kind),
        _ => problem.detail.clone(),
    }
}

/// Percent-encodes what goes into a query.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Where to go after an act: an address of ours, never another site's.
fn back(given: &str) -> &str {
    let ours =
        given.starts_with('/') && !given.starts_with("//") && !given.contains(['\\', '\n', '\r']) && given.len() <= 512;
    if ours { given } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_stays_here() {
        for (given, expected) in [
            ("/requests/1?x=2", "/requests/1?x=2"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(back(given), expected);
        }
    }
}

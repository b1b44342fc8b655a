//! Who is asking: the session cookie, and the person behind it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use custody_shared::id::PersonId;

use super::app::App;
use super::problem::Problem;
use super::text::Language;
use crate::access::session::SessionToken;
use crate::access::{Action, Context, Permit, Principal, Resource, decide};
use crate::config::WebTls;
use crate::record::State;

/// Set by pages that refresh themselves: such a request does not keep a session alive.
const LIVE: &str = "x-custody-live";

/// A signed-in person, with the state as of the request.
pub(super) struct Caller {
    pub(super) person: PersonId,
    pub(super) principal: Principal,
    pub(super) state: Arc<State>,
}

impl Caller {
    /// Asks the access rules; a refusal is a row before it is an answer.
    pub(super) async fn may(&self, app: &App, action: Action, what: Resource<'_>) -> Result<Permit, Problem> {
        match decide(&self.principal, action, what, Context { now: app.now() }) {
            Ok(permit) => Ok(permit),
            Err(refusal) => Err(app.refuse(self.person, refusal).await),
        }
    }

    /// Whether the rules would allow it, for what a page offers.
    pub(super) fn could(&self, app: &App, action: Action, what: Resource<'_>) -> bool {
        decide(&self.principal, action, what, Context { now: app.now() }).is_ok()
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        caller(app, &parts.headers).ok_or_else(Problem::not_signed_in)
    }
}

/// The person behind the cookie, if its session lives and the account is open.
pub(super) fn caller(app: &App, headers: &HeaderMap) -> Option<Caller> {
    let token = token(app, headers)?;
    let sessions = app.door.sessions();
    let person = if headers.contains_key(LIVE) {
        sessions.peek(token, app.now())
    } else {
        sessions.touch(token, app.now())
    }?;
    let state = app.record.state();
    let principal = state.person(person).filter(|person| person.active)?.principal();
    Some(Caller {
        person,
        principal,
        state,
    })
}

/// The session id that the request carries.
pub(super) fn token<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Over TLS the prefix keeps anybody but this host from setting it.
fn cookie_name(app: &App) -> &'static str {
    if app.config.web.tls == WebTls::None {
        "custody"
    } else {
        "__Host-custody"
    }
}

/// The cookie of a new session.
pub(super) fn cookie(app: &App, token: &SessionToken) -> Result<HeaderValue, Problem> {
    write_cookie(app, token.reveal(), "")
}

/// The cookie that ends one.
pub(super) fn no_cookie(app: &App) -> Result<HeaderValue, Problem> {
    write_cookie(app, "", "; Max-Age=0")
}

fn write_cookie(app: &App, value: &str, life: &str) -> Result<HeaderValue, Problem> {
    let secure = if app.config.web.tls == WebTls::None {
        ""
    } else {
        "; Secure"
    };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{life}",
        cookie_name(app)
    );
    let mut header = HeaderValue::try_from(text).map_err(|error| Problem::internal("write a cookie", error))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The language of an answer: the person's choice, then the browser's, then the site's.
pub(super) fn language(app: &App, person: Option<PersonId>, headers: &HeaderMap) -> Language {
    person
        .and_then(|person| app.language_of(person))
        .or_else(|| {
            headers
                .get(header::ACCEPT_LANGUAGE)
                .and_then(|value| value.to_str().ok())
                .and_then(Language::accepted)
        })
        .unwrap_or(app.config.site.language)
}

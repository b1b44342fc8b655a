//! Signing in and out, and the language.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::{Language, Text};
use super::frame::Frame;
use super::{Fields, back, render, words};
use crate::web::api::Query;

#[derive(askama::Template)]
#[template(path = "sign_in.html")]
struct Page {
    f: Frame,
    message: Option<String>,
    name: String,
    back: String,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    lang: Option<String>,
    back: Option<String>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let language = asked
        .lang
        .as_deref()
        .and_then(Language::from_tag)
        .unwrap_or_else(|| caller::language(&app, None, &headers));
    let f = Frame::new(&app, None, Text::of(language), "", "/sign-in");
    render(&Page {
        f,
        message: None,
        name: String::new(),
        back: back(asked.back.as_deref().unwrap_or("/")).to_owned(),
    })
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let language = Language::from_tag(fields.one("language")).unwrap_or(app.config.site.language);
    let t = Text::of(language);
    let password = Zeroizing::new(fields.one("password").to_owned());
    match app.door.sign_in(fields.one("name"), password).await {
        Ok((person, session)) => {
            // A session that the browser brought along never becomes the new one.
            if let Some(old) = caller::token(&app, &headers) {
                app.door.sessions().end(old);
            }
            app.choose_language(person, language);
            let mut response = Redirect::to(back(fields.one("back"))).into_response();
            response
                .headers_mut()
                .insert(header::SET_COOKIE, caller::cookie(&app, &session)?);
            Ok(response)
        }
        Err(error) => {
            let problem = Problem::from(error);
            problem.report();
            let f = Frame::new(&app, None, t, "", "/sign-in");
            let page = Page {
                f,
                message: Some(words(t, &problem)),
                name: fields.one("name").chars().take(64).collect(),
                back: back(fields.one("back")).to_owned(),
            };
            let mut response = render(&page)?;
            *response.status_mut() = if problem.status == StatusCode::UNAUTHORIZED {
                StatusCode::FORBIDDEN
            } else {
                problem.status
            };
            Ok(response)
        }
    }
}

pub(super) async fn sign_out(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(token) = caller::token(&app, &headers) {
        app.door.sessions().end(token);
    }
    let mut response = Redirect::to("/sign-in").into_response();
    response
        .headers_mut()
        .insert(header::SET_COOKIE, caller::no_cookie(&app)?);
    Ok(response)
}

pub(super) async fn language(State(app): State<Arc<App>>, caller: Caller, fields: Fields) -> Redirect {
    if let Some(language) = Language::from_tag(fields.one("language")) {
        app.choose_language(caller.person, language);
    }
    Redirect::to(back(fields.one("back")))
}

//! Pages and API: the only part that speaks HTTP with people.
//!
//! In scope: routes, sessions' cookies, problems, words, what a page shows. Out of scope: deciding who may do what (`access`),
//! writing rows (`record`), opening footage (`retrieval`). A page's form and the API call the same acts.

pub mod api;
mod app;
mod assets;
mod caller;
pub mod guard;
pub mod metrics;
mod pages;
pub mod problem;
mod refused;
pub mod serve;
pub mod text;
mod when;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;

pub use app::{App, AppParts};

/// Every route behind the guard.
pub fn router(app: Arc<App>, guard: Arc<guard::Guard>) -> Router {
    Router::new()
        .merge(api::router(&app))
        .merge(pages::router(&app))
        .merge(assets::router())
        .with_state(Arc::clone(&app))
        .fallback(|| async { problem::Problem::not_found("address") })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), pages::html_for_people))
        .layer(middleware::from_fn_with_state(app, metrics::count))
        .layer(DefaultBodyLimit::max(guard::BODY_LIMIT))
        .layer(middleware::from_fn_with_state(guard, guard::guard))
}

//! One error type for pages and API: RFC 9457 problem details.
//!
//! What the client reads (`detail`, `remedy`) and what the log reads (`log`) are separate: the client never learns paths,
//! addresses or inner errors, the log never gets names or footage times.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, as an API client or a page tells it. Boxed, so that a result holding one stays small.
#[derive(Debug, Clone)]
pub struct Problem(Box<Facts>);

/// The facts of a problem.
#[derive(Debug, Clone)]
pub struct Facts {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable kebab-case name; clients compare it, pages translate it.
    pub kind: &'static str,
    /// Short English summary of the kind.
    pub title: &'static str,
    /// What happened this time.
    pub detail: String,
    /// What the reader can do.
    pub remedy: String,
    /// The access rule that refused, where one did.
    pub rule: Option<String>,
    /// For the log alone.
    pub log: Option<String>,
}

/// The body of a problem, media type `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:custody:problem:…`, stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:custody:problem:not-found")]
    kind: String,
    /// Summary of the type.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// What the reader can do about it.
    remedy: String,
    /// The access rule that refused, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl std::ops::Deref for Problem {
    type Target = Facts;
    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0
    }
}

impl Problem {
    /// A problem of a kind that has no constructor of its own.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self(Box::new(Facts {
            status,
            kind,
            title,
            detail: detail.into(),
            remedy: remedy.into(),
            rule: None,
            log: None,
        }))
    }

    /// Names the access rule that refused.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Adds what only the log may read.
    #[must_use]
    pub fn log(mut self, error: impl std::fmt::Display) -> Self {
        self.log = Some(error.to_string());
        self
    }

    /// 401: no session, or one that ended.
    pub fn not_signed_in() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "not-signed-in",
            "Not signed in",
            "There is no session, or it ended.",
            "Sign in: POST /api/v1/session with name and password.",
        )
    }

    /// 404, said alike of what does not exist and of what the caller may not know of.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Not found",
            format!("There is no such {what}, or you may not know of it."),
            "Check the address.",
        )
    }

    /// 400: the request cannot be understood.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "Malformed request",
            detail,
            "Compare the request with /api/v1/openapi.json.",
        )
    }

    /// 422: understood, but a value cannot be accepted.
    pub fn unacceptable(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unacceptable",
            "Value not acceptable",
            detail,
            remedy,
        )
    }

    /// 409: not in this state.
    pub fn conflict(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "Not possible in this state",
            detail,
            remedy,
        )
    }

    /// 403: an access rule refused.
    pub fn refused(rule: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "refused",
            "Refused by the access rules",
            detail,
            "Ask somebody whose grade allows it; the rule is named.",
        )
        .rule(rule)
    }

    /// 503: the record cannot be written, so nothing is released.
    pub fn ledger_unwritable(error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ledger-unwritable",
            "The ledger cannot be written",
            "Every release is recorded before it happens, and the ledger cannot be written now: nothing is decrypted, nothing is decided.",
            "Tell the administrator: check free space and the state of the ledger's disk; the server recovers by itself.",
        )
        .log(error)
    }

    /// 500: a fault of ours. The detail goes to the log.
    pub fn internal(step: &'static str, error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Fault in the server",
            format!("The server failed to {step}."),
            "Try again; if it stays, tell the administrator the time of this answer.",
        )
        .log(error)
    }

    /// The JSON body.
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:custody:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            remedy: self.remedy.clone(),
            rule: self.rule.clone(),
        }
    }

    /// Writes what belongs into the log, once, at the edge.
    pub fn report(&self) {
        if let Some(log) = &self.log {
            if self.status.is_server_error() {
                tracing::error!(kind = self.kind, "{log}");
            } else {
                tracing::info!(kind = self.kind, "{log}");
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.report();
        let mut response = (self.status, Json(self.body())).into_response();
        // Pages turn it into HTML on the way out.
        response.extensions_mut().insert(Arc::new(self.clone()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_is_problem_json_and_keeps_the_log_to_itself() {
        let problem = Problem::internal("read a tile", "/data/ledger/tile: permission denied").rule("own-request");
        let response = problem.into_response();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["type"], "urn:custody:problem:internal");
        assert_eq!(value["rule"], "own-request");
        assert!(!value.to_string().contains("permission"));
    }
}

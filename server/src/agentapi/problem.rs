//! Errors as RFC 9457 problem details, with what an agent needs to go on.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// How many bytes of an upload are here.
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// A refused request.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Last part of the problem's type.
    kind: &'static str,
    /// For the agent's log and its operator.
    detail: String,
    offset: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            offset: None,
        }
    }

    pub(super) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn no_certificate() -> Self {
        let detail = "a client certificate is required; join first with `custody-agent join`";
        Self::new(StatusCode::UNAUTHORIZED, "no-certificate", detail)
    }

    pub(super) fn revoked() -> Self {
        let detail = "this certificate was revoked; ask for a new token and join again";
        Self::new(StatusCode::FORBIDDEN, "revoked", detail)
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:custody:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(offset) = self.offset {
            headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        }
        response
    }
}

//! What every request passes before a handler sees it, and what every answer carries.
//!
//! - The `Host` must be one of ours, or a page elsewhere could reach a loopback server by a name it controls.
//! - An unsafe method must come from our own pages: `Sec-Fetch-Site`, else `Origin`. A client that sends neither is no
//!   browser, so no browser's cookie can be abused through it.
//! - Every answer forbids caching unless its handler said otherwise, framing, sniffing and any foreign source.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Body bytes that any request may carry; forms and JSON are far smaller.
pub const BODY_LIMIT: usize = 64 * 1024;
/// Time for an answer to begin. Media wait for a camera's upload within it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// The settings of the guard.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Host names that count, lower case, without port.
    pub hosts: Vec<String>,
    /// Whether the pages are served over TLS.
    pub tls: bool,
}

impl Guard {
    /// Whether `host` (with or without port) is ours.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => host.rsplit_once(':').map_or(host, |(name, port)| {
                if port.bytes().all(|b| b.is_ascii_digit()) {
                    name
                } else {
                    host
                }
            }),
        };
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Refuses what did not come to one of our names, or changes something from a foreign page.
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let host = text(headers, &header::HOST).unwrap_or_default();
        if !self.knows(host) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong-host",
                "Not a name of this server",
                "The Host of the request is not one this server answers to.",
                "Use a name listed under [web] hosts in the settings, or add it there.",
            ));
        }
        if method.is_safe() {
            return Ok(());
        }
        let same = match (
            text(headers, &HeaderName::from_static("sec-fetch-site")),
            text(headers, &header::ORIGIN),
        ) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin
                .split_once("://")
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host)),
            (None, None) => true,
        };
        if same {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "cross-site",
                "Sent by another site",
                "A page of another site tried to act here in your name.",
                "Open this server's own pages and act there.",
            )
            .rule("same-origin"))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The middleware around everything.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let docs = request.uri().path().starts_with("/api/docs");
    let mut response = match guard.check(request.method(), request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "too-slow",
                "No answer in time",
                format!("No answer within {} s.", ANSWER_TIMEOUT.as_secs()),
                "Try again; if it is about footage, look whether the camera is online.",
            )
            .into_response(),
        },
    };
    add_headers(response.headers_mut(), guard.tls, docs);
    response
}

/// Pages get nothing from elsewhere, no inline script, no inline style; `blob:` is the player's media source.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";
/// The API browser sets styles on elements; its scripts are files all the same.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

fn add_headers(headers: &mut HeaderMap, tls: bool, docs: bool) {
    let fixed = [
        ("content-security-policy", if docs { DOCS_POLICY } else { POLICY }),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=(), display-capture=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(method: Method, pairs: &[(&'static str, &'static str)]) -> &'static str {
        let guard = Guard {
            hosts: vec!["localhost".into(), "::1".into()],
            tls: false,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        guard
            .check(&method, &headers)
            .map_or_else(|problem| problem.kind, |()| "passed")
    }

    #[test]
    fn only_our_own_pages_and_clients_without_a_browser_may_act() {
        for (name, method, headers, expected) in [
            ("reading", Method::GET, &[("host", "localhost:8080")][..], "passed"),
            ("ipv6", Method::GET, &[("host", "[::1]:8080")], "passed"),
            ("rebound name", Method::GET, &[("host", "evil.example")], "wrong-host"),
            ("no host", Method::GET, &[], "wrong-host"),
            (
                "link from elsewhere",
                Method::GET,
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
                "passed",
            ),
            (
                "own form",
                Method::POST,
                &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
                "passed",
            ),
            (
                "foreign form",
                Method::POST,
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
                "cross-site",
            ),
            (
                "other port",
                Method::POST,
                &[("host", "localhost"), ("sec-fetch-site", "same-site")],
                "cross-site",
            ),
            (
                "old browser, own",
                Method::POST,
                &[("host", "localhost:8080"), ("origin", "http://localhost:8080")],
                "passed",
            ),
            (
                "old browser, foreign",
                Method::POST,
                &[("host", "localhost:8080"), ("origin", "http://localhost:81")],
                "cross-site",
            ),
            (
                "sandboxed frame",
                Method::POST,
                &[("host", "localhost"), ("origin", "null")],
                "cross-site",
            ),
            ("a script's client", Method::POST, &[("host", "localhost")], "passed"),
            (
                "deleting too",
                Method::DELETE,
                &[("host", "localhost"), ("origin", "http://evil.example")],
                "cross-site",
            ),
        ] {
            assert_eq!(outcome(method, headers), expected, "{name}");
        }
    }
}

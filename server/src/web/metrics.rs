//! `/metrics`: counters in the Prometheus text format. No label holds a name, a camera or anything a person typed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;

/// Answers by route and status class.
#[derive(Debug, Default)]
pub struct Counters {
    answers: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Counters {
    fn add(&self, route: &str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((route.to_owned(), status)).or_default() += 1;
    }

    /// The counters as text.
    pub fn text(&self) -> String {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::from(
            "# HELP custody_http_answers_total Answers by route and status.\n# TYPE custody_http_answers_total counter\n",
        );
        for ((route, status), count) in &*answers {
            let _ = writeln!(
                out,
                "custody_http_answers_total{{route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        out
    }
}

/// Counts an answer under its route's pattern, never under the address itself.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", |path| path.as_str())
        .to_owned();
    let response = next.run(request).await;
    app.counters.add(&route, response.status().as_u16());
    response
}

/// One value as Prometheus reads it.
pub fn gauge(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

/// One counter as Prometheus reads it.
pub fn counter(out: &mut String, name: &str, value: u64) {
    let _ = writeln!(out, "# TYPE {name} counter\n{name} {value}");
}

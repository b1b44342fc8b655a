//! How refusals and failures of the record are told.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::access::{Refusal, Rule};
use crate::record::RecordError;

/// `message; remedy` as the parts write it, taken apart.
fn split(message: &str) -> (String, String) {
    let (detail, remedy) = message.split_once("; ").unwrap_or((
        message,
        "Change what the rule names, or ask somebody whose grade allows it.",
    ));
    let sentence = |text: &str| {
        let mut letters = text.trim().chars();
        let text: String = letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect())
            .unwrap_or_default();
        if text.ends_with('.') || text.is_empty() {
            text
        } else {
            text + "."
        }
    };
    (sentence(detail), sentence(remedy))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (detail, remedy) = split(&refusal.message);
        let status = StatusCode::from_u16(refusal.rule.status()).unwrap_or(StatusCode::FORBIDDEN);
        let (kind, title) = match (refusal.rule, status.as_u16()) {
            (Rule::SignIn, _) => ("sign-in-refused", "Sign-in refused"),
            (_, 401) => ("not-signed-in", "Not signed in"),
            (_, 404) => ("not-found", "Not found"),
            (_, 409) => ("conflict", "Not possible in this state"),
            (_, 422) => ("unacceptable", "Value not acceptable"),
            (_, 429) => ("too-many", "Too many at once"),
            _ => ("refused", "Refused by the access rules"),
        };
        Self::new(status, kind, title, detail, remedy).rule(refusal.rule.word())
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Refused(refusal) => refusal.into(),
            RecordError::Ledger(error) => Self::ledger_unwritable(error),
            RecordError::Stopping => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "The server is stopping",
                "The server is stopping; nothing was done.",
                "Try again when it runs.",
            ),
            other => Self::internal("read its record", other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_rule_and_status_and_says_what_helps() {
        let problem = Problem::from(Refusal::new(
            Rule::OwnRequest,
            "nobody decides their own request; ask another manager",
        ));
        assert_eq!(
            (problem.status.as_u16(), problem.kind, problem.rule.as_deref()),
            (403, "refused", Some("own-request"))
        );
        assert_eq!(
            (problem.detail.as_str(), problem.remedy.as_str()),
            ("Nobody decides their own request.", "Ask another manager.")
        );
    }

    #[test]
    fn every_rule_has_words_on_the_pages() {
        for language in super::super::text::Language::ALL {
            let text = super::super::text::Text::of(language);
            for rule in Rule::ALL {
                assert!(text.has(&format!("rule-{rule}")), "{language:?} lacks rule-{rule}");
            }
        }
    }
}

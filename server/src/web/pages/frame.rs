//! What every page has around its content.

use super::super::app::App;
use super::super::caller::Caller;
use super::super::text::{Language, Text};

/// What every page has around its content.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) t: Text,
    pub(super) site: String,
    pub(super) zone: String,
    pub(super) person: Option<FramePerson>,
    pub(super) here: &'static str,
    pub(super) path: String,
    pub(super) languages: [(&'static str, &'static str); 2],
}

/// Who is signed in.
#[derive(Clone)]
pub(super) struct FramePerson {
    pub(super) name: String,
    pub(super) grade_key: &'static str,
    /// Whether requests are offered at all.
    pub(super) reads: bool,
}

impl Frame {
    pub(super) fn new(app: &App, caller: Option<&Caller>, t: Text, here: &'static str, path: &str) -> Self {
        use crate::access::Grade;
        let state = app.record.state();
        let person = caller
            .and_then(|caller| caller.state.person(caller.person))
            .map(|person| FramePerson {
                name: person.display.clone(),
                reads: caller.is_some_and(|caller| super::reads(app, caller)),
                grade_key: match person.grade {
                    Grade::Asks => "grade-asks",
                    Grade::Decides => "grade-decides",
                    Grade::Administers => "grade-administers",
                },
            });
        Self {
            t,
            site: app.config.site.name.clone(),
            zone: state
                .site()
                .map_or_else(|| "UTC".to_owned(), |site| site.zone_name.clone()),
            person,
            here,
            path: path.to_owned(),
            languages: Language::ALL.map(|language| (language.tag(), language.name())),
        }
    }
}

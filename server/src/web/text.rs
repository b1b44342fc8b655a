//! The words of the pages: one Fluent catalogue per language in `locales/`, embedded.

use std::fmt;
use std::sync::OnceLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

/// A language the pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// 한국어
    Ko,
    /// English
    En,
}

impl Language {
    /// Every language, in the order of the switch.
    pub const ALL: [Self; 2] = [Self::Ko, Self::En];

    /// From a language tag such as `ko` or `en-GB`; `None` where it is not offered.
    pub fn from_tag(tag: &str) -> Option<Self> {
        match tag.split(['-', '_']).next()?.to_ascii_lowercase().as_str() {
            "ko" => Some(Self::Ko),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// The tag for `lang` attributes.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Ko => "ko",
            Self::En => "en",
        }
    }

    /// Its own name for itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ko => "한국어",
            Self::En => "English",
        }
    }

    /// The first offered language of an `Accept-Language` header, by weight; at most sixteen entries are looked at.
    pub fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(Self, f32)> = None;
        for entry in header.split(',').take(16) {
            let (tag, weight) = match entry.split_once(";q=") {
                Some((tag, weight)) => (tag, weight.trim().parse().unwrap_or(0.0)),
                None => (entry, 1.0),
            };
            if let Some(language) = Self::from_tag(tag.trim())
                && weight > 0.0
                && best.is_none_or(|(_, seen)| weight > seen)
            {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }
}

/// The catalogue of one language, as templates use it.
#[derive(Clone, Copy)]
pub struct Text {
    language: Language,
    bundle: &'static FluentBundle<FluentResource>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

const KO: &str = include_str!("../../locales/ko.ftl");
const EN: &str = include_str!("../../locales/en.ftl");

fn bundle(language: Language) -> &'static FluentBundle<FluentResource> {
    static BUNDLES: OnceLock<[FluentBundle<FluentResource>; 2]> = OnceLock::new();
    let load = |tag: &str, source: &str| {
        // A fault in a catalogue is a fault of the build; a test loads both.
        let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        let mut bundle = FluentBundle::new_concurrent(vec![tag.parse().unwrap_or_default()]);
        bundle.set_use_isolating(false);
        bundle.add_resource_overriding(resource);
        bundle
    };
    let bundles = BUNDLES.get_or_init(|| [load("ko", KO), load("en", EN)]);
    match language {
        Language::Ko => &bundles[0],
        Language::En => &bundles[1],
    }
}

impl Text {
    /// The catalogue of `language`.
    pub fn of(language: Language) -> Self {
        Self {
            language,
            bundle: bundle(language),
        }
    }

    /// The language.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The `lang` attribute.
    pub fn tag(&self) -> &'static str {
        self.language.tag()
    }

    /// A message without arguments; a missing one shows its own id, and a test keeps that from happening.
    pub fn get(&self, id: &str) -> String {
        self.format(id, None)
    }

    /// A message with one argument.
    pub fn with<'a>(&self, id: &str, name: &str, value: impl Into<FluentValue<'a>>) -> String {
        let mut arguments = FluentArgs::new();
        arguments.set(name.to_owned(), value);
        self.format(id, Some(&arguments))
    }

    /// A message with two arguments.
    pub fn with2<'a>(
        &self,
        id: &str,
        first: (&str, impl Into<FluentValue<'a>>),
        second: (&str, impl Into<FluentValue<'a>>),
    ) -> String {
        let mut arguments = FluentArgs::new();
        arguments.set(first.0.to_owned(), first.1);
        arguments.set(second.0.to_owned(), second.1);
        self.format(id, Some(&arguments))
    }

    /// Whether the catalogue has the message.
    pub fn has(&self, id: &str) -> bool {
        self.bundle.has_message(id)
    }

    fn format(&self, id: &str, arguments: Option<&FluentArgs<'_>>) -> String {
        let Some(pattern) = self.bundle.get_message(id).and_then(|message| message.value()) else {
            return id.to_owned();
        };
        let mut errors = Vec::new();
        self.bundle.format_pattern(pattern, arguments, &mut errors).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(source: &str) -> BTreeSet<String> {
        source
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(" =").map(|(id, _)| id.to_owned()))
            .collect()
    }

    #[test]
    fn both_catalogues_parse_and_have_the_same_messages() {
        for source in [KO, EN] {
            if let Err((_, errors)) = FluentResource::try_new(source.to_owned()) {
                panic!("{errors:?}");
            }
        }
        let (ko, en) = (ids(KO), ids(EN));
        assert_eq!(
            ko.difference(&en).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "missing in en.ftl"
        );
        assert_eq!(
            en.difference(&ko).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "missing in ko.ftl"
        );
    }

    #[test]
    fn every_message_that_a_template_names_exists() {
        let known = ids(EN);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let source = std::fs::read_to_string(&path).unwrap();
            for part in ["t.get(\"", "t.with(\"", "t.with2(\""] {
                for rest in source.split(part).skip(1) {
                    let id = rest.split('"').next().unwrap();
                    if id.ends_with('-') {
                        continue;
                    }
                    assert!(
                        known.contains(id),
                        "{} names {id}, which no catalogue has",
                        path.display()
                    );
                    seen += 1;
                }
            }
        }
        assert!(
            seen > 50,
            "the search found only {seen} messages; did the templates' way of naming them change?"
        );
    }

    #[test]
    fn the_language_follows_the_browser_by_weight() {
        for (header, expected) in [
            ("ko-KR,ko;q=0.9,en;q=0.8", Some(Language::Ko)),
            ("fr,en;q=0.5,ko;q=0.4", Some(Language::En)),
            ("fr", None),
            ("en;q=0", None),
            ("", None),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }
}

//! Numbers that law or policy sets, as dated configuration: never literals in code.
//!
//! A rule set is a list of versions, each in force from a day. Which numbers apply to an act follows from
//! the local day on which the act happened, so replaying the record years later gives the same answer.

use std::collections::BTreeMap;

use custody_shared::time::UtcMicros;
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::days;

/// The day number of bodies that are never purged: the last one a ledger takes.
pub const FOREVER: u32 = 999_999;

/// What a row's body is kept for; the key of the `keep` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetentionClass {
    /// Sign-ins, refusals: what handlers did with the system.
    HandlerAccess,
    /// Who held which grade when.
    GrantHistory,
    /// Who checked which kind of identity document, and the result.
    IdentityCheck,
    /// A complaint's or objection's file.
    Complaint,
    /// Web logs of data subjects.
    SubjectWebLog,
    /// The register of personal video information: requests, decisions, releases, destructions.
    Register,
    /// Rows without personal data from which the site's state is folded.
    Standing,
}

impl RetentionClass {
    /// Every class; a rule set must name each of them.
    pub const ALL: [Self; 7] = [
        Self::HandlerAccess,
        Self::GrantHistory,
        Self::IdentityCheck,
        Self::Complaint,
        Self::SubjectWebLog,
        Self::Register,
        Self::Standing,
    ];
}

/// A calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Calendar days.
    Days(u16),
    /// Calendar months.
    Months(u16),
    /// Calendar years.
    Years(u16),
    /// Never purged.
    Forever,
}

impl std::str::FromStr for Period {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let bad = || RulesError::Period(text.chars().take(32).collect());
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let (number, unit) = text.split_once(' ').ok_or_else(bad)?;
        let number: u16 = number.parse().map_err(|_| bad())?;
        match unit {
            "day" | "days" => Ok(Self::Days(number)),
            "month" | "months" => Ok(Self::Months(number)),
            "year" | "years" => Ok(Self::Years(number)),
            _ => Err(bad()),
        }
    }
}

/// One version of the rules, validated.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// First local day on which this version applies.
    pub effective_on: Date,
    /// Name quoted in refusals and on pages.
    pub name: String,
    /// Days footage is kept, counted from the filming day.
    pub footage_days: u16,
    /// Days for which public keys are laid ahead.
    pub keys_ahead_days: u16,
    /// Days a reserve key stays usable after the keys laid ahead end.
    pub reserve_days: u16,
    /// Days within which a request is answered.
    pub answer_days: u16,
    /// Days a grant may be used after the decision.
    pub grant_days: u16,
    /// Minutes of viewing from the first play.
    pub play_minutes: u32,
    /// Minutes of opening one intent row covers.
    pub intent_minutes: u32,
    /// Longest window one request may ask for, in hours.
    pub request_window_hours: u32,
    /// Days until a password must be renewed.
    pub password_days: u16,
    /// Failures after which a name is locked.
    pub lockout_failures: u32,
    /// Minutes a lock lasts.
    pub lockout_minutes: u32,
    /// Hours a join token lives.
    pub join_token_hours: u32,
    keep: BTreeMap<RetentionClass, Period>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    version: Vec<RawVersion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVersion {
    effective_on: String,
    name: String,
    footage_days: u16,
    keys_ahead_days: u16,
    reserve_days: u16,
    answer_days: u16,
    grant_days: u16,
    play_minutes: u32,
    intent_minutes: u32,
    request_window_hours: u32,
    password_days: u16,
    lockout_failures: u32,
    lockout_minutes: u32,
    join_token_hours: u32,
    keep: BTreeMap<RetentionClass, String>,
}

/// Why a rule file is refused.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not TOML, or a key unknown or missing.
    #[error("rule file: {0}; compare it with the shipped one")]
    Syntax(String),
    /// A period in another form.
    #[error("rule file: {0:?} is no period; write \"<n> days\", \"<n> months\", \"<n> years\" or \"forever\"")]
    Period(String),
    /// A day in another form.
    #[error("rule file: {0:?} is no day; write it as 2026-01-31")]
    Day(String),
    /// No version, or versions out of order.
    #[error("rule file: versions must be in the order of effective_on, at least one")]
    Order,
    /// A retention class without a period.
    #[error("rule file: version {0} names no period for {1:?}")]
    Missing(String, RetentionClass),
    /// A number outside its limits.
    #[error("rule file: version {0}: {1} is out of range")]
    Range(String, &'static str),
}

/// Every version of the rules, in order.
#[derive(Debug, Clone)]
pub struct Rules {
    versions: Vec<RuleSet>,
}

impl Rules {
    /// The rules shipped for the Republic of Korea.
    #[must_use]
    pub fn kr() -> Self {
        Self::parse(include_str!("kr.toml")).expect("the shipped rules are tested")
    }

    /// Reads a rule file.
    ///
    /// # Errors
    /// [`RulesError`] names what is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let raw: RawRules = toml::from_str(text).map_err(|error| RulesError::Syntax(error.message().to_owned()))?;
        let versions = raw
            .version
            .into_iter()
            .map(RuleSet::validate)
            .collect::<Result<Vec<_>, _>>()?;
        if versions.is_empty() || !versions.is_sorted_by(|a, b| a.effective_on < b.effective_on) {
            return Err(RulesError::Order);
        }
        Ok(Self { versions })
    }

    /// The version in force on a local day; the first one for days before it.
    #[must_use]
    pub fn on(&self, day: Date) -> &RuleSet {
        self.versions
            .iter()
            .rev()
            .find(|version| version.effective_on <= day)
            .unwrap_or(&self.versions[0])
    }

    /// The version in force at an instant in a zone.
    #[must_use]
    pub fn at(&self, at: UtcMicros, zone: &TimeZone) -> &RuleSet {
        self.on(days::local_day(at, zone))
    }
}

impl RuleSet {
    fn validate(raw: RawVersion) -> Result<Self, RulesError> {
        let effective_on = raw
            .effective_on
            .parse()
            .map_err(|_| RulesError::Day(raw.effective_on.clone()))?;
        let name = raw.name;
        let within = |what, ok: bool| {
            if ok {
                Ok(())
            } else {
                Err(RulesError::Range(name.clone(), what))
            }
        };
        within("footage_days", (1..=3660).contains(&raw.footage_days))?;
        within("keys_ahead_days", (1..=366).contains(&raw.keys_ahead_days))?;
        within("reserve_days", (1..=3660).contains(&raw.reserve_days))?;
        within("answer_days", (1..=366).contains(&raw.answer_days))?;
        within("grant_days", (1..=366).contains(&raw.grant_days))?;
        within("play_minutes", (1..=1440).contains(&raw.play_minutes))?;
        within("intent_minutes", (1..=10).contains(&raw.intent_minutes))?;
        within("request_window_hours", (1..=744).contains(&raw.request_window_hours))?;
        within("password_days", (1..=3660).contains(&raw.password_days))?;
        within("lockout_failures", (1..=100).contains(&raw.lockout_failures))?;
        within("lockout_minutes", (1..=1440).contains(&raw.lockout_minutes))?;
        within("join_token_hours", (1..=168).contains(&raw.join_token_hours))?;
        let mut keep = BTreeMap::new();
        for class in RetentionClass::ALL {
            let text = raw
                .keep
                .get(&class)
                .ok_or_else(|| RulesError::Missing(name.clone(), class))?;
            keep.insert(class, text.parse()?);
        }
        Ok(Self {
            effective_on,
            footage_days: raw.footage_days,
            keys_ahead_days: raw.keys_ahead_days,
            reserve_days: raw.reserve_days,
            answer_days: raw.answer_days,
            grant_days: raw.grant_days,
            play_minutes: raw.play_minutes,
            intent_minutes: raw.intent_minutes,
            request_window_hours: raw.request_window_hours,
            password_days: raw.password_days,
            lockout_failures: raw.lockout_failures,
            lockout_minutes: raw.lockout_minutes,
            join_token_hours: raw.join_token_hours,
            keep,
            name,
        })
    }

    /// The period of a class.
    #[must_use]
    pub fn keep(&self, class: RetentionClass) -> Period {
        self.keep[&class]
    }

    /// The day (days since 1970-01-01) on which a body written on `day` is purged: the first day after its
    /// period has passed in full. [`FOREVER`] means never.
    #[must_use]
    pub fn purge_day(&self, class: RetentionClass, day: Date) -> u32 {
        let span = match self.keep(class) {
            Period::Days(n) => Span::new().days(n),
            Period::Months(n) => Span::new().months(n),
            Period::Years(n) => Span::new().years(n),
            Period::Forever => return FOREVER,
        };
        // Adding to 29 February lands on the 28th; the day after is never earlier than the full period.
        let last = day.saturating_add(span);
        days::number(last.saturating_add(Span::new().days(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn each_class_is_purged_on_its_own_day_and_not_before() {
        let rules = Rules::kr();
        let cases = [
            (RetentionClass::HandlerAccess, date(2026, 11, 22), date(2028, 11, 23)),
            (RetentionClass::GrantHistory, date(2026, 11, 22), date(2029, 11, 23)),
            (RetentionClass::IdentityCheck, date(2026, 8, 31), date(2027, 3, 1)),
            (RetentionClass::Complaint, date(2024, 2, 29), date(2027, 3, 1)),
            (RetentionClass::SubjectWebLog, date(2026, 11, 30), date(2027, 3, 1)),
            (RetentionClass::Register, date(2026, 1, 1), date(2029, 1, 2)),
        ];
        for (class, written, purged) in cases {
            assert_eq!(
                rules.on(written).purge_day(class, written),
                days::number(purged),
                "{class:?}"
            );
        }
        assert_eq!(
            rules
                .on(date(2026, 1, 1))
                .purge_day(RetentionClass::Standing, date(2026, 1, 1)),
            FOREVER
        );
    }

    #[test]
    fn the_version_follows_the_day() {
        let first = include_str!("kr.toml");
        let second = first
            .replace("2020-01-01", "2027-01-01")
            .replace("footage_days = 30", "footage_days = 20");
        let rules = Rules::parse(&format!("{first}\n{second}")).unwrap();
        assert_eq!(rules.on(date(2026, 12, 31)).footage_days, 30);
        assert_eq!(rules.on(date(2027, 1, 1)).footage_days, 20);
    }

    #[test]
    fn flawed_files_are_refused() {
        let good = include_str!("kr.toml");
        let cases = [
            ("no version", String::new()),
            ("unknown key", format!("{good}\nsurprise = 1")),
            ("missing class", good.replace("register = \"3 years\"", "")),
            ("period without unit", good.replace("3 years", "3")),
            ("zero days", good.replace("footage_days = 30", "footage_days = 0")),
            ("versions out of order", format!("{good}\n{good}")),
            ("no such day", good.replace("2020-01-01", "2020-02-30")),
        ];
        for (flaw, text) in cases {
            assert!(Rules::parse(&text).is_err(), "{flaw}");
        }
    }
}

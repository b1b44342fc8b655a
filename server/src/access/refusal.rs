//! Refusals: each names the rule that refused, in a word that later versions keep.

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal => $status:literal),+ $(,)?) => {
        /// A rule that refuses. Its word is stable: rows, problem details and tests carry it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Rule { $($(#[$doc])* #[serde(rename = $word)] $variant),+ }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The rule's word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The HTTP status that fits a refusal by this rule.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }
        }
    };
}

rules! {
    /// The account was closed.
    AccountClosed = "account-closed" => 403,
    /// The grade does not carry the act.
    GradeMayNot = "grade-may-not" => 403,
    /// Nobody decides their own request.
    OwnRequest = "own-request" => 403,
    /// Nobody changes their own grade or account.
    OwnAccount = "own-account" => 403,
    /// Someone else's request, grant or export; answered like one that does not exist.
    NotYours = "not-yours" => 404,
    /// There is no such thing.
    Unknown = "unknown" => 404,
    /// The act does not follow from the present state.
    IllegalTransition = "illegal-transition" => 409,
    /// The name, slot or id is taken.
    Taken = "taken" => 409,
    /// A text or number outside its limits.
    Malformed = "malformed" => 422,
    /// A resident registration number is never stored.
    ResidentNumber = "resident-number" => 422,
    /// A ground from the list is required.
    GroundRequired = "ground-required" => 422,
    /// The ground does not carry this kind of request.
    GroundDoesNotCarry = "ground-does-not-carry" => 422,
    /// Provision needs agency, officer and document.
    RecipientRequired = "recipient-required" => 422,
    /// The window is longer than one request may ask for.
    WindowTooLong = "window-too-long" => 422,
    /// The window ends in the future.
    WindowInFuture = "window-in-future" => 422,
    /// The footage's day has passed.
    AlreadyDestroyed = "already-destroyed" => 422,
    /// This version does not serve this kind of request.
    KindNotServed = "kind-not-served" => 422,
    /// A part must be smaller than the whole and lie inside it.
    NotAPart = "not-a-part" => 422,
    /// Such a camera may not exist.
    ProhibitedPlace = "prohibited-place" => 422,
    /// Cameras in private rooms need consent sessions, which this version does not have.
    PrivatePlace = "private-place" => 422,
    /// The grant's time has not come.
    GrantNotYet = "grant-not-yet" => 403,
    /// The grant's time has passed.
    GrantExpired = "grant-expired" => 403,
    /// The minutes counted from the first play have passed.
    MinutesUsed = "minutes-used" => 403,
    /// The grant was ended.
    GrantEnded = "grant-ended" => 403,
    /// The camera or time lies outside the grant.
    OutsideGrant = "outside-grant" => 403,
    /// The grant allows viewing only.
    ViewOnly = "view-only" => 403,
    /// The token is unknown, spent or expired.
    TokenInvalid = "token-invalid" => 401,
    /// The token has no free slot for this camera.
    SlotTaken = "slot-taken" => 409,
    /// Name or password wrong, or the name is locked.
    SignIn = "sign-in" => 401,
    /// Too many at once.
    TooMany = "too-many" => 429,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// An act that is not allowed: by which rule, of what, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {message}")]
pub struct Refusal {
    /// The rule that refused.
    pub rule: Rule,
    /// What the person is told. Holds nothing that they typed.
    pub message: String,
    /// The act, as a word for the record.
    pub act: &'static str,
    /// Its subject, an id or a word; never a name.
    pub subject: String,
}

impl Refusal {
    /// A refusal by a rule with a message for the person.
    #[must_use]
    pub fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            act: "",
            subject: String::new(),
        }
    }

    /// The same refusal, of an act.
    #[must_use]
    pub fn of(mut self, act: &'static str, subject: impl std::fmt::Display) -> Self {
        self.act = act;
        self.subject = subject.to_string();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_statuses_are_errors() {
        let words: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.word()).collect();
        assert_eq!(words.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert!((400..500).contains(&rule.status()), "{rule}");
        }
    }
}

//! The vocabulary of cases: kinds, grounds, verdicts. Written kebab-case in rows and on the wire.

use serde::{Deserialize, Serialize};

macro_rules! term {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in the order of the register's forms.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in rows, addresses and messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.word() == text).ok_or(UnknownWord {
                    what: stringify!($name),
                    words: &[$($text),+],
                })
            }
        }
    };
}

/// A word outside its list; the message names the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: unknown word; use one of {words:?}")]
pub struct UnknownWord {
    what: &'static str,
    words: &'static [&'static str],
}

term!(
    /// What a request asks for.
    RequestKind {
        /// To see or receive footage.
        Reading = "reading",
        /// Whether footage of somebody exists.
        Existence = "existence",
        /// To have footage deleted.
        Deletion = "deletion",
        /// To have processing stopped.
        Suspension = "suspension",
        /// To hand footage to a third party.
        Provision = "provision",
        /// Use inside the site for the purpose the cameras serve.
        Internal = "internal",
    }
);

term!(
    /// Why a request may be made at all.
    RequestGround {
        /// The requester, or whom they represent, is in the picture.
        OwnImage = "own-image",
        /// Clear and urgent need of life, body or property.
        UrgentNeed = "urgent-need",
        /// Consent of the persons filmed.
        Consent = "consent",
        /// Another law, such as a warrant or a court's order.
        OtherLaw = "other-law",
        /// Urgent public safety.
        PublicSafety = "public-safety",
        /// Preventing and investigating crime, as the camera's purpose says.
        CrimePrevention = "crime-prevention",
        /// Safety of the facility and fire prevention, as the camera's purpose says.
        FacilitySafety = "facility-safety",
    }
);

impl RequestGround {
    /// Whether this ground carries a request of this kind.
    #[must_use]
    pub const fn carries(self, kind: RequestKind) -> bool {
        match kind {
            RequestKind::Reading | RequestKind::Existence => matches!(self, Self::OwnImage | Self::UrgentNeed),
            RequestKind::Deletion | RequestKind::Suspension => matches!(self, Self::OwnImage),
            RequestKind::Provision => {
                matches!(
                    self,
                    Self::Consent | Self::OtherLaw | Self::UrgentNeed | Self::PublicSafety
                )
            }
            RequestKind::Internal => matches!(self, Self::CrimePrevention | Self::FacilitySafety),
        }
    }
}

term!(
    /// Why a request is refused. "Others are visible" is no ground: they are masked.
    RefusalGround {
        /// A law forbids it.
        LawForbids = "law-forbids",
        /// It would harm another person's life, body, property or interests.
        HarmsAnother = "harms-another",
        /// The footage's day has passed.
        AlreadyDestroyed = "already-destroyed",
        /// The requester could not be identified.
        NotIdentified = "not-identified",
        /// The requester is not the person in the picture and has no other ground.
        NotTheSubject = "not-the-subject",
        /// A law requires the footage to be kept.
        StatutoryRetention = "statutory-retention",
        /// It would obstruct an investigation.
        ObstructsInvestigation = "obstructs-investigation",
    }
);

term!(
    /// What a place is, which decides what its camera may do.
    LocationClass {
        /// Corridor, entry.
        Open = "open",
        /// Waiting room.
        Waiting = "waiting",
        /// Consultation room: films only under consent, not in the default profile.
        Private = "private",
        /// Toilet, changing room, operating room: never.
        Prohibited = "prohibited",
    }
);

term!(
    /// Where a request stands.
    RequestState {
        /// Filed, waiting for a decision.
        Received = "received",
        /// Everything asked for was granted.
        Approved = "approved",
        /// A smaller window or fewer cameras were granted.
        PartlyApproved = "partly-approved",
        /// Refused with a ground.
        Refused = "refused",
        /// Taken back by the requester.
        Withdrawn = "withdrawn",
    }
);

impl RequestState {
    /// The states a request may go to from here.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Received => &[Self::Approved, Self::PartlyApproved, Self::Refused, Self::Withdrawn],
            Self::Approved | Self::PartlyApproved | Self::Refused | Self::Withdrawn => &[],
        }
    }
}

term!(
    /// What a row says of a release or an export that ended.
    Outcome {
        /// Everything intended was opened.
        Completed = "completed",
        /// Opened in part: the reader stopped.
        Stopped = "stopped",
        /// Nothing or not everything could be opened.
        Failed = "failed",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for kind in RequestKind::ALL {
            assert_eq!(kind.word().parse(), Ok(*kind));
        }
        for ground in RefusalGround::ALL {
            assert_eq!(ground.word().parse(), Ok(*ground));
        }
        let error = "others-visible".parse::<RefusalGround>().unwrap_err().to_string();
        assert!(error.contains("law-forbids"), "{error}");
    }

    #[test]
    fn every_kind_has_a_ground_and_every_ground_a_kind() {
        for kind in RequestKind::ALL {
            assert!(RequestGround::ALL.iter().any(|ground| ground.carries(*kind)), "{kind}");
        }
        for ground in RequestGround::ALL {
            assert!(RequestKind::ALL.iter().any(|kind| ground.carries(*kind)), "{ground}");
        }
    }
}

//! The one place that allows or refuses.

use custody_shared::id::{CameraId, GrantId, PersonId, RequestId};
use custody_shared::time::{TimeRange, UtcMicros};

use super::{Grade, Refusal, Rule};

/// Who acts: a person whose account is open, as the record has them now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The person.
    pub person: PersonId,
    /// Their grade.
    pub grade: Grade,
    /// Whether the account is open.
    pub active: bool,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// What somebody wants to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $variant),+ }

        impl Action {
            /// Every action; the matrix test walks it.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word the record uses.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

actions! {
    /// Names and places of cameras.
    ListCameras = "list-cameras",
    /// Kept ranges and gaps, to the second.
    SeeCoverage = "see-coverage",
    /// Fault words and days of supply, by the day.
    SeeHealth = "see-health",
    /// Add or change a camera.
    ConfigureCamera = "configure-camera",
    /// Issue a token with which an agent joins.
    IssueJoinToken = "issue-join-token",
    /// End a camera's certificate.
    RevokeCertificate = "revoke-certificate",
    /// File a request.
    FileRequest = "file-request",
    /// Read a request and what came of it.
    ReadRequest = "read-request",
    /// Take a request back.
    WithdrawRequest = "withdraw-request",
    /// Decide a request.
    DecideRequest = "decide-request",
    /// Watch under a grant.
    Play = "play",
    /// Prepare a copy under a grant.
    Export = "export",
    /// End a grant before its time.
    EndGrant = "end-grant",
    /// Read the register of everybody's requests.
    ReadRegister = "read-register",
    /// Read checkpoints and tiles, which hold no personal data.
    ReadLedger = "read-ledger",
    /// Add, change or close accounts.
    ManagePeople = "manage-people",
}

/// What an action is about, with the facts that rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The whole site.
    Site,
    /// A camera.
    Camera(CameraId),
    /// A request.
    Request {
        /// Its id.
        request: RequestId,
        /// Who filed it.
        requester: PersonId,
    },
    /// A grant, and the part of it that is wanted.
    Grant(GrantFacts<'a>),
    /// An account.
    Person(PersonId),
}

/// The facts of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantFacts<'a> {
    /// Its id.
    pub grant: GrantId,
    /// Who may use it.
    pub viewer: PersonId,
    /// Whether it allows a copy.
    pub copy: bool,
    /// Its cameras.
    pub cameras: &'a [CameraId],
    /// Its window of footage.
    pub range: TimeRange,
    /// First instant of use.
    pub not_before: UtcMicros,
    /// End of use.
    pub not_after: UtcMicros,
    /// End of the minutes, once playing began.
    pub minutes_end: Option<UtcMicros>,
    /// Whether it was ended.
    pub ended: bool,
    /// Camera and window wanted now; `None` asks for the grant as a whole.
    pub wanted: Option<(CameraId, TimeRange)>,
}

/// Circumstances of the act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// When.
    pub now: UtcMicros,
}

/// Proof that [`decide`] allowed an action. Only `decide` makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    person: PersonId,
    action: Action,
}

impl Permit {
    /// Who was allowed.
    #[must_use]
    pub fn person(&self) -> PersonId {
        self.person
    }

    /// What was allowed.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }
}

/// Allows or refuses an action.
///
/// # Errors
/// A [`Refusal`] with the rule, the act and its subject.
pub fn decide(who: &Principal, action: Action, what: Resource<'_>, context: Context) -> Result<Permit, Refusal> {
    let subject = subject_of(&what);
    check(who, action, what, context)
        .map(|()| Permit {
            person: who.person,
            action,
        })
        .map_err(|refusal| refusal.of(action.word(), subject))
}

/// Whether a grade carries an action at all. Every pair that is not listed is refused.
const fn carries(grade: Grade, action: Action) -> bool {
    use Action as A;
    match grade {
        Grade::Asks => matches!(
            action,
            A::ListCameras
                | A::SeeCoverage
                | A::FileRequest
                | A::ReadRequest
                | A::WithdrawRequest
                | A::Play
                | A::Export
                | A::ReadLedger
        ),
        Grade::Decides => matches!(
            action,
            A::ListCameras
                | A::SeeCoverage
                | A::SeeHealth
                | A::FileRequest
                | A::ReadRequest
                | A::WithdrawRequest
                | A::DecideRequest
                | A::Play
                | A::Export
                | A::EndGrant
                | A::ReadRegister
                | A::ReadLedger
                | A::ManagePeople
        ),
        // No coverage, no cases, no footage: nothing from which presence could be told. No accounts either,
        // since whoever makes accounts could make one that watches.
        Grade::Administers => matches!(
            action,
            A::ListCameras
                | A::SeeHealth
                | A::ConfigureCamera
                | A::IssueJoinToken
                | A::RevokeCertificate
                | A::ReadLedger
        ),
    }
}

fn check(who: &Principal, action: Action, what: Resource<'_>, context: Context) -> Result<(), Refusal> {
    if !who.active {
        return Err(Refusal::new(
            Rule::AccountClosed,
            "this account is closed; ask a manager",
        ));
    }
    if !carries(who.grade, action) {
        let message = format!("an account that {} may not {}", who.grade, action.word());
        return Err(Refusal::new(Rule::GradeMayNot, message));
    }
    match (action, what) {
        (
            Action::ListCameras
            | Action::SeeCoverage
            | Action::SeeHealth
            | Action::ConfigureCamera
            | Action::IssueJoinToken
            | Action::RevokeCertificate
            | Action::FileRequest,
            Resource::Site | Resource::Camera(_),
        )
        | (Action::ReadRegister | Action::ReadLedger, Resource::Site)
        | (Action::EndGrant, Resource::Grant(_)) => Ok(()),
        (Action::ReadRequest, Resource::Request { requester, .. }) => {
            if requester == who.person || who.grade == Grade::Decides {
                Ok(())
            } else {
                Err(not_yours("request"))
            }
        }
        (Action::WithdrawRequest, Resource::Request { requester, .. }) => {
            if requester == who.person {
                Ok(())
            } else {
                Err(not_yours("request"))
            }
        }
        (Action::DecideRequest, Resource::Request { requester, .. }) => {
            if requester == who.person {
                Err(Refusal::new(
                    Rule::OwnRequest,
                    "nobody decides their own request; ask another manager",
                ))
            } else {
                Ok(())
            }
        }
        (Action::Play, Resource::Grant(grant)) => usable(who, &grant, context.now),
        (Action::Export, Resource::Grant(grant)) => {
            usable(who, &grant, context.now)?;
            if grant.copy {
                Ok(())
            } else {
                Err(Refusal::new(
                    Rule::ViewOnly,
                    "this grant allows viewing; file a request for a copy",
                ))
            }
        }
        (Action::ManagePeople, Resource::Site) => Ok(()),
        (Action::ManagePeople, Resource::Person(person)) => {
            if person == who.person {
                Err(Refusal::new(
                    Rule::OwnAccount,
                    "nobody changes their own account; ask another manager",
                ))
            } else {
                Ok(())
            }
        }
        // An action on a kind of thing it does not apply to.
        _ => Err(Refusal::new(
            Rule::GradeMayNot,
            format!("{} does not apply here", action.word()),
        )),
    }
}

fn usable(who: &Principal, grant: &GrantFacts<'_>, now: UtcMicros) -> Result<(), Refusal> {
    if grant.viewer != who.person {
        return Err(not_yours("grant"));
    }
    if grant.ended {
        return Err(Refusal::new(
            Rule::GrantEnded,
            "this grant was ended; file a new request",
        ));
    }
    if now < grant.not_before {
        return Err(Refusal::new(
            Rule::GrantNotYet,
            format!("this grant begins at {}", grant.not_before),
        ));
    }
    if now >= grant.not_after {
        return Err(Refusal::new(
            Rule::GrantExpired,
            format!("this grant ended at {}; file a new request", grant.not_after),
        ));
    }
    if grant.minutes_end.is_some_and(|end| now >= end) {
        return Err(Refusal::new(
            Rule::MinutesUsed,
            "the minutes counted from the first play have passed; file a new request",
        ));
    }
    if let Some((camera, range)) = grant.wanted
        && (!grant.cameras.contains(&camera) || range.start() < grant.range.start() || range.end() > grant.range.end())
    {
        return Err(Refusal::new(
            Rule::OutsideGrant,
            "this camera or time is not part of the grant",
        ));
    }
    Ok(())
}

/// The same words as for what does not exist.
fn not_yours(kind: &str) -> Refusal {
    Refusal::new(Rule::NotYours, format!("there is no such {kind}"))
}

fn subject_of(what: &Resource<'_>) -> String {
    match what {
        Resource::Site => "site".to_owned(),
        Resource::Camera(camera) => format!("camera {camera}"),
        Resource::Request { request, .. } => format!("request {request}"),
        Resource::Grant(facts) => format!("grant {}", facts.grant),
        Resource::Person(person) => format!("person {person}"),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

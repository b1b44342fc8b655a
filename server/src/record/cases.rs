//! Acts on cases: filing, withdrawing, deciding, releasing, exporting.
//!
//! Each act asks `access::decide`, checks what was typed, and commits the rows that say what happened. Nothing
//! else in the server writes these rows.

use custody_shared::grant::{Form, Grant};
use custody_shared::hash::Sha256Hash;
use custody_shared::id::{CameraId, ExportId, GrantId, PersonId, RequestId};
use custody_shared::time::{TimeRange, UtcMicros};

use super::row::{Actor, Recipient, ReleaseUse, Row, Verdict};
use super::rules::RuleSet;
use super::state::{GrantRecord, State};
use super::store::{Record, RecordError};
use super::terms::{Outcome, RequestGround, RequestKind, RequestState};
use super::text::{self, TextError};
use super::{days, fold};
use crate::access::{Action, Context, Principal, Refusal, Resource, Rule, decide};

/// Cameras one request may name.
pub const MAX_CAMERAS: usize = 64;
/// Characters of a purpose.
pub const PURPOSE_CHARS: usize = 512;
/// Characters of a note.
pub const NOTE_CHARS: usize = 1024;
/// A browser's clock may be this far ahead of the server's when it says "until now".
const AHEAD_US: i64 = 60_000_000;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

/// A request as typed.
#[derive(Debug, Clone)]
pub struct RequestDraft {
    /// What it asks for.
    pub kind: RequestKind,
    /// Cameras; doubles are dropped.
    pub cameras: Vec<CameraId>,
    /// Window of footage.
    pub range: TimeRange,
    /// What for.
    pub purpose: String,
    /// On which ground.
    pub ground: RequestGround,
    /// A copy, or viewing alone.
    pub copy: bool,
    /// For a provision.
    pub recipient: Option<Recipient>,
}

/// A decision as typed.
#[derive(Debug, Clone)]
pub struct DecisionDraft {
    /// The verdict; `None` stands for a refusal without a ground from the list, which is refused itself.
    pub verdict: Option<Verdict>,
    /// Further words.
    pub note: String,
}

/// A release that may begin: rows of the grant and of the intent, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intended {
    /// Row of the grant.
    pub grant_row: u64,
    /// Row of the intent.
    pub intent_row: u64,
    /// Good until.
    pub until: UtcMicros,
}

impl Record {
    /// Files a request.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn file_request(&self, person: PersonId, draft: RequestDraft) -> Result<RequestId, RecordError> {
        let rules = self.rules().clone();
        let decide = |state: &State, now: UtcMicros| file(state, rules.at(now, &state.zone()), person, now, draft);
        Ok(self.commit(Actor::Person(person), decide).await?.value)
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn withdraw_request(&self, person: PersonId, request: RequestId) -> Result<(), RecordError> {
        self.commit(Actor::Person(person), |state, now| {
            allowed_on_request(state, person, request, Action::WithdrawRequest, now)?;
            Ok((vec![Row::RequestWithdrawn { request }], ()))
        })
        .await?;
        Ok(())
    }

    /// Decides a request; an approval issues the grant in the same commit.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn decide_request(
        &self,
        person: PersonId,
        request: RequestId,
        draft: DecisionDraft,
    ) -> Result<Option<GrantId>, RecordError> {
        let rules = self.rules().clone();
        let decide =
            |state: &State, now: UtcMicros| resolve(state, rules.at(now, &state.zone()), person, request, now, draft);
        Ok(self.commit(Actor::Person(person), decide).await?.value)
    }

    /// Ends a grant before its time.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn end_grant(&self, person: PersonId, grant: GrantId, reason: &str) -> Result<(), RecordError> {
        self.commit(Actor::Person(person), |state, now| {
            let who = principal(state, person)?;
            let record = state.grant(grant).ok_or_else(|| fold::unknown("grant"))?;
            decide(
                &who,
                Action::EndGrant,
                Resource::Grant(record.facts(None)),
                Context { now },
            )?;
            let reason = typed(text::checked(reason, NOTE_CHARS), "the reason", "end-grant")?;
            Ok((vec![Row::GrantEnded { grant, reason }], ()))
        })
        .await?;
        Ok(())
    }

    /// Writes the intent to open footage of one camera. When this returns, the intent is durable and under a
    /// signed checkpoint; only then can evidence of it make the keyholder open anything.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule; [`RecordError::Ledger`] when the record cannot be written.
    pub async fn intend_release(
        &self,
        person: PersonId,
        grant: GrantId,
        camera: CameraId,
        range: TimeRange,
        purpose: ReleaseUse,
    ) -> Result<Intended, RecordError> {
        let rules = self.rules().clone();
        let committed = self
            .commit(Actor::Person(person), |state, now| {
                let action = match purpose {
                    ReleaseUse::View => Action::Play,
                    ReleaseUse::Export(_) => Action::Export,
                };
                let (record, _) = allowed_on_grant(state, person, grant, Some((camera, range)), action, now)?;
                let minutes = i64::from(rules.at(now, &state.zone()).intent_minutes);
                let until = intent_end(record, purpose, minutes, now);
                let row = Row::ReleaseIntended {
                    grant,
                    camera,
                    range,
                    purpose,
                    until,
                };
                Ok((vec![row], (record.row, until)))
            })
            .await?;
        let (grant_row, until) = committed.value;
        let intent_row = committed.rows.first().copied().ok_or(RecordError::Stopping)?;
        Ok(Intended {
            grant_row,
            intent_row,
            until,
        })
    }

    /// Writes what came of intents, together.
    ///
    /// # Errors
    /// [`RecordError`]; the caller keeps the outcomes and tries again.
    pub async fn finish_releases(&self, ended: Vec<(u64, u32, u64, Outcome)>) -> Result<(), RecordError> {
        self.commit(Actor::System, |state, _| {
            // An intent whose end is recorded already was reported twice; the first report stands.
            let rows = ended
                .into_iter()
                .filter(|(intent, ..)| state.open_release(*intent).is_some())
                .map(|(intent, segments, bytes, outcome)| Row::ReleaseDone {
                    intent,
                    segments,
                    bytes,
                    outcome,
                })
                .collect();
            Ok((rows, ()))
        })
        .await?;
        Ok(())
    }

    /// Writes the intent to prepare a copy.
    ///
    /// # Errors
    /// [`RecordError::Refused`] with the rule.
    pub async fn intend_export(&self, person: PersonId, grant: GrantId) -> Result<ExportId, RecordError> {
        let export = ExportId::random();
        self.commit(Actor::Person(person), |state, now| {
            allowed_on_grant(state, person, grant, None, Action::Export, now)?;
            Ok((vec![Row::ExportIntended { export, grant }], ()))
        })
        .await?;
        Ok(export)
    }

    /// Writes what came of an export.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn finish_export(
        &self,
        export: ExportId,
        outcome: Outcome,
        bytes: u64,
        sha256: Option<Sha256Hash>,
    ) -> Result<(), RecordError> {
        self.commit(Actor::System, |_, _| {
            Ok((
                vec![Row::ExportDone {
                    export,
                    outcome,
                    bytes,
                    sha256,
                }],
                (),
            ))
        })
        .await?;
        Ok(())
    }
}

/// A person as somebody who acts.
///
/// # Errors
/// [`Refusal`] for unknown people.
pub fn principal(state: &State, person: PersonId) -> Result<Principal, Refusal> {
    state
        .person(person)
        .map(super::state::Person::principal)
        .ok_or_else(|| fold::unknown("account"))
}

/// Whether a person may act on a request; the request.
///
/// # Errors
/// [`Refusal`] with the rule.
pub fn allowed_on_request(
    state: &State,
    person: PersonId,
    request: RequestId,
    action: Action,
    now: UtcMicros,
) -> Result<&super::state::FootageRequest, Refusal> {
    let who = principal(state, person)?;
    let found = state.request(request).ok_or_else(|| {
        Refusal::new(Rule::NotYours, "there is no such request").of(action.word(), format!("request {request}"))
    })?;
    decide(
        &who,
        action,
        Resource::Request {
            request,
            requester: found.requester,
        },
        Context { now },
    )?;
    Ok(found)
}

/// Whether a person may act under a grant, and on which part of it; the grant.
///
/// # Errors
/// [`Refusal`] with the rule.
pub fn allowed_on_grant(
    state: &State,
    person: PersonId,
    grant: GrantId,
    wanted: Option<(CameraId, TimeRange)>,
    action: Action,
    now: UtcMicros,
) -> Result<(&GrantRecord, crate::access::Permit), Refusal> {
    let who = principal(state, person)?;
    let found = state.grant(grant).ok_or_else(|| {
        Refusal::new(Rule::NotYours, "there is no such grant").of(action.word(), format!("grant {grant}"))
    })?;
    let permit = decide(&who, action, Resource::Grant(found.facts(wanted)), Context { now })?;
    Ok((found, permit))
}

fn intent_end(record: &GrantRecord, purpose: ReleaseUse, minutes: i64, now: UtcMicros) -> UtcMicros {
    let mut until = now
        .get()
        .saturating_add(minutes * MINUTE_US)
        .min(record.grant.not_after.get());
    if purpose == ReleaseUse::View {
        let first = record.first_play.unwrap_or(now);
        let end = first
            .get()
            .saturating_add(i64::from(record.grant.play_minutes) * MINUTE_US);
        until = until.min(end);
    }
    UtcMicros::new(until)
}

fn file(
    state: &State,
    rules: &RuleSet,
    person: PersonId,
    now: UtcMicros,
    draft: RequestDraft,
) -> Result<(Vec<Row>, RequestId), Refusal> {
    let who = principal(state, person)?;
    let act = Action::FileRequest.word();
    decide(&who, Action::FileRequest, Resource::Site, Context { now })?;
    let refuse = |rule, message: String| Err(Refusal::new(rule, message).of(act, "site"));
    if matches!(draft.kind, RequestKind::Deletion | RequestKind::Suspension) {
        return refuse(
            Rule::KindNotServed,
            format!("requests for {} are not served by this version", draft.kind),
        );
    }
    if !draft.ground.carries(draft.kind) {
        let legal: Vec<_> = RequestGround::ALL
            .iter()
            .filter(|ground| ground.carries(draft.kind))
            .map(|ground| ground.word())
            .collect();
        return refuse(
            Rule::GroundDoesNotCarry,
            format!(
                "{} carries no request for {}; its grounds are: {}",
                draft.ground,
                draft.kind,
                legal.join(", ")
            ),
        );
    }
    let recipient = match (draft.kind, draft.recipient) {
        (RequestKind::Provision, None) => {
            return refuse(
                Rule::RecipientRequired,
                "a provision needs agency, officer and document number".to_owned(),
            );
        }
        (RequestKind::Provision, Some(given)) => Some(Recipient {
            agency: typed(text::checked(&given.agency, 128), "the agency", act)?,
            officer: typed(text::checked(&given.officer, 128), "the officer", act)?,
            document: typed(text::checked(&given.document, 128), "the document number", act)?,
        }),
        _ => None,
    };
    let purpose = typed(text::checked(&draft.purpose, PURPOSE_CHARS), "the purpose", act)?;
    let mut cameras = draft.cameras;
    cameras.sort_unstable();
    cameras.dedup();
    if cameras.is_empty() || cameras.len() > MAX_CAMERAS {
        return refuse(Rule::Malformed, format!("name 1 to {MAX_CAMERAS} cameras"));
    }
    if cameras.iter().any(|camera| state.camera(*camera).is_none()) {
        return refuse(Rule::Unknown, "there is no such camera".to_owned());
    }
    let length = draft.range.end().get().saturating_sub(draft.range.start().get());
    if length > i64::from(rules.request_window_hours) * HOUR_US {
        let hours = rules.request_window_hours;
        return refuse(
            Rule::WindowTooLong,
            format!("one request asks for at most {hours} hours; shorten the window"),
        );
    }
    if draft.range.end().get() > now.get().saturating_add(AHEAD_US) || draft.range.start() >= now {
        return refuse(Rule::WindowInFuture, "the window must end before now".to_owned());
    }
    let zone = state.zone();
    let last_day = days::local_day(UtcMicros::new(draft.range.end().get() - 1), &zone);
    if days::end_after(last_day, u32::from(rules.footage_days), &zone) <= now {
        let message = format!(
            "footage is kept for {} days; this window's day has passed",
            rules.footage_days
        );
        return refuse(Rule::AlreadyDestroyed, message);
    }
    let request = RequestId::random();
    let row = Row::RequestFiled {
        request,
        kind: draft.kind,
        requester: person,
        cameras,
        range: draft.range,
        purpose,
        ground: draft.ground,
        copy: draft.copy,
        recipient,
        due: days::end_after(days::local_day(now, &zone), u32::from(rules.answer_days), &zone),
    };
    Ok((vec![row], request))
}

fn resolve(
    state: &State,
    rules: &RuleSet,
    person: PersonId,
    request: RequestId,
    now: UtcMicros,
    draft: DecisionDraft,
) -> Result<(Vec<Row>, Option<GrantId>), Refusal> {
    let act = Action::DecideRequest.word();
    let asked = allowed_on_request(state, person, request, Action::DecideRequest, now)?;
    let refuse = |rule, message: &str| Err(Refusal::new(rule, message).of(act, format!("request {request}")));
    if asked.state != RequestState::Received {
        return refuse(
            Rule::IllegalTransition,
            &format!("the request is {}; from there it goes to: nothing", asked.state),
        );
    }
    let note = typed(text::optional(&draft.note, NOTE_CHARS), "the note", act)?;
    let Some(verdict) = draft.verdict else {
        return refuse(
            Rule::GroundRequired,
            "a refusal needs a ground from the list; words alone are not enough",
        );
    };
    let mut rows = Vec::with_capacity(2);
    let (cameras, range, verdict) = match verdict {
        Verdict::Refuse { .. } => {
            rows.push(Row::RequestDecided { request, verdict, note });
            return Ok((rows, None));
        }
        Verdict::Approve => (asked.cameras.clone(), asked.range, Verdict::Approve),
        Verdict::ApproveInPart { mut cameras, range } => {
            cameras.sort_unstable();
            cameras.dedup();
            let inside = !cameras.is_empty()
                && cameras.iter().all(|camera| asked.cameras.contains(camera))
                && range.start() >= asked.range.start()
                && range.end() <= asked.range.end();
            if !inside || (cameras == asked.cameras && range == asked.range) {
                return refuse(
                    Rule::NotAPart,
                    "a part has fewer cameras or a shorter window, and nothing that was not asked for",
                );
            }
            (cameras.clone(), range, Verdict::ApproveInPart { cameras, range })
        }
    };
    rows.push(Row::RequestDecided { request, verdict, note });
    // Whether somebody is in the picture is answered in words; no footage is released for it.
    if asked.kind == RequestKind::Existence {
        return Ok((rows, None));
    }
    let grant = Grant {
        id: GrantId::random(),
        request,
        form: if asked.copy { Form::Copy } else { Form::View },
        purpose: asked.purpose.clone(),
        cameras,
        range,
        viewer: asked.requester,
        not_before: now,
        not_after: UtcMicros::new(now.get().saturating_add(i64::from(rules.grant_days) * 24 * HOUR_US)),
        play_minutes: rules.play_minutes,
    };
    let id = grant.id;
    rows.push(Row::GrantIssued { grant });
    Ok((rows, Some(id)))
}

/// Turns a text error into a refusal that names the field.
pub(super) fn typed(text: Result<String, TextError>, field: &str, act: &'static str) -> Result<String, Refusal> {
    text.map_err(|error| {
        let rule = if error == TextError::ResidentNumber {
            Rule::ResidentNumber
        } else {
            Rule::Malformed
        };
        Refusal::new(rule, format!("{field} {error}")).of(act, "site")
    })
}

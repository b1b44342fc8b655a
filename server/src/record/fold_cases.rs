//! Rows about requests, grants, releases and exports.

use std::sync::Arc;

use custody_shared::time::UtcMicros;

use super::fold::{FoldError, add, change, illegal, unknown};
use super::row::{Actor, Entry, ReleaseUse, Row, Verdict};
use super::state::{Decision, ExportRecord, FootageRequest, GrantRecord, OpenRelease, State};
use super::terms::RequestState;
use crate::access::{Refusal, Rule};

const DAY_US: i64 = 86_400_000_000;

pub(super) fn fold(state: &mut State, index: u64, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    match &entry.row {
        Row::RequestFiled {
            request,
            kind,
            requester,
            cameras,
            range,
            purpose,
            ground,
            copy,
            recipient,
            due,
        } => {
            if entry.actor != Actor::Person(*requester) {
                return Err(illegal("a request is filed by its requester"));
            }
            if cameras.is_empty() || cameras.iter().any(|camera| !state.cameras.contains_key(camera)) {
                return Err(unknown("camera"));
            }
            let filed = FootageRequest {
                id: *request,
                number: state.requests.len() as u64 + 1,
                kind: *kind,
                requester: *requester,
                cameras: cameras.clone(),
                range: *range,
                purpose: purpose.clone(),
                ground: *ground,
                copy: *copy,
                recipient: recipient.clone(),
                filed_at: at,
                due: *due,
                state: RequestState::Received,
                decision: None,
                grant: None,
            };
            add(&mut state.requests, *request, filed, "request")
        }
        Row::RequestWithdrawn { request } => {
            let request = change(&mut state.requests, request, "request")?;
            if entry.actor != Actor::Person(request.requester) {
                return Err(illegal("a request is taken back by its requester"));
            }
            go(request, RequestState::Withdrawn)
        }
        Row::RequestDecided { request, verdict, note } => {
            let Actor::Person(by) = entry.actor else {
                return Err(illegal("a request is decided by a person"));
            };
            let request = change(&mut state.requests, request, "request")?;
            if by == request.requester {
                return Err(Refusal::new(
                    Rule::OwnRequest,
                    "nobody decides their own request; ask another manager",
                ));
            }
            go(
                request,
                match verdict {
                    Verdict::Approve => RequestState::Approved,
                    Verdict::ApproveInPart { .. } => RequestState::PartlyApproved,
                    Verdict::Refuse { .. } => RequestState::Refused,
                },
            )?;
            request.decision = Some(Decision {
                by,
                at,
                verdict: verdict.clone(),
                note: note.clone(),
            });
            Ok(())
        }
        Row::GrantIssued { grant } => issue(state, index, entry.actor, grant),
        Row::GrantEnded { grant, .. } => {
            let record = change(&mut state.grants, grant, "grant")?;
            if record.ended {
                return Err(illegal("the grant was ended already"));
            }
            record.ended = true;
            Ok(())
        }
        Row::ReleaseIntended {
            grant,
            camera,
            range,
            purpose,
            until,
        } => release(
            state,
            index,
            at,
            &OpenRelease {
                grant: *grant,
                camera: *camera,
                range: *range,
                purpose: *purpose,
                until: *until,
            },
        ),
        Row::ReleaseDone { intent, .. } => {
            if Arc::make_mut(&mut state.open_releases).remove(intent).is_none() {
                return Err(unknown("open release"));
            }
            Ok(())
        }
        Row::ExportIntended { export, grant } => {
            let record = state.grants.get(grant).ok_or_else(|| unknown("grant"))?;
            if !record.copy() {
                return Err(Refusal::new(
                    Rule::ViewOnly,
                    "this grant allows viewing; file a request for a copy",
                ));
            }
            add(
                &mut state.exports,
                *export,
                ExportRecord {
                    id: *export,
                    grant: *grant,
                    at,
                    done: None,
                },
                "export",
            )
        }
        Row::ExportDone {
            export,
            outcome,
            bytes,
            sha256,
        } => {
            let export = change(&mut state.exports, export, "export")?;
            if export.done.is_some() {
                return Err(illegal("the export has ended already"));
            }
            export.done = Some((*outcome, *bytes, *sha256));
            Ok(())
        }
        _ => Err(illegal("no row about cases")),
    }
}

/// Moves a request on, or says where it may go.
fn go(request: &mut FootageRequest, to: RequestState) -> Result<(), FoldError> {
    let next = request.state.next();
    if !next.contains(&to) {
        let legal = if next.is_empty() {
            "nothing".to_owned()
        } else {
            next.iter().map(|state| state.word()).collect::<Vec<_>>().join(", ")
        };
        return Err(illegal(format!(
            "the request is {}; from there it goes to: {legal}",
            request.state
        )));
    }
    request.state = to;
    Ok(())
}

/// A grant follows from the decision on its request, by the same person, and allows no more than was decided.
fn issue(state: &mut State, index: u64, actor: Actor, grant: &custody_shared::grant::Grant) -> Result<(), FoldError> {
    let request = change(&mut state.requests, &grant.request, "request")?;
    let decision = request
        .decision
        .as_ref()
        .ok_or_else(|| illegal("the request is not decided"))?;
    let (cameras, range) = match &decision.verdict {
        Verdict::Approve => (&request.cameras, request.range),
        Verdict::ApproveInPart { cameras, range } => (cameras, *range),
        Verdict::Refuse { .. } => return Err(illegal("the request was refused")),
    };
    if request.grant.is_some() {
        return Err(illegal("the request has its grant already"));
    }
    if actor != Actor::Person(decision.by) || grant.viewer != request.requester {
        return Err(illegal("a grant is issued to the requester by whoever decided"));
    }
    if grant.cameras != *cameras || grant.range != range {
        return Err(illegal("a grant allows exactly what was decided"));
    }
    grant
        .check()
        .map_err(|error| Refusal::new(Rule::Malformed, error.to_string()))?;
    request.grant = Some(grant.id);
    let record = GrantRecord {
        grant: grant.clone(),
        row: index,
        first_play: None,
        releases: 0,
        ended: false,
    };
    add(&mut state.grants, grant.id, record, "grant")
}

fn release(state: &mut State, index: u64, at: UtcMicros, open: &OpenRelease) -> Result<(), FoldError> {
    let record = change(&mut state.grants, &open.grant, "grant")?;
    let grant = &record.grant;
    let inside = grant.cameras.contains(&open.camera)
        && open.range.start() >= grant.range.start()
        && open.range.end() <= grant.range.end();
    if !inside {
        return Err(Refusal::new(
            Rule::OutsideGrant,
            "this camera or time is not part of the grant",
        ));
    }
    if record.ended {
        return Err(Refusal::new(
            Rule::GrantEnded,
            "this grant was ended; file a new request",
        ));
    }
    if at < grant.not_before || at >= grant.not_after || open.until > grant.not_after || open.until <= at {
        return Err(Refusal::new(
            Rule::GrantExpired,
            "the release lies outside the grant's time",
        ));
    }
    if let ReleaseUse::Export(export) = open.purpose {
        let known = state
            .exports
            .get(&export)
            .is_some_and(|known| known.grant == open.grant && known.done.is_none());
        if !known {
            return Err(unknown("running export"));
        }
    } else {
        record.first_play = record.first_play.or(Some(at));
        if record.minutes_end().is_some_and(|end| open.until > end) {
            return Err(Refusal::new(
                Rule::MinutesUsed,
                "the minutes counted from the first play have passed",
            ));
        }
    }
    record.releases += 1;
    // A release nobody reported the end of, a day after its own: a crash. Its intent stays in the record.
    let stale = |old: &OpenRelease| old.until.get().saturating_add(DAY_US) < at.get();
    if state.open_releases.values().any(|old| stale(old)) {
        Arc::make_mut(&mut state.open_releases).retain(|_, old| !stale(old));
    }
    add(&mut state.open_releases, index, open.clone(), "release")
}

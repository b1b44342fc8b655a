//! A new request as people tell it: places, a day as a chip, half hours on a strip, "about".

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use custody_shared::id::CameraId;
use custody_shared::time::{TimeRange, UtcMicros};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::super::api::Query;
use super::super::app::App;
use super::super::caller::{self, Caller};
use super::super::problem::Problem;
use super::super::text::Text;
use super::super::when;
use super::frame::Frame;
use super::request::{CameraRow, camera_row};
use super::{Fields, render, words};
use crate::access::{Action, Resource};
use crate::record::Recipient;
use crate::record::cases::RequestDraft;
use crate::record::terms::{RequestGround, RequestKind};

/// Days offered as chips before "earlier".
const CHIPS: u32 = 7;
const HALF_HOUR_US: i64 = 30 * 60 * 1_000_000;

/// Kinds with their grounds, in the order of the form. What the form does not offer, the API does.
const GROUNDS: [(RequestKind, RequestGround); 8] = [
    (RequestKind::Reading, RequestGround::OwnImage),
    (RequestKind::Reading, RequestGround::UrgentNeed),
    (RequestKind::Internal, RequestGround::CrimePrevention),
    (RequestKind::Internal, RequestGround::FacilitySafety),
    (RequestKind::Provision, RequestGround::Consent),
    (RequestKind::Provision, RequestGround::OtherLaw),
    (RequestKind::Provision, RequestGround::UrgentNeed),
    (RequestKind::Provision, RequestGround::PublicSafety),
];

#[derive(askama::Template)]
#[template(path = "request_new.html")]
struct Page {
    f: Frame,
    message: Option<String>,
    checked: Vec<CameraRow>,
    checked_window: String,
    cameras: Vec<CameraChoice>,
    days: Vec<DayChoice>,
    earlier: Vec<DayChoice>,
    earlier_chosen: bool,
    slots: Vec<SlotChoice>,
    about: bool,
    from: String,
    to: String,
    grounds: Vec<GroundChoice>,
    agency: String,
    officer: String,
    document: String,
    form: String,
    purpose: String,
}

struct CameraChoice {
    id: String,
    name: String,
    location: String,
    chosen: bool,
}

struct DayChoice {
    value: String,
    label: String,
    date: String,
    chosen: bool,
}

struct SlotChoice {
    value: String,
    label: String,
    heading: Option<&'static str>,
    chosen: bool,
}

struct GroundChoice {
    value: String,
    key: String,
    chosen: bool,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Query(fields): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    caller.may(&app, Action::FileRequest, Resource::Site).await?;
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let f = Frame::new(&app, Some(&caller), t, "requests", uri.path());
    let fields = Fields::of(fields);
    let mut page = draw(&app, &caller, f, &fields);
    if !fields.one("check").is_empty() {
        caller.may(&app, Action::SeeCoverage, Resource::Site).await?;
        match told(&app, &caller, &fields) {
            Ok((cameras, range)) => {
                let zone = caller.state.zone();
                page.checked_window = when::window(range.start(), range.end(), &zone);
                for camera in cameras {
                    let Some(found) = caller.state.camera(camera) else {
                        continue;
                    };
                    page.checked
                        .push(camera_row(&app, t, &found.name, camera, range, &zone)?);
                }
            }
            Err(id) => page.message = Some(t.get(id)),
        }
    }
    render(&page)
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let t = Text::of(caller::language(&app, Some(caller.person), &headers));
    let again = |message: String, status: StatusCode| {
        let f = Frame::new(&app, Some(&caller), t, "requests", "/requests/new");
        let mut page = draw(&app, &caller, f, &fields);
        page.message = Some(message);
        let mut response = render(&page)?;
        *response.status_mut() = status;
        Ok(response)
    };
    let (cameras, range) = match told(&app, &caller, &fields) {
        Ok(told) => told,
        Err(id) => return again(t.get(id), StatusCode::UNPROCESSABLE_ENTITY),
    };
    let Some((kind, ground)) = GROUNDS
        .into_iter()
        .find(|choice| ground_value(*choice) == fields.one("ground"))
    else {
        return again(t.get("rule-ground-required"), StatusCode::UNPROCESSABLE_ENTITY);
    };
    let recipient = (kind == RequestKind::Provision).then(|| Recipient {
        agency: fields.one("agency").to_owned(),
        officer: fields.one("officer").to_owned(),
        document: fields.one("document").to_owned(),
    });
    let draft = RequestDraft {
        kind,
        ground,
        cameras,
        range,
        purpose: fields.one("purpose").to_owned(),
        copy: fields.one("form") == "copy",
        recipient,
    };
    match app
        .record
        .file_request(caller.person, draft)
        .await
        .map_err(Problem::from)
    {
        Ok(id) => Ok(Redirect::to(&format!("/requests/{id}")).into_response()),
        Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => again(words(t, &problem), problem.status),
        Err(problem) => Err(problem),
    }
}

/// Cameras and window as told; the id of a message where something is missing.
fn told(app: &App, caller: &Caller, fields: &Fields) -> Result<(Vec<CameraId>, TimeRange), &'static str> {
    let cameras: Vec<CameraId> = fields.all("camera").filter_map(|id| id.parse().ok()).collect();
    if cameras.is_empty() {
        return Err("request-needs-camera");
    }
    let day: Date = fields.one("day").parse().map_err(|_| "request-needs-time")?;
    let slots: Vec<u8> = fields
        .all("slot")
        .filter_map(|slot| slot.parse().ok())
        .filter(|slot| *slot < 48)
        .collect();
    let range = window(
        day,
        &slots,
        fields.one("from"),
        fields.one("to"),
        !fields.one("about").is_empty(),
        &caller.state.zone(),
        app.now(),
    )?;
    Ok((cameras, range))
}

/// From what was tapped to a window. It never reaches beyond now: the last half hour may still be running.
fn window(
    day: Date,
    slots: &[u8],
    from: &str,
    to: &str,
    about: bool,
    zone: &TimeZone,
    now: UtcMicros,
) -> Result<TimeRange, &'static str> {
    let at = |minutes: i64, seconds: i64| -> Result<i64, &'static str> {
        let midnight = day.to_zoned(zone.clone()).map_err(|_| "request-needs-time")?;
        // Wall-clock arithmetic: on a day that loses or gains an hour, 14:00 is still 14:00.
        let civil = midnight.datetime().date().to_datetime(Time::midnight());
        let span = jiff::Span::new()
            .try_minutes(minutes)
            .and_then(|span| span.try_seconds(seconds))
            .map_err(|_| "request-needs-time")?;
        let local = civil
            .checked_add(span)
            .and_then(|local| local.to_zoned(zone.clone()))
            .map_err(|_| "request-needs-time")?;
        Ok(local.timestamp().as_microsecond())
    };
    let exact = |text: &str| {
        let time: Time = text.parse().map_err(|_| "request-needs-time")?;
        at(
            i64::from(time.hour()) * 60 + i64::from(time.minute()),
            i64::from(time.second()),
        )
    };
    let (mut start, mut end) = match (from.is_empty(), to.is_empty(), slots.iter().min(), slots.iter().max()) {
        (false, false, ..) => (exact(from)?, exact(to)?),
        (_, _, Some(first), Some(last)) => (at(i64::from(*first) * 30, 0)?, at(i64::from(*last) * 30 + 30, 0)?),
        _ => return Err("request-needs-time"),
    };
    if end <= start {
        return Err("request-needs-order");
    }
    if about {
        start -= HALF_HOUR_US;
        end += HALF_HOUR_US;
    }
    if start >= now.get() {
        return Err("request-future");
    }
    TimeRange::new(UtcMicros::new(start), UtcMicros::new(end.min(now.get()))).map_err(|_| "request-needs-order")
}

fn ground_value((kind, ground): (RequestKind, RequestGround)) -> String {
    format!("{kind}/{ground}")
}

fn draw(app: &App, caller: &Caller, f: Frame, fields: &Fields) -> Page {
    let t = f.t;
    let zone = caller.state.zone();
    let now = when::zoned(app.now(), &zone);
    let today = now.date();
    let chosen: Option<Date> = fields.one("day").parse().ok();
    let chosen_cameras: Vec<&str> = fields.all("camera").collect();
    let mut cameras: Vec<CameraChoice> = caller
        .state
        .cameras()
        .map(|camera| {
            let id = camera.id.to_string();
            let chosen = chosen_cameras.contains(&id.as_str());
            CameraChoice {
                id,
                name: camera.name.clone(),
                location: camera.location.clone(),
                chosen,
            }
        })
        .collect();
    cameras.sort_by(|one, other| one.name.cmp(&other.name));
    if let [only] = &mut cameras[..] {
        only.chosen = true;
    }
    let kept = u32::from(app.record.rules().at(app.now(), &zone).footage_days);
    let day = |back: u32| {
        let date = today
            .checked_sub(jiff::Span::new().days(i64::from(back)))
            .unwrap_or(today);
        let label = match back {
            0 => t.get("today"),
            1 => t.get("yesterday"),
            _ => t.get(WEEKDAYS[date.weekday().to_monday_zero_offset().unsigned_abs() as usize % 7]),
        };
        let date_text = date.strftime("%m-%d").to_string();
        let is_chosen = chosen == Some(date) || (chosen.is_none() && back == 0);
        DayChoice {
            value: date.to_string(),
            label,
            date: date_text,
            chosen: is_chosen,
        }
    };
    let slots_chosen: Vec<u8> = fields.all("slot").filter_map(|slot| slot.parse().ok()).collect();
    let slots = (0..48_u8)
        .map(|slot| SlotChoice {
            value: slot.to_string(),
            label: format!("{:02}:{:02}", slot / 2, slot % 2 * 30),
            heading: match slot {
                0 => Some("night"),
                12 => Some("morning"),
                24 => Some("afternoon"),
                36 => Some("evening"),
                _ => None,
            },
            chosen: slots_chosen.contains(&slot),
        })
        .collect();
    let earlier: Vec<DayChoice> = (CHIPS..=kept).map(day).collect();
    Page {
        message: None,
        checked: Vec::new(),
        checked_window: String::new(),
        cameras,
        days: (0..CHIPS).map(day).collect(),
        earlier_chosen: earlier.iter().any(|day| day.chosen),
        earlier,
        slots,
        about: !fields.one("about").is_empty(),
        from: fields.one("from").chars().take(8).collect(),
        to: fields.one("to").chars().take(8).collect(),
        grounds: GROUNDS
            .into_iter()
            .map(|choice| {
                let value = ground_value(choice);
                let chosen = fields.one("ground") == value;
                GroundChoice {
                    key: format!("ground-{}", value.replace('/', "-")),
                    value,
                    chosen,
                }
            })
            .collect(),
        agency: fields.one("agency").to_owned(),
        officer: fields.one("officer").to_owned(),
        document: fields.one("document").to_owned(),
        form: if fields.one("form") == "copy" { "copy" } else { "view" }.to_owned(),
        purpose: fields.one("purpose").to_owned(),
        f,
    }
}

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(slots: &[u8], from: &str, to: &str, about: bool) -> Result<String, &'static str> {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let now = when::parse("now", "2026-11-22T05:10:00Z").unwrap(); // 14:10 in Seoul
        let day = "2026-11-22".parse().unwrap();
        window(day, slots, from, to, about, &zone, now).map(|range| when::window(range.start(), range.end(), &zone))
    }

    #[test]
    fn what_is_tapped_becomes_a_window_that_has_passed() {
        for (slots, from, to, about, expected) in [
            (&[20][..], "", "", false, Ok("2026-11-22 10:00 – 10:30")),
            (&[22, 20], "", "", false, Ok("2026-11-22 10:00 – 11:30")),
            (&[20], "", "", true, Ok("2026-11-22 09:30 – 11:00")),
            (&[0], "", "", true, Ok("2026-11-21 23:30 – 2026-11-22 01:00")),
            (&[28], "", "", false, Ok("2026-11-22 14:00 – 14:10")),
            (&[30], "", "", false, Err("request-future")),
            (&[], "", "", false, Err("request-needs-time")),
            (&[20], "13:01:05", "13:02", false, Ok("2026-11-22 13:01:05 – 13:02:00")),
            (&[], "13:02", "13:01", false, Err("request-needs-order")),
            (&[20], "13:02", "", false, Ok("2026-11-22 10:00 – 10:30")),
        ] {
            assert_eq!(
                asked(slots, from, to, about),
                expected.map(str::to_owned),
                "{slots:?} {from} {to}"
            );
        }
    }
}

//! `/api/v1/grants/{grant}/{camera}/…`: playlist, init section, segments. Never cached, never transformed, no token in an address.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use custody_shared::id::{CameraId, GrantId};
use custody_shared::time::UtcMicros;

use super::super::app::App;
use super::super::caller::Caller;
use super::super::problem::{Problem, ProblemBody};
use super::Path;
use crate::record::ReleaseUse;
use crate::retrieval::playlist::{Content, Piece, media_playlist, pieces};
use crate::retrieval::{OpenError, Reader, SegmentInfo, clip};

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Record(error) => error.into(),
            OpenError::Footage(error) => error.into(),
            OpenError::NoSuchSegment => Self::not_found("segment"),
            OpenError::Keyholder(crate::keyholder::KeyholderError::NoKey(_)) => Self::new(
                StatusCode::GONE,
                "destroyed",
                "The footage was destroyed",
                "The key of that day was destroyed at the end of its retention; the footage cannot be opened by anybody.",
                "Nothing can bring it back; the record shows the destruction.",
            )
            .log(error),
            OpenError::Damaged { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "footage-damaged",
                "The footage is damaged",
                "A segment does not open: it is not what its camera signed.",
                "Tell the administrator; the log names the segment.",
            )
            .log(error),
            other => Self::internal("open a segment", other),
        }
    }
}

fn reader(caller: &Caller, grant: &str) -> Result<Reader, Problem> {
    let grant: GrantId = grant.parse().map_err(|_| Problem::not_found("grant"))?;
    Ok(Reader {
        person: caller.person,
        grant,
        purpose: ReleaseUse::View,
    })
}

fn camera(id: &str) -> Result<CameraId, Problem> {
    id.parse().map_err(|_| Problem::not_found("camera"))
}

/// Media as it must travel: kept by nobody, changed by nobody, buffered by no proxy.
fn media(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, body).into_response()
}

/// The HLS media playlist of a grant's camera. Asking for it is the beginning of a viewing: its intent is recorded first.
#[utoipa::path(get, path = "/api/v1/grants/{grant}/{camera}/playlist.m3u8", tag = "footage",
    params(("grant" = String, Path, description = "Id of the grant"), ("camera" = String, Path, description = "Id of the camera")), responses(
    (status = 200, description = "RFC 8216 playlist; durations follow the wall clock, missing footage is EXT-X-GAP", body = String, content_type = "application/vnd.apple.mpegurl"),
    (status = 403, description = "Not (or no longer) allowed; `rule` says why", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such grant, or not the caller's", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Browsers do not play its format; prepare a copy", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The ledger cannot be written: nothing is opened", body = ProblemBody, content_type = "application/problem+json"),
    (status = 504, description = "The camera's recorder does not answer", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn playlist(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((grant, camera_id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (reader, camera) = (reader(&caller, &grant)?, camera(&camera_id)?);
    let grant = app.retrieval.allowed(reader, camera).await?;
    let segments = app.retrieval.segments(camera, grant.range)?;
    if segments.iter().any(|segment| !segment.playable()) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not-playable",
            "Browsers do not play this format",
            "This camera records in a format (H.265) that browsers do not play.",
            "Ask for a copy (form `copy`) and play the exported file, for example with VLC.",
        ));
    }
    let mut first = None;
    // The first segment may begin before the window, and pictures only at a later fragment: opening it tells exactly when.
    let mut skipped = 0;
    for segment in &segments {
        let opened = app.retrieval.open(reader, camera, segment.seq).await?;
        first = opened.clip().start();
        if first.is_some() || skipped == 2 {
            break;
        }
        skipped += 1;
    }
    let text = media_playlist(&pieces(in_window(
        &segments[skipped.min(segments.len())..],
        first,
        grant.range.end(),
    )));
    Ok(media("application/vnd.apple.mpegurl", text))
}

/// Segments as pieces of the playlist; the first begins with its first picture in the window, the last ends with the window.
fn in_window(segments: &[SegmentInfo], first: Option<UtcMicros>, end: UtcMicros) -> Vec<Piece> {
    let mut settings: Vec<(&str, u16, u16)> = Vec::new();
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let own = (segment.rfc6381.as_str(), segment.width, segment.height);
            let number = settings.iter().position(|known| *known == own).unwrap_or_else(|| {
                settings.push(own);
                settings.len() - 1
            });
            let start = if index == 0 {
                first.unwrap_or(segment.range.start())
            } else {
                segment.range.start()
            };
            let content = Content::Segment {
                seq: segment.seq,
                settings: u32::try_from(number).unwrap_or(u32::MAX),
            };
            Piece {
                start,
                end: segment.range.end().min(end).max(start),
                content,
            }
        })
        .collect()
}

fn number(name: &str, ending: &str) -> Result<u64, Problem> {
    name.strip_suffix(ending)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Problem::not_found("segment"))
}

/// The init section of a segment.
#[utoipa::path(get, path = "/api/v1/grants/{grant}/{camera}/init/{name}", tag = "footage",
    params(("grant" = String, Path, description = "Id of the grant"), ("camera" = String, Path, description = "Id of the camera"), ("name" = String, Path, description = "`{segment}.mp4`")),
    responses((status = 200, description = "`ftyp` and `moov`", body = Vec<u8>, content_type = "video/mp4"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"), (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn init(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((grant, camera_id, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let opened = app
        .retrieval
        .open(reader(&caller, &grant)?, camera(&camera_id)?, number(&name, ".mp4")?)
        .await?;
    Ok(media("video/mp4", opened.init().to_vec()))
}

/// The fragments of a segment that lie in the grant's window, decode times counted from its beginning.
#[utoipa::path(get, path = "/api/v1/grants/{grant}/{camera}/segment/{name}", tag = "footage",
    params(("grant" = String, Path, description = "Id of the grant"), ("camera" = String, Path, description = "Id of the camera"), ("name" = String, Path, description = "`{segment}.m4s`")),
    responses((status = 200, description = "`moof` and `mdat` boxes", body = Vec<u8>, content_type = "video/iso.segment"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"), (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn segment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((grant, camera_id, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let (reader, camera) = (reader(&caller, &grant)?, camera(&camera_id)?);
    let seq = number(&name, ".m4s")?;
    let grant = app.retrieval.allowed(reader, camera).await?;
    let begins = app.footage.segments(camera, grant.range, 1)?;
    let origin = begins.first().map_or(grant.range.start(), |first| {
        first.range.start().min(grant.range.start())
    });
    let opened = app.retrieval.open(reader, camera, seq).await?;
    let mut out = Vec::with_capacity(opened.len());
    opened
        .write_fragments(clip::ticks(origin), &mut out)
        .map_err(|error| Problem::internal("shift a segment's clock", error))?;
    Ok(media("video/iso.segment", out))
}

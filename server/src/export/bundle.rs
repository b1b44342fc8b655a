//! What lies beside the footage in a copy: an explanation that opens anywhere, what the cameras signed, what was decided, and
//! the proofs that it stands in the record.

use bytes::Bytes;
use custody_shared::grant::Grant;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::time::UtcMicros;
use serde_json::json;

use super::job::{Exports, Job};
use super::plan::{Document, Part, Plan};
use super::zip::DosTime;
use crate::record::State;
use crate::retrieval::OpenError;
use crate::retrieval::footage::StretchKind;

/// Gaps listed for each camera, at most.
const MOST_STRETCHES: usize = 20_000;

/// A camera's name as a file's name: letters and digits of any script, the rest as `-`; never empty, never hidden.
pub(super) fn file_name(name: &str, camera: CameraId) -> String {
    let mut out: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    while out.contains("--") {
        out = out.replace("--", "-");
    }
    let out = out.trim_matches('-');
    // Part of the id keeps two cameras apart whose names differ only in punctuation.
    let id = &camera.to_string()[..8];
    if out.is_empty() {
        id.to_owned()
    } else {
        format!("{out}-{id}")
    }
}

/// SHA-256 over the lines `hash  name` of the footage files: what the record keeps of a copy.
pub(super) fn manifest_hash(plan: &Plan) -> Sha256Hash {
    Sha256Hash::of(manifest(&plan.parts).as_bytes())
}

fn manifest(parts: &[Part]) -> String {
    parts
        .iter()
        .map(|part| format!("{}  {}\n", part.sha256, part.name))
        .collect()
}

#[derive(askama::Template)]
#[template(path = "start.html")]
struct Start<'a> {
    site: &'a str,
    number: u64,
    requester: &'a str,
    decider: &'a str,
    purpose: &'a str,
    window: String,
    zone: &'a str,
    made: String,
    parts: Vec<StartPart<'a>>,
    gaps: Vec<(String, String, String, String)>,
    checkpoint: &'a str,
}

struct StartPart<'a> {
    camera: &'a str,
    name: &'a str,
    from: String,
    to: String,
    plays: bool,
    bytes: u64,
    sha256: String,
}

/// Everything of a copy, once its footage was seen.
pub(super) fn plan(
    exports: &Exports,
    state: &State,
    job: &Job,
    grant: &Grant,
    parts: Vec<Part>,
) -> Result<Plan, OpenError> {
    let zone = state.zone();
    let now = exports.record.clock().now();
    let local = |at: UtcMicros| {
        jiff::Timestamp::from_microsecond(at.get())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(zone.clone())
    };
    let shown = |at: UtcMicros| local(at).strftime("%Y-%m-%d %H:%M:%S").to_string();

    let mut documents = Vec::new();
    let mut gaps = Vec::new();
    let mut coverage = serde_json::Map::new();
    for camera in &grant.cameras {
        let name = state
            .camera(*camera)
            .map_or_else(|| camera.to_string(), |found| found.name.clone());
        let stretches = exports.footage.coverage(*camera, grant.range, MOST_STRETCHES)?;
        let mut list = Vec::new();
        for stretch in &stretches {
            let (kind, cause) = match &stretch.kind {
                StretchKind::Kept => ("kept", None),
                StretchKind::Gap(cause) => ("gap", Some(cause.as_str())),
                StretchKind::Destroyed => ("destroyed", None),
                StretchKind::Unknown => ("unknown", None),
            };
            if kind != "kept" {
                let cause = cause.unwrap_or(kind).to_owned();
                gaps.push((
                    name.clone(),
                    shown(stretch.range.start()),
                    shown(stretch.range.end()),
                    cause,
                ));
            }
            list.push(json!({"from": stretch.range.start().to_string(), "to": stretch.range.end().to_string(), "kind": kind, "cause": cause}));
        }
        coverage.insert(camera.to_string(), json!({"name": name, "stretches": list}));
        let statements = exports.footage.statements(*camera, grant.range)?;
        documents.push(Document {
            name: format!("statements/{}.cbor", file_name(&name, *camera)),
            content: cbor_array(&statements),
        });
    }

    let request = state.request(grant.request);
    let decision = request.and_then(|request| request.decision.as_ref());
    let person = |id| state.person(id).map_or_else(String::new, |found| found.display.clone());
    let requester = person(grant.viewer);
    let decider = decision.map_or_else(String::new, |decision| person(decision.by));
    let row = state.grant(grant.id).map(|record| record.row);
    let checkpoint = exports.ledger.checkpoint();
    let files: Vec<_> = parts
        .iter()
        .map(|part| {
            json!({"file": part.name, "camera": part.camera.to_string(), "camera_name": part.camera_name, "codec": part.codec,
                "from": part.start.to_string(), "to": part.end.to_string(), "bytes": part.bytes, "sha256": part.sha256.to_string(),
                "segments": part.segments})
        })
        .collect();
    let grant_json = json!({
        "site": state.site().map(|site| site.name.clone()), "export": job.id.to_string(), "made_at": now.to_string(),
        "request": {"id": grant.request.to_string(), "number": request.map(|request| request.number),
            "kind": request.map(|request| request.kind.word()), "ground": request.map(|request| request.ground.word())},
        "grant": {"id": grant.id.to_string(), "row": row, "form": grant.form.to_string(), "purpose": grant.purpose,
            "cameras": grant.cameras.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "from": grant.range.start().to_string(), "to": grant.range.end().to_string(), "viewer": requester,
            "decided_by": decider, "decided_at": decision.map(|decision| decision.at.to_string())},
        "files": files,
    });

    if let Some(row) = row {
        let evidence = exports.record.evidence(row)?;
        documents.push(text("proofs/grant.tlog-proof", evidence.disclosing_proof().to_string()));
    }
    documents.push(text("proofs/checkpoint", checkpoint.clone()));
    documents.push(text(
        "proofs/log-key",
        format!("{}\n", exports.ledger.verifier().note_verifier()),
    ));
    documents.push(text("grant.json", pretty(&grant_json)));
    documents.push(text("gaps.json", pretty(&serde_json::Value::Object(coverage))));
    documents.push(text("SHA256SUMS", manifest(&parts)));
    documents.push(text("README.txt", README.to_owned()));

    let start = Start {
        site: state.site().map_or("", |site| &site.name),
        number: request.map_or(0, |request| request.number),
        requester: &requester,
        decider: &decider,
        purpose: &grant.purpose,
        window: format!("{} – {}", shown(grant.range.start()), shown(grant.range.end())),
        zone: state.site().map_or("UTC", |site| &site.zone_name),
        made: shown(now),
        parts: parts
            .iter()
            .map(|part| StartPart {
                camera: &part.camera_name,
                name: &part.name,
                from: shown(part.start),
                to: shown(part.end),
                plays: part.codec.starts_with("avc"),
                bytes: part.bytes,
                sha256: part.sha256.to_string(),
            })
            .collect(),
        gaps,
        checkpoint: &checkpoint,
    };
    let page = askama::Template::render(&start)
        .map_err(|error| OpenError::Footage(crate::retrieval::FootageError::Store(error.to_string())))?;
    documents.insert(0, text("START.html", page));

    let made = local(now);
    let field = |value: i8| u8::try_from(value).unwrap_or(0);
    let year = u16::try_from(made.year()).unwrap_or(1980);
    let time = DosTime::new(
        year,
        field(made.month()),
        field(made.day()),
        field(made.hour()),
        field(made.minute()),
        field(made.second()),
    );
    Ok(Plan { parts, documents, time })
}

fn text(name: &str, content: String) -> Document {
    Document {
        name: name.to_owned(),
        content: content.into(),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    let mut out = serde_json::to_string_pretty(value).unwrap_or_default();
    out.push('\n');
    out
}

/// A CBOR array of byte strings, deterministic.
fn cbor_array(items: &[Vec<u8>]) -> Bytes {
    let mut out = Vec::new();
    head(&mut out, 4, items.len() as u64);
    for item in items {
        head(&mut out, 2, item.len() as u64);
        out.extend_from_slice(item);
    }
    out.into()
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend([major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(value.to_be_bytes());
        }
    }
}

const README: &str = "\
이 사본은 Custody가 만들었습니다. START.html을 열면 영상과 설명이 나옵니다.\r\n\
This copy was made by Custody. Open START.html: it plays and explains.\r\n\
\r\n\
video/        one file for each camera: H.264 or H.265 in fragmented MP4, as the camera recorded it, nothing re-encoded, no sound.\r\n\
statements/   what each camera signed about this time (COSE_Sign1 in a CBOR array): segments with their hashes, gaps with causes.\r\n\
gaps.json     what is kept, missing (with the cause) or destroyed in the window.\r\n\
grant.json    what was asked, who decided, which files these are.\r\n\
proofs/       the decision's row with its proof in the record, the signed checkpoint, the log's key (C2SP tlog-proof, tlog-checkpoint).\r\n\
SHA256SUMS    check with: sha256sum -c SHA256SUMS\r\n\
\r\n\
What is proven: the decision stands in the record under the checkpoint; the cameras signed the statements; the hashes name these files.\r\n\
What is not proven by this copy alone: that the video files equal the sealed originals; that needs the originals or the server.\r\n\
Nothing is masked in this copy. Whoever holds it answers for its use.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cameras_become_names_of_files() {
        let camera = CameraId::from_bytes([0xab; 16]);
        for (name, expected) in [
            ("정문 1층", "정문-1층-abababab"),
            ("../../etc/passwd", "etc-passwd-abababab"),
            ("///", "abababab"),
            ("Front door (east)", "Front-door-east-abababab"),
        ] {
            assert_eq!(file_name(name, camera), expected);
        }
    }

    #[test]
    fn an_array_of_strings_is_deterministic_cbor() {
        let items = vec![vec![1], vec![7; 300]];
        let bytes = cbor_array(&items);
        let read: ciborium::Value = ciborium::from_reader(&bytes[..]).unwrap();
        let expected = items.iter().map(|item| ciborium::Value::Bytes(item.clone())).collect();
        assert_eq!(read, ciborium::Value::Array(expected));
        assert_eq!(bytes[..5], [0x82, 0x41, 1, 0x59, 1]);
    }
}

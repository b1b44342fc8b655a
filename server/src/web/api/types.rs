//! What goes over the wire. Field names are part of the API and stay.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Signing in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The account's name.
    pub name: String,
    /// Its password.
    #[schema(format = Password)]
    pub password: String,
}

/// The person of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Who.
    pub person: PersonView,
    /// What the account may do: `asks`, `decides` or `administers`.
    pub grade: String,
}

/// A person as others see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PersonView {
    /// Id.
    pub id: String,
    /// Shown name.
    pub name: String,
}

/// All cameras.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraList {
    /// In order of their names.
    pub cameras: Vec<CameraView>,
}

/// A camera.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CameraView {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Where it hangs.
    pub location: String,
    /// `open`, `waiting`, `private` or `prohibited`.
    pub class: String,
    /// `recording`, `late`, `away` or `never`; absent for grades that may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// A window of time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// First instant, RFC 3339.
    #[param(example = "2026-11-22T05:00:00Z")]
    pub from: String,
    /// First instant after it, RFC 3339; at most 31 days later.
    #[param(example = "2026-11-22T06:00:00Z")]
    pub to: String,
}

/// What is known of a window.
#[derive(Debug, Serialize, ToSchema)]
pub struct CoverageView {
    /// The camera.
    pub camera: String,
    /// Begin of the window.
    pub from: String,
    /// End of the window.
    pub to: String,
    /// Stretches in order; they touch and fill the window.
    pub stretches: Vec<StretchView>,
    /// Whether there were more stretches than an answer holds; ask for a shorter window.
    pub cut: bool,
}

/// What is known of a stretch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StretchView {
    /// Begin.
    pub from: String,
    /// End.
    pub to: String,
    /// `kept`, `gap`, `destroyed` or `unknown`.
    pub kind: &'static str,
    /// Cause of a gap, in kebab-case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A footage request to file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// `reading`, `existence`, `provision` or `internal`.
    #[serde(default = "reading")]
    #[schema(default = "reading")]
    pub kind: String,
    /// The ground: `own-image` or `urgent-need` for a reading; `crime-prevention` or `facility-safety` for internal use;
    /// `consent`, `other-law`, `urgent-need` or `public-safety` for a provision.
    pub ground: String,
    /// Ids of 1 to 64 cameras.
    pub cameras: Vec<String>,
    /// First instant of the window, RFC 3339.
    pub from: String,
    /// First instant after it, RFC 3339.
    pub to: String,
    /// What for, at most 512 characters.
    pub purpose: String,
    /// `view` or `copy`.
    #[serde(default = "view")]
    #[schema(default = "view")]
    pub form: String,
    /// Whom it is handed to; for a provision.
    #[serde(default)]
    pub recipient: Option<RecipientView>,
}

fn reading() -> String {
    "reading".into()
}

fn view() -> String {
    "view".into()
}

/// Whom footage is handed to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientView {
    /// Agency.
    pub agency: String,
    /// Officer.
    pub officer: String,
    /// Number of the document.
    pub document: String,
}

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most this many, 1–200.
    #[param(default = 50)]
    pub limit: Option<usize>,
    /// Only requests with a lower number: `next` of the page before.
    pub before: Option<u64>,
}

/// Requests, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestList {
    /// This page.
    pub requests: Vec<RequestView>,
    /// `before` of the next page, where there is one.
    pub next: Option<u64>,
}

/// A footage request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestView {
    /// Id.
    pub id: String,
    /// Number in the register.
    pub number: u64,
    /// `received`, `approved`, `partly-approved`, `refused` or `withdrawn`.
    pub state: &'static str,
    /// What it asks for.
    pub kind: &'static str,
    /// On which ground.
    pub ground: &'static str,
    /// Who filed it.
    pub requester: PersonView,
    /// Cameras.
    pub cameras: Vec<CameraName>,
    /// Begin of the window.
    pub from: String,
    /// End of the window.
    pub to: String,
    /// What for.
    pub purpose: String,
    /// `view` or `copy`.
    pub form: &'static str,
    /// Whom it is handed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<RecipientView>,
    /// When it was filed.
    pub filed_at: String,
    /// When it must be answered.
    pub due: String,
    /// Calendar days left; negative when overdue.
    pub days_left: i32,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
    /// The grant that an approval issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Whether the caller may decide it now.
    pub may_decide: bool,
}

/// A camera's id and name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CameraName {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
}

/// A decision to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewDecision {
    /// `approve`, `approve-in-part` or `refuse`.
    pub decision: String,
    /// Ground of a refusal: `law-forbids`, `harms-another`, `already-destroyed`, `not-identified`, `not-the-subject`,
    /// `statutory-retention` or `obstructs-investigation`.
    pub ground: Option<String>,
    /// Further words, at most 1024 characters.
    pub note: String,
    /// For `approve-in-part`: the cameras that remain.
    pub cameras: Option<Vec<String>>,
    /// For `approve-in-part`: begin of the window that remains.
    pub from: Option<String>,
    /// For `approve-in-part`: end of the window that remains.
    pub to: Option<String>,
}

/// A decision that was made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DecisionView {
    /// Who decided.
    pub by: PersonView,
    /// When.
    pub at: String,
    /// `approve`, `approve-in-part` or `refuse`.
    pub decision: &'static str,
    /// Ground of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<&'static str>,
    /// Further words.
    pub note: String,
}

/// What an approval allows, for the player.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantView {
    /// Id.
    pub id: String,
    /// The request.
    pub request: String,
    /// `view` or `copy`.
    pub form: &'static str,
    /// Who alone may use it.
    pub viewer: PersonView,
    /// The window.
    pub range: RangeView,
    /// First instant of use.
    pub not_before: String,
    /// End of use.
    pub not_after: String,
    /// Minutes of viewing, counted from the first play.
    pub play_minutes: u32,
    /// When the minutes end, once playing began.
    pub play_until: Option<String>,
    /// The server's clock.
    pub now: String,
    /// Its cameras.
    pub cameras: Vec<GrantCamera>,
}

/// A window.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RangeView {
    /// Begin.
    pub from: String,
    /// End.
    pub to: String,
}

/// A camera of a grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantCamera {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether browsers play its format (H.264). What they do not play can be exported.
    pub playable: bool,
    /// Its codec, RFC 6381; absent where nothing was recorded.
    pub codec: Option<String>,
    /// The playlist.
    pub playlist: String,
    /// What is known of the window.
    pub stretches: Vec<StretchView>,
}

/// A copy in the making, or made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportView {
    /// Id.
    pub id: String,
    /// The grant.
    pub grant: String,
    /// `preparing`, `ready`, `failed`, or `gone` after a restart of the server: begin another.
    pub state: &'static str,
    /// Segments opened and checked.
    pub segments_done: u64,
    /// Segments in all.
    pub segments_total: u64,
    /// Footage files, once ready.
    pub files: Vec<ExportFile>,
    /// Everything as one archive, once ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<ExportBundle>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A footage file of a copy.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportFile {
    /// Its camera.
    pub camera: String,
    /// Name inside the archive.
    pub name: String,
    /// Where to fetch it.
    pub href: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The archive of a copy.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExportBundle {
    /// Where to fetch it.
    pub href: String,
    /// Bytes.
    pub bytes: u64,
}

/// Whether the server works.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// `ok`, or `failing` with status 503.
    pub status: &'static str,
    /// Whether the ledger can be written.
    pub ledger: &'static str,
}

//! Values that tests share: one of everything, always the same.

#![allow(dead_code, reason = "each test file uses some of them")]

use custody_shared::cose::SigningKey;
use custody_shared::grant::{Form, Grant};
use custody_shared::hash::Sha256Hash;
use custody_shared::hpke::{RecipientPublic, RecipientSecret};
use custody_shared::id::{BootId, CameraId, GrantId, KeyId, PersonId, RequestId, SiteId};
use custody_shared::keys::KeyDescriptor;
use custody_shared::message::{Faults, Health, KeyAnnouncement};
use custody_shared::segment::{CHUNK, Header, Preamble, SealRandomness, Sealer};
use custody_shared::statement::{
    Boot, ClockSource, ClockStep, Codec, CodecParameters, DestroyReason, Destroyed, Gap, GapCause, Kind,
    SegmentStatement, Statement, Tamper, TamperKind, Timing,
};
use custody_shared::time::{DAY_US, SECOND_US, TimeRange, UtcMicros};

pub(crate) fn site() -> SiteId {
    SiteId::from_bytes([0x51; 16])
}

pub(crate) fn camera() -> CameraId {
    CameraId::from_bytes([0xca; 16])
}

/// 2026-11-22T17:29:00Z.
pub(crate) fn moment() -> UtcMicros {
    UtcMicros::new(1_795_368_540_000_000)
}

pub(crate) fn range(seconds: i64) -> TimeRange {
    TimeRange::new(moment(), moment().saturating_add(seconds * SECOND_US)).unwrap()
}

/// The secret half of the day's footage key.
pub(crate) fn footage_secret() -> RecipientSecret {
    RecipientSecret::from_seed(&[0x0f; 32])
}

pub(crate) fn transport_secret() -> RecipientSecret {
    RecipientSecret::from_seed(&[0x7f; 32])
}

pub(crate) fn transport_public() -> RecipientPublic {
    transport_secret().public()
}

pub(crate) fn statement_key() -> SigningKey {
    SigningKey::from_seed(&[0x57; 32])
}

pub(crate) fn command_key() -> SigningKey {
    SigningKey::from_seed(&[0xc0; 32])
}

pub(crate) fn header() -> Header {
    Header {
        camera: camera(),
        key_id: KeyId::from_bytes([0x4b; 16]),
        seq: 7,
        t_start: moment(),
        boot_id: BootId::from_bytes([0xb0; 16]),
        prev_statement: Sha256Hash::of(b"the statement before"),
    }
}

pub(crate) fn randomness() -> SealRandomness {
    SealRandomness {
        key: [0x6b; 32],
        salt: [0x5a; 24],
        encapsulation: std::array::from_fn(|i| i as u8),
    }
}

/// Byte `i` is `i mod 251`: no two chunks are alike.
pub(crate) fn video(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A finished segment file with `len` bytes of video.
pub(crate) fn file(len: usize) -> Vec<u8> {
    file_of(header(), &video(len))
}

pub(crate) fn file_of(header: Header, video: &[u8]) -> Vec<u8> {
    let (mut sealer, preamble) = Sealer::with_randomness(header, &footage_secret().public(), &randomness()).unwrap();
    let mut file = preamble.to_bytes();
    sealer.push(video, &mut file).unwrap();
    sealer.finish(&mut file);
    file
}

pub(crate) fn segment_statement(file: &[u8]) -> SegmentStatement {
    SegmentStatement {
        preamble: Preamble::parse(file).unwrap(),
        file_sha256: Sha256Hash::of(file),
        file_len: file.len() as u64,
        t_end: moment().saturating_add(10 * SECOND_US),
        frames: 250,
        fragments: 5,
        codec: CodecParameters {
            codec: Codec::H264,
            rfc6381: "avc1.640028".into(),
            width: 1920,
            height: 1080,
        },
        truncated: false,
        clock: ClockSource::Ntp,
        timing: Timing::Source,
        closed_gop: true,
        b_frames: false,
    }
}

/// One statement of each kind, in a chain.
pub(crate) fn kinds() -> Vec<(&'static str, Kind)> {
    let key_id = header().key_id;
    vec![
        (
            "boot",
            Kind::Boot(Boot {
                software: "custody-agent 0.1.0".into(),
                clock: ClockSource::Unsynchronised,
            }),
        ),
        ("key-in-use", Kind::KeyInUse { key_id }),
        (
            "segment",
            Kind::Segment(Box::new(segment_statement(&file(3 * CHUNK + 5)))),
        ),
        (
            "gap",
            Kind::Gap(Gap {
                range: range(120),
                cause: GapCause::CameraUnreachable,
            }),
        ),
        (
            "tamper",
            Kind::Tamper(Tamper {
                since: moment(),
                kind: TamperKind::Covered,
            }),
        ),
        (
            "clock",
            Kind::Clock(ClockStep {
                offset_us: -3600 * SECOND_US,
                source: ClockSource::Ntp,
                before: moment(),
                after: moment().saturating_sub(3600 * SECOND_US),
            }),
        ),
        (
            "destroyed",
            Kind::Destroyed(Destroyed {
                key_id,
                range: range(86_400),
                first_seq: 0,
                last_seq: 8639,
                reason: DestroyReason::Retention,
            }),
        ),
    ]
}

/// [`kinds`] as statements, each linked to the one before.
pub(crate) fn chain() -> Vec<Statement> {
    let (mut statements, mut prev) = (Vec::new(), Sha256Hash::ZERO);
    for ((_, kind), index) in kinds().into_iter().zip(0..) {
        let at = moment().saturating_add(index as i64 * SECOND_US);
        let statement = Statement {
            camera: camera(),
            index,
            prev,
            at,
            boot: header().boot_id,
            kind,
        };
        prev = statement.sign(&statement_key()).unwrap().hash();
        statements.push(statement);
    }
    statements
}

pub(crate) fn descriptor(n: u8, reserve: bool) -> KeyDescriptor {
    let valid_from = moment().saturating_add(i64::from(n) * DAY_US);
    let valid_until = valid_from.saturating_add(if reserve { 400 } else { 1 } * DAY_US);
    KeyDescriptor {
        key_id: KeyId::from_bytes([n; 16]),
        camera: camera(),
        valid_from,
        valid_until,
        destroy_at: valid_until.saturating_add(30 * DAY_US),
        reserve,
        public: RecipientSecret::from_seed(&[n; 32]).public(),
    }
}

pub(crate) fn announcement() -> KeyAnnouncement {
    KeyAnnouncement {
        issue: 3,
        keys: vec![descriptor(0, true), descriptor(1, false), descriptor(2, false)],
    }
}

pub(crate) fn health() -> Health {
    Health {
        camera: camera(),
        at: moment(),
        recording: true,
        last_frame_age_s: 0,
        disk_free_days: 41,
        clock: ClockSource::Ntp,
        keys_days: 45,
        faults: Faults::CERTIFICATE,
    }
}

pub(crate) fn grant() -> Grant {
    Grant {
        id: GrantId::from_bytes([0x61; 16]),
        request: RequestId::from_bytes([0x62; 16]),
        form: Form::View,
        purpose: "잃어버린 우산".into(),
        cameras: vec![CameraId::from_bytes([0x10; 16]), camera()],
        range: range(600),
        viewer: PersonId::from_bytes([0x63; 16]),
        not_before: moment(),
        not_after: moment().saturating_add(2 * 3600 * SECOND_US),
        play_minutes: 120,
    }
}

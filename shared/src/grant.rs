//! What a decision allows: who may see what, how, and when.
//!
//! A grant is a row of the record before it is anything else. Nothing here opens footage; the
//! server makes a verified grant of it, against the record.

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::id::{CameraId, GrantId, PersonId, RequestId};
use crate::time::{TimeRange, UtcMicros};

/// A purpose is at most this long, in bytes: 512 characters of any script.
pub const MAX_PURPOSE_LEN: usize = 2048;
/// A grant names at most this many cameras.
pub const MAX_CAMERAS: usize = 64;
/// Footage of one grant spans at most this long, in microseconds: 31 days.
pub const MAX_RANGE_US: i64 = 31 * crate::time::DAY_US;
/// At most this many minutes of play: 7 days.
pub const MAX_PLAY_MINUTES: u32 = 7 * 24 * 60;
const VERSION: u64 = 1;

crate::words::words!(
    /// What may be done with the footage.
    Form {
        /// Watch it.
        View = 0 "view",
        /// Take a copy.
        Copy = 1 "copy",
        /// Staff look for the place; nothing is shown to others or copied.
        Search = 2 "search",
        /// Watch it masked, before a decision.
        Preview = 3 "preview",
        /// Hand it over under a warrant.
        Execute = 4 "execute",
    }
);

/// A grant that contradicts itself or its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the grant's {0} is not allowed")]
pub struct GrantError(pub &'static str);

/// What a decision allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// The request that was decided.
    pub request: RequestId,
    /// What may be done.
    pub form: Form,
    /// Why, in words; at most [`MAX_PURPOSE_LEN`] bytes.
    pub purpose: String,
    /// Which cameras: 1 to [`MAX_CAMERAS`], ascending, none twice.
    pub cameras: Vec<CameraId>,
    /// Which footage.
    pub range: TimeRange,
    /// Who.
    pub viewer: PersonId,
    /// Not before this instant.
    pub not_before: UtcMicros,
    /// Not from this instant on.
    pub not_after: UtcMicros,
    /// Minutes counted from the first play, at least 1.
    pub play_minutes: u32,
}

impl Grant {
    /// Checks everything that can be checked without the record.
    ///
    /// # Errors
    /// The first field that is outside its limits.
    pub fn check(&self) -> Result<(), GrantError> {
        let ascending = self.cameras.is_sorted_by(|a, b| a < b);
        let fields = [
            (
                "purpose",
                self.purpose.len() <= MAX_PURPOSE_LEN && !self.purpose.chars().any(|c| c.is_control() && c != '\n'),
            ),
            (
                "list of cameras",
                ascending && (1..=MAX_CAMERAS).contains(&self.cameras.len()),
            ),
            ("range", self.range.len_us() <= MAX_RANGE_US),
            ("period", self.not_before < self.not_after),
            ("minutes of play", (1..=MAX_PLAY_MINUTES).contains(&self.play_minutes)),
        ];
        match fields.into_iter().find(|(_, fine)| !fine) {
            Some((field, _)) => Err(GrantError(field)),
            None => Ok(()),
        }
    }

    /// Whether it is in force at `now`.
    pub fn is_in_force(&self, now: UtcMicros) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether it names the camera.
    pub fn names(&self, camera: CameraId) -> bool {
        self.cameras.binary_search(&camera).is_ok()
    }
}

impl Cbor for Grant {
    fn write(&self, e: &mut Encoder) {
        e.map(11)
            .key(0)
            .uint(VERSION)
            .key(1)
            .value(&self.id)
            .key(2)
            .value(&self.request)
            .key(3)
            .value(&self.form);
        e.key(4)
            .text(&self.purpose)
            .key(5)
            .list(&self.cameras)
            .key(6)
            .value(&self.range)
            .key(7)
            .value(&self.viewer);
        e.key(8)
            .value(&self.not_before)
            .key(9)
            .value(&self.not_after)
            .key(10)
            .uint(self.play_minutes.into());
    }
    fn read(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.map(11)?;
        if d.key(0)?.uint()? != VERSION {
            return Err(CborError::Value("version"));
        }
        let grant = Self {
            id: d.key(1)?.value()?,
            request: d.key(2)?.value()?,
            form: d.key(3)?.value()?,
            purpose: d.key(4)?.text(MAX_PURPOSE_LEN)?.to_owned(),
            cameras: d.key(5)?.list(MAX_CAMERAS)?,
            range: d.key(6)?.value()?,
            viewer: d.key(7)?.value()?,
            not_before: d.key(8)?.value()?,
            not_after: d.key(9)?.value()?,
            play_minutes: d.key(10)?.small()?,
        };
        grant.check().map_err(|GrantError(field)| CborError::Value(field))?;
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            id: GrantId::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            form: Form::View,
            purpose: "잃어버린 우산".into(),
            cameras: vec![CameraId::from_bytes([3; 16]), CameraId::from_bytes([4; 16])],
            range: TimeRange::new(UtcMicros::new(1_000), UtcMicros::new(2_000)).unwrap(),
            viewer: PersonId::from_bytes([5; 16]),
            not_before: UtcMicros::new(5_000),
            not_after: UtcMicros::new(6_000),
            play_minutes: 120,
        }
    }

    #[test]
    fn comes_back_from_its_bytes() {
        let good = grant();
        assert_eq!(Grant::from_cbor(&good.to_cbor()), Ok(good.clone()));
        assert!(good.names(good.cameras[1]) && !good.names(CameraId::from_bytes([9; 16])));
        let at = |t| good.is_in_force(UtcMicros::new(t));
        assert!(!at(4_999) && at(5_000) && at(5_999) && !at(6_000));
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |flaw, change: &dyn Fn(&mut Grant), field| {
            let mut bad = grant();
            change(&mut bad);
            assert_eq!(bad.check(), Err(GrantError(field)), "{flaw}");
            assert!(Grant::from_cbor(&bad.to_cbor()).is_err(), "{flaw}");
        };
        check(
            "a long purpose",
            &|g| g.purpose = "x".repeat(MAX_PURPOSE_LEN + 1),
            "purpose",
        );
        check(
            "a purpose that moves the cursor",
            &|g| g.purpose = "\u{1b}[2J".into(),
            "purpose",
        );
        check("no camera", &|g| g.cameras.clear(), "list of cameras");
        check("a camera twice", &|g| g.cameras[1] = g.cameras[0], "list of cameras");
        check("cameras out of order", &|g| g.cameras.reverse(), "list of cameras");
        check("ends before it begins", &|g| g.not_after = g.not_before, "period");
        check("no minutes", &|g| g.play_minutes = 0, "minutes of play");
        check(
            "two months of footage",
            &|g| g.range = TimeRange::new(UtcMicros::new(0), UtcMicros::new(MAX_RANGE_US + 1)).unwrap(),
            "range",
        );
    }
}

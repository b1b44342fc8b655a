//! Which keys there should be: one for each camera and filming day, laid ahead, and one reserve.

use custody_shared::id::CameraId;
use custody_shared::time::UtcMicros;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::record::CameraKeys;
use crate::record::days;
use crate::record::rules::RuleSet;

/// A key pair that should exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlan {
    /// Its camera.
    pub camera: CameraId,
    /// First instant of filming it covers.
    pub valid_from: UtcMicros,
    /// End of the filming it covers.
    pub valid_until: UtcMicros,
    /// When it is destroyed.
    pub destroy_at: UtcMicros,
    /// Used only where no day key fits.
    pub reserve: bool,
}

/// Day keys from `today` on, as far ahead as the rules say. Days that the zone skipped have none.
#[must_use]
pub fn wanted(camera: CameraId, today: Date, rules: &RuleSet, zone: &TimeZone) -> Vec<KeyPlan> {
    (0..=u32::from(rules.keys_ahead_days))
        .map(|ahead| {
            let day = days::after(today, ahead);
            KeyPlan {
                camera,
                valid_from: days::start_of(day, zone),
                valid_until: days::start_of(days::after(day, 1), zone),
                destroy_at: days::end_after(day, u32::from(rules.footage_days), zone),
                reserve: false,
            }
        })
        .filter(|plan| plan.valid_from < plan.valid_until)
        .collect()
}

/// The reserve key made on `today`: covers outages longer than the keys laid ahead.
#[must_use]
fn reserve(camera: CameraId, today: Date, rules: &RuleSet, zone: &TimeZone) -> KeyPlan {
    let last = days::after(today, u32::from(rules.keys_ahead_days) + u32::from(rules.reserve_days));
    KeyPlan {
        camera,
        valid_from: days::start_of(today, zone),
        valid_until: days::start_of(days::after(last, 1), zone),
        destroy_at: days::end_after(last, u32::from(rules.footage_days), zone),
        reserve: true,
    }
}

/// What is wanted and not announced: days without a key, and a reserve once less than half of its time is left
/// beyond the days laid ahead.
#[must_use]
pub fn missing(
    camera: CameraId,
    announced: Option<&CameraKeys>,
    today: Date,
    rules: &RuleSet,
    zone: &TimeZone,
) -> Vec<KeyPlan> {
    let live = || announced.into_iter().flat_map(|keys| keys.live.values());
    let mut plans: Vec<KeyPlan> = wanted(camera, today, rules, zone)
        .into_iter()
        .filter(|plan| {
            !live().any(|known| {
                !known.reserve && known.valid_from <= plan.valid_from && plan.valid_until <= known.valid_until
            })
        })
        .collect();
    let ahead = u32::from(rules.keys_ahead_days) + u32::from(rules.reserve_days) / 2;
    let needed_until = days::start_of(days::after(today, ahead + 1), zone);
    if !live().any(|known| known.reserve && known.valid_until >= needed_until) {
        plans.push(reserve(camera, today, rules, zone));
    }
    plans
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use custody_shared::hpke::RecipientSecret;
    use custody_shared::id::KeyId;
    use custody_shared::keys::KeyDescriptor;
    use jiff::civil::date;

    use super::*;
    use crate::record::Rules;

    fn camera() -> CameraId {
        CameraId::from_bytes([7; 16])
    }

    #[test]
    fn days_follow_each_other_without_hole_or_overlap() {
        let rules = Rules::kr();
        for (name, from) in [
            ("Asia/Seoul", date(2026, 11, 22)),
            ("Europe/Berlin", date(2026, 3, 1)),
            ("Europe/Berlin", date(2026, 10, 1)),
            ("America/Sao_Paulo", date(2018, 10, 20)),
            ("Pacific/Apia", date(2011, 12, 1)),
        ] {
            let zone = days::zone(name).unwrap();
            let plans = wanted(camera(), from, rules.on(from), &zone);
            let skipped = usize::from(name == "Pacific/Apia");
            assert_eq!(plans.len(), 46 - skipped, "{name}");
            for pair in plans.windows(2) {
                assert_eq!(pair[0].valid_until, pair[1].valid_from, "{name}");
            }
            for plan in &plans {
                let filmed = days::local_day(plan.valid_from, &zone);
                let last = days::local_day(UtcMicros::new(plan.destroy_at.get() - 1), &zone);
                let skip =
                    i32::from(name == "Pacific/Apia" && filmed < date(2011, 12, 30) && last >= date(2011, 12, 30));
                assert!((last - filmed).get_days() >= 30 - skip, "{name} {filmed} {last}");
                assert!((last - filmed).get_days() <= 30, "{name} {filmed} {last}");
            }
        }
    }

    fn announced(plans: &[KeyPlan]) -> CameraKeys {
        let public = RecipientSecret::from_seed(&[1; 32]).public();
        let mut keys = CameraKeys::default();
        for plan in plans {
            let descriptor = KeyDescriptor {
                key_id: KeyId::random(),
                camera: plan.camera,
                valid_from: plan.valid_from,
                valid_until: plan.valid_until,
                destroy_at: plan.destroy_at,
                reserve: plan.reserve,
                public: public.clone(),
            };
            keys.live.insert(descriptor.key_id, Arc::new(descriptor));
        }
        keys
    }

    #[test]
    fn only_what_is_missing_is_planned() {
        let (rules, zone, today) = (Rules::kr(), days::zone("Asia/Seoul").unwrap(), date(2026, 11, 22));
        let rules = rules.on(today);
        let first = missing(camera(), None, today, rules, &zone);
        assert_eq!(first.len(), 47);
        assert_eq!(first.iter().filter(|plan| plan.reserve).count(), 1);
        let keys = announced(&first);
        assert!(missing(camera(), Some(&keys), today, rules, &zone).is_empty());
        let next = missing(camera(), Some(&keys), days::after(today, 1), rules, &zone);
        assert_eq!(next.len(), 1, "the next day needs one more day key");
        assert!(!next[0].reserve);
        for (days_later, reserves) in [(45, 0), (46, 1), (200, 1)] {
            let later = missing(camera(), Some(&keys), days::after(today, days_later), rules, &zone);
            assert_eq!(
                later.iter().filter(|plan| plan.reserve).count(),
                reserves,
                "{days_later}"
            );
        }
    }
}

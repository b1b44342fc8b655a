//! Sessions: opaque 256-bit ids, kept in memory alone and there only as their hash.
//!
//! A restart signs everybody out. No session id is ever written to a file, a log or an address.

use std::collections::HashMap;
use std::sync::Mutex;

use custody_shared::hash::Sha256Hash;
use custody_shared::id::PersonId;
use custody_shared::time::UtcMicros;
use zeroize::Zeroizing;

/// A session ends after this long without a request.
pub const IDLE_US: i64 = 10 * 60 * 1_000_000;
/// And after this long in any case.
pub const ABSOLUTE_US: i64 = 12 * 3_600 * 1_000_000;
/// Sessions one person has at most; the least recently used one gives way.
pub const PER_PERSON: usize = 5;
/// Sessions in all.
pub const TOTAL: usize = 4096;

/// What the browser's cookie holds: 64 hexadecimal digits.
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub person: PersonId,
    /// When it began.
    pub began: UtcMicros,
    /// Its last request.
    pub used: UtcMicros,
}

impl Session {
    fn live(&self, now: UtcMicros) -> bool {
        let idle = now.get().saturating_sub(self.used.get());
        let age = now.get().saturating_sub(self.began.get());
        // A clock stepped back makes both negative; the session lives on, its ends stay where they were.
        idle < IDLE_US && age < ABSOLUTE_US
    }
}

/// All sessions of this process.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<HashMap<Sha256Hash, Session>>,
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a session; `None` when [`TOTAL`] are live.
    pub fn begin(&self, person: PersonId, now: UtcMicros) -> Option<SessionToken> {
        let mut live = self.lock();
        live.retain(|_, session| session.live(now));
        let own = || live.iter().filter(|(_, session)| session.person == person);
        if own().count() >= PER_PERSON
            && let Some(oldest) = own().min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
        {
            live.remove(&oldest);
        }
        if live.len() >= TOTAL {
            return None;
        }
        let mut secret = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *secret).expect("the system's random source works");
        let token = Zeroizing::new(hex::encode(*secret));
        live.insert(
            Sha256Hash::of(token.as_bytes()),
            Session {
                person,
                began: now,
                used: now,
            },
        );
        Some(SessionToken(token))
    }

    /// The person of a live session; counts as use.
    pub fn touch(&self, token: &str, now: UtcMicros) -> Option<PersonId> {
        let id = id_of(token)?;
        let mut live = self.lock();
        let session = live.get_mut(&id)?;
        if !session.live(now) {
            live.remove(&id);
            return None;
        }
        // Never backwards: a step back of the clock must not lengthen a session twice.
        session.used = session.used.max(now);
        Some(session.person)
    }

    /// The person of a live session, without counting as use: for what a page asks by itself.
    pub fn peek(&self, token: &str, now: UtcMicros) -> Option<PersonId> {
        let live = self.lock();
        live.get(&id_of(token)?)
            .filter(|session| session.live(now))
            .map(|session| session.person)
    }

    /// Ends a session.
    pub fn end(&self, token: &str) {
        if let Some(id) = id_of(token) {
            self.lock().remove(&id);
        }
    }

    /// Ends every session of a person: after a changed password, grade or a closed account.
    pub fn end_all_of(&self, person: PersonId) {
        self.lock().retain(|_, session| session.person != person);
    }

    /// Number of live sessions.
    pub fn count(&self, now: UtcMicros) -> usize {
        self.lock().values().filter(|session| session.live(now)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Sha256Hash, Session>> {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Looking up the hash, not the id, leaves nothing to learn from the time a lookup takes.
fn id_of(token: &str) -> Option<Sha256Hash> {
    (token.len() == 64).then(|| Sha256Hash::of(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn at(minutes: i64) -> UtcMicros {
        UtcMicros::new(1_800_000_000_000_000 + minutes * MINUTE)
    }

    #[test]
    fn ends_when_idle_and_in_any_case() {
        let sessions = Sessions::new();
        let person = PersonId::random();
        let token = sessions.begin(person, at(0)).unwrap();
        assert_eq!(sessions.touch(token.reveal(), at(9)), Some(person));
        assert_eq!(sessions.touch(token.reveal(), at(18)), Some(person));
        assert_eq!(sessions.touch(token.reveal(), at(28)), None);
        let token = sessions.begin(person, at(0)).unwrap();
        for minute in (0..720).step_by(5) {
            assert_eq!(sessions.touch(token.reveal(), at(minute)), Some(person), "{minute}");
        }
        assert_eq!(sessions.touch(token.reveal(), at(720)), None);
    }

    #[test]
    fn peeking_does_not_keep_it_alive() {
        let sessions = Sessions::new();
        let token = sessions.begin(PersonId::random(), at(0)).unwrap();
        for minute in 0..10 {
            assert!(sessions.peek(token.reveal(), at(minute)).is_some());
        }
        assert!(sessions.peek(token.reveal(), at(10)).is_none());
    }

    #[test]
    fn a_clock_stepped_back_lengthens_nothing() {
        let sessions = Sessions::new();
        let token = sessions.begin(PersonId::random(), at(0)).unwrap();
        assert!(sessions.touch(token.reveal(), at(-60)).is_some());
        assert!(sessions.touch(token.reveal(), at(10)).is_none());
    }

    #[test]
    fn foreign_tokens_open_nothing() {
        let sessions = Sessions::new();
        let token = sessions.begin(PersonId::random(), at(0)).unwrap();
        let other = "0".repeat(64);
        for flaw in [
            "",
            "0",
            other.as_str(),
            &token.reveal()[..63],
            &token.reveal().to_uppercase(),
        ] {
            if flaw != token.reveal() {
                assert_eq!(sessions.touch(flaw, at(1)), None);
            }
        }
        sessions.end(token.reveal());
        assert_eq!(sessions.touch(token.reveal(), at(1)), None);
    }

    #[test]
    fn bounded_per_person_and_in_all() {
        let sessions = Sessions::new();
        let person = PersonId::random();
        let first = sessions.begin(person, at(0)).unwrap();
        for _ in 0..PER_PERSON {
            sessions.begin(person, at(1)).unwrap();
        }
        assert_eq!(sessions.count(at(1)), PER_PERSON);
        assert_eq!(sessions.touch(first.reveal(), at(1)), None);
        while sessions.begin(PersonId::random(), at(1)).is_some() {}
        assert_eq!(sessions.count(at(1)), TOTAL);
        assert!(
            sessions.begin(PersonId::random(), at(12)).is_some(),
            "dead sessions make room"
        );
        sessions.end_all_of(person);
        assert_eq!(sessions.touch(first.reveal(), at(12)), None);
    }
}

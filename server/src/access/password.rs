//! Passwords: Argon2id with OWASP's parameters, and the same work for names that do not exist.

use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// OWASP's first choice of 2024 for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Characters a password has at least.
pub const MIN_CHARS: usize = 10;
/// Bytes a password has at most; more is refused before it is hashed.
pub const MAX_BYTES: usize = 256;

/// Why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Under [`MIN_CHARS`].
    #[error("the password has fewer than {MIN_CHARS} characters; choose a longer one")]
    TooShort,
    /// Over [`MAX_BYTES`].
    #[error("the password has more than {MAX_BYTES} bytes; choose a shorter one")]
    TooLong,
    /// One character or the account's name over and over.
    #[error("the password can be guessed from the name; choose another")]
    Guessable,
    /// The hash could not be computed.
    #[error("the password could not be hashed; free some memory and try again")]
    Hash,
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are constants within limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a new password into a PHC string with a fresh salt. Takes about 20 ms of a core and 19 MiB.
///
/// # Errors
/// [`PasswordError`]; the password is in no message.
pub fn hash(name: &str, password: &str) -> Result<String, PasswordError> {
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    if password.chars().count() < MIN_CHARS {
        return Err(PasswordError::TooShort);
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first)
        || (!name.is_empty() && password.to_lowercase().replace(name, "").is_empty())
    {
        return Err(PasswordError::Guessable);
    }
    argon2()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Hash)
}

/// Whether a password fits a PHC string. `None` stands for a name that does not exist: the same work is done
/// against a hash nobody knows the password of, and the answer is no.
#[must_use]
pub fn verify(verifier: Option<&str>, password: &str) -> bool {
    let known = verifier.is_some();
    let phc = verifier.unwrap_or_else(|| stranger());
    // Over-long input is cut, not hashed at length, and never fits.
    let fits_limit = password.len() <= MAX_BYTES;
    let candidate = if fits_limit {
        password.as_bytes()
    } else {
        &password.as_bytes()[..MAX_BYTES]
    };
    let matches = PasswordHash::new(phc).is_ok_and(|hash| argon2().verify_password(candidate, &hash).is_ok());
    known & fits_limit & matches
}

/// A verifier of a random password, made once.
fn stranger() -> &'static str {
    static STRANGER: OnceLock<String> = OnceLock::new();
    STRANGER.get_or_init(|| {
        let mut secret = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *secret).expect("the system's random source works");
        argon2()
            .hash_password(&*secret)
            .map(|hash| hash.to_string())
            .unwrap_or_default()
    })
}

/// Makes the stranger's verifier ahead, so that the first wrong name takes no longer than the second.
pub fn prepare() {
    let _ = stranger();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits() {
        let verifier = hash("desk", "correct horse battery").unwrap();
        assert!(verifier.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{verifier}");
        assert!(verify(Some(&verifier), "correct horse battery"));
        let long = "x".repeat(MAX_BYTES + 1);
        for wrong in [
            "",
            "correct horse batterz",
            "Correct horse battery",
            "correct horse battery ",
            long.as_str(),
        ] {
            assert!(!verify(Some(&verifier), wrong));
        }
        assert!(!verify(None, "correct horse battery"));
        assert!(!verify(Some("not a verifier"), "correct horse battery"));
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        assert_ne!(
            hash("a", "correct horse battery").unwrap(),
            hash("a", "correct horse battery").unwrap()
        );
    }

    #[test]
    fn weak_passwords_are_refused() {
        let cases = [
            ("short", "123456789", PasswordError::TooShort),
            ("too long", &"x1".repeat(200), PasswordError::TooLong),
            ("one character", "aaaaaaaaaaaaaa", PasswordError::Guessable),
            (
                "the name twice",
                "manager-managermanager-manager",
                PasswordError::Guessable,
            ),
        ];
        for (flaw, password, expected) in cases {
            let name = if flaw == "the name twice" {
                "manager-manager"
            } else {
                "manager"
            };
            assert_eq!(hash(name, password), Err(expected), "{flaw}");
        }
    }

    #[test]
    fn unknown_names_cost_as_much_as_known_ones() {
        // Not a measurement of time: both paths must reach a well-formed verifier with the same parameters.
        prepare();
        assert!(stranger().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}

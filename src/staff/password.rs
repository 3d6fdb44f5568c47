//! Passwords: argon2id off the async threads, a bounded number at a time, and which passwords are refused.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use data_encoding::BASE32_NOPAD;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::PASSWORD_WEAK;
use crate::kernel::{Failure, Result, common};
use crate::platform::crypto;

/// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane. Measured: 19 ms on one core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes at the same time, in the whole process: they take 19 MiB and a core each.
static TURNS: Semaphore = Semaphore::const_new(2);
/// How long a sign-in waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

const LENGTH_MIN: usize = 10;
const LENGTH_MAX: usize = 128;
/// Different characters that a password has at least.
const DIFFERENT_MIN: usize = 5;
/// Parts of passwords that are tried first everywhere.
const COMMON: &[&str] = &[
    "password",
    "passw0rd",
    "p@ssword",
    "p@ssw0rd",
    "12345678",
    "87654321",
    "01234567",
    "qwertyui",
    "asdfghjk",
    "1qaz2wsx",
    "1q2w3e4r",
    "iloveyou",
    "woaini",
    "letmein",
    "changeme",
    "changeit",
    "welcome1",
    "admin123",
    "admin@123",
    "administrator",
    "minimall",
];

/// Refuses a password that is too short, too long or easy to guess. Not the field's name, only the reason.
pub fn check(user_name: &str, password: &str) -> Result<()> {
    let weak = |why: &str| Err(Failure::new(&PASSWORD_WEAK).detail(why));
    let length = password.chars().count();
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return weak("A password has 10 to 128 characters.");
    }
    let lower = password.to_lowercase();
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT_MIN {
        return weak("This password repeats too few characters.");
    }
    // A long password may well contain a common word; most of a short one may not be it.
    let mostly = |part: &str| lower.contains(part) && length < part.chars().count() + 6;
    if mostly(user_name) {
        return weak("A password must not be made of the user name.");
    }
    if COMMON.iter().any(|part| mostly(part)) {
        return weak("This password is one of the first that anybody would try.");
    }
    Ok(())
}

/// A password of 100 bits, in groups that can be typed.
pub fn made_up() -> String {
    let text = BASE32_NOPAD.encode(&crypto::random::<13>()).to_lowercase();
    [&text[..5], &text[5..10], &text[10..15], &text[15..20]].join("-")
}

/// Leave to hash, of which there are a few at a time.
pub struct Turn(SemaphorePermit<'static>);

impl Turn {
    /// Waits for it, a bounded time.
    ///
    /// # Errors
    /// `unavailable`: too many people wait.
    pub async fn wait() -> Result<Self> {
        match tokio::time::timeout(TURN_TIMEOUT, TURNS.acquire()).await {
            Ok(turn) => Ok(Self(turn.map_err(|e| Failure::internal("waiting to hash a password", e))?)),
            Err(late) => Err(Failure::new(&common::UNAVAILABLE).retry_after_s(5).cause(late)),
        }
    }
}

/// The hash of a password, as a PHC string.
pub async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    let salt = crypto::random::<16>();
    let work = move || Ok(hasher()?.hash_password_with_salt(password.as_bytes(), &salt)?.to_string());
    in_turn(Turn::wait().await?, work).await
}

/// Is it the password of this hash? Without a hash the same work is done, and the answer is no.
pub async fn verify(turn: Turn, password: &str, hash: Option<&str>) -> Result<bool> {
    let password = password.to_owned();
    let hash = hash.map(str::to_owned);
    in_turn(turn, move || {
        let Some(hash) = hash else {
            let _: PasswordHash = hasher()?.hash_password_with_salt(password.as_bytes(), &[0; 16])?;
            return Ok(false);
        };
        match hasher()?.verify_password(password.as_bytes(), &PasswordHash::new(&hash)?) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

fn hasher() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(move || {
        // Held until the work is done, also when nobody waits for it any more.
        let _turn = turn.0;
        work()
    });
    done.await
        .map_err(|e| Failure::internal("hashing a password", e))?
        .map_err(|e| Failure::internal("hashing a password", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn verify_now(password: &str, hash: Option<&str>) -> Result<bool> {
        verify(Turn::wait().await?, password, hash).await
    }

    #[tokio::test]
    async fn a_password_is_verified_by_its_hash_alone() {
        let stored = hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify_now("correct horse battery", Some(&stored)).await.unwrap());
        assert!(!verify_now("correct horse batterY", Some(&stored)).await.unwrap());
        assert!(!verify_now("correct horse battery", None).await.unwrap());
        assert!(verify_now("correct horse battery", Some("not a hash")).await.is_err());
    }

    #[test]
    fn weak_passwords_are_refused() {
        for weak in
            ["short", "Password123", "1234567890", "admin12345", "aaaaaaaaaaaa", "Admin@123456", "qwertyuiop"]
        {
            assert!(check("admin", weak).is_err(), "{weak}");
        }
        assert!(check("admin", &"ab3d".repeat(33)).is_err());
        for strong in
            ["correct horse battery", "the-admin-of-west-lake", "Xk4-ppQ8-z!", "西湖边的小店今天开门了"]
        {
            assert!(check("admin", strong).is_ok(), "{strong}");
        }
    }
}

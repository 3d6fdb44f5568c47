//! Slows guessing down: failed tries are counted by user name, whether it exists or not. The count is of
//! this process; it shields the password hash, which is the real cost of a guess.

use moka::future::Cache;

use super::SIGN_IN_TOO_OFTEN;
use crate::kernel::{Failure, Millis, Result, minute_ms};

/// Failed tries in a row until a user name has to wait.
const FAILED_MAX: u32 = 20;
/// How long a count lives, from its first failure on.
const WINDOW_MS: Millis = minute_ms(15);
/// User names that are counted at the same time.
const NAMES_MAX: u64 = 10_000;

#[derive(Clone, Copy)]
struct Count {
    tries: u32,
    since_ms: Millis,
}

/// Tries by user name since their last success. Clones share the counts.
#[derive(Clone)]
pub struct Attempts(Cache<String, Count>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Cache::new(NAMES_MAX))
    }
}

impl Attempts {
    /// Counts a try before its password is looked at, so that parallel tries count, too.
    ///
    /// # Errors
    /// `sign_in_too_often` with the time to wait.
    pub(super) async fn admit(&self, user_name: &str, now_ms: Millis) -> Result<()> {
        let count = self
            .0
            .entry_by_ref(user_name)
            .and_upsert_with(|there| async move {
                match there.map(moka::Entry::into_value) {
                    Some(count) if now_ms < count.since_ms + WINDOW_MS => {
                        Count { tries: count.tries.saturating_add(1), ..count }
                    }
                    _ => Count { tries: 1, since_ms: now_ms },
                }
            })
            .await
            .into_value();
        if count.tries <= FAILED_MAX {
            return Ok(());
        }
        let wait_s = (count.since_ms + WINDOW_MS - now_ms).div_euclid(1_000) + 1;
        Err(Failure::new(&SIGN_IN_TOO_OFTEN).retry_after_s(u32::try_from(wait_s).unwrap_or(1)))
    }

    /// The password was right: the count starts again.
    pub(super) async fn succeeded(&self, user_name: &str) {
        self.0.invalidate(user_name).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_name_waits_after_too_many_failures_and_a_success_clears_it() {
        let attempts = Attempts::default();
        for _ in 0..FAILED_MAX {
            attempts.admit("admin", 0).await.unwrap();
        }
        let refused = attempts.admit("admin", minute_ms(5)).await.unwrap_err();
        assert!(refused.is(&SIGN_IN_TOO_OFTEN));
        assert_eq!(refused.retry_after(), Some(601));
        attempts.admit("other", 0).await.unwrap();
        attempts.admit("admin", WINDOW_MS).await.unwrap();
        for _ in 0..3 * FAILED_MAX {
            attempts.admit("admin", WINDOW_MS).await.unwrap();
            attempts.succeeded("admin").await;
        }
    }
}

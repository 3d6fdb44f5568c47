//! Slows guessing down. Tries are counted in the database, so for all nodes together, by user name, whether it
//! exists or not. A device that was signed in before proves it with its old token and is counted by itself, so
//! that nobody who keeps guessing a name keeps its owner out.

use super::{SIGN_IN_TOO_OFTEN, sql};
use crate::kernel::{Failure, Millis, Result, StaffId, minute_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::secrets::token_hash;

/// Tries without a success until somebody has to wait.
const TRIES_MAX: i64 = 20;
/// How long a count lives, from its first try on.
const WINDOW_MS: Millis = minute_ms(15);

/// Whose tries are counted together: a keyed hash, so that what people type by mistake is not kept.
#[derive(Debug, Clone)]
pub struct Counted(String);

impl Counted {
    /// Tries to sign in under this name: from everywhere, or, with a token that this very device had for the
    /// name before, from there.
    ///
    /// # Errors
    /// The database.
    pub async fn of_sign_in(ctx: &Ctx, user_name: &str, known_token: Option<&str>) -> Result<Self> {
        let device = match known_token {
            Some(token) => {
                let conn = &mut *ctx.db.reader().await?;
                sql::sessions::known_device(conn, user_name, &token_hash(token)).await?
            }
            None => None,
        };
        Ok(match device {
            Some(session) => Self(ctx.secrets.index("sign-in device", session.as_str())),
            None => Self(ctx.secrets.index("sign-in", user_name)),
        })
    }

    /// Tries of a member who is signed in to prove the current password.
    pub fn of_password_change(ctx: &Ctx, member: &StaffId) -> Self {
        Self(ctx.secrets.index("password change", member.as_str()))
    }

    /// Refuses who has to wait, before anything costly is done.
    ///
    /// # Errors
    /// `sign_in_too_often` with the time to wait.
    pub async fn look(&self, ctx: &Ctx) -> Result<()> {
        let known = sql::tries::find(&mut *ctx.db.reader().await?, &self.0).await?;
        let left_ms = known.map(|(tries, since_ms)| (tries, since_ms + WINDOW_MS - ctx.clock.now_ms()));
        match left_ms {
            Some((tries, left_ms)) if tries >= TRIES_MAX && left_ms > 0 => Err(wait(left_ms)),
            _ => Ok(()),
        }
    }

    /// Counts a try before its password is looked at, so that parallel tries count, too.
    ///
    /// # Errors
    /// `sign_in_too_often` with the time to wait.
    pub async fn admit(&self, ctx: &Ctx) -> Result<()> {
        let now_ms = ctx.clock.now_ms();
        let after_ms = now_ms - WINDOW_MS;
        let counted = self.0.as_str();
        let admitted = ctx.db.write(|tx| {
            Box::pin(async move {
                Ok(sql::tries::count(tx, counted, after_ms, TRIES_MAX).await?
                    || sql::tries::begin(tx, counted, after_ms, now_ms).await?
                    // Somebody else began at the same moment.
                    || sql::tries::count(tx, counted, after_ms, TRIES_MAX).await?)
            })
        });
        if admitted.await? {
            return Ok(());
        }
        tracing::warn!("somebody tries passwords: {TRIES_MAX} tries within {} min", WINDOW_MS / 60_000);
        self.look(ctx).await?;
        Err(wait(1_000))
    }

    /// The password was right: the count starts again.
    ///
    /// # Errors
    /// The database.
    pub async fn succeeded(&self, tx: &mut Tx<'_>) -> Result<()> {
        sql::tries::forget(tx, &self.0).await
    }
}

fn wait(left_ms: Millis) -> Failure {
    let wait_s = left_ms.div_euclid(1_000) + 1;
    Failure::new(&SIGN_IN_TOO_OFTEN).retry_after_s(u32::try_from(wait_s).unwrap_or(1))
}

/// Forgets counts that are over. Answers how many.
///
/// # Errors
/// The database.
pub async fn sweep(ctx: &Ctx) -> Result<usize> {
    let before_ms = ctx.clock.now_ms() - WINDOW_MS;
    ctx.db.write(|tx| Box::pin(async move { sql::tries::forget_old(tx, before_ms).await })).await
}

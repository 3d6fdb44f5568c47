//! Refreshing: a refresh token buys the next pair of tokens, once.

use super::sql::{self, Ended, Rotation};
use super::tokens::{Tokens, family_of};
use super::{EndReason, REFRESH_TOKEN_INVALID, Sessions, revoke};
use crate::kernel::{Failure, Millis, Result, day_ms, minute_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::secrets::token_hash;

/// The next pair of tokens.
pub struct Refreshed {
    pub token: String,
    pub refresh_token: String,
    pub expires_ms: Millis,
    /// The same request was answered before, with the same tokens.
    pub replayed: bool,
}

enum Outcome {
    Rotated { replaced: Ended, expires_ms: Millis },
    Replayed { expires_ms: Millis },
    Reused { ended: Vec<Ended> },
    Refused,
}

/// Replaces both tokens of a session. A refresh token that was used before ends the session, since two
/// parties hold it; so do two refreshes at once. A client whose answer was lost sends the same request with
/// the same `request_key` and gets the same tokens, as long as they are the current ones and the access token
/// works; without a key it logs in again, for which nobody has to touch the phone.
///
/// # Errors
/// `refresh_token_invalid`.
pub async fn refresh(
    ctx: &Ctx,
    sessions: &Sessions,
    refresh_token: &str,
    request_key: Option<&str>,
) -> Result<Refreshed> {
    let refused = || Failure::new(&REFRESH_TOKEN_INVALID);
    let next = Tokens::after(ctx, refresh_token, request_key).ok_or_else(refused)?;
    let turn = Turn { ctx, presented: refresh_token, next: &next, now_ms: ctx.clock.now_ms() };
    let turn = &turn;
    let outcome = ctx.db.write(|tx| Box::pin(async move { turn.take(tx).await })).await?;
    let (expires_ms, replayed) = match outcome {
        Outcome::Rotated { replaced, expires_ms } => {
            sessions.forget_token(ctx, &replaced).await;
            (expires_ms, false)
        }
        Outcome::Replayed { expires_ms } => (expires_ms, true),
        Outcome::Reused { ended } => {
            revoke::announce(ctx, &ended).await;
            return Err(
                refused().detail("This refresh token was used before. The session is ended, log in again.")
            );
        }
        Outcome::Refused => return Err(refused()),
    };
    Ok(Refreshed { token: next.token, refresh_token: next.refresh_token, expires_ms, replayed })
}

struct Turn<'a> {
    ctx: &'a Ctx,
    presented: &'a str,
    next: &'a Tokens,
    now_ms: Millis,
}

impl Turn<'_> {
    async fn take(&self, tx: &mut Tx<'_>) -> Result<Outcome> {
        let hashes = self.next.hashes();
        let presented = token_hash(self.presented);
        let family = token_hash(family_of(self.presented).unwrap_or_default());
        // A second look, when another refresh was between the first look and the update.
        for _ in 0..2 {
            let Some(row) = sql::live_by_family(tx, &family).await? else { return Ok(Outcome::Refused) };
            if row.refresh_expires_ms <= self.now_ms {
                return Ok(Outcome::Refused);
            }
            let session = Ended {
                id: row.id,
                user_id: row.user_id,
                token_hash: row.token_hash,
                expires_ms: row.expires_ms,
            };
            if row.refresh_hash == hashes.refresh && row.expires_ms > self.now_ms {
                return Ok(Outcome::Replayed { expires_ms: row.expires_ms });
            }
            if row.refresh_hash != presented {
                sql::end(tx, &session.id, EndReason::Reuse, self.now_ms).await?;
                let ended = vec![session];
                revoke::stage(tx, self.ctx, &ended).await?;
                return Ok(Outcome::Reused { ended });
            }
            let limits = &self.ctx.config.session;
            let rotation = Rotation {
                token_hash: &hashes.token,
                refresh_hash: &hashes.refresh,
                expires_ms: self.now_ms + minute_ms(limits.token_minutes),
                refresh_expires_ms: self.now_ms + day_ms(limits.refresh_days),
            };
            if sql::rotate(tx, &session.id, &presented, &rotation).await? {
                return Ok(Outcome::Rotated { replaced: session, expires_ms: rotation.expires_ms });
            }
        }
        Ok(Outcome::Refused)
    }
}

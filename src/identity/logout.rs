//! Logout of this device.

use super::{EndReason, Session, revoke, sql};
use crate::kernel::Result;
use crate::platform::ctx::Ctx;

/// Ends the session: its token and its refresh token open nothing any more. Once more changes nothing.
///
/// # Errors
/// The database.
pub async fn logout(ctx: &Ctx, session: &Session) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let ended = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let ended: Vec<_> = sql::live_by_id(tx, &session.id).await?.into_iter().collect();
                if !sql::end(tx, &session.id, EndReason::Logout, now_ms).await? {
                    return Ok(Vec::new());
                }
                revoke::stage(tx, ctx, &ended).await?;
                Ok(ended)
            })
        })
        .await?;
    revoke::announce(ctx, &ended).await;
    Ok(())
}

//! The backstop of refunds: returns whose message was lost, and photos that nobody used.

use super::{photos, returns, sql};
use crate::kernel::{Millis, Result, minute_ms};
use crate::platform::ctx::Ctx;

const BATCH: i64 = 200;
/// The messages get this much time before the sweep acts in their place.
const GRACE_MS: Millis = minute_ms(2);

/// Ends requests whose goods were not sent in time, and forgets unused photos. Answers how many there were.
///
/// # Errors
/// The database.
pub async fn sweep(ctx: &Ctx) -> Result<usize> {
    let before_ms = ctx.clock.now_ms() - GRACE_MS;
    let late = sql::returns_past_due(&mut *ctx.db.reader().await?, before_ms, BATCH).await?;
    for id in &late {
        tracing::warn!(refund.id = %id, "the sweep ends refund {id}: the message of its return is late");
        if let Err(failure) = ctx.db.write(|tx| Box::pin(returns::lapse(tx, ctx, id))).await {
            tracing::error!(refund.id = %id, "the sweep can't end refund {id}: {failure}");
        }
    }
    Ok(late.len() + photos::forget_unused(ctx).await?)
}

//! The worker of refunds: takes what is due and brings it one step further.

use super::sql::{self, Refund};
use super::{RefundState, submit};
use crate::kernel::{Millis, Result};
use crate::payments::{Channel, LEASE_MS};
use crate::platform::ctx::Ctx;
use crate::platform::worker::side_by_side;

const BATCH: i64 = 32;

/// Works on what is due. Answers how many refunds it took.
///
/// # Errors
/// The database.
pub async fn tick(ctx: &Ctx, channel: &Channel) -> Result<usize> {
    let due = sql::due(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
    let work = due.iter().map(|refund| (refund.id.as_str(), work_on(ctx, channel, refund))).collect();
    Ok(side_by_side("refund", work).await)
}

/// When the next refund is due.
///
/// # Errors
/// The database.
pub async fn next_due(ctx: &Ctx) -> Result<Option<Millis>> {
    sql::next_due(&mut *ctx.db.reader().await?).await
}

async fn work_on(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<bool> {
    let now_ms = ctx.clock.now_ms();
    let claimed = ctx
        .db
        .write(|tx| Box::pin(async move { sql::claim(tx, &refund.id, now_ms, now_ms + LEASE_MS).await }))
        .await?;
    if !claimed {
        return Ok(false);
    }
    match refund.status {
        RefundState::Approved | RefundState::Closed => submit::number(ctx, channel, refund).await?,
        RefundState::Submitted => submit::send(ctx, channel, refund).await?,
        RefundState::Processing => submit::ask(ctx, channel, refund).await?,
        _ => {}
    }
    Ok(true)
}

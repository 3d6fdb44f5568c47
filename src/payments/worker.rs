//! The worker of payments: asks the channel about attempts whose notice does not come, and closes those
//! that are to be closed. Each attempt is claimed for a while, so that several nodes don't ask at once;
//! asking twice does no harm.

use serde_json::json;

use super::close::{NOT_CLOSED, closed_at_channel};
use super::provider::PAYMENT_NEWS;
use super::sql::{self, Attempt};
use super::start::CHANNEL_ACTOR;
use super::{
    AttemptStatus, Channel, ChannelError, LEASE_MS, PaidNews, QUERY_AFTER_MS, Standing, unanswered_pause_ms,
};
use crate::kernel::{Actor, Failure, Millis, Result};
use crate::orders::{self, OrderMove, OrderStatus};
use crate::platform::ctx::Ctx;
use crate::platform::worker::side_by_side;
use crate::platform::{alerts, inbox};

const BATCH: i64 = 32;
/// Pauses between tries to close: doubled from the first to the longest.
const FIRST_PAUSE_MS: Millis = 1_000;
const LONGEST_PAUSE_MS: Millis = 60_000;
/// After so many tries a person is told.
const ALERT_AFTER: i64 = 10;

/// Works on what is due. Answers how many attempts it took.
///
/// # Errors
/// The database.
pub async fn tick(ctx: &Ctx, channel: &Channel) -> Result<usize> {
    if let Err(error) = channel.provider.tick().await {
        tracing::warn!("the channel's certificates were not refreshed: {error}");
    }
    let due = sql::due(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
    let work = due.iter().map(|attempt| (attempt.id.as_str(), work_on(ctx, channel, attempt))).collect();
    Ok(side_by_side("payment", work).await)
}

/// When the next attempt is due.
///
/// # Errors
/// The database.
pub async fn next_due(ctx: &Ctx) -> Result<Option<Millis>> {
    sql::next_due(&mut *ctx.db.reader().await?).await
}

async fn work_on(ctx: &Ctx, channel: &Channel, attempt: &Attempt) -> Result<bool> {
    let now_ms = ctx.clock.now_ms();
    let claimed = ctx
        .db
        .write(|tx| Box::pin(async move { sql::claim(tx, &attempt.id, now_ms, now_ms + LEASE_MS).await }))
        .await?;
    if !claimed {
        return Ok(false);
    }
    match attempt.status {
        AttemptStatus::Closing => close(ctx, channel, attempt).await?,
        _ => ask(ctx, channel, attempt).await?,
    }
    Ok(true)
}

/// The notice has not come: ask.
async fn ask(ctx: &Ctx, channel: &Channel, attempt: &Attempt) -> Result<()> {
    let mut answered = true;
    match query(ctx, channel, attempt).await {
        Ok(Standing::Paid(news)) => store_proof(ctx, channel, &news).await?,
        Ok(Standing::Closed) => return closed_at_channel(ctx, attempt).await,
        // A query that finds nothing proves nothing: the start may still be on its way.
        Ok(Standing::Waiting) | Err(ChannelError::NotFound(_)) => {}
        Err(error) => {
            tracing::warn!(attempt.id = %attempt.id, "payment {} can't be queried: {error}", attempt.id);
            answered = false;
        }
    }
    // By the clock and not by the number of questions: a client's word asks at once and uses none of these up.
    let now_ms = ctx.clock.now_ms();
    let times_ms = QUERY_AFTER_MS.iter().map(|after_ms| attempt.created_ms + after_ms);
    let next_ms = times_ms
        .filter(|at_ms| *at_ms < attempt.time_expire_ms)
        .chain([attempt.time_expire_ms])
        .find(|at_ms| *at_ms > now_ms);
    let again_ms = (!answered).then(|| now_ms + unanswered_pause_ms(now_ms - attempt.created_ms));
    let next_ms = [next_ms, again_ms].into_iter().flatten().min();
    reschedule(ctx, attempt, attempt.step + 1, next_ms).await
}

async fn query(
    ctx: &Ctx,
    channel: &Channel,
    attempt: &Attempt,
) -> std::result::Result<Standing, ChannelError> {
    let answer = channel.provider.query(&attempt.out_trade_no).await;
    ctx.metrics.outbound("query_payment", answer.as_ref().err().map_or("ok", ChannelError::kind));
    answer
}

async fn close(ctx: &Ctx, channel: &Channel, attempt: &Attempt) -> Result<()> {
    let closed = channel.provider.close(&attempt.out_trade_no).await;
    ctx.metrics.outbound("close_payment", closed.as_ref().err().map_or("ok", ChannelError::kind));
    let refused = match closed {
        Ok(()) => return closed_at_channel(ctx, attempt).await,
        Err(error) => error,
    };
    // It may have been paid at this very moment: ask, don't assume.
    match query(ctx, channel, attempt).await {
        Ok(Standing::Paid(news)) => store_proof(ctx, channel, &news).await?,
        Ok(Standing::Closed) => return closed_at_channel(ctx, attempt).await,
        Ok(Standing::Waiting) | Err(_) => {}
    }
    let step = attempt.step + 1;
    tracing::warn!(attempt.id = %attempt.id, "payment {} is not closed yet, try {step}: {refused}", attempt.id);
    if step == ALERT_AFTER {
        channel_unreachable(ctx, attempt, &refused).await?;
    }
    let pause_ms = (FIRST_PAUSE_MS << attempt.step.min(6)).min(LONGEST_PAUSE_MS);
    reschedule(ctx, attempt, step, Some(ctx.clock.now_ms() + pause_ms)).await
}

/// What the channel says is proof; it is settled by the inbox, like a notice.
async fn store_proof(ctx: &Ctx, channel: &Channel, news: &PaidNews) -> Result<()> {
    let body = serde_json::to_string(news).map_err(|e| Failure::internal("writing a proof", e))?;
    let source = format!("{}-query", channel.provider.kind().as_str().to_lowercase());
    let (body, source) = (&body, &source);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                inbox::store(tx, ctx, source, &news.transaction_id, PAYMENT_NEWS, body).await?;
                Ok(())
            })
        })
        .await
}

async fn reschedule(ctx: &Ctx, attempt: &Attempt, step: i64, next_ms: Option<Millis>) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move { sql::schedule(tx, &attempt.id, attempt.status, step, next_ms).await })
        })
        .await
}

async fn channel_unreachable(ctx: &Ctx, attempt: &Attempt, error: &ChannelError) -> Result<()> {
    let why = &error.to_string();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, &attempt.order_id).await?;
                if order.status == OrderStatus::Closing {
                    let actor = Actor::System(CHANNEL_ACTOR);
                    let detail = json!({ "attempt": attempt.id });
                    orders::record(tx, ctx, &mut order, OrderMove::ChannelUnreachable, &actor, detail)
                        .await?;
                }
                alerts::open(tx, ctx, NOT_CLOSED, attempt.id.as_str(), why).await
            })
        })
        .await
}

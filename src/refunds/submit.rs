//! Submitting a refund to the channel: commit a number, send under it, and ask while the outcome is unknown.
//!
//! A number is kept as long as the outcome is unknown; a new one is taken only after the channel says that
//! the old one is closed. So a refund is never paid out twice.

use super::sql::{self, Refund, Submission};
use super::{CLOSED_MAX, PARTS_MAX, PAUSE_MS, PAYMENT_AGE_MAX_MS, RefundState, SPACING_MS, settle};
use crate::kernel::{Failure, Millis, Result, SubmissionId, hour_ms, minute_ms};
use crate::orders;
use crate::payments::{self, Channel, ChannelError, RefundNews, RefundRequest, RefundState as ChannelState};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};

/// Pauses between questions; the last one repeats.
const ASK_AFTER_MS: [Millis; 6] = [5_000, 30_000, minute_ms(2), minute_ms(10), minute_ms(30), hour_ms(1)];

/// The alert that is open while the merchant's account does not allow refunds: their queue rests.
const PAUSED: (&str, &str) = ("refunds_paused", "wechat_pay");

/// While the queue rests, the oldest refund alone is tried; the others wait for its acceptance.
async fn rests(tx: &mut Tx<'_>, ctx: &Ctx, refund: &Refund) -> Result<bool> {
    if !alerts::is_open(tx, PAUSED.0, PAUSED.1).await? {
        return Ok(false);
    }
    let oldest = sql::oldest_waiting(tx).await?;
    if oldest.is_none_or(|oldest| oldest == refund.id) {
        return Ok(false);
    }
    let next_ms = ctx.clock.now_ms() + PAUSE_MS;
    sql::schedule(tx, &refund.id, refund.status, refund.step, Some(next_ms)).await?;
    Ok(true)
}

/// The channel has taken a refund: whatever rested goes on.
async fn resume(tx: &mut Tx<'_>, ctx: &Ctx) -> Result<()> {
    if alerts::close(tx, ctx, PAUSED.0, PAUSED.1).await? {
        sql::hurry_approved(tx, ctx.clock.now_ms()).await?;
        tx.wake(Work::Refunds);
    }
    Ok(())
}

/// A person wants the queue to be tried now: that is its oldest refund.
pub async fn try_oldest(tx: &mut Tx<'_>, ctx: &Ctx) -> Result<()> {
    if alerts::is_open(tx, PAUSED.0, PAUSED.1).await?
        && let Some(oldest) = sql::oldest_waiting(tx).await?
    {
        sql::schedule(tx, &oldest, RefundState::Approved, 0, Some(ctx.clock.now_ms())).await?;
    }
    Ok(())
}

/// Gives a refund a number, or to a person when the channel would not take it.
pub async fn number(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<()> {
    let submitted = ctx.db.write(|tx| Box::pin(number_in(tx, ctx, refund))).await?;
    if submitted {
        let refund = Refund { status: RefundState::Submitted, step: 0, ..refund.clone() };
        send(ctx, channel, &refund).await?;
    }
    Ok(())
}

async fn number_in(tx: &mut Tx<'_>, ctx: &Ctx, refund: &Refund) -> Result<bool> {
    let Some(attempt_id) = &refund.attempt_id else {
        return Err(Failure::internal("submitting a refund", "it has no payment"));
    };
    let record = payments::record_of(tx, attempt_id).await?;
    let record =
        record.ok_or_else(|| Failure::internal("submitting a refund", "its payment has no record"))?;
    // Held: the number of submissions and the time of the last one stay what they are read to be.
    orders::hold(tx, &refund.order_id).await?;
    if rests(tx, ctx, refund).await? {
        return Ok(false);
    }
    let now_ms = ctx.clock.now_ms();
    let last = sql::last_submission(tx, &refund.id).await?;
    // A number whose outcome is open is used again; one that the channel closed never.
    if last.is_none_or(|submission| submission.outcome.is_some()) {
        let (count, last_ms) = sql::submissions_of(tx, attempt_id).await?;
        if now_ms - record.paid_ms > PAYMENT_AGE_MAX_MS {
            to_manual(tx, ctx, refund, "the payment is older than 365 days").await?;
            return Ok(false);
        }
        if count >= PARTS_MAX {
            to_manual(tx, ctx, refund, "the payment has 50 refunds already").await?;
            return Ok(false);
        }
        if let Some(free_ms) = last_ms.map(|last_ms| last_ms + SPACING_MS).filter(|free_ms| *free_ms > now_ms)
        {
            sql::schedule(tx, &refund.id, refund.status, refund.step, Some(free_ms)).await?;
            return Ok(false);
        }
        let id: SubmissionId = ctx.new_id();
        let submission = Submission {
            out_refund_no: format!("{}{}", ctx.config.wechat_pay.number_prefix, id.tail()),
            id,
            attempt_id: attempt_id.clone(),
            transaction_id: record.transaction_id,
            amount_minor: refund.amount_minor,
            total_minor: record.amount_minor,
            currency: record.currency,
            outcome: None,
            created_ms: now_ms,
        };
        sql::insert_submission(tx, &submission, &refund.id).await?;
    }
    if !sql::advance(tx, &refund.id, refund.status, RefundState::Submitted).await? {
        return Ok(false);
    }
    // If this process dies before the channel has answered, the row is due again by itself.
    sql::schedule(tx, &refund.id, RefundState::Submitted, 0, Some(now_ms + payments::LEASE_MS)).await?;
    Ok(true)
}

/// Sends a submitted refund under its number.
pub async fn send(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<()> {
    let submission = sql::last_submission(&mut *ctx.db.reader().await?, &refund.id).await?;
    let Some(submission) = submission else {
        return Err(Failure::internal("sending a refund", "it has no number"));
    };
    let request = RefundRequest {
        transaction_id: submission.transaction_id.clone(),
        out_refund_no: submission.out_refund_no.clone(),
        reason: refund.reason.clone(),
        refund_minor: submission.amount_minor,
        total_minor: submission.total_minor,
        currency: submission.currency.clone(),
    };
    let notify_url = format!("{}/callbacks/wechat-pay/refunds", channel.public_url);
    match channel.provider.refund(&request, notify_url).await {
        Ok(news) => {
            ctx.metrics.outbound("refund", "ok");
            accepted(ctx, refund, &news).await
        }
        Err(error) => {
            ctx.metrics.outbound("refund", error.kind());
            refused(ctx, refund, error).await
        }
    }
}

/// The channel has it: PROCESSING, and if it says how it ended, that is a proof for the inbox.
async fn accepted(ctx: &Ctx, refund: &Refund, news: &RefundNews) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                resume(tx, ctx).await?;
                if sql::advance(tx, &refund.id, RefundState::Submitted, RefundState::Processing).await? {
                    let next_ms = ctx.clock.now_ms() + ASK_AFTER_MS[0];
                    sql::schedule(tx, &refund.id, RefundState::Processing, 0, Some(next_ms)).await?;
                }
                if news.state != ChannelState::Processing {
                    settle::store_answer(tx, ctx, news).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn refused(ctx: &Ctx, refund: &Refund, error: ChannelError) -> Result<()> {
    tracing::warn!(refund.id = %refund.id, "refund {} was not accepted: {error}", refund.id);
    let why = &error.to_string();
    let error = &error;
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                match error {
                    // It may have been done: ask, and if nobody knows it, send it again under the same number.
                    ChannelError::Unknown(_) | ChannelError::RateLimited => {
                        sql::advance(tx, &refund.id, RefundState::Submitted, RefundState::Processing).await?;
                        let next_ms = now_ms + ASK_AFTER_MS[0];
                        sql::schedule(tx, &refund.id, RefundState::Processing, 0, Some(next_ms)).await?;
                    }
                    ChannelError::Paused(_) => {
                        sql::advance(tx, &refund.id, RefundState::Submitted, RefundState::Approved).await?;
                        sql::schedule(tx, &refund.id, RefundState::Approved, 0, Some(now_ms + PAUSE_MS))
                            .await?;
                        alerts::open(tx, ctx, PAUSED.0, PAUSED.1, why).await?;
                    }
                    ChannelError::Refused(_) | ChannelError::NotFound(_) | ChannelError::NumberUsed(_) => {
                        let refund = Refund { status: RefundState::Submitted, ..refund.clone() };
                        to_manual(tx, ctx, &refund, why).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Asks how a refund stands.
pub async fn ask(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<()> {
    let submission = sql::last_submission(&mut *ctx.db.reader().await?, &refund.id).await?;
    let Some(submission) = submission else {
        return Err(Failure::internal("asking about a refund", "it has no number"));
    };
    let answer = channel.provider.query_refund(&submission.out_refund_no).await;
    let answer = &answer;
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if answer.is_ok() {
                    resume(tx, ctx).await?;
                }
                match answer {
                    Ok(news) if news.state != ChannelState::Processing => {
                        settle::store_answer(tx, ctx, news).await?
                    }
                    // Nobody knows it: it never arrived. The same number goes out again.
                    Err(ChannelError::NotFound(_)) => {
                        sql::advance(tx, &refund.id, RefundState::Processing, RefundState::Submitted).await?;
                        sql::schedule(tx, &refund.id, RefundState::Submitted, 0, Some(now_ms)).await?;
                        tx.wake(Work::Refunds);
                        return Ok(());
                    }
                    Ok(_) | Err(_) => {}
                }
                let step = refund.step + 1;
                let pause_ms = ASK_AFTER_MS[(step as usize).min(ASK_AFTER_MS.len() - 1)];
                sql::schedule(tx, &refund.id, RefundState::Processing, step, Some(now_ms + pause_ms)).await?;
                Ok(())
            })
        })
        .await
}

/// Only people can go on.
pub async fn to_manual(tx: &mut Tx<'_>, ctx: &Ctx, refund: &Refund, why: &str) -> Result<()> {
    if sql::advance(tx, &refund.id, refund.status, RefundState::Manual).await? {
        alerts::open(tx, ctx, "refund_manual", refund.id.as_str(), why).await?;
    }
    Ok(())
}

/// The channel closed a submission: the next one follows after a pause, or a person takes over.
pub async fn submit_again(tx: &mut Tx<'_>, ctx: &Ctx, refund: &Refund) -> Result<()> {
    if !sql::advance(tx, &refund.id, refund.status, RefundState::Closed).await? {
        return Ok(());
    }
    sql::count_closed(tx, &refund.id).await?;
    if refund.closed_times >= CLOSED_MAX {
        let refund = Refund { status: RefundState::Closed, ..refund.clone() };
        return to_manual(tx, ctx, &refund, "the channel has closed it again and again").await;
    }
    let pause_ms = SPACING_MS << refund.closed_times.min(8);
    sql::schedule(tx, &refund.id, RefundState::Closed, 0, Some(ctx.clock.now_ms() + pause_ms)).await?;
    tx.wake(Work::Refunds);
    Ok(())
}

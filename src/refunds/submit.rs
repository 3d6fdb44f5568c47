//! Submitting refunds to the channel: commit a number, send under it, and ask while the outcome is unknown.
//!
//! A number is kept as long as the outcome is unknown; a new one is taken only after the channel says that
//! the old one is closed. So a refund is never paid out twice. A number carries one refund; near the channel's
//! limit it carries all that wait for one payment. They go from state to state together, and one of them is
//! scheduled for all.

use serde_json::json;

use super::sql::{self, Part, Refund, Submission};
use super::{
    CLOSED_MAX, MERGE_FROM, PARTS_MAX, PAUSE_MS, PAYMENT_AGE_MAX_MS, REFUND_UNKNOWN_AT_CHANNEL, RefundState,
    SPACING_MS, settle,
};
use crate::kernel::{Actor, Failure, Millis, Result, SubmissionId, hour_ms, minute_ms};
use crate::orders::{self, OrderMove};
use crate::payments::{self, Channel, ChannelError, RefundNews, RefundRequest, RefundState as ChannelState};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::platform::{alerts, audit};

/// Pauses between questions; the last one repeats.
const ASK_AFTER_MS: [Millis; 6] = [5_000, 30_000, minute_ms(2), minute_ms(10), minute_ms(30), hour_ms(1)];

/// The alert that is open while the merchant's account does not allow refunds: their queue rests.
pub const PAUSED_ALERT: &str = "refunds_paused";
const PAUSED: (&str, &str) = (PAUSED_ALERT, "wechat_pay");

const ACTOR: Actor = Actor::System("refund");

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
    let submission = match last.filter(|submission| submission.outcome.is_none()) {
        Some(submission) => submission.id,
        None => {
            let (count, last_ms) = sql::submissions_of(tx, attempt_id).await?;
            if now_ms - record.paid_ms > PAYMENT_AGE_MAX_MS {
                to_manual(tx, ctx, refund, "the payment is older than 365 days").await?;
                return Ok(false);
            }
            if count >= PARTS_MAX {
                to_manual(tx, ctx, refund, "the payment has 50 refunds already").await?;
                return Ok(false);
            }
            let free_ms = last_ms.map(|last_ms| last_ms + SPACING_MS);
            if let Some(free_ms) = free_ms.filter(|free_ms| *free_ms > now_ms) {
                sql::schedule(tx, &refund.id, refund.status, refund.step, Some(free_ms)).await?;
                return Ok(false);
            }
            let together = together(tx, refund, count, now_ms).await?;
            let Some(first) = together.first() else { return Ok(false) };
            let id: SubmissionId = ctx.new_id();
            let submission = Submission {
                out_refund_no: format!("{}{}", ctx.config.wechat_pay.number_prefix, id.tail()),
                id,
                attempt_id: attempt_id.clone(),
                transaction_id: record.transaction_id,
                amount_minor: together.iter().map(|refund| refund.amount_minor).sum(),
                total_minor: record.amount_minor,
                currency: record.currency,
                outcome: None,
                created_ms: now_ms,
                reason: Some(first.reason.clone()),
            };
            sql::insert_submission(tx, &submission, &together).await?;
            submission.id
        }
    };
    let mut moved = false;
    for part in sql::parts_of(tx, &submission).await? {
        let Some(other) = sql::by_id(tx, &part.refund_id).await? else { continue };
        let waits = matches!(other.status, RefundState::Approved | RefundState::Closed);
        moved |= waits && sql::advance(tx, &other.id, other.status, RefundState::Submitted).await?;
    }
    if moved {
        // If this process dies before the channel has answered, the row is due again by itself.
        let next_ms = now_ms + payments::LEASE_MS;
        sql::schedule(tx, &refund.id, RefundState::Submitted, 0, Some(next_ms)).await?;
    }
    Ok(moved)
}

/// Which refunds go out under the next number: near the limit all that wait, otherwise this one.
async fn together(tx: &mut Tx<'_>, refund: &Refund, count: i64, now_ms: Millis) -> Result<Vec<Refund>> {
    if count >= MERGE_FROM
        && let Some(attempt) = &refund.attempt_id
    {
        return sql::without_number(tx, attempt, now_ms).await;
    }
    let found = sql::by_id(tx, &refund.id).await?;
    Ok(found.into_iter().filter(|found| found.status == refund.status).collect())
}

/// The submission that a refund is in now.
async fn current(ctx: &Ctx, refund: &Refund) -> Result<(Submission, Vec<Part>)> {
    let conn = &mut *ctx.db.reader().await?;
    let submission = sql::last_submission(conn, &refund.id).await?;
    let submission =
        submission.ok_or_else(|| Failure::internal("a refund at the channel", "it has no number"))?;
    let parts = sql::parts_of(conn, &submission.id).await?;
    Ok((submission, parts))
}

/// Moves every refund of a submission; the one that is worked on is looked at again at `next_ms`.
async fn move_together(
    tx: &mut Tx<'_>,
    parts: &[Part],
    driver: &Refund,
    from: RefundState,
    to: RefundState,
    next_ms: Millis,
) -> Result<()> {
    for part in parts {
        sql::advance(tx, &part.refund_id, from, to).await?;
    }
    sql::schedule(tx, &driver.id, to, 0, Some(next_ms)).await?;
    Ok(())
}

/// Sends a submitted refund under its number.
pub async fn send(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<()> {
    let (submission, parts) = current(ctx, refund).await?;
    let request = RefundRequest {
        transaction_id: submission.transaction_id.clone(),
        out_refund_no: submission.out_refund_no.clone(),
        reason: submission.reason.clone().unwrap_or_else(|| refund.reason.clone()),
        refund_minor: submission.amount_minor,
        total_minor: submission.total_minor,
        currency: submission.currency.clone(),
    };
    let notify_url = format!("{}/callbacks/wechat-pay/refunds", channel.public_url);
    match channel.provider.refund(&request, notify_url).await {
        Ok(news) => {
            ctx.metrics.outbound("refund", "ok");
            accepted(ctx, refund, &parts, &news).await
        }
        Err(error) => {
            ctx.metrics.outbound("refund", error.kind());
            refused(ctx, refund, &submission, &parts, error).await
        }
    }
}

/// The channel has it: PROCESSING, and if it says how it ended, that is a proof for the inbox.
async fn accepted(ctx: &Ctx, refund: &Refund, parts: &[Part], news: &RefundNews) -> Result<()> {
    let next_ms = ctx.clock.now_ms() + ASK_AFTER_MS[0];
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                resume(tx, ctx).await?;
                let (from, to) = (RefundState::Submitted, RefundState::Processing);
                move_together(tx, parts, refund, from, to, next_ms).await?;
                if news.state != ChannelState::Processing {
                    settle::store_answer(tx, ctx, news).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn refused(
    ctx: &Ctx,
    refund: &Refund,
    submission: &Submission,
    parts: &[Part],
    error: ChannelError,
) -> Result<()> {
    tracing::warn!(refund.id = %refund.id, "refund {} was not accepted: {error}", refund.id);
    let why = &error.to_string();
    let error = &error;
    let now_ms = ctx.clock.now_ms();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // Behind whoever is giving one of them a number now: it must not take them out again at once.
                orders::hold(tx, &refund.order_id).await?;
                let from = RefundState::Submitted;
                match error {
                    // It may have been done: ask, and if nobody knows it, send it again under the same number.
                    ChannelError::Unknown(_) | ChannelError::RateLimited => {
                        let next_ms = now_ms + ASK_AFTER_MS[0];
                        move_together(tx, parts, refund, from, RefundState::Processing, next_ms).await
                    }
                    ChannelError::Paused(_) => {
                        let next_ms = now_ms + PAUSE_MS;
                        move_together(tx, parts, refund, from, RefundState::Approved, next_ms).await?;
                        alerts::open(tx, ctx, PAUSED.0, PAUSED.1, why).await
                    }
                    ChannelError::Refused(_) | ChannelError::NotFound(_) => {
                        give_to_people(tx, ctx, parts, why).await?;
                        // It never came to be: no money can come of this number.
                        sql::set_outcome(tx, &submission.id, "REFUSED", None).await
                    }
                    // Something else may be under this number: its outcome stays open.
                    ChannelError::NumberUsed(_) => give_to_people(tx, ctx, parts, why).await,
                }
            })
        })
        .await
}

/// Asks how a refund stands.
pub async fn ask(ctx: &Ctx, channel: &Channel, refund: &Refund) -> Result<()> {
    let (submission, parts) = current(ctx, refund).await?;
    let answer = channel.provider.query_refund(&submission.out_refund_no).await;
    let (answer, parts) = (&answer, &parts);
    let (now_ms, asked_ms) = (ctx.clock.now_ms(), submission.created_ms);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // The channel answers, and nothing waits for it any more: whatever paused the queue is over.
                if answer.is_ok() && sql::oldest_waiting(tx).await?.is_none() {
                    resume(tx, ctx).await?;
                }
                match answer {
                    Ok(news) if news.state != ChannelState::Processing => {
                        settle::store_answer(tx, ctx, news).await?
                    }
                    // Nobody knows it: it never arrived. The same number goes out again.
                    Err(ChannelError::NotFound(_)) => {
                        let (from, to) = (RefundState::Processing, RefundState::Submitted);
                        move_together(tx, parts, refund, from, to, now_ms).await?;
                        tx.wake(Work::Refunds);
                        return Ok(());
                    }
                    Ok(_) | Err(_) => {}
                }
                let (step, pause_ms) = next_question(refund.step, answer.is_ok(), now_ms - asked_ms);
                sql::schedule(tx, &refund.id, RefundState::Processing, step, Some(now_ms + pause_ms)).await?;
                Ok(())
            })
        })
        .await
}

/// The step, and the pause until the next question. No answer uses up none of the schedule.
fn next_question(step: i64, answered: bool, age_ms: Millis) -> (i64, Millis) {
    let step = if answered { step + 1 } else { step };
    let pause_ms = ASK_AFTER_MS[(step.max(0) as usize).min(ASK_AFTER_MS.len() - 1)];
    let unanswered_ms = payments::unanswered_pause_ms(age_ms);
    (step, if answered { pause_ms } else { pause_ms.min(unanswered_ms) })
}

/// Asks the channel about a number that a person has found in its console; what it says is a proof like any
/// other, and is settled or adopted by the inbox.
///
/// # Errors
/// `refund_unknown_at_channel`, `payment_channel_unavailable`.
pub async fn look_up(ctx: &Ctx, channel: &Channel, actor: &Actor, out_refund_no: &str) -> Result<RefundNews> {
    let news = match channel.provider.query_refund(out_refund_no).await {
        Ok(news) => news,
        Err(ChannelError::NotFound(_) | ChannelError::Refused(_)) => {
            return Err(Failure::new(&REFUND_UNKNOWN_AT_CHANNEL).field("/out_refund_no"));
        }
        Err(error) => {
            return Err(Failure::new(&payments::PAYMENT_CHANNEL_UNAVAILABLE).retry_after_s(5).cause(error));
        }
    };
    let found = &news;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if found.state != ChannelState::Processing {
                    settle::store_answer(tx, ctx, found).await?;
                }
                let entry = audit::Entry {
                    actor,
                    operation: "lookUpRefund",
                    object: out_refund_no,
                    before: None::<()>,
                    after: Some(json!({ "state": found.state, "amount_minor": found.refund_minor })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await?;
    Ok(news)
}

/// Only people can go on with these refunds of one submission.
pub async fn give_to_people(tx: &mut Tx<'_>, ctx: &Ctx, parts: &[Part], why: &str) -> Result<()> {
    for part in parts {
        let Some(found) = sql::by_id(tx, &part.refund_id).await? else { continue };
        orders::hold(tx, &found.order_id).await?;
        let Some(refund) = sql::by_id(tx, &part.refund_id).await? else { continue };
        if matches!(refund.status, RefundState::Submitted | RefundState::Processing) {
            to_manual(tx, ctx, &refund, why).await?;
        }
    }
    Ok(())
}

/// Only people can go on.
pub async fn to_manual(tx: &mut Tx<'_>, ctx: &Ctx, refund: &Refund, why: &str) -> Result<()> {
    if sql::advance(tx, &refund.id, refund.status, RefundState::Manual).await? {
        let mut order = orders::hold(tx, &refund.order_id).await?;
        let detail = json!({ "refund": refund.id, "why": why });
        orders::record(tx, ctx, &mut order, OrderMove::RefundStuck, &ACTOR, detail).await?;
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

#[cfg(test)]
mod tests {
    use super::{ASK_AFTER_MS, next_question};
    use crate::kernel::minute_ms;

    #[test]
    fn no_answer_is_asked_for_again_within_a_minute_and_uses_up_none_of_the_schedule() {
        assert_eq!(next_question(0, true, 5_000), (1, ASK_AFTER_MS[1]));
        assert_eq!(next_question(9, true, minute_ms(90)), (10, ASK_AFTER_MS[5]));
        assert_eq!(next_question(0, false, 5_000), (0, 5_000));
        assert_eq!(next_question(2, false, 40_000), (2, 20_000));
        assert_eq!(next_question(3, false, minute_ms(20)), (3, minute_ms(1)));
    }
}

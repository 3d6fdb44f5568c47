//! Settling refunds: whatever proves the end of one is an inbox row, and the inbox worker settles it here.
//!
//! A success is the local transaction of the half message `RefundSettled`: what follows from it (does the
//! coupon come back, is there a compensation) is worked out before the message goes out, and again inside
//! of the transaction; if it has changed meanwhile, nothing happens and the notice is tried again.

use serde_json::json;

use super::sql::{self, Refund, Submission};
use super::{Fault, RefundKind, RefundState, submit};
use crate::config::CompensationPolicy;
use crate::events::Event;
use crate::kernel::{Actor, CouponTemplateId, Failure, RefundId, Result};
use crate::orders::{self, LineRefund, ORDER_CHANGED, Order, OrderLine, OrderMove, Plan, RefundMoney};
use crate::payments::{REFUND_NEWS, RefundNews, RefundState as ChannelState};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::platform::inbox::{self, Notice, Settled};

/// Inbox kind of a refund for which no money has to move.
pub const NO_MONEY: &str = "refund_without_money";
const ACTOR: Actor = Actor::System("refund");

/// Stores that the channel answered how a refund ended.
pub(super) async fn store_answer(tx: &mut Tx<'_>, ctx: &Ctx, news: &RefundNews) -> Result<()> {
    let body = serde_json::to_string(news).map_err(|e| Failure::internal("writing a proof", e))?;
    let number = format!("{}:{:?}", news.out_refund_no, news.state);
    inbox::store(tx, ctx, "refund-answer", &number, REFUND_NEWS, &body).await?;
    Ok(())
}

/// Stores that a refund has nothing to move.
pub(super) async fn store_own_proof(tx: &mut Tx<'_>, ctx: &Ctx, refund: &RefundId) -> Result<()> {
    inbox::store(tx, ctx, "no-money", refund.as_str(), NO_MONEY, refund.as_str()).await?;
    Ok(())
}

/// Inbox handler of everything that ends a refund.
///
/// # Errors
/// The database, or the bus does not take the half message: the notice is tried again.
pub async fn settle_notice(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    let body = notice.body(ctx)?;
    if notice.kind == NO_MONEY {
        let Ok(refund) = body.parse::<RefundId>() else {
            return Ok(Settled::Park("no refund id".to_owned()));
        };
        succeed(ctx, &refund, None).await?;
        return finish(ctx, notice).await;
    }
    let news: RefundNews = match serde_json::from_str(&body) {
        Ok(news) => news,
        Err(error) => return Ok(Settled::Park(format!("the notice can't be read: {error}"))),
    };
    let (submission, refunds) = {
        let conn = &mut *ctx.db.reader().await?;
        let Some(submission) = sql::submission_by_number(conn, &news.out_refund_no).await? else {
            return Ok(Settled::Park(format!("nobody here knows refund {}", news.out_refund_no)));
        };
        let refunds = sql::refunds_in(conn, &submission.id).await?;
        (submission, refunds)
    };
    if news.refund_minor.is_some_and(|amount| amount != submission.amount_minor) {
        let what = format!("submitted {}, refunded {:?}", submission.amount_minor, news.refund_minor);
        give_to_people(ctx, &refunds, &what).await?;
        return Ok(Settled::Park(format!("the amount of {} differs: {what}", news.out_refund_no)));
    }
    for refund in &refunds {
        match news.state {
            ChannelState::Success => succeed(ctx, refund, Some((&submission, &news))).await?,
            ChannelState::Abnormal | ChannelState::Closed => fail(ctx, refund, &submission, &news).await?,
            ChannelState::Processing => {}
        }
    }
    finish(ctx, notice).await
}

/// The channel refunded another amount than it was asked for: people have to look.
async fn give_to_people(ctx: &Ctx, refunds: &[RefundId], why: &str) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for id in refunds {
                    let Some(found) = sql::by_id(tx, id).await? else { continue };
                    orders::hold(tx, &found.order_id).await?;
                    let Some(refund) = sql::by_id(tx, id).await? else { continue };
                    if matches!(refund.status, RefundState::Submitted | RefundState::Processing) {
                        submit::to_manual(tx, ctx, &refund, why).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Each refund of the notice is where it belongs: so is the notice.
async fn finish(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                notice.settle(tx, ctx.clock.now_ms()).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Settled::Done)
}

/// Everything that settling decides.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    plan: Plan,
    return_coupon: bool,
    compensation: Option<CouponTemplateId>,
}

struct Read {
    refund: Refund,
    lines: Vec<LineRefund>,
    order: Order,
    order_lines: Vec<OrderLine>,
}

async fn read(conn: &mut Conn, id: &RefundId) -> Result<Read> {
    let missing = |what: &str| Failure::internal("settling a refund", format!("{id} has no {what}"));
    let refund = sql::by_id(conn, id).await?.ok_or_else(|| missing("row"))?;
    let lines = sql::find_lines(conn, id).await?.iter().map(sql::RefundLine::as_order_part).collect();
    let order = orders::find(conn, &refund.order_id).await?.ok_or_else(|| missing("order"))?;
    let order_lines = orders::find_lines(conn, &refund.order_id).await?;
    Ok(Read { refund, lines, order, order_lines })
}

fn money(refund: &Refund) -> RefundMoney {
    RefundMoney { amount_minor: refund.amount_minor, freight_minor: refund.freight_minor }
}

fn decide(ctx: &Ctx, read: &Read) -> Decision {
    let (refund, order) = (&read.refund, &read.order);
    let mut plan = orders::plan(order, &read.order_lines, &read.lines, money(refund));
    if refund.kind == RefundKind::Orphan {
        plan.whole = false;
        return Decision { plan, return_coupon: false, compensation: None };
    }
    let config = &ctx.config.coupons;
    let merchant = refund.fault == Fault::Merchant;
    // The coupon of an order that was cancelled and paid at the same moment always comes back.
    let before_shipping =
        plan.before_shipping && (config.return_before_shipping || order.ship_hold_ms.is_some());
    let return_coupon = plan.whole && order.coupon_id.is_some() && (before_shipping || merchant);
    let wanted = match config.compensation_policy {
        CompensationPolicy::Never => false,
        CompensationPolicy::Full => plan.whole,
        CompensationPolicy::MerchantFault => merchant,
    };
    let slot_free = order.compensation_refund.as_ref().is_none_or(|taken| *taken == refund.id);
    let compensation = (wanted && slot_free && refund.amount_minor >= config.compensation_minimum_minor)
        .then(|| config.compensation_template.parse().ok())
        .flatten();
    Decision { plan, return_coupon, compensation }
}

/// States from which the channel, or the absence of anything to move, can end a refund well.
fn can_succeed(status: RefundState) -> bool {
    matches!(
        status,
        RefundState::Approved
            | RefundState::Submitted
            | RefundState::Processing
            | RefundState::Abnormal
            | RefundState::Closed
            | RefundState::Manual
    )
}

async fn succeed(ctx: &Ctx, id: &RefundId, by: Option<(&Submission, &RefundNews)>) -> Result<()> {
    let before = read(&mut *ctx.db.reader().await?, id).await?;
    if !can_succeed(before.refund.status) {
        return Ok(());
    }
    let decision = decide(ctx, &before);
    let event = Event::RefundSettled {
        refund_id: id.clone(),
        order_id: before.refund.order_id.clone(),
        user_id: before.refund.user_id.clone(),
        whole: decision.plan.whole,
        return_coupon: decision.return_coupon,
        compensation_template: decision.compensation.clone(),
    };
    let (decision, order_id) = (&decision, &before.refund.order_id);
    let settled = ctx
        .bus
        .in_transaction(ctx, &event, |tx| {
            Box::pin(async move {
                orders::hold(tx, order_id).await?;
                let read = read(tx, id).await?;
                if !can_succeed(read.refund.status) || decide(ctx, &read) != *decision {
                    return Err(Failure::new(&ORDER_CHANGED));
                }
                settle(tx, ctx, read, decision, by).await
            })
        })
        .await;
    match settled {
        // Somebody else settled it meanwhile: that is what this proof is about, too.
        Err(failure) if failure.is(&ORDER_CHANGED) => {
            let now = sql::by_id(&mut *ctx.db.reader().await?, id).await?;
            if now.is_some_and(|refund| refund.status == RefundState::Succeeded) {
                Ok(())
            } else {
                Err(failure)
            }
        }
        settled => settled,
    }
}

async fn settle(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    read: Read,
    decision: &Decision,
    by: Option<(&Submission, &RefundNews)>,
) -> Result<()> {
    let Read { refund, lines, mut order, .. } = read;
    if !sql::advance(tx, &refund.id, refund.status, RefundState::Succeeded).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    let template = decision.compensation.as_ref();
    if template.is_some() && !orders::take_compensation(tx, &mut order, &refund.id).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    let now_ms = ctx.clock.now_ms();
    sql::set_settled(tx, &refund.id, decision.plan.whole, decision.return_coupon, template, now_ms).await?;
    if let Some((submission, news)) = by {
        sql::set_outcome(tx, &submission.id, "SUCCESS", &news.channel_refund_id).await?;
    }
    alerts::close(tx, ctx, "refund_manual", refund.id.as_str()).await?;
    let detail = json!({ "refund": refund.id, "outcome": "SUCCEEDED", "amount_minor": refund.amount_minor });
    orders::record(tx, ctx, &mut order, OrderMove::RefundEnded, &ACTOR, detail).await?;
    tracing::info!(refund.id = %refund.id, "refund {} of order {} is settled", refund.id, order.id);
    if refund.kind == RefundKind::Orphan {
        return orders::orphan_refund_ended(tx, ctx, &mut order).await;
    }
    orders::settle_refund(tx, ctx, &mut order, &refund.id, &lines, money(&refund), &decision.plan).await
}

/// The channel could not pay it out.
async fn fail(ctx: &Ctx, id: &RefundId, submission: &Submission, news: &RefundNews) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let Some(found) = sql::by_id(tx, id).await? else { return Ok(()) };
                orders::hold(tx, &found.order_id).await?;
                let Some(refund) = sql::by_id(tx, id).await? else { return Ok(()) };
                let last = sql::last_submission(tx, id).await?;
                let current = last.is_some_and(|last| last.id == submission.id && last.outcome.is_none());
                if !current || !matches!(refund.status, RefundState::Submitted | RefundState::Processing) {
                    return Ok(());
                }
                if news.state == ChannelState::Closed {
                    sql::set_outcome(tx, &submission.id, "CLOSED", &news.channel_refund_id).await?;
                    return submit::submit_again(tx, ctx, &refund).await;
                }
                sql::advance(tx, id, refund.status, RefundState::Abnormal).await?;
                let refund = Refund { status: RefundState::Abnormal, ..refund };
                submit::to_manual(tx, ctx, &refund, "the channel can't pay it out: ABNORMAL").await
            })
        })
        .await
}

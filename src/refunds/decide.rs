//! Deciding a refund: approve, reject, withdraw, and hurry one that waits.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sql::{self, Refund};
use super::{
    Fault, RECEIVED_GOODS_REQUIRED, REFUND_NOT_DECIDABLE, REFUND_NOT_FOUND, REFUND_NOT_RETRYABLE,
    REFUND_NOT_WITHDRAWABLE, RefundKind, RefundState, settle, submit,
};
use crate::events::Event;
use crate::kernel::{Actor, Failure, RefundId, Result, UserId};
use crate::orders::{self, LineRefund, Order, OrderMove, RefundMoney};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::platform::idempotency::{Done, Key};

/// What a decision came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decided {
    pub status: String,
}

impl Decided {
    fn now(status: RefundState) -> Self {
        Self { status: status.to_string() }
    }
}

/// The order, held, and its refund.
async fn hold_both(tx: &mut Tx<'_>, id: &RefundId) -> Result<(Order, Refund)> {
    let found = sql::by_id(tx, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
    let order = orders::hold(tx, &found.order_id).await?;
    // Read again behind the order's row: nobody moves its refunds now.
    let refund = sql::by_id(tx, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
    Ok((order, refund))
}

async fn audit_decision(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &'static str,
    refund: &Refund,
    to: RefundState,
    note: &str,
) -> Result<()> {
    let entry = audit::Entry {
        actor,
        operation,
        object: refund.id.as_str(),
        before: Some(json!({ "status": refund.status })),
        after: Some(json!({ "status": to, "note": note })),
    };
    audit::record(tx, ctx, entry).await
}

/// Staff approves. With goods that come back, `sellable` says whether they go on the shelf again; `fault`
/// decides what follows for coupons.
///
/// # Errors
/// `refund_not_found`, `refund_not_decidable`, `goods_condition_required`.
pub async fn approve(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    sellable: Option<bool>,
    fault: Fault,
    note: &str,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            let comes_back = sql::find_lines(tx, id).await?.iter().any(|line| line.return_quantity > 0);
            match sellable {
                None if comes_back => return Err(Failure::new(&RECEIVED_GOODS_REQUIRED).field("/sellable")),
                Some(true) => sql::set_sellable(tx, id).await?,
                _ => {}
            }
            sql::set_fault(tx, id, fault).await?;
            approve_held(tx, ctx, &mut order, &refund, actor, note).await?;
            audit_decision(tx, ctx, actor, "approveRefund", &refund, RefundState::Approved, note).await?;
            Ok(Decided::now(RefundState::Approved))
        })
    })
    .await
}

/// Approves a refund of a held order: freight joins it when nothing of the order is left, and it is due at
/// the channel, or settled by itself when no money has to move.
pub(super) async fn approve_held(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    actor: &Actor,
    note: &str,
) -> Result<()> {
    let from = refund.status;
    let decidable = matches!(from, RefundState::Requested | RefundState::AwaitingReturn);
    if !decidable || !sql::advance(tx, &refund.id, from, RefundState::Approved).await? {
        return Err(Failure::new(&REFUND_NOT_DECIDABLE));
    }
    let freight_minor = freight_due(tx, order, refund).await?;
    if freight_minor > 0 {
        let money = RefundMoney { amount_minor: freight_minor, freight_minor };
        orders::reserve_freight(tx, order, money).await?;
    }
    let amount_minor = refund.amount_minor + freight_minor;
    sql::set_approved(tx, &refund.id, amount_minor, freight_minor, note, ctx.clock.now_ms()).await?;
    let detail = json!({ "refund": refund.id, "amount_minor": amount_minor, "freight_minor": freight_minor });
    orders::record(tx, ctx, order, OrderMove::RefundApproved, actor, detail).await?;
    if amount_minor == 0 || refund.attempt_id.is_none() {
        // No money has to move: that nothing is to be done is proof enough.
        return settle::store_own_proof(tx, ctx, &refund.id).await;
    }
    sql::schedule(tx, &refund.id, RefundState::Approved, 0, Some(ctx.clock.now_ms())).await?;
    tx.wake(Work::Refunds);
    Ok(())
}

/// The freight goes back once, in the refund by which every unit is cancelled by approved refunds.
async fn freight_due(tx: &mut Tx<'_>, order: &Order, refund: &Refund) -> Result<i64> {
    let left_minor = order.freight_minor - order.freight_refunded_minor - order.freight_refunding_minor;
    if left_minor == 0 || refund.kind == RefundKind::Orphan {
        return Ok(0);
    }
    let units: i64 = orders::find_lines(tx, &order.id).await?.iter().map(|line| line.quantity).sum();
    let cancelled = sql::cancelled_by_approved(tx, &order.id).await?;
    Ok(if cancelled == units { left_minor } else { 0 })
}

/// Staff rejects, with a reason that the customer reads. What was reserved is free again.
///
/// # Errors
/// `refund_not_found`, `refund_not_decidable`.
pub async fn reject(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    reason: &str,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            end(tx, ctx, &mut order, &refund, RefundState::Rejected, actor, reason).await?;
            let event = Event::RefundRejected {
                order_id: order.id.clone(),
                user_id: order.user_id.clone(),
                refund_id: refund.id.clone(),
            };
            orders::stage(tx, ctx, &mut order, event).await?;
            audit_decision(tx, ctx, actor, "rejectRefund", &refund, RefundState::Rejected, reason).await?;
            Ok(Decided::now(RefundState::Rejected))
        })
    })
    .await
}

/// The customer takes the request back.
///
/// # Errors
/// `refund_not_found`, `refund_not_withdrawable`.
pub async fn withdraw(ctx: &Ctx, user: &UserId, key: &Key, id: &RefundId) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            if refund.user_id != *user {
                return Err(Failure::new(&REFUND_NOT_FOUND));
            }
            let actor = Actor::User(user.clone());
            let ended = end(tx, ctx, &mut order, &refund, RefundState::Withdrawn, &actor, "").await;
            ended.map_err(|failure| match failure.is(&REFUND_NOT_DECIDABLE) {
                true => Failure::new(&REFUND_NOT_WITHDRAWABLE),
                false => failure,
            })?;
            Ok(Decided::now(RefundState::Withdrawn))
        })
    })
    .await
}

/// Ends a refund that was only asked for.
async fn end(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    to: RefundState,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    let decidable = matches!(refund.status, RefundState::Requested | RefundState::AwaitingReturn);
    if !decidable || !sql::advance(tx, &refund.id, refund.status, to).await? {
        return Err(Failure::new(&REFUND_NOT_DECIDABLE));
    }
    sql::set_ended(tx, &refund.id, why, ctx.clock.now_ms()).await?;
    let detail = json!({ "refund": refund.id, "outcome": to, "reason": why });
    orders::record(tx, ctx, order, OrderMove::RefundEnded, actor, detail).await?;
    let lines: Vec<LineRefund> =
        sql::find_lines(tx, &refund.id).await?.iter().map(sql::RefundLine::as_order_part).collect();
    let money = RefundMoney { amount_minor: refund.amount_minor, freight_minor: refund.freight_minor };
    orders::release_refund(tx, ctx, order, &lines, money).await
}

/// Staff asks the channel about a refund at once instead of at its time.
///
/// # Errors
/// `refund_not_found`, `refund_not_retryable`.
pub async fn retry(ctx: &Ctx, actor: &Actor, key: &Key, id: &RefundId) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (_, refund) = hold_both(tx, id).await?;
            let waits = matches!(
                refund.status,
                RefundState::Approved
                    | RefundState::Submitted
                    | RefundState::Processing
                    | RefundState::Closed
            );
            if !waits {
                return Err(Failure::new(&REFUND_NOT_RETRYABLE));
            }
            sql::schedule(tx, id, refund.status, refund.step, Some(ctx.clock.now_ms())).await?;
            submit::try_oldest(tx, ctx).await?;
            tx.wake(Work::Refunds);
            audit_decision(tx, ctx, actor, "retryRefund", &refund, refund.status, "").await?;
            Ok(Decided::now(refund.status))
        })
    })
    .await
}

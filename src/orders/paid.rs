//! What payments tell an order: an attempt is open, an attempt has ended, it is paid.

use serde_json::json;

use super::moves::{advance, hold, stage};
use super::{
    CloseReason, Fulfilment, HOLD_NOT_SET, Order, OrderMove, OrderStatus, REFUND_OPEN, pickup_code, reprice,
    sql,
};
use crate::cart;
use crate::catalog::stock;
use crate::coupons;
use crate::events::Event;
use crate::kernel::{Actor, AttemptId, Failure, OrderId, Result, SkuId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// Opens an attempt on a held order; false when another one is open or the order no longer waits. This is
/// what decides between starting to pay and cancelling.
///
/// # Errors
/// The database.
pub async fn attempt_opened(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &AttemptId,
    actor: &Actor,
) -> Result<bool> {
    if !sql::open_attempt(tx, &order.id, attempt).await? {
        return Ok(false);
    }
    order.open_attempt = Some(attempt.clone());
    advance(tx, ctx, order, OrderMove::PaymentStarted, actor, json!({ "attempt": attempt })).await?;
    Ok(true)
}

/// The attempt was proved closed, or failed: the order may be paid by another one, if it still waits; at the
/// new price, if staff has asked for one meanwhile.
///
/// # Errors
/// The database.
pub async fn attempt_ended(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &AttemptId,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    if !sql::end_attempt(tx, &order.id, attempt).await? {
        return Ok(());
    }
    order.open_attempt = None;
    if order.status == OrderStatus::PendingPayment {
        let detail = json!({ "attempt": attempt, "why": why });
        advance(tx, ctx, order, OrderMove::PaymentEnded, actor, detail).await?;
        reprice::apply_pending(tx, ctx, order).await?;
    }
    Ok(())
}

/// A verified payment of the whole payable arrived, and the held order can take it (it waits for payment,
/// or is being closed). False: it can't, and nothing was changed.
///
/// # Errors
/// The database.
pub async fn mark_paid(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    attempt: &AttemptId,
    actor: &Actor,
) -> Result<bool> {
    if !matches!(order.status, OrderStatus::PendingPayment | OrderStatus::Closing) {
        return Ok(false);
    }
    let cancelled_by_person =
        order.status == OrderStatus::Closing && order.close_reason != Some(CloseReason::Timeout);
    let detail = json!({ "attempt": attempt, "amount_minor": order.payable_minor });
    advance(tx, ctx, order, OrderMove::PaymentSucceeded, actor, detail).await?;
    reprice::drop_pending(tx, ctx, order, actor, "paid_before").await?;
    take_effect(tx, ctx, order).await?;
    if cancelled_by_person {
        sql::set_hold(tx, &order.id, Some(ctx.clock.now_ms())).await?;
        let event = Event::CancelledOrderPaid { order_id: order.id.clone(), user_id: order.user_id.clone() };
        stage(tx, ctx, order, event).await?;
    }
    Ok(true)
}

/// What being paid means: stock and coupon are used up, the cart forgets what was bought, others learn of it.
pub(super) async fn take_effect(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    sql::set_paid(tx, &order.id, order.payable_minor, ctx.clock.now_ms()).await?;
    order.paid_minor = order.payable_minor;
    order.open_attempt = None;
    stock::finish(tx, &order.id).await?;
    if order.fulfilment != Fulfilment::Delivery {
        pickup_code::give(tx, order).await?;
    }
    if order.coupon_id.is_some() {
        coupons::consume(tx, ctx, &order.id).await?;
    }
    let lines = sql::find_lines(tx, &order.id).await?;
    let skus: Vec<SkuId> = lines.into_iter().map(|line| line.sku_id).collect();
    cart::remove(tx, &order.user_id, &order.store_id, &skus).await?;
    let event = Event::OrderPaid { order_id: order.id.clone(), user_id: order.user_id.clone() };
    stage(tx, ctx, order, event).await
}

/// Staff ships an order after all that was cancelled and paid at the same moment.
///
/// # Errors
/// `order_not_found`, `order_not_on_hold`.
pub async fn release_hold(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &OrderId,
    reason: &str,
) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = hold(tx, id).await?;
            if order.ship_hold_ms.is_none() {
                return Err(Failure::new(&HOLD_NOT_SET));
            }
            if order.open_refunds > 0 {
                return Err(Failure::new(&REFUND_OPEN));
            }
            clear_hold(tx, ctx, &mut order, actor, reason).await?;
            let entry = audit::Entry {
                actor,
                operation: "releaseOrderHold",
                object: id.as_str(),
                before: Some(json!({ "on_hold": true })),
                after: Some(json!({ "on_hold": false, "reason": reason })),
            };
            audit::record(tx, ctx, entry).await
        })
    })
    .await
}

/// Nothing keeps a held order on hold any more: it may be shipped.
///
/// # Errors
/// The database; `order_changed` when the order is over.
pub async fn clear_hold(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    sql::set_hold(tx, &order.id, None).await?;
    order.ship_hold_ms = None;
    advance(tx, ctx, order, OrderMove::HoldReleased, actor, json!({ "reason": why })).await
}

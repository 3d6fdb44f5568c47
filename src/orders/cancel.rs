//! Cancelling: by the customer, by staff, and by the clock.
//!
//! With no attempt open everything is released at once. With one open the money may be on its way, so the
//! order is CLOSING and keeps all it holds until the channel has answered.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::moves::{advance, hold, stage};
use super::{
    CloseReason, ORDER_NOT_CANCELLABLE, ORDER_NOT_FOUND, Order, OrderMove, OrderStatus, reprice, sql,
};
use crate::catalog::stock;
use crate::coupons;
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, Result};
use crate::platform::audit;
use crate::platform::bus::{self, Delivery, Handled, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// What a cancellation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// CLOSED, or CLOSING while the channel is asked.
    pub status: String,
}

/// Cancels an unpaid order: a customer their own, staff any.
///
/// # Errors
/// `order_not_found`, `order_not_cancellable`.
pub async fn cancel(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &OrderId,
    reason: Option<&str>,
) -> Result<Done<Cancelled>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = hold(tx, id).await?;
            let by = match actor {
                Actor::User(user) if *user != order.user_id => return Err(Failure::new(&ORDER_NOT_FOUND)),
                Actor::User(_) => CloseReason::User,
                Actor::Staff(_) => CloseReason::Staff,
                Actor::System(_) => CloseReason::Timeout,
            };
            let before = order.status;
            match before {
                OrderStatus::PendingPayment => cancel_held(tx, ctx, &mut order, actor, by, reason).await?,
                // Being cancelled already: that is what was asked for.
                OrderStatus::Closing => return Ok(Cancelled { status: before.to_string() }),
                _ => return Err(Failure::new(&ORDER_NOT_CANCELLABLE)),
            }
            if let Actor::Staff(_) = actor {
                let entry = audit::Entry {
                    actor,
                    operation: "cancelOrderByStaff",
                    object: id.as_str(),
                    before: Some(json!({ "status": before })),
                    after: Some(json!({ "status": order.status, "reason": reason })),
                };
                audit::record(tx, ctx, entry).await?;
            }
            Ok(Cancelled { status: order.status.to_string() })
        })
    })
    .await
}

/// Cancels a held order that waits for payment.
async fn cancel_held(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    by: CloseReason,
    reason: Option<&str>,
) -> Result<()> {
    reprice::drop_pending(tx, ctx, order, actor, "cancelled").await?;
    if by == CloseReason::Staff {
        // The customer reads it, now or when the channel has answered.
        sql::set_close_note(tx, &order.id, reason).await?;
        order.close_note = reason.map(str::to_owned);
    }
    let detail = json!({ "by": by, "reason": reason });
    if order.open_attempt.is_none() {
        advance(tx, ctx, order, OrderMove::Cancelled, actor, detail).await?;
        return release_everything(tx, ctx, order, by).await;
    }
    advance(tx, ctx, order, OrderMove::Closing, actor, detail).await?;
    sql::set_close_reason(tx, &order.id, by).await?;
    order.close_reason = Some(by);
    let event = Event::OrderClosing { order_id: order.id.clone(), user_id: order.user_id.clone() };
    stage(tx, ctx, order, event).await
}

/// No attempt of a held CLOSING order can be paid any more: it is closed now. Anything else is left alone.
///
/// # Errors
/// The database.
pub async fn close_confirmed(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order, actor: &Actor) -> Result<()> {
    if order.status != OrderStatus::Closing {
        return Ok(());
    }
    let by = order.close_reason.unwrap_or(CloseReason::Timeout);
    let detail = json!({ "by": by, "reason": order.close_note });
    advance(tx, ctx, order, OrderMove::CloseConfirmed, actor, detail).await?;
    release_everything(tx, ctx, order, by).await
}

/// Two people have confirmed that the channel can't answer: a held CLOSING order is closed all the same.
///
/// # Errors
/// `order_changed` when it is not CLOSING.
pub async fn close_unanswered(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    let by = order.close_reason.unwrap_or(CloseReason::Timeout);
    // Why two people decided so is theirs; the customer reads why the order was cancelled.
    let detail = json!({ "by": by, "reason": order.close_note, "internal": why });
    advance(tx, ctx, order, OrderMove::ClosedByStaff, actor, detail).await?;
    release_everything(tx, ctx, order, by).await
}

async fn release_everything(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order, by: CloseReason) -> Result<()> {
    sql::set_closed(tx, &order.id, by, ctx.clock.now_ms()).await?;
    order.close_reason = Some(by);
    order.open_attempt = None;
    stock::cancel(tx, ctx, &order.id).await?;
    if order.coupon_id.is_some() {
        coupons::release(tx, ctx, &order.id).await?;
    }
    let event = Event::OrderClosed {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        reason: by.to_string(),
    };
    stage(tx, ctx, order, event).await
}

/// The time to pay is over, says the bus: it is looked at again here, since the message may be early or late.
///
/// # Errors
/// The database.
pub async fn on_payment_deadline(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::PaymentDeadline { order_id } = &delivery.event else {
        return Ok(Handled::Park("not a payment deadline".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                time_out(tx, ctx, order_id).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// Cancels the order if its time to pay is over; an order that has more time gets a new message.
pub(super) async fn time_out(tx: &mut Tx<'_>, ctx: &Ctx, id: &OrderId) -> Result<()> {
    let mut order = match hold(tx, id).await {
        Err(failure) if failure.is(&ORDER_NOT_FOUND) => return Ok(()),
        order => order?,
    };
    if order.status != OrderStatus::PendingPayment {
        return Ok(());
    }
    if ctx.clock.now_ms() < order.pay_before_ms {
        let again = Event::PaymentDeadline { order_id: id.clone() };
        bus::stage(tx, ctx, &again, Staged::At(order.pay_before_ms)).await?;
        return Ok(());
    }
    let waited_min = (ctx.clock.now_ms() - order.placed_ms) / 60_000;
    tracing::info!(order.id = %id, "order {id} is cancelled: unpaid after {waited_min} min");
    cancel_held(tx, ctx, &mut order, &Actor::System("timeout"), CloseReason::Timeout, None).await
}

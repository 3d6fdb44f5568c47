//! The end of a good order: receipt confirmed by the customer or by the clock, then the after-sale window.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::moves::{advance, hold, stage};
use super::{ORDER_NOT_CONFIRMABLE, ORDER_NOT_FOUND, Order, OrderMove, OrderStatus, RefundStatus, sql};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, Result, UserId, day_ms};
use crate::platform::bus::{self, Delivery, Handled, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// What a confirmation came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confirmed {
    pub status: String,
}

/// The customer has the goods.
///
/// # Errors
/// `order_not_found`, `order_not_confirmable`.
pub async fn confirm_receipt(ctx: &Ctx, user: &UserId, key: &Key, id: &OrderId) -> Result<Done<Confirmed>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = hold(tx, id).await?;
            if order.user_id != *user {
                return Err(Failure::new(&ORDER_NOT_FOUND));
            }
            match order.status {
                OrderStatus::Shipped => {
                    complete(tx, ctx, &mut order, &Actor::User(user.clone()), "confirmed").await?
                }
                OrderStatus::Completed | OrderStatus::Finished => {}
                _ => return Err(Failure::new(&ORDER_NOT_CONFIRMABLE)),
            }
            Ok(Confirmed { status: order.status.to_string() })
        })
    })
    .await
}

/// Completes a held order that is shipped; with a refund open it is only marked, and the end of the last
/// refund acts on the mark.
async fn complete(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order, actor: &Actor, why: &str) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    if order.open_refunds > 0 {
        if order.complete_due_ms.is_none() {
            sql::set_complete_due(tx, &order.id, now_ms).await?;
            order.complete_due_ms = Some(now_ms);
            advance(tx, ctx, order, OrderMove::CompletionWaits, actor, json!({ "why": why })).await?;
        }
        return Ok(());
    }
    completed(tx, ctx, order, OrderMove::Completed, actor, json!({ "why": why })).await
}

/// A held order is completed by this move: its after-sale window runs.
pub(super) async fn completed(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    event: OrderMove,
    actor: &Actor,
    detail: Value,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let finish_at_ms = now_ms + day_ms(ctx.config.orders.after_sale_days);
    advance(tx, ctx, order, event, actor, detail).await?;
    sql::set_completed(tx, &order.id, now_ms, finish_at_ms).await?;
    order.completed_ms = Some(now_ms);
    order.finish_at_ms = Some(finish_at_ms);
    order.complete_due_ms = None;
    let event = Event::OrderCompleted { order_id: order.id.clone(), user_id: order.user_id.clone() };
    stage(tx, ctx, order, event).await?;
    let ended = Event::AfterSaleEnded { order_id: order.id.clone() };
    bus::stage(tx, ctx, &ended, Staged::At(finish_at_ms)).await?;
    Ok(())
}

async fn finish(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let actor = Actor::System("after_sale");
    if order.open_refunds > 0 {
        if order.finish_due_ms.is_none() {
            sql::set_finish_due(tx, &order.id, now_ms).await?;
            order.finish_due_ms = Some(now_ms);
            advance(tx, ctx, order, OrderMove::FinishWaits, &actor, json!({})).await?;
        }
        return Ok(());
    }
    advance(tx, ctx, order, OrderMove::Finished, &actor, json!({})).await?;
    sql::set_finished(tx, &order.id, now_ms).await?;
    order.finish_due_ms = None;
    if order.refund_status == RefundStatus::Full {
        // Nothing was bought in the end: no finished message, no points.
        return Ok(());
    }
    let event = Event::OrderFinished { order_id: order.id.clone(), user_id: order.user_id.clone() };
    stage(tx, ctx, order, event).await
}

/// Completes an order that is shipped, for a reason from outside (WeChat has settled the money).
///
/// # Errors
/// The database.
pub async fn complete_if_shipped(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    id: &OrderId,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    let mut order = hold(tx, id).await?;
    if order.status == OrderStatus::Shipped {
        complete(tx, ctx, &mut order, actor, why).await
    } else {
        Ok(())
    }
}

/// Completes or finishes whatever of a held order is due: called at the end of its last refund.
pub(super) async fn act_on_due(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    if order.open_refunds > 0 {
        return Ok(());
    }
    let now_ms = ctx.clock.now_ms();
    let past = |at: Option<i64>| at.is_some_and(|at_ms| at_ms <= now_ms);
    if order.status == OrderStatus::Shipped && (order.complete_due_ms.is_some() || past(order.complete_at_ms))
    {
        complete(tx, ctx, order, &Actor::System("timeout"), "automatic").await?;
    }
    if order.status == OrderStatus::Completed && (order.finish_due_ms.is_some() || past(order.finish_at_ms)) {
        finish(tx, ctx, order).await?;
    }
    Ok(())
}

/// Looks at one order again: whatever of its completion or finish is due happens now.
pub(super) async fn look_again(tx: &mut Tx<'_>, ctx: &Ctx, id: &OrderId) -> Result<()> {
    let mut order = match hold(tx, id).await {
        Err(failure) if failure.is(&ORDER_NOT_FOUND) => return Ok(()),
        order => order?,
    };
    let now_ms = ctx.clock.now_ms();
    let past = |at: Option<i64>| at.is_some_and(|at_ms| at_ms <= now_ms);
    match order.status {
        OrderStatus::Shipped if past(order.complete_at_ms) => {
            complete(tx, ctx, &mut order, &Actor::System("timeout"), "automatic").await
        }
        OrderStatus::Completed if past(order.finish_at_ms) => finish(tx, ctx, &mut order).await,
        _ => Ok(()),
    }
}

async fn on_due(ctx: &Ctx, delivery: &Delivery, order_id: &OrderId) -> Result<Handled> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if delivery.begin(tx, ctx.clock.now_ms()).await? {
                    look_again(tx, ctx, order_id).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// A shipped order is completed by itself.
///
/// # Errors
/// The database.
pub async fn on_completion_due(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    match &delivery.event {
        Event::CompletionDue { order_id } => on_due(ctx, delivery, order_id).await,
        _ => Ok(Handled::Park("not a completion".to_owned())),
    }
}

/// The after-sale window of a completed order is over.
///
/// # Errors
/// The database.
pub async fn on_after_sale_ended(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    match &delivery.event {
        Event::AfterSaleEnded { order_id } => on_due(ctx, delivery, order_id).await,
        _ => Ok(Handled::Park("not the end of an after-sale window".to_owned())),
    }
}

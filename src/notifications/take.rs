//! Taking events: the notice, and the message that is to be sent, are rows of the delivery's transaction.

use super::{builders, sql};
use crate::identity;
use crate::kernel::{Failure, NoticeId, Result};
use crate::platform::bus::{Delivery, Handled, Subscription};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};

/// The events of which a customer is told. Those of an order come in their order.
const EVENTS: &[&str] = &[
    "OrderPlaced",
    "OrderPaid",
    "OrderClosed",
    "OrderShipped",
    "TrackingCorrected",
    "OrderReadyForPickup",
    "PickupReminded",
    "OrderRepriced",
    "OrderFinished",
    "PaymentFailed",
    "PaymentOrphaned",
    "RefundRejected",
    "ReturnRequired",
    "RefundDropped",
    "RefundSettled",
];

/// Events of one order that are taken at the same moment are few.
const POSITIONS_TRIED: usize = 8;

/// What this module takes from the bus.
pub fn subscriptions() -> Vec<Subscription> {
    vec![Subscription::new("notifications.notice", EVENTS, |ctx, delivery| Box::pin(on_event(ctx, delivery)))]
}

async fn on_event(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    ctx.db.write(|tx| Box::pin(take(tx, ctx, delivery))).await?;
    Ok(Handled::Done)
}

async fn take(tx: &mut Tx<'_>, ctx: &Ctx, delivery: &Delivery) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    if !delivery.begin(tx, now_ms).await? {
        return Ok(());
    }
    let Some((order, note)) = builders::of_event(tx, &delivery.event).await? else { return Ok(()) };
    if !identity::try_hold(tx, &order.user_id).await? {
        // Nobody is there to be told.
        return Ok(());
    }
    let id: NoticeId = ctx.new_id();
    let notice = sql::NewNotice {
        id: &id,
        user: &order.user_id,
        event: &delivery.id,
        kind: note.kind,
        title: note.title,
        body: &note.body,
        order: &order.id,
        now_ms,
    };
    if !sql::insert_notice(tx, &notice).await? {
        return Ok(());
    }
    let Some(template) = note.kind.template(&ctx.config.wechat.templates) else { return Ok(()) };
    let values =
        serde_json::to_string(&note.values).map_err(|e| Failure::internal("writing a message", e))?;
    for _ in 0..POSITIONS_TRIED {
        let position = sql::next_position(tx, &order.id).await?;
        // Another event of the order that is taken at this moment may have the position: then the next one.
        if sql::insert_message(tx, &notice, position, template, &values).await? {
            tx.wake(Work::Messages);
            return Ok(());
        }
    }
    Err(Failure::internal("adding a message", format!("no position is free in order {}", order.id)))
}

//! An order that is to be fetched is ready, and then not forgotten: the customer is reminded after a day and
//! after three, and in the end staff is told, who may refund it.

use serde_json::json;

use super::moves::{advance, hold, record, stage};
use super::{Fulfilment, ORDER_NOT_FOUND, OrderMove, OrderStatus, READY_NOT_POSSIBLE, sql};
use crate::events::Event;
use crate::kernel::{Actor, Failure, Millis, OrderId, Result, day_ms};
use crate::platform::bus::{self, Delivery, Handled, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::platform::{alerts, audit};

/// The alert of an order that nobody fetches; its object is the order.
pub(super) const NOT_FETCHED: &str = "pickup_not_fetched";

const REMINDER_ACTOR: Actor = Actor::System("pickup_reminder");

/// Days after which the customer is reminded.
const CUSTOMER_DAYS: [i64; 2] = [1, 3];

/// Staff has put the goods together: the customer is told where and by which code they are handed over.
///
/// # Errors
/// `order_not_found`, `ready_not_possible`.
pub async fn ready(ctx: &Ctx, actor: &Actor, key: &Key, id: &OrderId) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = hold(tx, id).await?;
            let waits = order.fulfilment == Fulfilment::Pickup
                && order.status == OrderStatus::Paid
                && order.ship_hold_ms.is_none();
            let is_left = sql::find_lines(tx, id).await?.iter().any(|line| line.shippable() > 0);
            if !waits || !is_left {
                return Err(Failure::new(&READY_NOT_POSSIBLE));
            }
            advance(tx, ctx, &mut order, OrderMove::ReadyForPickup, actor, json!({})).await?;
            let now_ms = ctx.clock.now_ms();
            let next_ms = after(now_ms, ctx.config.orders.pickup_days, now_ms).map(|(at_ms, _)| at_ms);
            sql::set_ready(tx, id, now_ms, next_ms).await?;
            let event = Event::OrderReadyForPickup { order_id: id.clone(), user_id: order.user_id.clone() };
            stage(tx, ctx, &mut order, event).await?;
            stage_reminder(tx, ctx, id, next_ms).await?;
            let entry = audit::Entry {
                actor,
                operation: "markOrderReady",
                object: id.as_str(),
                before: Some(json!({ "status": OrderStatus::Paid })),
                after: Some(json!({ "status": order.status })),
            };
            audit::record(tx, ctx, entry).await
        })
    })
    .await
}

async fn stage_reminder(tx: &mut Tx<'_>, ctx: &Ctx, id: &OrderId, next_ms: Option<Millis>) -> Result<()> {
    if let Some(next_ms) = next_ms {
        let due = Event::PickupReminderDue { order_id: id.clone() };
        bus::stage(tx, ctx, &due, Staged::At(next_ms)).await?;
    }
    Ok(())
}

/// Who is reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Customer,
    Staff,
}

/// The reminders of an order that is ready since `ready_ms`, in their order.
fn reminders(ready_ms: Millis, pickup_days: i64) -> impl Iterator<Item = (Millis, Whom)> {
    let customer = CUSTOMER_DAYS.into_iter().filter(move |day| *day < pickup_days);
    let days = customer.map(|day| (day, Whom::Customer)).chain([(pickup_days, Whom::Staff)]);
    days.map(move |(day, whom)| (ready_ms + day_ms(day), whom))
}

/// The first reminder after `now_ms`.
fn after(ready_ms: Millis, pickup_days: i64, now_ms: Millis) -> Option<(Millis, Whom)> {
    reminders(ready_ms, pickup_days).find(|(at_ms, _)| *at_ms > now_ms)
}

/// It is time to remind, says the bus: it is looked at again here, since the message may be early or late.
///
/// # Errors
/// The database.
pub async fn on_pickup_reminder_due(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::PickupReminderDue { order_id } = &delivery.event else {
        return Ok(Handled::Park("not a reminder".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                remind(tx, ctx, order_id).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// Makes the reminder of an order that is due. Of several that were missed only the last one is made: nobody
/// is told twice at once.
pub(super) async fn remind(tx: &mut Tx<'_>, ctx: &Ctx, id: &OrderId) -> Result<()> {
    let mut order = match hold(tx, id).await {
        Err(failure) if failure.is(&ORDER_NOT_FOUND) => return Ok(()),
        order => order?,
    };
    let (OrderStatus::ReadyForPickup, Some(ready_ms), Some(due_ms)) =
        (order.status, order.ready_ms, order.pickup_next_ms)
    else {
        return Ok(());
    };
    let now_ms = ctx.clock.now_ms();
    if now_ms < due_ms {
        return stage_reminder(tx, ctx, id, Some(due_ms)).await;
    }
    let days = ctx.config.orders.pickup_days;
    let next_ms = after(ready_ms, days, now_ms).map(|(at_ms, _)| at_ms);
    if !sql::move_reminder(tx, id, due_ms, next_ms).await? {
        return Ok(());
    }
    stage_reminder(tx, ctx, id, next_ms).await?;
    match reminders(ready_ms, days).filter(|(at_ms, _)| *at_ms <= now_ms).last() {
        Some((_, Whom::Staff)) => {
            let detail = json!({ "days": days });
            record(tx, ctx, &mut order, OrderMove::PickupOverdue, &REMINDER_ACTOR, detail).await?;
            let what = format!("ready for {days} days and not fetched: call the customer, or refund it");
            alerts::open(tx, ctx, NOT_FETCHED, id.as_str(), &what).await
        }
        Some((_, Whom::Customer)) => {
            record(tx, ctx, &mut order, OrderMove::PickupReminded, &REMINDER_ACTOR, json!({})).await?;
            let event = Event::PickupReminded { order_id: id.clone(), user_id: order.user_id.clone() };
            stage(tx, ctx, &mut order, event).await
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_is_reminded_before_staff_is_told_and_never_after() {
        let days = |pickup_days| {
            let all = reminders(0, pickup_days).map(|(at_ms, whom)| (at_ms / day_ms(1), whom));
            all.collect::<Vec<_>>()
        };
        assert_eq!(days(7), [(1, Whom::Customer), (3, Whom::Customer), (7, Whom::Staff)]);
        assert_eq!(days(3), [(1, Whom::Customer), (3, Whom::Staff)]);
        assert_eq!(days(1), [(1, Whom::Staff)]);
        assert_eq!(after(0, 7, day_ms(3)), Some((day_ms(7), Whom::Staff)));
        assert_eq!(after(0, 7, day_ms(7)), None);
    }
}

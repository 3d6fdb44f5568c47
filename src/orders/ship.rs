//! Shipping units of an order: the order's side of a parcel.

use serde_json::json;

use super::moves::{advance, hold, stage};
use super::{Fulfilment, ORDER_NOT_SHIPPABLE, Order, OrderMove, OrderStatus, QUANTITY_NOT_SHIPPABLE, sql};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, OrderLineId, ParcelId, Result, day_ms};
use crate::platform::bus::{self, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// Units of a line that go into a parcel.
#[derive(Debug, Clone)]
pub struct ShipLine {
    pub line_id: OrderLineId,
    /// At least 1.
    pub quantity: i64,
}

/// Why nothing of an order can be shipped now, whatever is left of it; `None`: it can.
pub fn refusal_to_ship(order: &Order) -> Option<&'static str> {
    if order.ship_hold_ms.is_some() {
        Some("The order is on hold: it was cancelled.")
    } else if order.fulfilment != Fulfilment::Delivery {
        Some("The order is handed over in the store.")
    } else if matches!(order.status, OrderStatus::Paid | OrderStatus::PartiallyShipped) {
        None
    } else {
        Some(ORDER_NOT_SHIPPABLE.detail)
    }
}

/// Ships `lines`, or all that is left when it is `None`, in one parcel. Answers the order and what went.
///
/// # Errors
/// `order_not_found`, `order_not_shippable`, `quantity_not_shippable`.
pub async fn ship_lines(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: &OrderId,
    parcel: &ParcelId,
    lines: Option<&[ShipLine]>,
) -> Result<(Order, Vec<ShipLine>)> {
    let mut order = hold(tx, id).await?;
    if let Some(why) = refusal_to_ship(&order) {
        return Err(Failure::new(&ORDER_NOT_SHIPPABLE).detail(why));
    }
    let there = sql::find_lines(tx, id).await?;
    let lines: Vec<ShipLine> = match lines {
        Some(lines) => lines.to_vec(),
        None => there
            .iter()
            .filter(|line| line.shippable() > 0)
            .map(|line| ShipLine { line_id: line.id.clone(), quantity: line.shippable() })
            .collect(),
    };
    if lines.is_empty() {
        return Err(Failure::new(&ORDER_NOT_SHIPPABLE).detail("Nothing is left to ship."));
    }
    for (index, line) in lines.iter().enumerate() {
        if !sql::ship_units(tx, id, &line.line_id, line.quantity).await? {
            return Err(Failure::new(&QUANTITY_NOT_SHIPPABLE).field(format!("/lines/{index}/quantity")));
        }
    }
    // What is reserved by a refund may still be shipped when the refund is rejected, so it counts as open.
    let left =
        sql::find_lines(tx, id).await?.iter().any(|line| line.quantity > line.shipped + line.cancelled);
    let event = if left { OrderMove::ShippedPart } else { OrderMove::ShippedAll };
    let units: i64 = lines.iter().map(|line| line.quantity).sum();
    advance(tx, ctx, &mut order, event, actor, json!({ "parcel": parcel, "units": units })).await?;
    let shipped = Event::OrderShipped {
        order_id: id.clone(),
        user_id: order.user_id.clone(),
        parcel_id: parcel.clone(),
        all: !left,
    };
    stage(tx, ctx, &mut order, shipped).await?;
    if !left {
        all_shipped(tx, ctx, &mut order).await?;
    }
    Ok((order, lines))
}

/// The last parcel is on its way: the time until completion runs.
pub(super) async fn all_shipped(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let complete_at_ms = now_ms + day_ms(ctx.config.orders.complete_days);
    sql::set_shipped(tx, &order.id, now_ms, complete_at_ms).await?;
    order.shipped_ms = Some(now_ms);
    order.complete_at_ms = Some(complete_at_ms);
    let due = Event::CompletionDue { order_id: order.id.clone() };
    bus::stage(tx, ctx, &due, Staged::At(complete_at_ms)).await?;
    Ok(())
}

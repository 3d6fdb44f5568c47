//! Every change of an order goes through here: hold its row, move it by the table, write the timeline,
//! stage its events in order.

use serde_json::Value;

use super::state::{self, OrderMove, OrderStatus};
use super::{ORDER_CHANGED, ORDER_NOT_FOUND, Order, sql};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, Result};
use crate::platform::bus::{self, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// Takes the order's row for the rest of the transaction, then reads it: nobody else moves it meanwhile.
///
/// # Errors
/// `order_not_found`.
pub async fn hold(tx: &mut Tx<'_>, id: &OrderId) -> Result<Order> {
    if !sql::bump_guard(tx, id).await? {
        return Err(Failure::new(&ORDER_NOT_FOUND));
    }
    sql::find(tx, id).await?.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))
}

/// Moves a held order: status and version change together, and the timeline gets its row.
pub(super) async fn advance(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    event: OrderMove,
    actor: &Actor,
    detail: Value,
) -> Result<()> {
    let from = order.status;
    let to = state::next(Some(from), event).ok_or_else(|| {
        Failure::new(&ORDER_CHANGED).detail(format!("An order in {from} can't be {event}."))
    })?;
    if !sql::move_status(tx, &order.id, from, to, order.version).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    order.version += 1;
    order.status = to;
    write_row(tx, ctx, order, Some(from), event, actor, detail).await
}

/// Writes a row of the timeline that changes nothing else (see [`state::ANYWHERE`]).
///
/// # Errors
/// The database.
pub async fn record(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    event: OrderMove,
    actor: &Actor,
    detail: Value,
) -> Result<()> {
    advance(tx, ctx, order, event, actor, detail).await
}

pub(super) async fn write_row(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &Order,
    from: Option<OrderStatus>,
    event: OrderMove,
    actor: &Actor,
    detail: Value,
) -> Result<()> {
    let row = sql::NewTimelineRow {
        order_id: &order.id,
        seq: order.version,
        at_ms: ctx.clock.now_ms(),
        actor,
        event,
        from,
        to: order.status,
        detail: detail.to_string(),
    };
    sql::insert_timeline(tx, &row).await
}

/// Stages a FIFO event of a held order, behind all earlier ones.
///
/// # Errors
/// The database.
pub async fn stage(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order, event: Event) -> Result<()> {
    if !sql::bump_event_seq(tx, &order.id, order.event_seq).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    order.event_seq += 1;
    let how = Staged::InOrder { key: order.id.as_str(), seq: order.event_seq };
    bus::stage(tx, ctx, &event, how).await?;
    Ok(())
}

//! Orders that wait to be fetched, as staff looks at them.

use super::{Order, OrderLine, OrderStatus, sql};
use crate::kernel::{Cursor, Limit, Page, Result, StoreId, day_ms, text_enum};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::staff::StoreScope;

text_enum! {
    /// What an order that is to be fetched waits for.
    pub enum PickupStage {
        /// Paid: staff puts the goods together.
        ToPrepare = "TO_PREPARE",
        /// Ready: the customer fetches it.
        Ready = "READY",
        /// Ready for longer than `orders.pickup_days`: a refund is proposed.
        Overdue = "OVERDUE",
    }
}

fn filter<'a>(
    ctx: &Ctx,
    stage: Option<PickupStage>,
    scope: &'a StoreScope,
    store: Option<&'a StoreId>,
) -> sql::PickupFilter<'a> {
    let overdue_ms = ctx.clock.now_ms() - day_ms(ctx.config.orders.pickup_days);
    sql::PickupFilter {
        statuses: match stage {
            None => [OrderStatus::Paid, OrderStatus::ReadyForPickup],
            Some(PickupStage::ToPrepare) => [OrderStatus::Paid; 2],
            Some(PickupStage::Ready | PickupStage::Overdue) => [OrderStatus::ReadyForPickup; 2],
        },
        scope,
        store,
        ready_until_ms: if stage == Some(PickupStage::Overdue) { overdue_ms } else { i64::MAX },
    }
}

/// Has the order been ready for longer than customers are given?
pub fn is_overdue(ctx: &Ctx, order: &Order) -> bool {
    let until_ms = ctx.clock.now_ms() - day_ms(ctx.config.orders.pickup_days);
    order.status == OrderStatus::ReadyForPickup && order.ready_ms.is_some_and(|ready_ms| ready_ms <= until_ms)
}

/// Orders that wait to be fetched, at this stage or at any, in this store of the scope or in all of them, the
/// oldest first.
///
/// # Errors
/// The database.
pub async fn pickups(
    ctx: &Ctx,
    scope: &StoreScope,
    stage: Option<PickupStage>,
    store: Option<&StoreId>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<(Order, Vec<OrderLine>)>> {
    let conn = &mut *ctx.db.reader().await?;
    let filter = filter(ctx, stage, scope, store);
    let rows = sql::pickups(conn, &filter, after.map_or("", Cursor::key), limit.and_one()).await?;
    let page = Page::cut(rows, limit, |order| order.id.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for order in page.items {
        let lines = sql::find_lines(conn, &order.id).await?;
        items.push((order, lines));
    }
    Ok(Page { items, next: page.next })
}

/// How many of this stage there are in these stores.
///
/// # Errors
/// The database.
pub async fn count_pickups(
    conn: &mut Conn,
    ctx: &Ctx,
    scope: &StoreScope,
    stage: PickupStage,
) -> Result<i64> {
    sql::count_pickups(conn, &filter(ctx, Some(stage), scope, None)).await
}

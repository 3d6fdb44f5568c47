//! SQL of what happens in a store: codes, tries to enter one, reminders, hand-over, new prices.

use sqlx::AssertSqlSafe;

use crate::kernel::{Failure, Millis, OrderId, OrderLineId, Result, StaffId, StoreId};
use crate::orders::{Order, OrderStatus};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;

/// Gives a held order its code; false when another order of the store opens by it now.
pub async fn set_code(conn: &mut Conn, id: &OrderId, code: &str) -> Result<bool> {
    let written = sqlx::query("UPDATE orders SET pickup_code = ?, pickup_code_open = ? WHERE id = ?")
        .bind(code)
        .bind(code)
        .bind(id)
        .execute(conn)
        .await;
    match written {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        written => changed(written),
    }
}

/// The order of a store that this code opens, or that it opened last.
pub async fn by_code(conn: &mut Conn, store: &StoreId, code: &str) -> Result<Option<Order>> {
    let open =
        concat!("SELECT ", order_columns!(), " FROM orders WHERE store_id = ? AND pickup_code_open = ?");
    let found: Option<Order> = sqlx::query_as(open).bind(store).bind(code).fetch_optional(&mut *conn).await?;
    if found.is_some() {
        return Ok(found);
    }
    let ended = concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE store_id = ? AND pickup_code = ? ORDER BY completed_ms DESC, id DESC LIMIT 1"
    );
    Ok(sqlx::query_as(ended).bind(store).bind(code).fetch_optional(conn).await?)
}

/// Counts a try within a window that runs already; false when there is none, or it is full.
pub async fn count_try(
    conn: &mut Conn,
    staff: &StaffId,
    store: &StoreId,
    since_ms: Millis,
    tries_max: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE pickup_tries SET tries = tries + 1 \
             WHERE staff_id = ? AND store_id = ? AND since_ms > ? AND tries < ?",
        )
        .bind(staff)
        .bind(store)
        .bind(since_ms)
        .bind(tries_max)
        .execute(conn)
        .await,
    )
}

/// Begins a new window with one try, where the last one is over; false when it is not, or there was none.
pub async fn restart_tries(
    conn: &mut Conn,
    staff: &StaffId,
    store: &StoreId,
    since_ms: Millis,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE pickup_tries SET tries = 1, since_ms = ? WHERE staff_id = ? AND store_id = ? AND since_ms <= ?",
        )
        .bind(now_ms)
        .bind(staff)
        .bind(store)
        .bind(since_ms)
        .execute(conn)
        .await,
    )
}

/// Begins the first window with one try; false when there is a row.
pub async fn first_try(conn: &mut Conn, staff: &StaffId, store: &StoreId, now_ms: Millis) -> Result<bool> {
    inserted(
        sqlx::query("INSERT INTO pickup_tries (staff_id, store_id, tries, since_ms) VALUES (?, ?, 1, ?)")
            .bind(staff)
            .bind(store)
            .bind(now_ms)
            .execute(conn)
            .await,
    )
}

/// The try opened something, so it was none of those that are counted.
pub async fn forget_try(conn: &mut Conn, staff: &StaffId, store: &StoreId) -> Result<()> {
    sqlx::query(
        "UPDATE pickup_tries SET tries = tries - 1 WHERE staff_id = ? AND store_id = ? AND tries > 0",
    )
    .bind(staff)
    .bind(store)
    .execute(conn)
    .await?;
    Ok(())
}

/// Since when the tries of the window are counted.
pub async fn tries_since(conn: &mut Conn, staff: &StaffId, store: &StoreId) -> Result<Option<Millis>> {
    let row: Option<(Millis,)> =
        sqlx::query_as("SELECT since_ms FROM pickup_tries WHERE staff_id = ? AND store_id = ?")
            .bind(staff)
            .bind(store)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(since_ms,)| since_ms))
}

pub async fn set_ready(conn: &mut Conn, id: &OrderId, now_ms: Millis, next_ms: Option<Millis>) -> Result<()> {
    sqlx::query("UPDATE orders SET ready_ms = ?, pickup_next_ms = ? WHERE id = ?")
        .bind(now_ms)
        .bind(next_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves on to the next reminder; false when somebody made this one.
pub async fn move_reminder(
    conn: &mut Conn,
    id: &OrderId,
    due_ms: Millis,
    next_ms: Option<Millis>,
) -> Result<bool> {
    changed(
        sqlx::query("UPDATE orders SET pickup_next_ms = ? WHERE id = ? AND pickup_next_ms = ?")
            .bind(next_ms)
            .bind(id)
            .bind(due_ms)
            .execute(conn)
            .await,
    )
}

pub async fn reminders_past_due(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as(
        "SELECT id FROM orders WHERE status = 'READY_FOR_PICKUP' AND pickup_next_ms <= ? \
         ORDER BY pickup_next_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Every unit that was not refunded goes to the customer; false when some of them are locked by a refund.
pub async fn hand_over_line(conn: &mut Conn, order: &OrderId, line: &OrderLineId) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET shipped = quantity - cancelled WHERE id = ? AND order_id = ? \
             AND shipped = 0 AND cancel_locked = 0",
        )
        .bind(line)
        .bind(order)
        .execute(conn)
        .await,
    )
}

pub async fn set_handed_over(conn: &mut Conn, id: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE orders SET shipped_ms = ? WHERE id = ?").bind(now_ms).bind(id).execute(conn).await?;
    Ok(())
}

/// Which orders that are to be fetched are asked for.
#[derive(Debug, Clone)]
pub struct PickupFilter<'a> {
    /// Either of them.
    pub statuses: [OrderStatus; 2],
    pub scope: &'a StoreScope,
    /// `None`: all of the scope.
    pub store: Option<&'a StoreId>,
    /// Only those that have been ready since then or longer, or are not ready yet.
    pub ready_until_ms: Millis,
}

impl PickupFilter<'_> {
    fn conditions(&self) -> String {
        let store = if self.store.is_some() { " AND store_id = ?" } else { "" };
        let scope = self.scope.condition("store_id");
        format!("fulfilment = 'PICKUP' AND status IN (?, ?) AND COALESCE(ready_ms, 0) <= ?{store}{scope}")
    }
}

/// Orders that wait to be fetched, the oldest first.
pub async fn pickups(
    conn: &mut Conn,
    filter: &PickupFilter<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<Order>> {
    let conditions = filter.conditions();
    let columns = order_columns!();
    let query = format!("SELECT {columns} FROM orders WHERE {conditions} AND id > ? ORDER BY id LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    query = query.bind(filter.statuses[0]).bind(filter.statuses[1]).bind(filter.ready_until_ms);
    for store in filter.store.into_iter().chain(filter.scope.bound()) {
        query = query.bind(store);
    }
    Ok(query.bind(after).bind(limit).fetch_all(conn).await?)
}

/// How many orders wait to be fetched.
pub async fn count_pickups(conn: &mut Conn, filter: &PickupFilter<'_>) -> Result<i64> {
    let query = format!("SELECT COUNT(*) FROM orders WHERE {}", filter.conditions());
    let mut query = sqlx::query_as::<_, (i64,)>(AssertSqlSafe(query));
    query = query.bind(filter.statuses[0]).bind(filter.statuses[1]).bind(filter.ready_until_ms);
    for store in filter.store.into_iter().chain(filter.scope.bound()) {
        query = query.bind(store);
    }
    Ok(query.fetch_one(conn).await?.0)
}

/// A new price of a line.
pub struct NewPrice<'a> {
    pub line: &'a OrderLineId,
    pub unit_price_minor: i64,
    pub gross_minor: i64,
    pub net_minor: i64,
    /// JSON.
    pub shares: String,
}

pub async fn set_line_price(conn: &mut Conn, order: &OrderId, price: &NewPrice<'_>) -> Result<()> {
    let written = changed(
        sqlx::query(
            "UPDATE order_lines SET unit_price_minor = ?, gross_minor = ?, net_minor = ?, shares = ? \
             WHERE id = ? AND order_id = ?",
        )
        .bind(price.unit_price_minor)
        .bind(price.gross_minor)
        .bind(price.net_minor)
        .bind(&price.shares)
        .bind(price.line)
        .bind(order)
        .execute(conn)
        .await,
    )?;
    if written { Ok(()) } else { Err(Failure::internal("changing a price", "no such line")) }
}

/// The sums of an order that can't be paid at this moment; false when an attempt is open or it waits no more.
pub async fn set_prices(conn: &mut Conn, order: &Order) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET goods_minor = ?, discount_minor = ?, total_minor = ?, payable_minor = ?, \
             pending_reprice = NULL WHERE id = ? AND status = 'PENDING_PAYMENT' AND open_attempt IS NULL",
        )
        .bind(order.goods_minor)
        .bind(order.discount_minor)
        .bind(order.total_minor)
        .bind(order.payable_minor)
        .bind(&order.id)
        .execute(conn)
        .await,
    )
}

pub async fn set_pending_reprice(conn: &mut Conn, id: &OrderId, pending: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE orders SET pending_reprice = ? WHERE id = ?")
        .bind(pending)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_close_note(conn: &mut Conn, id: &OrderId, note: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE orders SET close_note = ? WHERE id = ?").bind(note).bind(id).execute(conn).await?;
    Ok(())
}

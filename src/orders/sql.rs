//! SQL of orders.

use sqlx::AssertSqlSafe;

use super::{CloseReason, Fulfilment, Order, OrderLine, OrderMove, OrderStatus, TimelineRow};
use crate::kernel::{Actor, AttemptId, Millis, OrderId, OrderLineId, RefundId, Result, StoreId, UserId};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;
use crate::telemetry;

macro_rules! order_columns {
    () => {
        "id, user_id, store_id, fulfilment, status, close_reason, pay_status, refund_status, currency, \
         goods_minor, discount_minor, freight_minor, tax_minor, total_minor, wallet_minor, payable_minor, \
         paid_minor, refunded_minor, refunding_minor, freight_refunded_minor, freight_refunding_minor, \
         coupon_id, note, address_sealed, open_attempt, open_refunds, compensation_refund, ship_hold_ms, \
         placed_ms, pay_before_ms, paid_ms, closed_ms, shipped_ms, completed_ms, finished_ms, complete_at_ms, \
         complete_due_ms, finish_at_ms, finish_due_ms, pickup_code, pickup_code_open, ready_ms, \
         pickup_next_ms, close_note, pending_reprice, version, event_seq"
    };
}
pub(super) use order_columns;

mod forget;
mod pickups;

pub use forget::*;
pub use pickups::*;

/// The order, whoever's it is.
///
/// # Errors
/// The database.
pub async fn find(conn: &mut Conn, id: &OrderId) -> Result<Option<Order>> {
    Ok(sqlx::query_as(concat!("SELECT ", order_columns!(), " FROM orders WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// The store of an order; it never changes.
///
/// # Errors
/// The database.
pub async fn store_of(conn: &mut Conn, id: &OrderId) -> Result<Option<StoreId>> {
    let row: Option<(StoreId,)> =
        sqlx::query_as("SELECT store_id FROM orders WHERE id = ?").bind(id).fetch_optional(conn).await?;
    Ok(row.map(|(store,)| store))
}

/// Has this user an order of one of these stores?
///
/// # Errors
/// The database.
pub async fn has_ordered_in(conn: &mut Conn, scope: &StoreScope, user: &UserId) -> Result<bool> {
    let query = format!(
        "SELECT id FROM orders WHERE user_id = ?{} ORDER BY id DESC LIMIT 1",
        scope.condition("store_id")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(user);
    for store in scope.bound() {
        query = query.bind(store);
    }
    let row: Option<(OrderId,)> = query.fetch_optional(conn).await?;
    Ok(row.is_some())
}

/// The order if it is this user's.
///
/// # Errors
/// The database.
pub async fn find_owned(conn: &mut Conn, id: &OrderId, user: &UserId) -> Result<Option<Order>> {
    Ok(sqlx::query_as(concat!("SELECT ", order_columns!(), " FROM orders WHERE id = ? AND user_id = ?"))
        .bind(id)
        .bind(user)
        .fetch_optional(conn)
        .await?)
}

/// The lines of an order, in their order.
///
/// # Errors
/// The database.
pub async fn find_lines(conn: &mut Conn, order: &OrderId) -> Result<Vec<OrderLine>> {
    Ok(sqlx::query_as(
        "SELECT id, position, product_id, sku_id, product_name, sku_name, image, unit_price_minor, quantity, \
         gross_minor, net_minor, tax_minor, shares, shipped, cancelled, cancel_locked, returned, return_locked, \
         refunded_minor, refunding_minor FROM order_lines WHERE order_id = ? ORDER BY position",
    )
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// What happened to an order, oldest first.
///
/// # Errors
/// The database.
pub async fn timeline(conn: &mut Conn, order: &OrderId) -> Result<Vec<TimelineRow>> {
    Ok(sqlx::query_as(
        "SELECT seq, at_ms, actor_kind, actor_id, event, from_status, to_status, detail, request_id \
         FROM order_timeline WHERE order_id = ? ORDER BY seq LIMIT 500",
    )
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// What happened to an order under a request.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct MoveOfRequest {
    pub order_id: OrderId,
    pub fulfilment: Fulfilment,
    #[sqlx(flatten)]
    pub row: TimelineRow,
}

/// What happened to orders under a request, oldest first.
///
/// # Errors
/// The database.
pub async fn timeline_of_request(
    conn: &mut Conn,
    request_id: &str,
    limit: i64,
) -> Result<Vec<MoveOfRequest>> {
    Ok(sqlx::query_as(
        "SELECT t.order_id AS order_id, o.fulfilment AS fulfilment, t.seq AS seq, t.at_ms AS at_ms, \
         t.actor_kind AS actor_kind, t.actor_id AS actor_id, t.event AS event, t.from_status AS from_status, \
         t.to_status AS to_status, t.detail AS detail, t.request_id AS request_id \
         FROM order_timeline t JOIN orders o ON o.id = t.order_id \
         WHERE t.request_id = ? ORDER BY t.at_ms, t.order_id, t.seq LIMIT ?",
    )
    .bind(request_id)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn bump_guard(conn: &mut Conn, id: &OrderId) -> Result<bool> {
    changed(sqlx::query("UPDATE orders SET guard = guard + 1 WHERE id = ?").bind(id).execute(conn).await)
}

pub async fn bump_event_seq(conn: &mut Conn, id: &OrderId, seen: i64) -> Result<bool> {
    changed(
        sqlx::query("UPDATE orders SET event_seq = event_seq + 1 WHERE id = ? AND event_seq = ?")
            .bind(id)
            .bind(seen)
            .execute(conn)
            .await,
    )
}

pub async fn move_status(
    conn: &mut Conn,
    id: &OrderId,
    from: OrderStatus,
    to: OrderStatus,
    version: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET status = ?, version = version + 1 WHERE id = ? AND status = ? AND version = ?",
        )
        .bind(to)
        .bind(id)
        .bind(from)
        .bind(version)
        .execute(conn)
        .await,
    )
}

pub struct NewTimelineRow<'a> {
    pub order_id: &'a OrderId,
    pub seq: i64,
    pub at_ms: Millis,
    pub actor: &'a Actor,
    pub event: OrderMove,
    pub from: Option<OrderStatus>,
    pub to: OrderStatus,
    pub detail: String,
}

pub async fn insert_timeline(conn: &mut Conn, row: &NewTimelineRow<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO order_timeline (order_id, seq, at_ms, actor_kind, actor_id, event, from_status, to_status, \
         detail, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.order_id)
    .bind(row.seq)
    .bind(row.at_ms)
    .bind(row.actor.kind())
    .bind(row.actor.id())
    .bind(row.event)
    .bind(row.from)
    .bind(row.to)
    .bind(&row.detail)
    .bind(telemetry::request_id())
    .execute(conn)
    .await?;
    Ok(())
}

/// False: the quote was used before.
pub async fn insert_order(
    conn: &mut Conn,
    order: &Order,
    quote_nonce: &str,
    phone_hash: Option<&str>,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO orders (id, user_id, store_id, fulfilment, status, pay_status, refund_status, currency, \
             goods_minor, discount_minor, freight_minor, tax_minor, total_minor, wallet_minor, payable_minor, \
             paid_minor, refunded_minor, refunding_minor, freight_refunded_minor, freight_refunding_minor, \
             coupon_id, note, address_sealed, phone_hash, quote_nonce, open_refunds, placed_ms, pay_before_ms, \
             version, event_seq, guard) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?, ?, ?, ?, 0, ?, ?, 1, 0, 0)",
        )
        .bind(&order.id)
        .bind(&order.user_id)
        .bind(&order.store_id)
        .bind(order.fulfilment)
        .bind(order.status)
        .bind(order.pay_status)
        .bind(order.refund_status)
        .bind(order.currency)
        .bind(order.goods_minor)
        .bind(order.discount_minor)
        .bind(order.freight_minor)
        .bind(order.tax_minor)
        .bind(order.total_minor)
        .bind(order.wallet_minor)
        .bind(order.payable_minor)
        .bind(&order.coupon_id)
        .bind(&order.note)
        .bind(&order.address_sealed)
        .bind(phone_hash)
        .bind(quote_nonce)
        .bind(order.placed_ms)
        .bind(order.pay_before_ms)
        .execute(conn)
        .await,
    )
}

pub async fn insert_line(conn: &mut Conn, order: &OrderId, line: &OrderLine) -> Result<()> {
    sqlx::query(
        "INSERT INTO order_lines (id, order_id, position, product_id, sku_id, product_name, sku_name, image, \
         unit_price_minor, quantity, gross_minor, net_minor, tax_minor, shares, shipped, cancelled, cancel_locked, \
         returned, return_locked, refunded_minor, refunding_minor) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0)",
    )
    .bind(&line.id)
    .bind(order)
    .bind(line.position)
    .bind(&line.product_id)
    .bind(&line.sku_id)
    .bind(&line.product_name)
    .bind(&line.sku_name)
    .bind(&line.image)
    .bind(line.unit_price_minor)
    .bind(line.quantity)
    .bind(line.gross_minor)
    .bind(line.net_minor)
    .bind(line.tax_minor)
    .bind(&line.shares)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose order used this quote, and which order it is.
pub async fn find_by_quote(conn: &mut Conn, nonce: &str) -> Result<Option<(OrderId, UserId)>> {
    Ok(sqlx::query_as("SELECT id, user_id FROM orders WHERE quote_nonce = ?")
        .bind(nonce)
        .fetch_optional(conn)
        .await?)
}

pub async fn open_attempt(conn: &mut Conn, id: &OrderId, attempt: &AttemptId) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET open_attempt = ? WHERE id = ? AND open_attempt IS NULL AND status = 'PENDING_PAYMENT'",
        )
        .bind(attempt)
        .bind(id)
        .execute(conn)
        .await,
    )
}

pub async fn end_attempt(conn: &mut Conn, id: &OrderId, attempt: &AttemptId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE orders SET open_attempt = NULL WHERE id = ? AND open_attempt = ?")
            .bind(id)
            .bind(attempt)
            .execute(conn)
            .await,
    )
}

pub async fn set_paid(conn: &mut Conn, id: &OrderId, paid_minor: i64, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE orders SET pay_status = 'PAID', paid_minor = ?, paid_ms = ?, open_attempt = NULL, \
         close_reason = NULL, close_note = NULL WHERE id = ?",
    )
    .bind(paid_minor)
    .bind(now_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_close_reason(conn: &mut Conn, id: &OrderId, reason: CloseReason) -> Result<()> {
    sqlx::query("UPDATE orders SET close_reason = ? WHERE id = ?")
        .bind(reason)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_closed(conn: &mut Conn, id: &OrderId, reason: CloseReason, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE orders SET close_reason = ?, closed_ms = ?, open_attempt = NULL, pickup_code_open = NULL, \
         pickup_next_ms = NULL WHERE id = ?",
    )
    .bind(reason)
    .bind(now_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_hold(conn: &mut Conn, id: &OrderId, hold_ms: Option<Millis>) -> Result<()> {
    sqlx::query("UPDATE orders SET ship_hold_ms = ? WHERE id = ?")
        .bind(hold_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds shipped units to a line; false when not so many are left to ship.
pub async fn ship_units(conn: &mut Conn, order: &OrderId, line: &OrderLineId, quantity: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET shipped = shipped + ? WHERE id = ? AND order_id = ? \
             AND shipped + cancelled + cancel_locked + ? <= quantity",
        )
        .bind(quantity)
        .bind(line)
        .bind(order)
        .bind(quantity)
        .execute(conn)
        .await,
    )
}

pub async fn set_shipped(
    conn: &mut Conn,
    id: &OrderId,
    now_ms: Millis,
    complete_at_ms: Millis,
) -> Result<()> {
    sqlx::query("UPDATE orders SET shipped_ms = ?, complete_at_ms = ? WHERE id = ?")
        .bind(now_ms)
        .bind(complete_at_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_completed(
    conn: &mut Conn,
    id: &OrderId,
    now_ms: Millis,
    finish_at_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "UPDATE orders SET completed_ms = ?, complete_due_ms = NULL, finish_at_ms = ?, \
         pickup_code_open = NULL, pickup_next_ms = NULL WHERE id = ?",
    )
    .bind(now_ms)
    .bind(finish_at_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_finished(conn: &mut Conn, id: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE orders SET finished_ms = ?, finish_due_ms = NULL WHERE id = ?")
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_complete_due(conn: &mut Conn, id: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE orders SET complete_due_ms = ? WHERE id = ?")
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_finish_due(conn: &mut Conn, id: &OrderId, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE orders SET finish_due_ms = ? WHERE id = ?")
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Units and money that a refund reserves, gives back, or takes on one line.
pub struct LineDelta<'a> {
    pub line: &'a OrderLineId,
    pub cancel: i64,
    pub give_back: i64,
    pub money_minor: i64,
}

/// False: not so many units, or not so much money, are left.
pub async fn reserve_line(conn: &mut Conn, order: &OrderId, delta: &LineDelta<'_>) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET cancel_locked = cancel_locked + ?, return_locked = return_locked + ?, \
             refunding_minor = refunding_minor + ? WHERE id = ? AND order_id = ? \
             AND shipped + cancelled + cancel_locked + ? <= quantity \
             AND returned + return_locked + ? <= shipped \
             AND refunded_minor + refunding_minor + ? <= net_minor + tax_minor",
        )
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .bind(delta.line)
        .bind(order)
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .execute(conn)
        .await,
    )
}

pub async fn release_line(conn: &mut Conn, order: &OrderId, delta: &LineDelta<'_>) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET cancel_locked = cancel_locked - ?, return_locked = return_locked - ?, \
             refunding_minor = refunding_minor - ? WHERE id = ? AND order_id = ? \
             AND cancel_locked >= ? AND return_locked >= ? AND refunding_minor >= ?",
        )
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .bind(delta.line)
        .bind(order)
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .execute(conn)
        .await,
    )
}

pub async fn settle_line(conn: &mut Conn, order: &OrderId, delta: &LineDelta<'_>) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET cancelled = cancelled + ?, cancel_locked = cancel_locked - ?, \
             returned = returned + ?, return_locked = return_locked - ?, \
             refunded_minor = refunded_minor + ?, refunding_minor = refunding_minor - ? \
             WHERE id = ? AND order_id = ? AND cancel_locked >= ? AND return_locked >= ? AND refunding_minor >= ?",
        )
        .bind(delta.cancel)
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .bind(delta.money_minor)
        .bind(delta.line)
        .bind(order)
        .bind(delta.cancel)
        .bind(delta.give_back)
        .bind(delta.money_minor)
        .execute(conn)
        .await,
    )
}

/// Every unit that is neither shipped nor on its way to be cancelled is cancelled now.
pub async fn cancel_unshipped_units(conn: &mut Conn, line: &OrderLineId, quantity: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE order_lines SET cancelled = cancelled + ? WHERE id = ? \
             AND shipped + cancelled + cancel_locked + ? <= quantity",
        )
        .bind(quantity)
        .bind(line)
        .bind(quantity)
        .execute(conn)
        .await,
    )
}

/// Reserves money of the order; false when less than that is left of what was paid.
pub async fn reserve_money(
    conn: &mut Conn,
    id: &OrderId,
    amount_minor: i64,
    freight_minor: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET refunding_minor = refunding_minor + ?, \
             freight_refunding_minor = freight_refunding_minor + ? WHERE id = ? \
             AND refunded_minor + refunding_minor + ? <= paid_minor \
             AND freight_refunded_minor + freight_refunding_minor + ? <= freight_minor",
        )
        .bind(amount_minor)
        .bind(freight_minor)
        .bind(id)
        .bind(amount_minor)
        .bind(freight_minor)
        .execute(conn)
        .await,
    )
}

pub async fn release_money(
    conn: &mut Conn,
    id: &OrderId,
    amount_minor: i64,
    freight_minor: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET refunding_minor = refunding_minor - ?, \
             freight_refunding_minor = freight_refunding_minor - ? \
             WHERE id = ? AND refunding_minor >= ? AND freight_refunding_minor >= ?",
        )
        .bind(amount_minor)
        .bind(freight_minor)
        .bind(id)
        .bind(amount_minor)
        .bind(freight_minor)
        .execute(conn)
        .await,
    )
}

pub async fn settle_money(
    conn: &mut Conn,
    id: &OrderId,
    amount_minor: i64,
    freight_minor: i64,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET refunded_minor = refunded_minor + ?, refunding_minor = refunding_minor - ?, \
             freight_refunded_minor = freight_refunded_minor + ?, \
             freight_refunding_minor = freight_refunding_minor - ? \
             WHERE id = ? AND refunding_minor >= ? AND freight_refunding_minor >= ?",
        )
        .bind(amount_minor)
        .bind(amount_minor)
        .bind(freight_minor)
        .bind(freight_minor)
        .bind(id)
        .bind(amount_minor)
        .bind(freight_minor)
        .execute(conn)
        .await,
    )
}

pub async fn add_open_refunds(conn: &mut Conn, id: &OrderId, by: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE orders SET open_refunds = open_refunds + ? WHERE id = ? AND open_refunds + ? >= 0",
        )
        .bind(by)
        .bind(id)
        .bind(by)
        .execute(conn)
        .await,
    )
}

pub async fn set_refund_status(conn: &mut Conn, id: &OrderId, status: super::RefundStatus) -> Result<()> {
    sqlx::query("UPDATE orders SET refund_status = ? WHERE id = ?")
        .bind(status)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the order's one slot for a compensation coupon.
pub async fn take_compensation(conn: &mut Conn, id: &OrderId, refund: &RefundId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE orders SET compensation_refund = ? WHERE id = ? AND compensation_refund IS NULL")
            .bind(refund)
            .bind(id)
            .execute(conn)
            .await,
    )
}

pub async fn unpaid_past_deadline(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as(
        "SELECT id FROM orders WHERE status = 'PENDING_PAYMENT' AND pay_before_ms <= ? ORDER BY pay_before_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn completion_past_due(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as(
        "SELECT id FROM orders WHERE status = 'SHIPPED' AND complete_at_ms <= ? \
         AND (complete_due_ms IS NULL OR open_refunds = 0) ORDER BY complete_at_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn finish_past_due(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as(
        "SELECT id FROM orders WHERE status = 'COMPLETED' AND finish_at_ms <= ? \
         AND (finish_due_ms IS NULL OR open_refunds = 0) ORDER BY finish_at_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A customer's own orders, newest first.
pub async fn list(
    conn: &mut Conn,
    user: &UserId,
    status: Option<OrderStatus>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Order>> {
    macro_rules! of_user {
        ($and:literal) => {
            concat!(
                "SELECT ",
                order_columns!(),
                " FROM orders WHERE user_id = ? AND id < ?",
                $and,
                " ORDER BY id DESC LIMIT ?"
            )
        };
    }
    let before = before.unwrap_or("~");
    let found = match status {
        Some(status) => {
            let query = sqlx::query_as(of_user!(" AND status = ?")).bind(user).bind(before).bind(status);
            query.bind(limit).fetch_all(conn).await
        }
        None => sqlx::query_as(of_user!("")).bind(user).bind(before).bind(limit).fetch_all(conn).await,
    };
    Ok(found?)
}

/// How many orders of these stores wait for a parcel.
///
/// # Errors
/// The database.
pub async fn count_to_ship(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    let query = format!(
        "SELECT COUNT(*) FROM orders WHERE status IN ('PAID', 'PARTIALLY_SHIPPED') \
         AND fulfilment = 'DELIVERY' AND ship_hold_ms IS NULL{}",
        scope.condition("store_id")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for store in scope.bound() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

/// How many orders of these stores are CLOSING although their time to pay ended before `before_ms`.
///
/// # Errors
/// The database.
pub async fn count_unanswered(conn: &mut Conn, scope: &StoreScope, before_ms: Millis) -> Result<i64> {
    let query = format!(
        "SELECT COUNT(*) FROM orders WHERE status = 'CLOSING' AND pay_before_ms <= ?{}",
        scope.condition("store_id")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(before_ms);
    for store in scope.bound() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

pub async fn count_by_status(conn: &mut Conn, user: &UserId) -> Result<Vec<(OrderStatus, i64)>> {
    Ok(sqlx::query_as("SELECT status, COUNT(*) FROM orders WHERE user_id = ? GROUP BY status")
        .bind(user)
        .fetch_all(conn)
        .await?)
}

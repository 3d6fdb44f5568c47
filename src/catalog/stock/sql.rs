//! The SQL of stock. Each update names what it needs: no row means that it is not there.

use sqlx::FromRow;

use super::{Discrepancy, LockLine, LockState, Move, StockLevel, Supply};
use crate::catalog::Barcode;
use crate::kernel::{Actor, Millis, OrderId, OrderLineId, ProductId, Result, SkuId, StoreId, SupplyMoveId};
use crate::platform::db::{Conn, changed, inserted};

pub async fn level(conn: &mut Conn, store: &StoreId, sku: &SkuId) -> Result<Option<StockLevel>> {
    let row = sqlx::query_as(
        "SELECT available, locked, sold, supplied FROM stock WHERE store_id = ? AND sku_id = ?",
    )
    .bind(store)
    .bind(sku)
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// One of the moves between two columns of a stock row. Both bounds keep the numbers at 0 or above.
async fn shift(
    conn: &mut Conn,
    query: &'static str,
    store: &StoreId,
    sku: &SkuId,
    quantity: i64,
) -> Result<bool> {
    let query = sqlx::query(query).bind(quantity).bind(quantity).bind(store).bind(sku).bind(quantity);
    changed(query.execute(conn).await)
}

pub async fn lock(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    let query = "UPDATE stock SET available = available - ?, locked = locked + ? \
         WHERE store_id = ? AND sku_id = ? AND available >= ?";
    shift(conn, query, store, sku, quantity).await
}

pub async fn unlock(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    let query = "UPDATE stock SET available = available + ?, locked = locked - ? \
         WHERE store_id = ? AND sku_id = ? AND locked >= ?";
    shift(conn, query, store, sku, quantity).await
}

pub async fn sell(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    let query = "UPDATE stock SET sold = sold + ?, locked = locked - ? \
         WHERE store_id = ? AND sku_id = ? AND locked >= ?";
    shift(conn, query, store, sku, quantity).await
}

pub async fn put_back(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    let query = "UPDATE stock SET available = available + ?, sold = sold - ? \
         WHERE store_id = ? AND sku_id = ? AND sold >= ?";
    shift(conn, query, store, sku, quantity).await
}

/// Takes a stock row for the rest of the transaction; false when there is none.
pub async fn hold(conn: &mut Conn, store: &StoreId, sku: &SkuId) -> Result<bool> {
    let query = "UPDATE stock SET available = available + 0 WHERE store_id = ? AND sku_id = ?";
    changed(sqlx::query(query).bind(store).bind(sku).execute(conn).await)
}

/// `quantity` may be negative; then that many must be available.
pub async fn supply(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE stock SET available = available + ?, supplied = supplied + ? \
             WHERE store_id = ? AND sku_id = ? AND available + ? >= 0",
        )
        .bind(quantity)
        .bind(quantity)
        .bind(store)
        .bind(sku)
        .bind(quantity)
        .execute(conn)
        .await,
    )
}

pub async fn insert_stock(conn: &mut Conn, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO stock (store_id, sku_id, available, locked, sold, supplied) VALUES (?, ?, ?, 0, 0, ?)",
        )
        .bind(store)
        .bind(sku)
        .bind(quantity)
        .bind(quantity)
        .execute(conn)
        .await,
    )
}

pub async fn insert_move(
    conn: &mut Conn,
    id: &SupplyMoveId,
    actor: &Actor,
    supply: &Supply<'_>,
    line: Option<&OrderLineId>,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO supply_moves (id, store_id, sku_id, quantity, kind, reason, actor_kind, actor_id, at_ms, \
         line_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(supply.store)
    .bind(supply.sku)
    .bind(supply.quantity)
    .bind(supply.kind)
    .bind(supply.reason)
    .bind(actor.kind())
    .bind(actor.id())
    .bind(now_ms)
    .bind(line)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_lock(conn: &mut Conn, order: &OrderId, store: &StoreId, line: &LockLine) -> Result<()> {
    sqlx::query(
        "INSERT INTO stock_locks (order_id, line_id, store_id, sku_id, quantity, restocked, state) \
         VALUES (?, ?, ?, ?, ?, 0, 'LOCK')",
    )
    .bind(order)
    .bind(&line.line_id)
    .bind(store)
    .bind(&line.sku_id)
    .bind(line.quantity)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(FromRow)]
pub struct LockRow {
    pub line_id: OrderLineId,
    pub store_id: StoreId,
    pub sku_id: SkuId,
    pub quantity: i64,
}

/// What an order holds in LOCK, in the order of SKU ids.
pub async fn locked_lines(conn: &mut Conn, order: &OrderId) -> Result<Vec<LockRow>> {
    let rows = sqlx::query_as(
        "SELECT line_id, store_id, sku_id, quantity FROM stock_locks WHERE order_id = ? AND state = 'LOCK' \
         ORDER BY sku_id, line_id",
    )
    .bind(order)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

pub async fn line(conn: &mut Conn, line: &OrderLineId) -> Result<Option<LockRow>> {
    let row = sqlx::query_as("SELECT line_id, store_id, sku_id, quantity FROM stock_locks WHERE line_id = ?")
        .bind(line)
        .fetch_optional(conn)
        .await?;
    Ok(row)
}

pub async fn end_lock(conn: &mut Conn, order: &OrderId, line: &OrderLineId, to: LockState) -> Result<bool> {
    changed(
        sqlx::query("UPDATE stock_locks SET state = ? WHERE order_id = ? AND line_id = ? AND state = 'LOCK'")
            .bind(to)
            .bind(order)
            .bind(line)
            .execute(conn)
            .await,
    )
}

pub async fn count_restocked(conn: &mut Conn, line: &OrderLineId, quantity: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE stock_locks SET restocked = restocked + ? \
             WHERE line_id = ? AND state = 'FINISH' AND restocked + ? <= quantity",
        )
        .bind(quantity)
        .bind(line)
        .bind(quantity)
        .execute(conn)
        .await,
    )
}

#[derive(FromRow)]
pub struct ShelfStockRow {
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    pub barcode: Option<Barcode>,
    pub price_minor: Option<i64>,
    pub on_sale_ms: Option<Millis>,
    pub sold_out_ms: Option<Millis>,
    pub offer_version: i64,
    pub available: i64,
    pub locked: i64,
    pub sold: i64,
    pub supplied: i64,
}

pub async fn stock_of_store(
    conn: &mut Conn,
    store: &StoreId,
    search: &str,
    available_below: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<ShelfStockRow>> {
    let rows = sqlx::query_as(
        "SELECT k.id AS sku_id, k.product_id, p.name AS product_name, k.name AS sku_name, k.barcode, \
         o.price_minor, o.on_sale_ms, o.sold_out_ms, COALESCE(o.version, 0) AS offer_version, \
         COALESCE(s.available, 0) AS available, COALESCE(s.locked, 0) AS locked, \
         COALESCE(s.sold, 0) AS sold, COALESCE(s.supplied, 0) AS supplied \
         FROM skus k JOIN products p ON p.id = k.product_id \
         LEFT JOIN store_skus o ON o.sku_id = k.id AND o.store_id = ? \
         LEFT JOIN stock s ON s.sku_id = k.id AND s.store_id = ? \
         WHERE k.id > ? AND (? = '' OR INSTR(p.search_text, ?) > 0) AND COALESCE(s.available, 0) < ? \
         ORDER BY k.id LIMIT ?",
    )
    .bind(store)
    .bind(store)
    .bind(after)
    .bind(search)
    .bind(search)
    .bind(available_below)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

pub async fn moves(
    conn: &mut Conn,
    store: &StoreId,
    sku: &SkuId,
    before: &str,
    limit: i64,
) -> Result<Vec<Move>> {
    let rows = sqlx::query_as(
        "SELECT id, quantity, kind, reason, actor_kind, actor_id, at_ms FROM supply_moves \
         WHERE store_id = ? AND sku_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(store)
    .bind(sku)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What was supplied for a line because it was in a hand, less what was taken back.
pub async fn supplied_for(conn: &mut Conn, line: &OrderLineId) -> Result<i64> {
    let (sum,): (Option<i64>,) =
        sqlx::query_as("SELECT CAST(SUM(quantity) AS SIGNED) FROM supply_moves WHERE line_id = ?")
            .bind(line)
            .fetch_one(conn)
            .await?;
    Ok(sum.unwrap_or_default())
}

pub async fn discrepancies(
    conn: &mut Conn,
    store: &StoreId,
    before: &str,
    limit: i64,
) -> Result<Vec<Discrepancy>> {
    let rows = sqlx::query_as(
        "SELECT m.id, m.sku_id, k.product_id, p.name AS product_name, k.name AS sku_name, m.quantity, \
         l.order_id, m.line_id, m.at_ms FROM supply_moves m JOIN stock_locks l ON l.line_id = m.line_id \
         JOIN skus k ON k.id = m.sku_id JOIN products p ON p.id = k.product_id \
         WHERE m.store_id = ? AND m.kind = 'DISCREPANCY' AND m.id < ? ORDER BY m.id DESC LIMIT ?",
    )
    .bind(store)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Rows of `query`, which answers two ids and takes the largest number of rows.
pub async fn violations(conn: &mut Conn, query: &'static str, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String, String)> = sqlx::query_as(query).bind(limit).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(place, sku)| format!("{place} {sku}")).collect())
}

pub const NEGATIVE: &str = "SELECT store_id, sku_id FROM stock \
     WHERE available < 0 OR locked < 0 OR sold < 0 ORDER BY store_id, sku_id LIMIT ?";

pub const UNBALANCED: &str = "SELECT store_id, sku_id FROM stock \
     WHERE available + locked + sold <> supplied ORDER BY store_id, sku_id LIMIT ?";

pub const LOCKED_DIFFERS: &str = "SELECT s.store_id, s.sku_id FROM stock s WHERE s.locked <> COALESCE((\
     SELECT CAST(SUM(l.quantity) AS SIGNED) FROM stock_locks l WHERE l.store_id = s.store_id AND l.sku_id = s.sku_id \
     AND l.state = 'LOCK'), 0) ORDER BY s.store_id, s.sku_id LIMIT ?";

pub const SOLD_DIFFERS: &str = "SELECT s.store_id, s.sku_id FROM stock s WHERE s.sold <> COALESCE((\
     SELECT CAST(SUM(l.quantity - l.restocked) AS SIGNED) FROM stock_locks l WHERE l.store_id = s.store_id \
     AND l.sku_id = s.sku_id AND l.state = 'FINISH'), 0) ORDER BY s.store_id, s.sku_id LIMIT ?";

pub const SUPPLIED_DIFFERS: &str = "SELECT s.store_id, s.sku_id FROM stock s WHERE s.supplied <> COALESCE((\
     SELECT CAST(SUM(m.quantity) AS SIGNED) FROM supply_moves m WHERE m.store_id = s.store_id AND m.sku_id = s.sku_id), 0) \
     ORDER BY s.store_id, s.sku_id LIMIT ?";

pub const WITHOUT_STOCK: &str = "SELECT l.line_id, l.sku_id FROM stock_locks l LEFT JOIN stock s \
     ON s.store_id = l.store_id AND s.sku_id = l.sku_id WHERE s.sku_id IS NULL ORDER BY l.line_id LIMIT ?";

pub const MOVED_WITHOUT_STOCK: &str = "SELECT m.id, m.sku_id FROM supply_moves m LEFT JOIN stock s \
     ON s.store_id = m.store_id AND s.sku_id = m.sku_id WHERE s.sku_id IS NULL ORDER BY m.id LIMIT ?";

pub const RESTOCKED_TOO_MUCH: &str = "SELECT line_id, sku_id FROM stock_locks WHERE quantity < 1 \
     OR restocked < 0 OR restocked > quantity OR (restocked > 0 AND state <> 'FINISH') ORDER BY line_id LIMIT ?";

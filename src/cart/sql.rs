//! SQL of carts.

use super::{CartLine, LINES_MAX};
use crate::kernel::{Millis, Result, SkuId, StoreId, UserId};
use crate::platform::db::{Conn, changed, inserted};

pub struct NewLine<'a> {
    pub user: &'a UserId,
    pub store: &'a StoreId,
    pub sku: &'a SkuId,
    pub quantity: i64,
    pub seen_price_minor: i64,
}

pub async fn lines(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<Vec<CartLine>> {
    Ok(sqlx::query_as(
        "SELECT sku_id, quantity, seen_price_minor, added_ms FROM cart_lines \
         WHERE user_id = ? AND store_id = ? ORDER BY added_ms, sku_id LIMIT ?",
    )
    .bind(user)
    .bind(store)
    .bind(LINES_MAX)
    .fetch_all(conn)
    .await?)
}

pub async fn bump(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE carts SET guard = guard + 1 WHERE user_id = ? AND store_id = ?")
            .bind(user)
            .bind(store)
            .execute(conn)
            .await,
    )
}

/// False: there is one already.
pub async fn open(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<bool> {
    inserted(
        sqlx::query("INSERT INTO carts (user_id, store_id, guard) VALUES (?, ?, 1)")
            .bind(user)
            .bind(store)
            .execute(conn)
            .await,
    )
}

pub async fn count(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM cart_lines WHERE user_id = ? AND store_id = ?")
            .bind(user)
            .bind(store)
            .fetch_one(conn)
            .await?;
    Ok(count)
}

pub async fn update(conn: &mut Conn, line: &NewLine<'_>) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE cart_lines SET quantity = ?, seen_price_minor = ? \
             WHERE user_id = ? AND store_id = ? AND sku_id = ?",
        )
        .bind(line.quantity)
        .bind(line.seen_price_minor)
        .bind(line.user)
        .bind(line.store)
        .bind(line.sku)
        .execute(conn)
        .await,
    )
}

pub async fn insert(conn: &mut Conn, line: &NewLine<'_>, now_ms: Millis) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO cart_lines (user_id, store_id, sku_id, quantity, seen_price_minor, added_ms) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(line.user)
        .bind(line.store)
        .bind(line.sku)
        .bind(line.quantity)
        .bind(line.seen_price_minor)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn delete(conn: &mut Conn, user: &UserId, store: &StoreId, sku: &SkuId) -> Result<()> {
    sqlx::query("DELETE FROM cart_lines WHERE user_id = ? AND store_id = ? AND sku_id = ?")
        .bind(user)
        .bind(store)
        .bind(sku)
        .execute(conn)
        .await?;
    Ok(())
}

/// All carts of a person.
pub async fn delete_carts(conn: &mut Conn, user: &UserId) -> Result<()> {
    for statement in ["DELETE FROM cart_lines WHERE user_id = ?", "DELETE FROM carts WHERE user_id = ?"] {
        sqlx::query(statement).bind(user).execute(&mut *conn).await?;
    }
    Ok(())
}

pub async fn delete_all(conn: &mut Conn, user: &UserId, store: &StoreId) -> Result<()> {
    sqlx::query("DELETE FROM cart_lines WHERE user_id = ? AND store_id = ?")
        .bind(user)
        .bind(store)
        .execute(conn)
        .await?;
    Ok(())
}

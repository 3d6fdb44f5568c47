//! SQL of orders whose customer deletes the account.

use sqlx::FromRow;

use crate::kernel::{OrderId, Result, UserId};
use crate::platform::db::{Conn, execute_for, ids_for};

/// Takes the rows of all orders of a user.
pub async fn bump_guards(conn: &mut Conn, user: &UserId) -> Result<()> {
    sqlx::query("UPDATE orders SET guard = guard + 1 WHERE user_id = ?").bind(user).execute(conn).await?;
    Ok(())
}

pub async fn ids_of(conn: &mut Conn, user: &UserId) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as("SELECT id FROM orders WHERE user_id = ? ORDER BY id")
        .bind(user)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Which of these orders are not over, at most `limit`.
///
/// # Errors
/// The database.
pub async fn unfinished(conn: &mut Conn, orders: &[OrderId], limit: usize) -> Result<Vec<String>> {
    let query =
        "SELECT id FROM orders WHERE id IN ({}) AND status NOT IN ('CLOSED', 'FINISHED') ORDER BY id LIMIT ?";
    ids_for(conn, query, orders, limit).await
}

/// What orders say of the person who placed them.
pub async fn forget(conn: &mut Conn, orders: &[OrderId]) -> Result<()> {
    let statement = "UPDATE orders SET note = '', address_sealed = NULL, phone_hash = NULL, pickup_code = NULL, \
                     close_note = NULL WHERE id IN ({})";
    execute_for(conn, statement, orders).await
}

/// A row of a timeline in which somebody may have written.
#[derive(FromRow)]
pub struct Written {
    pub seq: i64,
    pub event: String,
    pub detail: String,
}

/// The rows of a timeline that have words of the customer, or about them.
pub async fn written(conn: &mut Conn, order: &OrderId) -> Result<Vec<Written>> {
    Ok(sqlx::query_as(
        "SELECT seq, event, detail FROM order_timeline WHERE order_id = ? \
         AND (actor_kind = 'user' OR event = 'note_added') ORDER BY seq",
    )
    .bind(order)
    .fetch_all(conn)
    .await?)
}

pub async fn rewrite(conn: &mut Conn, order: &OrderId, seq: i64, detail: &str) -> Result<()> {
    sqlx::query("UPDATE order_timeline SET detail = ? WHERE order_id = ? AND seq = ?")
        .bind(detail)
        .bind(order)
        .bind(seq)
        .execute(conn)
        .await?;
    Ok(())
}

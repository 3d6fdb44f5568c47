//! What each failed try of a delivery came to: the last ones, for people who look at a dead letter.

use sqlx::FromRow;

use crate::kernel::{DeliveryTryId, EventId, Millis, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};

/// Tries that are kept of one delivery.
pub const TRIES_KEPT: i64 = 20;
/// Errors are cut to this.
const ERROR_CHARS_MAX: usize = 2_000;

/// A try that failed.
#[derive(Debug, Clone, FromRow)]
pub struct Try {
    pub at_ms: Millis,
    /// The node that tried.
    pub node: String,
    pub error: String,
}

/// Keeps a failed try, and drops the oldest beyond [`TRIES_KEPT`].
pub(super) async fn keep(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    event: &EventId,
    subscription: &str,
    error: &str,
) -> Result<()> {
    let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
    sqlx::query(
        "INSERT INTO delivery_tries (id, event_id, subscription, at_ms, node, error) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(ctx.new_id::<DeliveryTryId>())
    .bind(event)
    .bind(subscription)
    .bind(ctx.clock.now_ms())
    .bind(ctx.bus.node_name())
    .bind(error)
    .execute(&mut **tx)
    .await?;
    let oldest: Option<(DeliveryTryId,)> = sqlx::query_as(
        "SELECT id FROM delivery_tries WHERE event_id = ? AND subscription = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
    )
    .bind(event)
    .bind(subscription)
    .bind(TRIES_KEPT)
    .fetch_optional(&mut **tx)
    .await?;
    if let Some((oldest,)) = oldest {
        sqlx::query("DELETE FROM delivery_tries WHERE event_id = ? AND subscription = ? AND id <= ?")
            .bind(event)
            .bind(subscription)
            .bind(oldest)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// The failed tries of a delivery, oldest first.
///
/// # Errors
/// The database.
pub async fn tries(conn: &mut Conn, event: &EventId, subscription: &str) -> Result<Vec<Try>> {
    Ok(sqlx::query_as(
        "SELECT at_ms, node, error FROM delivery_tries WHERE event_id = ? AND subscription = ? \
         ORDER BY id LIMIT ?",
    )
    .bind(event)
    .bind(subscription)
    .bind(TRIES_KEPT)
    .fetch_all(conn)
    .await?)
}

pub(super) async fn forget(conn: &mut Conn, event: &EventId) -> Result<()> {
    sqlx::query("DELETE FROM delivery_tries WHERE event_id = ?").bind(event).execute(conn).await?;
    Ok(())
}

//! SQL of refunds whose customer deletes the account.

use crate::kernel::{OrderId, Result, UserId};
use crate::platform::db::{Conn, execute_for, ids_for};

/// The refunds of these orders that are open, at most `limit`.
///
/// # Errors
/// The database.
pub async fn unsettled(conn: &mut Conn, orders: &[OrderId], limit: usize) -> Result<Vec<String>> {
    let query = "SELECT id FROM refunds WHERE order_id IN ({}) \
                 AND status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN', 'GIVEN_UP') ORDER BY id LIMIT ?";
    ids_for(conn, query, orders, limit).await
}

/// Payments of these orders that go back, and whose refund is not made yet, at most `limit`.
///
/// # Errors
/// The database.
pub async fn unanswered_orphans(conn: &mut Conn, orders: &[OrderId], limit: usize) -> Result<Vec<String>> {
    let query = "SELECT a.id FROM payment_attempts a WHERE a.order_id IN ({}) AND a.status = 'ORPHAN' \
                 AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.attempt_id = a.id AND r.kind = 'ORPHAN') \
                 ORDER BY a.id LIMIT ?";
    ids_for(conn, query, orders, limit).await
}

/// What the customer wrote: in the refund, to the channel with it, and of the parcel that came back.
pub async fn forget_words(conn: &mut Conn, orders: &[OrderId]) -> Result<()> {
    let words = "UPDATE refunds SET reason = '', photos = '[]', return_carrier = NULL, return_tracking_no = NULL \
                 WHERE kind = 'USER' AND order_id IN ({})";
    execute_for(conn, words, orders).await?;
    let attempts = "SELECT id FROM payment_attempts WHERE order_id IN ({}) ORDER BY id LIMIT ?";
    let attempts = ids_for(conn, attempts, orders, usize::MAX).await?;
    let told = "UPDATE refund_submissions SET reason = NULL WHERE attempt_id IN ({})";
    execute_for(conn, told, &attempts).await
}

/// The photos that a person uploaded, used or not.
pub async fn delete_photos(conn: &mut Conn, user: &UserId) -> Result<()> {
    sqlx::query("DELETE FROM refund_photos WHERE owner_id = ?").bind(user).execute(conn).await?;
    Ok(())
}

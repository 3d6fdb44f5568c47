//! SQL of payments whose customer deletes the account.

use crate::kernel::{OrderId, Result};
use crate::platform::db::{Conn, execute_for, ids_for};

/// The attempts of these orders that can still be paid, or that a person has to decide, at most `limit`.
///
/// # Errors
/// The database.
pub async fn unsettled(conn: &mut Conn, orders: &[OrderId], limit: usize) -> Result<Vec<String>> {
    let query = "SELECT id FROM payment_attempts WHERE order_id IN ({}) \
                 AND (status IN ('CREATED', 'PREPAID', 'CLOSING') \
                 OR (status = 'MISMATCH' AND reviewed_ms IS NULL)) ORDER BY id LIMIT ?";
    ids_for(conn, query, orders, limit).await
}

/// Who was to pay.
pub async fn forget(conn: &mut Conn, orders: &[OrderId]) -> Result<()> {
    let statement = "UPDATE payment_attempts SET openid = '', request_body = '' WHERE order_id IN ({})";
    execute_for(conn, statement, orders).await
}

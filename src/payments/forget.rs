//! What payments forget when their customer deletes the account.

use super::sql;
use crate::kernel::{OrderId, Result};
use crate::platform::db::Tx;

/// Forgets who paid for these held orders, all of which are over: the openid, and the request that has it, which
/// is not sent again.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<()> {
    sql::forget(tx, orders).await
}

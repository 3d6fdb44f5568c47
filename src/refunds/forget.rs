//! What refunds forget when their customer deletes the account.

use super::sql;
use crate::kernel::{OrderId, Result, UserId};
use crate::platform::db::Tx;

/// Forgets what a person wrote, photographed and sent for refunds of these held orders, all of which are over.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, user: &UserId, orders: &[OrderId]) -> Result<()> {
    sql::forget_words(tx, orders).await?;
    sql::delete_photos(tx, user).await
}

//! An address book goes with its owner.

use super::sql;
use crate::kernel::{Result, UserId};
use crate::platform::db::Tx;

/// Forgets all addresses of a person whose row is held.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, user: &UserId) -> Result<()> {
    sql::delete_all(tx, user).await
}

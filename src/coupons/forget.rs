//! The coupons of somebody who deletes the account.

use super::sql;
use super::void::void_or_mark;
use crate::kernel::{Result, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// Voids the unused coupons of a person whose row is held. A used one is marked: should a refund give it back, it
/// comes back void.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, ctx: &Ctx, user: &UserId) -> Result<()> {
    for coupon in sql::to_void(tx, user).await? {
        void_or_mark(tx, ctx, &coupon).await?;
    }
    Ok(())
}

//! An address goes.

use super::{ADDRESS_NOT_FOUND, guard, sql};
use crate::kernel::{AddressId, Failure, Result, UserId};
use crate::platform::ctx::Ctx;

/// Deletes an address. When it was the default, the newest of the others becomes it.
///
/// # Errors
/// `address_not_found`.
pub async fn remove(ctx: &Ctx, user: &UserId, id: &AddressId) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                guard(tx, user).await?;
                if !sql::delete(tx, user, id).await? {
                    return Err(Failure::new(&ADDRESS_NOT_FOUND));
                }
                if sql::default_of(tx, user).await?.is_none()
                    && let Some(newest) = sql::newest(tx, user).await?
                {
                    sql::make_default(tx, user, &newest).await?;
                }
                Ok(())
            })
        })
        .await
}

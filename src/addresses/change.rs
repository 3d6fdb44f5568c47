//! A change of an address. Orders keep the address that they were placed with.

use super::sql::{self, Change};
use super::{ADDRESS_NOT_FOUND, Draft, Entry, PHONE, entry, guard};
use crate::kernel::{AddressId, Failure, Result, UserId};
use crate::platform::ctx::Ctx;

/// Replaces an address; without a phone number the stored one stays.
///
/// # Errors
/// `address_not_found`.
pub async fn change(ctx: &Ctx, user: &UserId, id: &AddressId, draft: &Draft) -> Result<Entry> {
    let sealed = draft.phone.as_ref().map(|phone| ctx.secrets.seal(PHONE, phone.as_str())).transpose()?;
    let sealed = sealed.as_deref();
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                guard(tx, user).await?;
                let change =
                    Change { id, user_id: user, phone_sealed: sealed, draft, now_ms: ctx.clock.now_ms() };
                if !sql::update(tx, &change).await? {
                    return Err(Failure::new(&ADDRESS_NOT_FOUND));
                }
                if draft.is_default {
                    sql::clear_default(tx, user).await?;
                    sql::make_default(tx, user, id).await?;
                }
                Ok(())
            })
        })
        .await?;
    entry(&mut *ctx.db.reader().await?, ctx, user, id).await
}

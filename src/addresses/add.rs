//! A new address.

use super::sql::{self, NewAddress};
use super::{ADDRESS_LIMIT, ADDRESSES_MAX, Draft, Entry, PHONE, entry, guard};
use crate::kernel::{AddressId, Failure, Result, UserId};
use crate::platform::ctx::Ctx;

/// Adds an address. The first one becomes the default by itself.
///
/// # Errors
/// `address_limit`, `invalid_request` without a phone number.
pub async fn add(ctx: &Ctx, user: &UserId, draft: &Draft) -> Result<Entry> {
    let phone = draft.phone.as_ref().ok_or_else(|| Failure::invalid("/phone", "is required"))?;
    let id = ctx.new_id::<AddressId>();
    let sealed = ctx.secrets.seal(PHONE, phone.as_str())?;
    let (id_ref, sealed) = (&id, &sealed);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                guard(tx, user).await?;
                let count = sql::count(tx, user).await?;
                if count >= ADDRESSES_MAX as i64 {
                    return Err(Failure::new(&ADDRESS_LIMIT));
                }
                let row = NewAddress {
                    id: id_ref,
                    user_id: user,
                    phone_sealed: sealed,
                    draft,
                    now_ms: ctx.clock.now_ms(),
                };
                sql::insert(tx, &row).await?;
                if draft.is_default || count == 0 {
                    sql::clear_default(tx, user).await?;
                    sql::make_default(tx, user, id_ref).await?;
                }
                Ok(())
            })
        })
        .await?;
    entry(&mut *ctx.db.reader().await?, ctx, user, &id).await
}

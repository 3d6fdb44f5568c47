//! Changes of a cart.

use super::{CART_FULL, LINES_MAX, QUANTITY_MAX, sql};
use crate::catalog::{self, SKU_NOT_SOLD};
use crate::identity;
use crate::kernel::{Failure, Result, SkuId, StoreId, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::stores;

/// Sets how many of a SKU the cart has. More than there are in stock is allowed, and flagged.
///
/// # Errors
/// `store_not_found`, `sku_not_sold`, `cart_full`, `invalid_request`.
pub async fn put(ctx: &Ctx, user: &UserId, store: &StoreId, sku: &SkuId, quantity: i64) -> Result<()> {
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return Err(Failure::invalid("/quantity", "must be from 1 to 999"));
    }
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if stores::find(tx, store).await?.is_none() {
                    return Err(Failure::new(&stores::STORE_NOT_FOUND));
                }
                let offers = catalog::offers(tx, store, std::slice::from_ref(sku)).await?;
                let Some(offer) = offers.into_iter().find(|offer| offer.on_sale) else {
                    return Err(Failure::new(&SKU_NOT_SOLD));
                };
                let line = sql::NewLine { user, store, sku, quantity, seen_price_minor: offer.price_minor };
                if sql::update(tx, &line).await? {
                    return Ok(());
                }
                guard(tx, user, store).await?;
                if sql::count(tx, user, store).await? >= LINES_MAX {
                    return Err(Failure::new(&CART_FULL));
                }
                if !sql::insert(tx, &line, ctx.clock.now_ms()).await? {
                    // Added by another device in this moment: ours is the later word.
                    sql::update(tx, &line).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Before a line is added: those who add to one cart wait for each other here, so the count stays true; and for
/// the end of the account.
async fn guard(tx: &mut Tx<'_>, user: &UserId, store: &StoreId) -> Result<()> {
    identity::hold(tx, user).await?;
    let held = sql::bump(tx, user, store).await?
        || sql::open(tx, user, store).await?
        || sql::bump(tx, user, store).await?;
    if held {
        Ok(())
    } else {
        Err(Failure::internal("adding to a cart", "it can be neither made nor bumped"))
    }
}

/// Takes a SKU out of a cart. One that is not in it is fine, too.
///
/// # Errors
/// The database.
pub async fn remove_line(ctx: &Ctx, user: &UserId, store: &StoreId, sku: &SkuId) -> Result<()> {
    ctx.db.write(|tx| Box::pin(async move { sql::delete(tx, user, store, sku).await })).await
}

/// Empties a cart.
///
/// # Errors
/// The database.
pub async fn clear(ctx: &Ctx, user: &UserId, store: &StoreId) -> Result<()> {
    ctx.db.write(|tx| Box::pin(async move { sql::delete_all(tx, user, store).await })).await
}

//! Staff says that a SKU is sold out in a store, whatever the stock says, or that it can be had again.

use serde_json::json;

use super::{SKU_NOT_SOLD, StoreSku, sql, store_not_found};
use crate::kernel::{Actor, Failure, Result, SkuId, StoreId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::stores;

/// Sets the switch: while it is on nobody can order the SKU to be sent or fetched. Goods in the customer's
/// hand are sold all the same. Stock and price stay; setting it to what it is changes nothing.
///
/// # Errors
/// `store_not_found`; `sku_not_sold` when the store has no price for it.
pub async fn set_sold_out(
    ctx: &Ctx,
    actor: &Actor,
    store: &StoreId,
    sku: &SkuId,
    sold_out: bool,
) -> Result<StoreSku> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let currency = stores::find(tx, store).await?.ok_or_else(|| store_not_found(store))?.currency;
                if sql::set_sold_out(tx, store, sku, sold_out, ctx.clock.now_ms()).await? {
                    let object = format!("{store}/{sku}");
                    let entry = audit::Entry {
                        actor,
                        operation: "setSoldOut",
                        object: &object,
                        before: Some(json!({ "sold_out": !sold_out })),
                        after: Some(json!({ "sold_out": sold_out })),
                    };
                    audit::record(tx, ctx, entry).await?;
                }
                let row = sql::store_sku(tx, store, sku).await?;
                row.map(|row| row.store_sku(store, sku, currency)).ok_or_else(|| Failure::new(&SKU_NOT_SOLD))
            })
        })
        .await
}

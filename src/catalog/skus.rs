//! Staff adds and changes the SKUs of a product.

use super::{SKUS_MAX, Sku, SkuDetails, TOO_MANY_SKUS, product_not_found, sku_not_found, sql};
use crate::kernel::{Actor, Failure, ProductId, Result, SkuId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::stores::VERSION_CONFLICT;

/// # Errors
/// The database.
pub async fn sku(conn: &mut Conn, id: &SkuId) -> Result<Option<Sku>> {
    sql::sku(conn, id).await
}

/// All SKUs of a product, at most [`SKUS_MAX`].
///
/// # Errors
/// The database.
pub async fn skus_of(conn: &mut Conn, product: &ProductId) -> Result<Vec<Sku>> {
    sql::skus_of(conn, product).await
}

/// # Errors
/// `product_not_found`, `barcode_taken`, `too_many_skus`, a field that can't be.
pub async fn add_sku(ctx: &Ctx, actor: &Actor, product: &ProductId, details: &SkuDetails) -> Result<Sku> {
    let id: SkuId = ctx.new_id();
    let id = &id;
    ctx.db
        .write(|tx| Box::pin(async move { create_sku(tx, ctx, actor, id.clone(), product, details).await }))
        .await
}

/// The row and its audit row.
///
/// # Errors
/// As [`add_sku`].
pub async fn create_sku(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: SkuId,
    product: &ProductId,
    details: &SkuDetails,
) -> Result<Sku> {
    details.check()?;
    // Takes the product's row: SKUs are added to it one after another, and the bound holds.
    if !sql::touch_product(tx, product, ctx.clock.now_ms()).await? {
        return Err(product_not_found(product));
    }
    if sql::skus_of(tx, product).await?.len() >= SKUS_MAX {
        return Err(Failure::new(&TOO_MANY_SKUS));
    }
    let sku = Sku {
        id,
        product_id: product.clone(),
        details: details.clone(),
        version: 1,
        created_ms: ctx.clock.now_ms(),
    };
    sql::insert_sku(tx, &sku).await?;
    let entry = audit::Entry {
        actor,
        operation: "createSku",
        object: sku.id.as_str(),
        before: None::<Sku>,
        after: Some(&sku),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(sku)
}

/// Writes all details.
///
/// # Errors
/// `sku_not_found`, `version_conflict`, `barcode_taken`, a field that can't be.
pub async fn edit_sku(
    ctx: &Ctx,
    actor: &Actor,
    id: &SkuId,
    expected: i64,
    details: &SkuDetails,
) -> Result<Sku> {
    details.check()?;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let before = sql::sku(tx, id).await?.ok_or_else(|| sku_not_found(id))?;
                let after = Sku { details: details.clone(), version: before.version + 1, ..before.clone() };
                if before.version != expected
                    || !sql::update_sku(tx, &after, expected, ctx.clock.now_ms()).await?
                {
                    return Err(Failure::new(&VERSION_CONFLICT).with("version", before.version.into()));
                }
                let object = id.as_str();
                let entry = audit::Entry {
                    actor,
                    operation: "updateSku",
                    object,
                    before: Some(&before),
                    after: Some(&after),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(after)
            })
        })
        .await
}

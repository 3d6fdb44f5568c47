//! Staff adds and changes products.

use super::{Product, ProductDetails, product_not_found, sql};
use crate::kernel::{Actor, Cursor, Failure, Limit, Page, ProductId, Result};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::stores::VERSION_CONFLICT;

/// # Errors
/// The database.
pub async fn product(conn: &mut Conn, id: &ProductId) -> Result<Option<Product>> {
    sql::product(conn, id).await
}

/// All products for staff, archived ones too, whose text contains `search`.
///
/// # Errors
/// The database.
pub async fn products(
    conn: &mut Conn,
    search: &str,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Product>> {
    let search = search.trim().to_lowercase();
    let rows = sql::products(conn, &search, after.map_or("", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |product| product.id.to_string()))
}

/// # Errors
/// A field that can't be.
pub async fn add_product(ctx: &Ctx, actor: &Actor, details: &ProductDetails) -> Result<Product> {
    let id: ProductId = ctx.new_id();
    let id = &id;
    ctx.db
        .write(|tx| Box::pin(async move { create_product(tx, ctx, actor, id.clone(), details).await }))
        .await
}

/// The row and its audit row.
///
/// # Errors
/// A field that can't be.
pub async fn create_product(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: ProductId,
    details: &ProductDetails,
) -> Result<Product> {
    details.check()?;
    let created_ms = ctx.clock.now_ms();
    let product = Product { id, details: details.clone(), archived: false, version: 1, created_ms };
    sql::insert_product(tx, &product).await?;
    let entry = audit::Entry {
        actor,
        operation: "createProduct",
        object: product.id.as_str(),
        before: None::<Product>,
        after: Some(&product),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(product)
}

/// Writes all details. An archived product is sold nowhere; its SKUs keep their stock.
///
/// # Errors
/// `product_not_found`, `version_conflict`, a field that can't be.
pub async fn edit_product(
    ctx: &Ctx,
    actor: &Actor,
    id: &ProductId,
    expected: i64,
    details: &ProductDetails,
    archived: bool,
) -> Result<Product> {
    details.check()?;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let before = sql::product(tx, id).await?.ok_or_else(|| product_not_found(id))?;
                let version = before.version + 1;
                let after = Product { details: details.clone(), archived, version, ..before.clone() };
                if before.version != expected
                    || !sql::update_product(tx, &after, expected, ctx.clock.now_ms()).await?
                {
                    return Err(Failure::new(&VERSION_CONFLICT).with("version", before.version.into()));
                }
                let object = id.as_str();
                let entry = audit::Entry {
                    actor,
                    operation: "updateProduct",
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

//! What the app reads: the shelf of a store, a product, the SKU behind a barcode.

use super::{
    Barcode, Offer, Product, SKU_NOT_FOUND, SKU_NOT_SOLD, offers, product_not_found, sql, store_not_found,
};
use crate::kernel::{Cursor, Failure, Limit, Money, Page, ProductId, Result, StoreId};
use crate::platform::ctx::Ctx;
use crate::stores;

/// What of the shelf is asked for.
#[derive(Debug, Clone)]
pub struct ShelfQuery {
    /// Part of the name, category or summary; empty: all.
    pub search: String,
    /// Exactly this category; empty: all.
    pub category: String,
    pub limit: Limit,
}

/// A product as one store sells it.
#[derive(Debug, Clone)]
pub struct ShelfItem {
    pub id: ProductId,
    pub name: String,
    pub category: String,
    pub summary: String,
    pub image: Option<String>,
    /// Of its cheapest SKU on sale.
    pub price_from: Money,
    /// Of its dearest SKU on sale.
    pub price_to: Money,
    /// Of the SKU that has most.
    pub available_most: i64,
}

/// A product and its SKUs that are on sale in the store, with their barcodes.
#[derive(Debug, Clone)]
pub struct ProductPage {
    pub product: Product,
    pub skus: Vec<(Offer, Option<Barcode>)>,
}

/// Products with at least one SKU on sale in the store, in the order in which they were added.
///
/// # Errors
/// `store_not_found`.
pub async fn on_shelf(
    ctx: &Ctx,
    store: &StoreId,
    query: &ShelfQuery,
    after: Option<&Cursor>,
) -> Result<Page<ShelfItem>> {
    let mut conn = ctx.db.reader().await?;
    let currency = stores::find(&mut conn, store).await?.ok_or_else(|| store_not_found(store))?.currency;
    let search = query.search.trim().to_lowercase();
    let after = after.map_or("", Cursor::key);
    let limit = query.limit.and_one();
    let rows = sql::shelf(&mut conn, store, &search, &query.category, after, limit).await?;
    let page = Page::cut(rows, query.limit, |row| row.id.to_string());
    Ok(page.map(|row| ShelfItem {
        id: row.id,
        name: row.name,
        category: row.category,
        summary: row.summary,
        image: row.image,
        price_from: Money::new(row.price_from, currency),
        price_to: Money::new(row.price_to, currency),
        available_most: row.available_most,
    }))
}

/// A product in a store.
///
/// # Errors
/// `store_not_found`; `product_not_found`, also when none of its SKUs is on sale there.
pub async fn product_in_store(ctx: &Ctx, store: &StoreId, id: &ProductId) -> Result<ProductPage> {
    let mut conn = ctx.db.reader().await?;
    let currency = stores::find(&mut conn, store).await?.ok_or_else(|| store_not_found(store))?.currency;
    let product = sql::product(&mut conn, id).await?.filter(|product| !product.archived);
    let product = product.ok_or_else(|| product_not_found(id))?;
    let rows = sql::offers_of_product(&mut conn, store, id).await?;
    let skus: Vec<_> = rows
        .into_iter()
        .map(|row| (row.barcode.clone(), row.offer(currency)))
        .filter(|(_, offer)| offer.on_sale)
        .map(|(barcode, offer)| (offer, barcode))
        .collect();
    if skus.is_empty() {
        return Err(product_not_found(id));
    }
    Ok(ProductPage { product, skus })
}

/// Scan-to-buy: the SKU behind a barcode, as the store sells it.
///
/// # Errors
/// `store_not_found`, `sku_not_found` for a barcode that nothing has, `sku_not_sold` when the store does
/// not sell it now.
pub async fn by_barcode(ctx: &Ctx, store: &StoreId, barcode: &Barcode) -> Result<Offer> {
    let mut conn = ctx.db.reader().await?;
    if stores::find(&mut conn, store).await?.is_none() {
        return Err(store_not_found(store));
    }
    let sku = sql::sku_by_barcode(&mut conn, barcode).await?;
    let sku = sku.ok_or_else(|| Failure::new(&SKU_NOT_FOUND).with("barcode", barcode.as_str().into()))?;
    let offers = offers(&mut conn, store, std::slice::from_ref(&sku.id)).await?;
    let sold = offers.into_iter().find(|offer| offer.on_sale);
    sold.ok_or_else(|| Failure::new(&SKU_NOT_SOLD).with("sku_id", sku.id.as_str().into()))
}

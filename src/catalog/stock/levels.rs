//! What staff reads of the stock.

use super::{StockLevel, SupplyKind, sql};
use crate::catalog::{Barcode, store_not_found};
use crate::kernel::{
    Cursor, Limit, Millis, Money, OrderId, OrderLineId, Page, ProductId, Result, SkuId, StoreId, SupplyMoveId,
};
use crate::platform::db::Conn;
use crate::stores;

/// Which SKUs of a store are asked for.
#[derive(Debug, Clone)]
pub struct StockQuery {
    /// Part of the product's name, category or summary; empty: all.
    pub search: String,
    /// Only those with fewer available.
    pub available_below: Option<i64>,
    pub limit: Limit,
}

/// A SKU with its price and stock in one store.
#[derive(Debug, Clone)]
pub struct ShelfStock {
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    pub barcode: Option<Barcode>,
    /// None: the store does not sell it.
    pub price: Option<Money>,
    pub on_sale: bool,
    /// Staff says that there is none, whatever the stock says.
    pub sold_out: bool,
    /// Of price and sale; 0 when the store does not sell it.
    pub offer_version: i64,
    pub level: StockLevel,
}

/// A supply move.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Move {
    pub id: SupplyMoveId,
    pub quantity: i64,
    pub kind: SupplyKind,
    pub reason: String,
    pub actor_kind: String,
    pub actor_id: String,
    pub at_ms: Millis,
}

/// Goods that were sold in the store although the stock said that there were none.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Discrepancy {
    pub id: SupplyMoveId,
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    /// By how many the stock was short.
    pub quantity: i64,
    /// Where they were sold.
    pub order_id: OrderId,
    pub line_id: OrderLineId,
    pub at_ms: Millis,
}

/// All SKUs as they stand in a store, also those that it does not sell.
///
/// # Errors
/// `store_not_found`.
pub async fn stock_of_store(
    conn: &mut Conn,
    store: &StoreId,
    query: &StockQuery,
    after: Option<&Cursor>,
) -> Result<Page<ShelfStock>> {
    let currency = stores::find(conn, store).await?.ok_or_else(|| store_not_found(store))?.currency;
    let search = query.search.trim().to_lowercase();
    let below = query.available_below.unwrap_or(i64::MAX);
    let after = after.map_or("", Cursor::key);
    let rows = sql::stock_of_store(conn, store, &search, below, after, query.limit.and_one()).await?;
    let page = Page::cut(rows, query.limit, |row| row.sku_id.to_string());
    Ok(page.map(|row| ShelfStock {
        sku_id: row.sku_id,
        product_id: row.product_id,
        product_name: row.product_name,
        sku_name: row.sku_name,
        barcode: row.barcode,
        price: row.price_minor.map(|minor| Money::new(minor, currency)),
        on_sale: row.on_sale_ms.is_some(),
        sold_out: row.sold_out_ms.is_some(),
        offer_version: row.offer_version,
        level: StockLevel {
            available: row.available,
            locked: row.locked,
            sold: row.sold,
            supplied: row.supplied,
        },
    }))
}

/// The stock of one SKU; zeros before the first supply.
///
/// # Errors
/// The database.
pub async fn level(conn: &mut Conn, store: &StoreId, sku: &SkuId) -> Result<StockLevel> {
    Ok(sql::level(conn, store, sku).await?.unwrap_or_default())
}

/// Supply moves of one SKU in one store, newest first.
///
/// # Errors
/// The database.
pub async fn moves(
    conn: &mut Conn,
    store: &StoreId,
    sku: &SkuId,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Move>> {
    let rows = sql::moves(conn, store, sku, after.map_or("~", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |row| row.id.to_string()))
}

/// The discrepancies of a store, newest first: what to count again.
///
/// # Errors
/// The database.
pub async fn discrepancies(
    conn: &mut Conn,
    store: &StoreId,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Discrepancy>> {
    let rows = sql::discrepancies(conn, store, after.map_or("~", Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |row| row.id.to_string()))
}

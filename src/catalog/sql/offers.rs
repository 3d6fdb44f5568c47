//! The SQL of what a store sells.

use sqlx::FromRow;

use crate::catalog::{Barcode, Offer, SKUS_MAX, StoreSku};
use crate::kernel::{Currency, Millis, Money, ProductId, Result, SkuId, StoreId};
use crate::platform::db::{Conn, changed, inserted};

#[derive(FromRow)]
pub struct OfferRow {
    sku_id: SkuId,
    product_id: ProductId,
    product_name: String,
    sku_name: String,
    image: Option<String>,
    pub barcode: Option<Barcode>,
    price_minor: i64,
    on_sale_ms: Option<Millis>,
    archived_ms: Option<Millis>,
    sold_out_ms: Option<Millis>,
    available: i64,
}

impl OfferRow {
    pub fn offer(self, currency: Currency) -> Offer {
        Offer {
            sku_id: self.sku_id,
            product_id: self.product_id,
            product_name: self.product_name,
            sku_name: self.sku_name,
            image: self.image,
            price_minor: self.price_minor,
            currency,
            on_sale: self.on_sale_ms.is_some() && self.archived_ms.is_none(),
            sold_out: self.sold_out_ms.is_some(),
            available: self.available,
        }
    }
}

const OFFER: &str = "SELECT o.sku_id, k.product_id, p.name AS product_name, k.name AS sku_name, \
     COALESCE(k.image, p.image) AS image, k.barcode, o.price_minor, o.on_sale_ms, p.archived_ms, o.sold_out_ms, \
     COALESCE(s.available, 0) AS available FROM store_skus o JOIN skus k ON k.id = o.sku_id \
     JOIN products p ON p.id = k.product_id \
     LEFT JOIN stock s ON s.store_id = o.store_id AND s.sku_id = o.sku_id WHERE o.store_id = ?";

pub async fn offers(conn: &mut Conn, store: &StoreId, skus: &[SkuId]) -> Result<Vec<OfferRow>> {
    let places = vec!["?"; skus.len()].join(", ");
    let query = sqlx::AssertSqlSafe(format!("{OFFER} AND o.sku_id IN ({places})"));
    let mut query = sqlx::query_as(query).bind(store);
    for sku in skus {
        query = query.bind(sku);
    }
    Ok(query.fetch_all(conn).await?)
}

pub async fn offers_of_product(
    conn: &mut Conn,
    store: &StoreId,
    product: &ProductId,
) -> Result<Vec<OfferRow>> {
    let query = sqlx::AssertSqlSafe(format!("{OFFER} AND k.product_id = ? ORDER BY k.id LIMIT ?"));
    Ok(sqlx::query_as(query).bind(store).bind(product).bind(SKUS_MAX as i64).fetch_all(conn).await?)
}

#[derive(FromRow)]
pub struct ShelfRow {
    pub id: ProductId,
    pub name: String,
    pub category: String,
    pub summary: String,
    pub image: Option<String>,
    pub price_from: i64,
    pub price_to: i64,
    pub available_most: i64,
}

pub async fn shelf(
    conn: &mut Conn,
    store: &StoreId,
    search: &str,
    category: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<ShelfRow>> {
    let rows = sqlx::query_as(
        "SELECT p.id, p.name, p.category, p.summary, p.image, MIN(o.price_minor) AS price_from, \
         MAX(o.price_minor) AS price_to, \
         MAX(CASE WHEN o.sold_out_ms IS NULL THEN COALESCE(s.available, 0) ELSE 0 END) AS available_most \
         FROM products p JOIN skus k ON k.product_id = p.id \
         JOIN store_skus o ON o.sku_id = k.id AND o.store_id = ? AND o.on_sale_ms IS NOT NULL \
         LEFT JOIN stock s ON s.store_id = o.store_id AND s.sku_id = o.sku_id \
         WHERE p.id > ? AND p.archived_ms IS NULL AND (? = '' OR p.category = ?) \
         AND (? = '' OR INSTR(p.search_text, ?) > 0) \
         GROUP BY p.id, p.name, p.category, p.summary, p.image ORDER BY p.id LIMIT ?",
    )
    .bind(store)
    .bind(after)
    .bind(category)
    .bind(category)
    .bind(search)
    .bind(search)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

#[derive(FromRow)]
pub struct StoreSkuRow {
    price_minor: i64,
    on_sale_ms: Option<Millis>,
    sold_out_ms: Option<Millis>,
    version: i64,
}

impl StoreSkuRow {
    pub fn store_sku(self, store: &StoreId, sku: &SkuId, currency: Currency) -> StoreSku {
        StoreSku {
            store_id: store.clone(),
            sku_id: sku.clone(),
            price: Money::new(self.price_minor, currency),
            on_sale: self.on_sale_ms.is_some(),
            sold_out: self.sold_out_ms.is_some(),
            version: self.version,
        }
    }
}

pub async fn store_sku(conn: &mut Conn, store: &StoreId, sku: &SkuId) -> Result<Option<StoreSkuRow>> {
    let row = sqlx::query_as(
        "SELECT price_minor, on_sale_ms, sold_out_ms, version FROM store_skus WHERE store_id = ? AND sku_id = ?",
    )
    .bind(store)
    .bind(sku)
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

pub async fn insert_store_sku(conn: &mut Conn, row: &StoreSku, now_ms: Millis) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO store_skus (store_id, sku_id, price_minor, on_sale_ms, version, updated_ms) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.store_id)
        .bind(&row.sku_id)
        .bind(row.price.amount)
        .bind(row.on_sale.then_some(now_ms))
        .bind(row.version)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

pub async fn update_store_sku(
    conn: &mut Conn,
    row: &StoreSku,
    expected: i64,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE store_skus SET price_minor = ?, on_sale_ms = ?, version = ?, updated_ms = ? \
             WHERE store_id = ? AND sku_id = ? AND version = ?",
        )
        .bind(row.price.amount)
        .bind(row.on_sale.then_some(now_ms))
        .bind(row.version)
        .bind(now_ms)
        .bind(&row.store_id)
        .bind(&row.sku_id)
        .bind(expected)
        .execute(conn)
        .await,
    )
}

/// False: it is so already, or the store has no price for the SKU.
pub async fn set_sold_out(
    conn: &mut Conn,
    store: &StoreId,
    sku: &SkuId,
    sold_out: bool,
    now_ms: Millis,
) -> Result<bool> {
    let query = match sold_out {
        true => {
            "UPDATE store_skus SET sold_out_ms = ? WHERE store_id = ? AND sku_id = ? AND sold_out_ms IS NULL"
        }
        false => {
            "UPDATE store_skus SET sold_out_ms = ? WHERE store_id = ? AND sku_id = ? AND sold_out_ms IS NOT NULL"
        }
    };
    let query = sqlx::query(query).bind(sold_out.then_some(now_ms)).bind(store).bind(sku);
    changed(query.execute(conn).await)
}

//! The SQL of products and SKUs.

mod offers;

use sqlx::FromRow;

pub use offers::*;

use super::{BARCODE_TAKEN, Barcode, Product, ProductDetails, SKUS_MAX, Sku, SkuDetails};
use crate::kernel::{Failure, Millis, ProductId, Result, SkuId};
use crate::platform::db::{Conn, changed};

#[derive(FromRow)]
struct ProductRow {
    id: ProductId,
    name: String,
    category: String,
    summary: String,
    image: Option<String>,
    archived_ms: Option<Millis>,
    version: i64,
    created_ms: Millis,
    description: String,
}

impl From<ProductRow> for Product {
    fn from(row: ProductRow) -> Self {
        Self {
            id: row.id,
            details: ProductDetails {
                name: row.name,
                category: row.category,
                summary: row.summary,
                description: row.description,
                image: row.image,
            },
            archived: row.archived_ms.is_some(),
            version: row.version,
            created_ms: row.created_ms,
        }
    }
}

pub async fn product(conn: &mut Conn, id: &ProductId) -> Result<Option<Product>> {
    let row: Option<ProductRow> = sqlx::query_as(
        "SELECT id, name, category, summary, image, archived_ms, version, created_ms, description \
         FROM products WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Product::from))
}

pub async fn products(conn: &mut Conn, search: &str, after: &str, limit: i64) -> Result<Vec<Product>> {
    let rows: Vec<ProductRow> = sqlx::query_as(
        "SELECT id, name, category, summary, image, archived_ms, version, created_ms, description \
         FROM products WHERE id > ? AND (? = '' OR INSTR(search_text, ?) > 0) ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(search)
    .bind(search)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Product::from).collect())
}

pub async fn insert_product(conn: &mut Conn, product: &Product) -> Result<()> {
    let details = &product.details;
    sqlx::query(
        "INSERT INTO products (id, name, category, summary, image, search_text, archived_ms, version, created_ms, \
         updated_ms, description) VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?)",
    )
    .bind(&product.id)
    .bind(&details.name)
    .bind(&details.category)
    .bind(&details.summary)
    .bind(&details.image)
    .bind(details.search_text())
    .bind(product.version)
    .bind(product.created_ms)
    .bind(product.created_ms)
    .bind(&details.description)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn update_product(
    conn: &mut Conn,
    product: &Product,
    expected: i64,
    now_ms: Millis,
) -> Result<bool> {
    let details = &product.details;
    changed(
        sqlx::query(
            "UPDATE products SET name = ?, category = ?, summary = ?, image = ?, search_text = ?, \
             archived_ms = ?, version = ?, updated_ms = ?, description = ? WHERE id = ? AND version = ?",
        )
        .bind(&details.name)
        .bind(&details.category)
        .bind(&details.summary)
        .bind(&details.image)
        .bind(details.search_text())
        .bind(product.archived.then_some(now_ms))
        .bind(product.version)
        .bind(now_ms)
        .bind(&details.description)
        .bind(&product.id)
        .bind(expected)
        .execute(conn)
        .await,
    )
}

/// False: there is no such product.
pub async fn touch_product(conn: &mut Conn, id: &ProductId, now_ms: Millis) -> Result<bool> {
    let touched = sqlx::query("UPDATE products SET updated_ms = ? WHERE id = ?").bind(now_ms).bind(id);
    changed(touched.execute(conn).await)
}

#[derive(FromRow)]
struct SkuRow {
    id: SkuId,
    product_id: ProductId,
    name: String,
    barcode: Option<Barcode>,
    image: Option<String>,
    version: i64,
    created_ms: Millis,
}

impl From<SkuRow> for Sku {
    fn from(row: SkuRow) -> Self {
        Self {
            id: row.id,
            product_id: row.product_id,
            details: SkuDetails { name: row.name, barcode: row.barcode, image: row.image },
            version: row.version,
            created_ms: row.created_ms,
        }
    }
}

pub async fn sku(conn: &mut Conn, id: &SkuId) -> Result<Option<Sku>> {
    let row: Option<SkuRow> = sqlx::query_as(
        "SELECT id, product_id, name, barcode, image, version, created_ms FROM skus WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Sku::from))
}

pub async fn sku_by_barcode(conn: &mut Conn, barcode: &Barcode) -> Result<Option<Sku>> {
    let row: Option<SkuRow> = sqlx::query_as(
        "SELECT id, product_id, name, barcode, image, version, created_ms FROM skus WHERE barcode = ?",
    )
    .bind(barcode)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Sku::from))
}

pub async fn skus_of(conn: &mut Conn, product: &ProductId) -> Result<Vec<Sku>> {
    let rows: Vec<SkuRow> = sqlx::query_as(
        "SELECT id, product_id, name, barcode, image, version, created_ms FROM skus WHERE product_id = ? \
         ORDER BY id LIMIT ?",
    )
    .bind(product)
    .bind(SKUS_MAX as i64)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Sku::from).collect())
}

/// A unique violation is the barcode's: ids are fresh.
fn barcode_free<T>(result: Result<T, sqlx::Error>) -> Result<T> {
    result.map_err(|error| match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => {
            Failure::new(&BARCODE_TAKEN).field("/barcode")
        }
        error => error.into(),
    })
}

pub async fn insert_sku(conn: &mut Conn, sku: &Sku) -> Result<()> {
    let written = sqlx::query(
        "INSERT INTO skus (id, product_id, name, barcode, image, version, created_ms, updated_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&sku.id)
    .bind(&sku.product_id)
    .bind(&sku.details.name)
    .bind(&sku.details.barcode)
    .bind(&sku.details.image)
    .bind(sku.version)
    .bind(sku.created_ms)
    .bind(sku.created_ms)
    .execute(conn)
    .await;
    barcode_free(written)?;
    Ok(())
}

pub async fn update_sku(conn: &mut Conn, sku: &Sku, expected: i64, now_ms: Millis) -> Result<bool> {
    let written = sqlx::query(
        "UPDATE skus SET name = ?, barcode = ?, image = ?, version = ?, updated_ms = ? WHERE id = ? AND version = ?",
    )
    .bind(&sku.details.name)
    .bind(&sku.details.barcode)
    .bind(&sku.details.image)
    .bind(sku.version)
    .bind(now_ms)
    .bind(&sku.id)
    .bind(expected)
    .execute(conn)
    .await;
    changed(Ok(barcode_free(written)?))
}

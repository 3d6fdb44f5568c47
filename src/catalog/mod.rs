//! The catalog: products and their SKUs, what each store sells at which price, and its stock.
//!
//! Tables: `products`, `skus`, `store_skus`, `stock`, `supply_moves`, `stock_locks`. Publishes no event.
//! Invariants (see [`stock::invariants`]): the sums of every stock row against its locks and its moves.
//!
//! A price is in the currency of its store. Prices and stock are read from the database, never from a cache.

mod adjust;
mod api;
mod barcode;
mod browse;
mod offers;
mod products;
mod skus;
mod sold_out;
mod sql;
pub mod stock;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use adjust::{Adjustment, StockMoved, adjust};
pub use api::CatalogApi;
pub use barcode::Barcode;
pub use browse::{ProductPage, ShelfItem, ShelfQuery, by_barcode, on_shelf, product_in_store};
pub use offers::{Offer, OfferTerms, StoreSku, offers, set_offer, write_offer};
pub use products::{add_product, create_product, edit_product, product, products};
pub use skus::{add_sku, create_sku, edit_sku, sku, skus_of};
pub use sold_out::set_sold_out;
pub use stock::invariants;

use crate::kernel::{Failure, Id, Millis, ProductId, Result, SkuId, StoreId, codes, text_enum};

codes! {
    PRODUCT_NOT_FOUND: 404 "product_not_found" "There is no such product, or this store does not sell it now.";
    SKU_NOT_FOUND: 404 "sku_not_found" "There is no such SKU.";
    SKU_NOT_SOLD: 409 "sku_not_sold" "This store does not sell that SKU now. `field` names the line, if there are several.";
    SOLD_OUT: 409 "sold_out" "The store has sold out of that SKU for now. `sku_id` names it.";
    BARCODE_TAKEN: 409 "barcode_taken" "Another SKU has this barcode.";
    TOO_MANY_SKUS: 409 "too_many_skus" "A product can have at most 100 SKUs.";
    OUT_OF_STOCK: 409 "out_of_stock" "There is not enough left. `sku_id` names the SKU, `available` how many there are.";
    STOCK_TOO_LOW: 409 "stock_too_low" "Less is available than this takes away. `available` says how many there are.";
}

/// SKUs of one product.
pub const SKUS_MAX: usize = 100;
/// The largest price, minor units.
pub const PRICE_MAX_MINOR: i64 = 1_000_000_000;
/// From this number down the app shows how many are left.
pub const LOW_STOCK: i64 = 10;

/// What staff can change about a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductDetails {
    pub name: String,
    pub category: String,
    /// One line below the name; may be empty.
    pub summary: String,
    pub description: String,
    pub image: Option<String>,
}

/// What people look at; what they buy is one of its SKUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub id: ProductId,
    #[serde(flatten)]
    pub details: ProductDetails,
    /// Sold nowhere any more.
    pub archived: bool,
    pub version: i64,
    pub created_ms: Millis,
}

/// What staff can change about a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuDetails {
    /// What sets it apart within its product: a size, a colour.
    pub name: String,
    pub barcode: Option<Barcode>,
    /// Instead of the product's.
    pub image: Option<String>,
}

/// What is priced, counted and sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sku {
    pub id: SkuId,
    pub product_id: ProductId,
    #[serde(flatten)]
    pub details: SkuDetails,
    pub version: i64,
    pub created_ms: Millis,
}

text_enum! {
    /// What the app shows of the stock.
    pub enum StockState {
        InStock = "IN_STOCK",
        /// `left` says how many.
        Low = "LOW",
        OutOfStock = "OUT_OF_STOCK",
    }
}

impl StockState {
    pub fn of(available: i64) -> Self {
        match available {
            ..=0 => Self::OutOfStock,
            1..=LOW_STOCK => Self::Low,
            _ => Self::InStock,
        }
    }
}

impl ProductDetails {
    /// # Errors
    /// The first field that can't be, as a JSON pointer.
    pub fn check(&self) -> Result<()> {
        check_text("/name", &self.name, 1, 100)?;
        check_text("/category", &self.category, 1, 32)?;
        check_text("/summary", &self.summary, 0, 200)?;
        check_text("/description", &self.description, 0, 10_000)?;
        check_image(self.image.as_deref())
    }

    /// What a search looks through: lower case, so that it does not depend on a database's collation.
    fn search_text(&self) -> String {
        let text = format!("{} {} {}", self.name, self.category, self.summary).to_lowercase();
        // Some capitals become two characters: the column holds 400.
        text.chars().take(400).collect()
    }
}

impl SkuDetails {
    /// # Errors
    /// The first field that can't be, as a JSON pointer.
    pub fn check(&self) -> Result<()> {
        check_text("/name", &self.name, 1, 64)?;
        check_image(self.image.as_deref())
    }
}

fn check_text(field: &str, text: &str, min: usize, max: usize) -> Result<()> {
    let length = text.trim().chars().count();
    if length < min || text.chars().count() > max {
        return Err(Failure::invalid(field, format!("must have {min} to {max} characters")));
    }
    Ok(())
}

fn check_image(url: Option<&str>) -> Result<()> {
    match url {
        Some(url) if !url.starts_with("https://") || url.len() > 500 => {
            Err(Failure::invalid("/image", "must be an https URL of at most 500 characters"))
        }
        _ => Ok(()),
    }
}

fn product_not_found(id: &ProductId) -> Failure {
    Failure::new(&PRODUCT_NOT_FOUND).with("product_id", id.as_str().into())
}

fn sku_not_found(id: &SkuId) -> Failure {
    Failure::new(&SKU_NOT_FOUND).with("sku_id", id.as_str().into())
}

fn store_not_found(id: &StoreId) -> Failure {
    Failure::new(&crate::stores::STORE_NOT_FOUND).with("store_id", id.as_str().into())
}

/// The barcode of the demo data that the examples of the API name.
pub(crate) const EXAMPLE_BARCODE: &str = "6975612340018";

/// The product of the demo data that the examples of the API name.
pub(crate) fn example_product() -> ProductId {
    ProductId::from_tail("00000000000000000000000001")
}

/// Its first SKU, which has [`EXAMPLE_BARCODE`].
pub(crate) fn example_sku() -> SkuId {
    SkuId::from_tail("00000000000000000000000001")
}

//! What staff sends and sees of products, prices and stock.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::catalog::stock::{Discrepancy, Move, ShelfStock, StockLevel, SupplyKind};
use crate::catalog::{Barcode, EXAMPLE_BARCODE, Product, ProductDetails, Sku, SkuDetails, StoreSku};
use crate::kernel::{
    Failure, Money, OrderId, OrderLineId, ProductId, Result, SkuId, StoreId, SupplyMoveId, rfc3339,
};

/// What staff decides about a product.
#[derive(Object)]
#[oai(example)]
pub struct ProductForm {
    #[oai(validator(min_length = 1, max_length = 100))]
    pub name: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    pub category: String,
    /// One line below the name.
    #[oai(default, validator(max_length = 200))]
    pub summary: String,
    #[oai(default, validator(max_length = 10_000))]
    pub description: String,
    #[oai(validator(pattern = "^https://", max_length = 500))]
    pub image: Option<String>,
}

impl ProductForm {
    pub fn details(&self) -> ProductDetails {
        ProductDetails {
            name: self.name.clone(),
            category: self.category.clone(),
            summary: self.summary.clone(),
            description: self.description.clone(),
            image: self.image.clone(),
        }
    }
}

impl Example for ProductForm {
    fn example() -> Self {
        Self {
            name: "明前龙井".to_owned(),
            category: "茶叶".to_owned(),
            summary: "西湖产区,手工炒制".to_owned(),
            description: "清明前采摘的一芽一叶。".to_owned(),
            image: Some("https://example.com/products/longjing.jpg".to_owned()),
        }
    }
}

/// A product as it is to be, and the version that this was made from.
#[derive(Object)]
#[oai(example)]
pub struct ProductUpdate {
    pub version: i64,
    /// Sold nowhere any more; its SKUs keep their stock.
    pub archived: bool,
    #[oai(flatten)]
    pub product: ProductForm,
}

impl Example for ProductUpdate {
    fn example() -> Self {
        Self { version: 1, archived: false, product: ProductForm::example() }
    }
}

/// What staff decides about a SKU.
#[derive(Object)]
#[oai(example)]
pub struct SkuForm {
    /// What sets it apart within its product: a size, a colour.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: String,
    /// GTIN of 8, 12, 13 or 14 digits with its check digit; no other SKU's.
    #[oai(validator(pattern = "^([0-9]{8}|[0-9]{12,14})$"))]
    pub barcode: Option<String>,
    /// Instead of the product's.
    #[oai(validator(pattern = "^https://", max_length = 500))]
    pub image: Option<String>,
}

impl SkuForm {
    pub fn details(&self) -> Result<SkuDetails> {
        let barcode = self.barcode.as_ref().map(|text| text.parse::<Barcode>());
        let barcode = barcode.transpose().map_err(|why| Failure::invalid("/barcode", why))?;
        Ok(SkuDetails { name: self.name.clone(), barcode, image: self.image.clone() })
    }
}

impl Example for SkuForm {
    fn example() -> Self {
        Self { name: "150 克罐装".to_owned(), barcode: Some("6975612340995".to_owned()), image: None }
    }
}

/// A SKU as it is to be, and the version that this was made from.
#[derive(Object)]
#[oai(example)]
pub struct SkuUpdate {
    pub version: i64,
    #[oai(flatten)]
    pub sku: SkuForm,
}

impl Example for SkuUpdate {
    fn example() -> Self {
        let (name, barcode) = ("50 克罐装".to_owned(), Some(EXAMPLE_BARCODE.to_owned()));
        Self { version: 1, sku: SkuForm { name, barcode, image: None } }
    }
}

/// Price and sale of a SKU in a store.
#[derive(Object)]
#[oai(example)]
pub struct OfferForm {
    /// At least 1, in the store's currency.
    pub price: Money,
    pub on_sale: bool,
    /// The `offer_version` that was seen; 0 when the store did not sell it yet.
    #[oai(validator(minimum(value = "0")))]
    pub version: i64,
}

impl Example for OfferForm {
    fn example() -> Self {
        Self { price: Money::cny(12_800), on_sale: true, version: 1 }
    }
}

/// Whether a SKU is sold out in a store.
#[derive(Object)]
#[oai(example)]
pub struct SoldOutForm {
    pub sold_out: bool,
}

impl Example for SoldOutForm {
    fn example() -> Self {
        Self { sold_out: true }
    }
}

/// A change of stock by hand.
#[derive(Object)]
#[oai(example)]
pub struct StockMoveForm {
    /// Not 0; negative takes away what is available.
    #[oai(validator(minimum(value = "-1000000"), maximum(value = "1000000")))]
    pub quantity: i64,
    /// SUPPLY: goods came in. ADJUST: counted again.
    pub kind: SupplyKind,
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for StockMoveForm {
    fn example() -> Self {
        Self { quantity: 50, kind: SupplyKind::Supply, reason: "周一到货".to_owned() }
    }
}

/// A product as staff sees it.
#[derive(Object)]
pub struct StaffProduct {
    pub id: ProductId,
    pub name: String,
    pub category: String,
    pub summary: String,
    pub description: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    pub archived: bool,
    /// Name it in the next edit.
    pub version: i64,
    /// RFC 3339.
    pub created_at: String,
}

impl From<Product> for StaffProduct {
    fn from(product: Product) -> Self {
        let details = product.details;
        Self {
            id: product.id,
            name: details.name,
            category: details.category,
            summary: details.summary,
            description: details.description,
            image: details.image,
            archived: product.archived,
            version: product.version,
            created_at: rfc3339(product.created_ms),
        }
    }
}

/// A SKU as staff sees it.
#[derive(Object)]
pub struct StaffSku {
    pub id: SkuId,
    pub product_id: ProductId,
    pub name: String,
    #[oai(skip_serializing_if_is_none)]
    pub barcode: Option<Barcode>,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    /// Name it in the next edit.
    pub version: i64,
    /// RFC 3339.
    pub created_at: String,
}

impl From<Sku> for StaffSku {
    fn from(sku: Sku) -> Self {
        Self {
            id: sku.id,
            product_id: sku.product_id,
            name: sku.details.name,
            barcode: sku.details.barcode,
            image: sku.details.image,
            version: sku.version,
            created_at: rfc3339(sku.created_ms),
        }
    }
}

/// A product with all of its SKUs.
#[derive(Object)]
pub struct StaffProductPage {
    pub product: StaffProduct,
    pub skus: Vec<StaffSku>,
}

/// Price and sale of a SKU in a store.
#[derive(Object)]
pub struct StaffOffer {
    pub store_id: StoreId,
    pub sku_id: SkuId,
    pub price: Money,
    pub on_sale: bool,
    /// Staff says that there is none, whatever the stock says.
    pub sold_out: bool,
    pub version: i64,
}

impl From<StoreSku> for StaffOffer {
    fn from(row: StoreSku) -> Self {
        let StoreSku { store_id, sku_id, price, on_sale, sold_out, version } = row;
        Self { store_id, sku_id, price, on_sale, sold_out, version }
    }
}

/// The stock of a SKU in a store: available + locked + sold = supplied.
#[derive(Object)]
pub struct StaffStockLevel {
    pub available: i64,
    /// In orders that are not paid.
    pub locked: i64,
    /// In paid orders, less what was put back.
    pub sold: i64,
    pub supplied: i64,
}

impl From<StockLevel> for StaffStockLevel {
    fn from(level: StockLevel) -> Self {
        let StockLevel { available, locked, sold, supplied } = level;
        Self { available, locked, sold, supplied }
    }
}

/// A SKU with its price and stock in one store.
#[derive(Object)]
pub struct StaffStock {
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    #[oai(skip_serializing_if_is_none)]
    pub barcode: Option<Barcode>,
    /// Absent: the store does not sell it.
    #[oai(skip_serializing_if_is_none)]
    pub price: Option<Money>,
    pub on_sale: bool,
    /// Staff says that there is none, whatever the stock says.
    pub sold_out: bool,
    /// Name it when you set the price; 0 when the store does not sell it.
    pub offer_version: i64,
    pub stock: StaffStockLevel,
}

impl From<ShelfStock> for StaffStock {
    fn from(row: ShelfStock) -> Self {
        Self {
            sku_id: row.sku_id,
            product_id: row.product_id,
            product_name: row.product_name,
            sku_name: row.sku_name,
            barcode: row.barcode,
            price: row.price,
            on_sale: row.on_sale,
            sold_out: row.sold_out,
            offer_version: row.offer_version,
            stock: row.level.into(),
        }
    }
}

/// A supply move.
#[derive(Object)]
pub struct StaffStockMove {
    pub id: SupplyMoveId,
    pub quantity: i64,
    pub kind: SupplyKind,
    pub reason: String,
    /// `staff`, `system`, or `user` for a discrepancy: somebody had the goods in the hand.
    pub actor_kind: String,
    pub actor_id: String,
    /// RFC 3339.
    pub at: String,
}

impl From<Move> for StaffStockMove {
    fn from(row: Move) -> Self {
        Self {
            id: row.id,
            quantity: row.quantity,
            kind: row.kind,
            reason: row.reason,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            at: rfc3339(row.at_ms),
        }
    }
}

/// Goods that were sold in the store although the stock said that there were none.
#[derive(Object)]
pub struct StaffDiscrepancy {
    /// Its supply move.
    pub id: SupplyMoveId,
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    /// By how many the stock was short; so many were supplied.
    pub quantity: i64,
    pub order_id: OrderId,
    pub line_id: OrderLineId,
    /// RFC 3339.
    pub at: String,
}

impl From<Discrepancy> for StaffDiscrepancy {
    fn from(row: Discrepancy) -> Self {
        Self {
            id: row.id,
            sku_id: row.sku_id,
            product_id: row.product_id,
            product_name: row.product_name,
            sku_name: row.sku_name,
            quantity: row.quantity,
            order_id: row.order_id,
            line_id: row.line_id,
            at: rfc3339(row.at_ms),
        }
    }
}

/// A move that was made, and the stock as it is now.
#[derive(Object)]
pub struct StaffStockMoved {
    pub move_id: SupplyMoveId,
    pub stock: StaffStockLevel,
}

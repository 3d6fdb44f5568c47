//! The app's reads of products.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::{Barcode, Offer, ProductPage, ShelfItem, ShelfQuery, StockState, browse, example_product};
use crate::identity::UserAuth;
use crate::kernel::{Cursor, Limit, Money, ProductId, SkuId, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::web::{List, Reply, Tag};
use crate::stores::example_store;

/// A product in a list.
#[derive(Object)]
pub struct ProductSummary {
    pub id: ProductId,
    pub name: String,
    pub category: String,
    pub summary: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    /// Of its cheapest SKU in this store.
    pub price_from: Money,
    /// Of its dearest SKU in this store.
    pub price_to: Money,
    /// Of the SKU that has most.
    pub stock: StockState,
}

/// A SKU as a store sells it.
#[derive(Object)]
pub struct SkuView {
    pub id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    /// What sets it apart within its product.
    pub name: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub barcode: Option<Barcode>,
    pub price: Money,
    pub stock: StockState,
    /// Only when 10 or fewer are left.
    #[oai(skip_serializing_if_is_none)]
    pub left: Option<i64>,
}

/// A product and what of it the store sells.
#[derive(Object)]
pub struct ProductView {
    pub id: ProductId,
    pub name: String,
    pub category: String,
    pub summary: String,
    pub description: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    pub skus: Vec<SkuView>,
}

impl From<ShelfItem> for ProductSummary {
    fn from(item: ShelfItem) -> Self {
        Self {
            id: item.id,
            name: item.name,
            category: item.category,
            summary: item.summary,
            image: item.image,
            price_from: item.price_from,
            price_to: item.price_to,
            stock: StockState::of(item.available_most),
        }
    }
}

impl SkuView {
    fn of(offer: Offer, barcode: Option<Barcode>) -> Self {
        let left = offer.orderable();
        let stock = StockState::of(left);
        Self {
            id: offer.sku_id,
            product_id: offer.product_id,
            product_name: offer.product_name,
            name: offer.sku_name,
            image: offer.image,
            barcode,
            price: Money::new(offer.price_minor, offer.currency),
            stock,
            left: (stock == StockState::Low).then_some(left),
        }
    }
}

impl From<ProductPage> for ProductView {
    fn from(page: ProductPage) -> Self {
        let details = page.product.details;
        Self {
            id: page.product.id,
            name: details.name,
            category: details.category,
            summary: details.summary,
            description: details.description,
            image: details.image,
            skus: page.skus.into_iter().map(|(offer, barcode)| SkuView::of(offer, barcode)).collect(),
        }
    }
}

fn example_barcode() -> Barcode {
    // never fails: the check digit is right, and a test of the demo data looks this barcode up.
    super::EXAMPLE_BARCODE.parse().expect("a valid barcode")
}

pub struct CatalogApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Products")]
impl CatalogApi {
    /// Products that a store sells
    ///
    /// Changes nothing. Products with at least one SKU on sale in the store, in the order in which they
    /// were added. `q` looks for a part of the name, the category or the summary, in any case.
    ///
    /// Errors: `store_not_found`, `invalid_request`.
    #[oai(path = "/products", method = "get", operation_id = "listProducts")]
    async fn list(
        &self,
        _auth: UserAuth,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
        #[oai(validator(max_length = 50))] q: Query<Option<String>>,
        /// Exactly this category.
        #[oai(validator(max_length = 32))]
        category: Query<Option<String>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<ProductSummary>>> {
        let query = ShelfQuery {
            search: q.0.unwrap_or_default(),
            category: category.0.unwrap_or_default(),
            limit: Limit::parse(limit.0)?,
        };
        let page = browse::on_shelf(&self.ctx, &store_id, &query, cursor.0.as_ref()).await?;
        Ok(List::from_page(page, ProductSummary::from))
    }

    /// One product with its SKUs in a store
    ///
    /// Changes nothing. Only SKUs that are on sale there. `left` says how many there are when there are few.
    ///
    /// Errors: `store_not_found`, `product_not_found`.
    #[oai(path = "/products/:product_id", method = "get", operation_id = "getProduct")]
    async fn get(
        &self,
        _auth: UserAuth,
        #[oai(example = "example_product")] product_id: Path<ProductId>,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
    ) -> Reply<Json<ProductView>> {
        Ok(Json(browse::product_in_store(&self.ctx, &store_id, &product_id).await?.into()))
    }

    /// Scan to buy: the SKU behind a barcode
    ///
    /// Changes nothing. The barcode is a GTIN of 8, 12, 13 or 14 digits, as the camera reads it.
    ///
    /// Errors: `store_not_found`, `sku_not_found`, `sku_not_sold`.
    #[oai(path = "/skus/by-barcode/:barcode", method = "get", operation_id = "getSkuByBarcode")]
    async fn by_barcode(
        &self,
        _auth: UserAuth,
        #[oai(example = "example_barcode")] barcode: Path<Barcode>,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
    ) -> Reply<Json<SkuView>> {
        let offer = browse::by_barcode(&self.ctx, &store_id, &barcode).await?;
        Ok(Json(SkuView::of(offer, Some(barcode.0))))
    }
}

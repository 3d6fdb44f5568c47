//! Staff keeps products, prices and stock.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::catalog::stock::{self, Move, ShelfStock, StockLevel, StockQuery, SupplyKind};
use crate::catalog::{
    self, Adjustment, Barcode, EXAMPLE_BARCODE, OfferTerms, PRODUCT_NOT_FOUND, Product, ProductDetails, Sku,
    SkuDetails, StoreSku, example_product, example_sku,
};
use crate::kernel::{Cursor, Failure, Limit, Money, ProductId, SkuId, StoreId, SupplyMoveId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, Created, List, Reply, Tag};
use crate::staff::StaffAuth;
use crate::stores::example_store;

/// What staff decides about a product.
#[derive(Object)]
#[oai(example)]
pub struct ProductForm {
    #[oai(validator(min_length = 1, max_length = 100))]
    name: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    category: String,
    /// One line below the name.
    #[oai(default, validator(max_length = 200))]
    summary: String,
    #[oai(default, validator(max_length = 10_000))]
    description: String,
    #[oai(validator(pattern = "^https://", max_length = 500))]
    image: Option<String>,
}

impl ProductForm {
    fn details(&self) -> ProductDetails {
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
    version: i64,
    /// Sold nowhere any more; its SKUs keep their stock.
    archived: bool,
    #[oai(flatten)]
    product: ProductForm,
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
    name: String,
    /// GTIN of 8, 12, 13 or 14 digits with its check digit; no other SKU's.
    barcode: Option<Barcode>,
    /// Instead of the product's.
    #[oai(validator(pattern = "^https://", max_length = 500))]
    image: Option<String>,
}

impl SkuForm {
    fn details(&self) -> SkuDetails {
        SkuDetails { name: self.name.clone(), barcode: self.barcode.clone(), image: self.image.clone() }
    }
}

impl Example for SkuForm {
    fn example() -> Self {
        Self { name: "50 克罐装".to_owned(), barcode: EXAMPLE_BARCODE.parse().ok(), image: None }
    }
}

/// A SKU as it is to be, and the version that this was made from.
#[derive(Object)]
#[oai(example)]
pub struct SkuUpdate {
    version: i64,
    #[oai(flatten)]
    sku: SkuForm,
}

impl Example for SkuUpdate {
    fn example() -> Self {
        Self { version: 1, sku: SkuForm::example() }
    }
}

/// Price and sale of a SKU in a store.
#[derive(Object)]
#[oai(example)]
pub struct OfferForm {
    /// At least 1, in the store's currency.
    price: Money,
    on_sale: bool,
    /// The `offer_version` that was seen; 0 when the store did not sell it yet.
    #[oai(validator(minimum(value = "0")))]
    version: i64,
}

impl Example for OfferForm {
    fn example() -> Self {
        Self { price: Money::cny(12_800), on_sale: true, version: 1 }
    }
}

/// A change of stock by hand.
#[derive(Object)]
#[oai(example)]
pub struct StockMoveForm {
    /// Not 0; negative takes away what is available.
    #[oai(validator(minimum(value = "-1000000"), maximum(value = "1000000")))]
    quantity: i64,
    /// SUPPLY: goods came in. ADJUST: counted again.
    kind: SupplyKind,
    #[oai(validator(min_length = 1, max_length = 200))]
    reason: String,
}

impl Example for StockMoveForm {
    fn example() -> Self {
        Self { quantity: 50, kind: SupplyKind::Supply, reason: "周一到货".to_owned() }
    }
}

/// A product as staff sees it.
#[derive(Object)]
pub struct StaffProduct {
    id: ProductId,
    name: String,
    category: String,
    summary: String,
    description: String,
    #[oai(skip_serializing_if_is_none)]
    image: Option<String>,
    archived: bool,
    /// Name it in the next edit.
    version: i64,
    /// RFC 3339.
    created_at: String,
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
    id: SkuId,
    product_id: ProductId,
    name: String,
    #[oai(skip_serializing_if_is_none)]
    barcode: Option<Barcode>,
    #[oai(skip_serializing_if_is_none)]
    image: Option<String>,
    /// Name it in the next edit.
    version: i64,
    /// RFC 3339.
    created_at: String,
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
    product: StaffProduct,
    skus: Vec<StaffSku>,
}

/// Price and sale of a SKU in a store.
#[derive(Object)]
pub struct StaffOffer {
    store_id: StoreId,
    sku_id: SkuId,
    price: Money,
    on_sale: bool,
    version: i64,
}

impl From<StoreSku> for StaffOffer {
    fn from(row: StoreSku) -> Self {
        let StoreSku { store_id, sku_id, price, on_sale, version } = row;
        Self { store_id, sku_id, price, on_sale, version }
    }
}

/// The stock of a SKU in a store: available + locked + sold = supplied.
#[derive(Object)]
pub struct StaffStockLevel {
    available: i64,
    /// In orders that are not paid.
    locked: i64,
    /// In paid orders, less what was put back.
    sold: i64,
    supplied: i64,
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
    sku_id: SkuId,
    product_id: ProductId,
    product_name: String,
    sku_name: String,
    #[oai(skip_serializing_if_is_none)]
    barcode: Option<Barcode>,
    /// Absent: the store does not sell it.
    #[oai(skip_serializing_if_is_none)]
    price: Option<Money>,
    on_sale: bool,
    /// Name it when you set the price; 0 when the store does not sell it.
    offer_version: i64,
    stock: StaffStockLevel,
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
            offer_version: row.offer_version,
            stock: row.level.into(),
        }
    }
}

/// A supply move.
#[derive(Object)]
pub struct StaffStockMove {
    id: SupplyMoveId,
    quantity: i64,
    kind: SupplyKind,
    reason: String,
    /// `staff` or `system`.
    actor_kind: String,
    actor_id: String,
    /// RFC 3339.
    at: String,
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

/// A move that was made, and the stock as it is now.
#[derive(Object)]
pub struct StaffStockMoved {
    move_id: SupplyMoveId,
    stock: StaffStockLevel,
}

pub struct AdminCatalogApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Products")]
impl AdminCatalogApi {
    /// All products
    ///
    /// Changes nothing. Archived ones too, in the order in which they were added. `q` looks for a part of the
    /// name, the category or the summary, in any case.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/products", method = "get", operation_id = "listProducts")]
    async fn list(
        &self,
        _auth: StaffAuth,
        #[oai(validator(max_length = 50))] q: Query<Option<String>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffProduct>>> {
        let limit = Limit::parse(limit.0)?;
        let search = q.0.unwrap_or_default();
        let mut conn = self.ctx.db.reader().await?;
        let page = catalog::products(&mut conn, &search, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, StaffProduct::from))
    }

    /// One product with its SKUs
    ///
    /// Changes nothing.
    ///
    /// Errors: `product_not_found`.
    #[oai(path = "/products/:product_id", method = "get", operation_id = "getProduct")]
    async fn get(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_product")] product_id: Path<ProductId>,
    ) -> Reply<Json<StaffProductPage>> {
        let mut conn = self.ctx.db.reader().await?;
        let product = catalog::product(&mut conn, &product_id).await?;
        let product = product.ok_or_else(|| Failure::new(&PRODUCT_NOT_FOUND))?;
        let skus = catalog::skus_of(&mut conn, &product_id).await?;
        Ok(Json(StaffProductPage {
            product: product.into(),
            skus: skus.into_iter().map(StaffSku::from).collect(),
        }))
    }

    /// Add a product
    ///
    /// It is sold once it has a SKU and a store has a price for that.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/products", method = "post", operation_id = "createProduct")]
    async fn create(&self, auth: StaffAuth, body: Body<ProductForm>) -> Reply<Created<StaffProduct>> {
        let product = catalog::add_product(&self.ctx, &auth.actor(), &body.details()).await?;
        Ok(Created::new(product.into()))
    }

    /// Change a product
    ///
    /// Replaces all details. `version` is the one that was read. An archived product is sold nowhere. Orders
    /// that were placed keep what they said.
    ///
    /// Errors: `product_not_found`, `version_conflict`.
    #[oai(path = "/products/:product_id", method = "put", operation_id = "updateProduct")]
    async fn update(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_product")] product_id: Path<ProductId>,
        body: Body<ProductUpdate>,
    ) -> Reply<Json<StaffProduct>> {
        let (actor, details) = (auth.actor(), body.product.details());
        let product =
            catalog::edit_product(&self.ctx, &actor, &product_id, body.version, &details, body.archived);
        Ok(Json(product.await?.into()))
    }

    /// Add a SKU to a product
    ///
    /// At most 100 a product. Stores sell it once they have a price for it.
    ///
    /// Errors: `product_not_found`, `barcode_taken`, `too_many_skus`.
    #[oai(path = "/products/:product_id/skus", method = "post", operation_id = "createSku")]
    async fn create_sku(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_product")] product_id: Path<ProductId>,
        body: Body<SkuForm>,
    ) -> Reply<Created<StaffSku>> {
        let sku = catalog::add_sku(&self.ctx, &auth.actor(), &product_id, &body.details()).await?;
        Ok(Created::new(sku.into()))
    }

    /// Change a SKU
    ///
    /// Replaces all details. `version` is the one that was read.
    ///
    /// Errors: `sku_not_found`, `version_conflict`, `barcode_taken`.
    #[oai(path = "/skus/:sku_id", method = "put", operation_id = "updateSku")]
    async fn update_sku(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        body: Body<SkuUpdate>,
    ) -> Reply<Json<StaffSku>> {
        let (actor, details) = (auth.actor(), body.sku.details());
        let sku = catalog::edit_sku(&self.ctx, &actor, &sku_id, body.version, &details).await?;
        Ok(Json(sku.into()))
    }

    /// Set the price of a SKU in a store
    ///
    /// Sets the price and whether it is on sale there, from the next quote on. Orders that were placed keep
    /// their price.
    ///
    /// Errors: `store_not_found`, `sku_not_found`, `version_conflict`.
    #[oai(path = "/stores/:store_id/offers/:sku_id", method = "put", operation_id = "setOffer")]
    async fn set_offer(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        body: Body<OfferForm>,
    ) -> Reply<Json<StaffOffer>> {
        let terms = OfferTerms { price: body.price, on_sale: body.on_sale, version: body.version };
        let offer = catalog::set_offer(&self.ctx, &auth.actor(), &store_id, &sku_id, terms).await?;
        Ok(Json(offer.into()))
    }

    /// Prices and stock of a store
    ///
    /// Changes nothing. All SKUs, also those that the store does not sell.
    ///
    /// Errors: `store_not_found`, `invalid_request`.
    #[oai(path = "/stores/:store_id/stock", method = "get", operation_id = "listStock")]
    async fn list_stock(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        /// Part of the product's name, category or summary.
        #[oai(validator(max_length = 50))]
        q: Query<Option<String>>,
        /// Only SKUs with fewer available.
        #[oai(validator(minimum(value = "0")))]
        available_below: Query<Option<i64>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffStock>>> {
        let query = StockQuery {
            search: q.0.unwrap_or_default(),
            available_below: available_below.0,
            limit: Limit::parse(limit.0)?,
        };
        let mut conn = self.ctx.db.reader().await?;
        let page = stock::stock_of_store(&mut conn, &store_id, &query, cursor.0.as_ref()).await?;
        Ok(List::from_page(page, StaffStock::from))
    }

    /// Change the stock of a SKU in a store
    ///
    /// Adds to, or takes from, what is available and what was supplied, with a row that says who and why.
    /// What orders hold is not touched.
    ///
    /// Errors: `store_not_found`, `sku_not_found`, `stock_too_low`, `idempotency_key_reused`.
    #[oai(path = "/stores/:store_id/stock/:sku_id/moves", method = "post", operation_id = "adjustStock")]
    async fn adjust(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        /// Fresh for each change; the same when you repeat one.
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))]
        key: Header<String>,
        body: Body<StockMoveForm>,
    ) -> Reply<Created<StaffStockMoved>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "adjustStock", &key, &(&store_id.0, &sku_id.0, body.raw()))?;
        let adjustment = Adjustment {
            store: store_id.0,
            sku: sku_id.0,
            quantity: body.quantity,
            kind: body.kind,
            reason: body.reason.clone(),
        };
        let done = catalog::adjust(&self.ctx, &actor, &key, &adjustment).await?;
        let mut conn = self.ctx.db.reader().await?;
        let level = stock::level(&mut conn, &adjustment.store, &adjustment.sku).await?;
        let moved = StaffStockMoved { move_id: done.value.move_id.clone(), stock: level.into() };
        Ok(Created::of(moved, &done))
    }

    /// Supply moves of a SKU in a store
    ///
    /// Changes nothing. Newest first, each with who made it and why.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/stores/:store_id/stock/:sku_id/moves", method = "get", operation_id = "listStockMoves")]
    async fn list_moves(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffStockMove>>> {
        let limit = Limit::parse(limit.0)?;
        let mut conn = self.ctx.db.reader().await?;
        let page = stock::moves(&mut conn, &store_id, &sku_id, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, StaffStockMove::from))
    }
}

//! Staff keeps products, prices and stock.

mod dto;

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;

use self::dto::{
    OfferForm, ProductForm, ProductUpdate, SkuForm, SkuUpdate, SoldOutForm, StaffDiscrepancy, StaffOffer,
    StaffProduct, StaffProductPage, StaffSku, StaffStock, StaffStockMove, StaffStockMoved, StockMoveForm,
};
use crate::catalog::stock::{self, StockQuery};
use crate::catalog::{self, Adjustment, OfferTerms, PRODUCT_NOT_FOUND, example_product, example_sku};
use crate::kernel::{Cursor, Failure, Limit, ProductId, SkuId, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, Created, List, Reply, Tag};
use crate::staff::StaffAuth;
use crate::stores::example_store;

pub struct CatalogAdminApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Products")]
impl CatalogAdminApi {
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
        let sku = catalog::add_sku(&self.ctx, &auth.actor(), &product_id, &body.details()?).await?;
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
        let (actor, details) = (auth.actor(), body.sku.details()?);
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

    /// Say that a SKU is sold out in a store
    ///
    /// While it is, nobody can order it to be sent or fetched, from the next quote on; goods in a customer's
    /// hand are sold all the same. Stock and price stay as they are. Setting it to what it is changes nothing.
    ///
    /// Errors: `store_not_found`, `sku_not_sold`.
    #[oai(path = "/stores/:store_id/offers/:sku_id/sold-out", method = "put", operation_id = "setSoldOut")]
    async fn set_sold_out(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        body: Body<SoldOutForm>,
    ) -> Reply<Json<StaffOffer>> {
        let offer =
            catalog::set_sold_out(&self.ctx, &auth.actor(), &store_id, &sku_id, body.sold_out).await?;
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

    /// Goods that were sold though the stock said none
    ///
    /// Changes nothing. Newest first: each is a sale in the store for which the shortfall was supplied. Count
    /// these goods again, and adjust the stock if need be.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/stores/:store_id/discrepancies", method = "get", operation_id = "listDiscrepancies")]
    async fn list_discrepancies(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffDiscrepancy>>> {
        let limit = Limit::parse(limit.0)?;
        let mut conn = self.ctx.db.reader().await?;
        let page = stock::discrepancies(&mut conn, &store_id, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, StaffDiscrepancy::from))
    }
}

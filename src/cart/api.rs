//! The app's operations on carts. No rule lives here.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{Cart, Flag, ShownLine};
use crate::catalog::Offer;
use crate::identity::UserAuth;
use crate::kernel::{Id, Money, ProductId, SkuId, StoreId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, NoContent, Reply, Tag};

/// A cart.
#[derive(Object)]
pub struct CartView {
    pub store_id: StoreId,
    /// The oldest first, at most 100.
    pub lines: Vec<CartLineView>,
    /// What the lines that can be ordered as they are cost now, without discounts and freight.
    pub goods_total: Money,
}

/// A line of a cart.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CartLineView {
    pub sku_id: SkuId,
    pub quantity: i64,
    /// The unit price when the line was last set.
    pub seen_price: Money,
    /// What the store offers now; absent when it does not know the SKU any more.
    pub offer: Option<CartOffer>,
    /// What is to be seen to; empty: can be ordered as it is.
    pub flags: Vec<Flag>,
    pub added_at: String,
}

/// What the store offers now.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub struct CartOffer {
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    pub image: Option<String>,
    pub price: Money,
    pub available: i64,
}

impl From<Offer> for CartOffer {
    fn from(offer: Offer) -> Self {
        Self {
            available: offer.orderable(),
            product_id: offer.product_id,
            product_name: offer.product_name,
            sku_name: offer.sku_name,
            image: offer.image,
            price: Money::new(offer.price_minor, offer.currency),
        }
    }
}

impl CartView {
    fn of(store_id: StoreId, cart: Cart) -> Self {
        let currency = cart.currency;
        let line = |shown: ShownLine| CartLineView {
            sku_id: shown.line.sku_id,
            quantity: shown.line.quantity,
            seen_price: Money::new(shown.line.seen_price_minor, currency),
            offer: shown.offer.map(CartOffer::from),
            flags: shown.flags,
            added_at: rfc3339(shown.line.added_ms),
        };
        Self {
            store_id,
            lines: cart.lines.into_iter().map(line).collect(),
            goods_total: Money::new(cart.goods_minor, currency),
        }
    }
}

/// How many of a SKU the cart is to have.
#[derive(Object)]
#[oai(example)]
pub struct PutCartLine {
    pub store_id: StoreId,
    /// To take a line out, delete it.
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

impl Example for PutCartLine {
    fn example() -> Self {
        Self { store_id: example_store(), quantity: 2 }
    }
}

fn example_store() -> StoreId {
    StoreId::from_tail("00000000000000000000000001")
}

fn example_sku() -> SkuId {
    SkuId::from_tail("00000000000000000000000001")
}

pub struct CartApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Cart")]
impl CartApi {
    /// Your cart in a store
    ///
    /// Each line with what the store offers now, and flags for what has changed: `not_sold`, `sold_out`,
    /// `out_of_stock`, `price`. No line is dropped by itself. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `store_not_found`.
    #[oai(path = "/cart", method = "get", operation_id = "getCart")]
    async fn get_cart(
        &self,
        auth: UserAuth,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
    ) -> Reply<Json<CartView>> {
        let cart = super::view(&self.ctx, &auth.0.user_id, &store_id).await?;
        Ok(Json(CartView::of(store_id.0, cart)))
    }

    /// Set how many of a SKU are in your cart
    ///
    /// Adds the line or sets its quantity, and takes note of the price of now. Repeating it changes nothing.
    /// Reserves no stock. Answers the whole cart.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `store_not_found`, `sku_not_sold`, `cart_full`.
    #[oai(path = "/cart/lines/:sku_id", method = "put", operation_id = "putCartLine")]
    async fn put_line(
        &self,
        auth: UserAuth,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        body: Body<PutCartLine>,
    ) -> Reply<Json<CartView>> {
        let user = &auth.0.user_id;
        super::put(&self.ctx, user, &body.store_id, &sku_id, body.quantity).await?;
        let cart = super::view(&self.ctx, user, &body.store_id).await?;
        Ok(Json(CartView::of(body.into_inner().store_id, cart)))
    }

    /// Take a SKU out of your cart
    ///
    /// A SKU that is not in it is fine, too.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/cart/lines/:sku_id", method = "delete", operation_id = "removeCartLine")]
    async fn remove_line(
        &self,
        auth: UserAuth,
        #[oai(example = "example_sku")] sku_id: Path<SkuId>,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
    ) -> Reply<NoContent> {
        super::remove_line(&self.ctx, &auth.0.user_id, &store_id, &sku_id).await?;
        Ok(NoContent::Done)
    }

    /// Empty your cart in a store
    ///
    /// Removes every line.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/cart", method = "delete", operation_id = "clearCart")]
    async fn clear_cart(
        &self,
        auth: UserAuth,
        #[oai(example = "example_store")] store_id: Query<StoreId>,
    ) -> Reply<NoContent> {
        super::clear(&self.ctx, &auth.0.user_id, &store_id).await?;
        Ok(NoContent::Done)
    }
}

//! The customer's operations on quotes and orders.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use super::quote::{Quote, QuoteRequest, WantedLine};
use super::{
    Actions, Fulfilment, ORDER_NOT_FOUND, Order, OrderLine, OrderStatus, PayStatus, RefundStatus, actions,
    cancel, complete, list, place, quote, sql,
};
use crate::addresses::Address;
use crate::identity::UserAuth;
use crate::kernel::{
    AddressId, CouponId, Cursor, Failure, Id, Limit, Millis, Money, OrderId, OrderLineId, ProductId, Result,
    SkuId, StoreId, rfc3339,
};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, List, Reply, Tag};

/// A SKU and how many of it.
#[derive(Debug, Clone, Object)]
pub struct LineInput {
    pub sku_id: SkuId,
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

/// What is to be ordered.
#[derive(Debug, Object)]
#[oai(example)]
pub struct QuoteInput {
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    /// Absent: what is in the cart of this store.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<LineInput>>,
    /// Where to; needed for DELIVERY.
    pub address_id: Option<AddressId>,
    /// At most one coupon for now.
    #[oai(validator(max_items = 1))]
    pub coupon_ids: Option<Vec<CouponId>>,
}

impl Example for QuoteInput {
    fn example() -> Self {
        Self {
            store_id: StoreId::from_tail("00000000000000000000000001"),
            fulfilment: Fulfilment::Delivery,
            lines: Some(vec![LineInput {
                sku_id: SkuId::from_tail("00000000000000000000000001"),
                quantity: 2,
            }]),
            address_id: Some(AddressId::from_tail(&"0".repeat(26))),
            coupon_ids: None,
        }
    }
}

/// What one rule took off a line.
#[derive(Debug, Object)]
pub struct ShareView {
    /// The rule: `coupon`.
    pub rule: String,
    pub name: String,
    #[oai(skip_serializing_if_is_none)]
    pub coupon_id: Option<CouponId>,
    pub amount: Money,
}

/// A priced line.
#[derive(Debug, Object)]
pub struct QuotedLine {
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    pub unit_price: Money,
    pub quantity: i64,
    pub gross: Money,
    /// Every rule that changed this line, and by how much.
    pub shares: Vec<ShareView>,
    /// gross − Σ shares.
    pub net: Money,
}

/// What it costs. Order it with `quote_token` before `expires_at`.
#[derive(Debug, Object)]
pub struct QuoteView {
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub lines: Vec<QuotedLine>,
    /// Σ net of the lines.
    pub goods: Money,
    pub discount: Money,
    pub freight: Money,
    pub payable: Money,
    pub expires_at: String,
    /// Single use.
    pub quote_token: String,
}

/// A quote on its way to becoming an order.
#[derive(Debug, Object)]
#[oai(example)]
pub struct PlaceInput {
    #[oai(validator(min_length = 1, max_length = 65536))]
    pub quote_token: String,
    /// For the store; up to 200 characters.
    #[oai(validator(max_length = 200))]
    pub note: Option<String>,
}

impl Example for PlaceInput {
    fn example() -> Self {
        Self {
            quote_token: "the quote_token of POST /quotes".to_owned(), note: Some("请放门口".to_owned())
        }
    }
}

/// Why it is cancelled.
#[derive(Debug, Object)]
#[oai(example)]
pub struct CancelInput {
    #[oai(validator(max_length = 100))]
    pub reason: Option<String>,
}

impl Example for CancelInput {
    fn example() -> Self {
        Self { reason: Some("买错了".to_owned()) }
    }
}

/// A line of an order.
#[derive(Debug, Object)]
pub struct LineView {
    pub line_id: OrderLineId,
    pub sku_id: SkuId,
    pub product_id: ProductId,
    pub product_name: String,
    pub sku_name: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    pub unit_price: Money,
    pub quantity: i64,
    pub gross: Money,
    pub shares: Vec<ShareView>,
    pub net: Money,
    pub shipped: i64,
    pub cancelled: i64,
    pub returned: i64,
    /// Units that a refund could still be asked for.
    pub refundable: i64,
    pub refunded: Money,
}

/// Where it goes; the phone is masked, and for staff the name and the street, too.
#[derive(Debug, Object)]
pub struct DeliveryAddress {
    pub recipient: String,
    pub phone_masked: String,
    pub region: String,
    pub detail: String,
}

/// An order.
#[derive(Debug, Object)]
pub struct OrderView {
    pub id: OrderId,
    pub store_id: StoreId,
    pub status: OrderStatus,
    /// Why it is closed or being closed: user, staff, timeout or refunded.
    #[oai(skip_serializing_if_is_none)]
    pub close_reason: Option<String>,
    pub pay_status: PayStatus,
    pub refund_status: RefundStatus,
    pub fulfilment: Fulfilment,
    pub lines: Vec<LineView>,
    pub goods: Money,
    pub discount: Money,
    pub freight: Money,
    pub payable: Money,
    pub paid: Money,
    pub refunded: Money,
    #[oai(skip_serializing_if_is_none)]
    pub coupon_id: Option<CouponId>,
    pub note: String,
    #[oai(skip_serializing_if_is_none)]
    pub address: Option<DeliveryAddress>,
    /// It goes to an address that can't be read: it is damaged, or was written under a master key that is gone.
    pub address_unreadable: bool,
    /// Shipping is stopped: it was cancelled and paid at the same moment, and goes back.
    pub on_hold: bool,
    pub placed_at: String,
    /// Pay before this, or it is cancelled.
    pub pay_before: String,
    #[oai(skip_serializing_if_is_none)]
    pub paid_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub shipped_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub completed_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub closed_at: Option<String>,
    pub actions: Actions,
}

/// How many orders of a status there are.
#[derive(Debug, Object)]
pub struct StatusCount {
    pub status: OrderStatus,
    pub count: i64,
}

/// The order as an answer shows it; without its address, if that can't be read.
pub fn order_view(ctx: &Ctx, order: &Order, lines: &[OrderLine]) -> OrderView {
    let money = |amount: i64| Money::new(amount, order.currency);
    let at = |ms: Option<Millis>| ms.map(rfc3339);
    let address = place::delivery_address(ctx, order);
    if let Err(failure) = &address {
        tracing::error!(order.id = %order.id, "the address of order {} can't be read: {failure}", order.id);
    }
    OrderView {
        id: order.id.clone(),
        store_id: order.store_id.clone(),
        status: order.status,
        close_reason: order.close_reason.map(|reason| reason.to_string()),
        pay_status: order.pay_status,
        refund_status: order.refund_status,
        fulfilment: order.fulfilment,
        lines: lines.iter().map(|line| line_view(order, line)).collect(),
        goods: money(order.goods_minor),
        discount: money(order.discount_minor),
        freight: money(order.freight_minor),
        payable: money(order.payable_minor),
        paid: money(order.paid_minor),
        refunded: money(order.refunded_minor),
        coupon_id: order.coupon_id.clone(),
        note: order.note.clone(),
        address_unreadable: address.is_err(),
        address: address.ok().flatten().map(address_view),
        on_hold: order.ship_hold_ms.is_some(),
        placed_at: rfc3339(order.placed_ms),
        pay_before: rfc3339(order.pay_before_ms),
        paid_at: at(order.paid_ms),
        shipped_at: at(order.shipped_ms),
        completed_at: at(order.completed_ms),
        closed_at: at(order.closed_ms),
        actions: actions(order, lines, ctx.clock.now_ms()),
    }
}

fn share_views(shares: Vec<crate::pricing::Share>, money: impl Fn(i64) -> Money) -> Vec<ShareView> {
    let view = |share: crate::pricing::Share| ShareView {
        rule: share.rule,
        name: share.name,
        coupon_id: share.coupon_id,
        amount: money(share.minor),
    };
    shares.into_iter().map(view).collect()
}

fn line_view(order: &Order, line: &OrderLine) -> LineView {
    let money = |amount: i64| Money::new(amount, order.currency);
    LineView {
        line_id: line.id.clone(),
        sku_id: line.sku_id.clone(),
        product_id: line.product_id.clone(),
        product_name: line.product_name.clone(),
        sku_name: line.sku_name.clone(),
        image: line.image.clone(),
        unit_price: money(line.unit_price_minor),
        quantity: line.quantity,
        gross: money(line.gross_minor),
        shares: share_views(line.shares(), money),
        net: money(line.net_minor),
        shipped: line.shipped,
        cancelled: line.cancelled,
        returned: line.returned,
        refundable: line.quantity - line.taken_back(),
        refunded: money(line.refunded_minor),
    }
}

fn address_view(address: Address) -> DeliveryAddress {
    DeliveryAddress {
        phone_masked: address.phone.masked(),
        region: format!("{}{}{}", address.province, address.city, address.district),
        recipient: address.recipient,
        detail: address.detail,
    }
}

fn quote_view(quote: &Quote) -> QuoteView {
    let money = |amount: i64| Money::new(amount, quote.currency);
    let priced = &quote.priced;
    let lines = priced.lines.iter().zip(&quote.offers).map(|(line, offer)| QuotedLine {
        sku_id: line.sku_id.clone(),
        product_id: offer.product_id.clone(),
        product_name: offer.product_name.clone(),
        sku_name: offer.sku_name.clone(),
        image: offer.image.clone(),
        unit_price: money(line.unit_price_minor),
        quantity: line.quantity,
        gross: money(line.gross_minor),
        shares: share_views(line.shares.clone(), money),
        net: money(line.net_minor),
    });
    QuoteView {
        store_id: quote.store_id.clone(),
        fulfilment: quote.fulfilment,
        lines: lines.collect(),
        goods: money(priced.goods_minor),
        discount: money(priced.discount_minor),
        freight: money(priced.freight_minor),
        payable: money(priced.total_minor),
        expires_at: rfc3339(quote.expires_ms),
        quote_token: quote.token.clone(),
    }
}

/// A quote as the member of a problem document.
pub(super) fn quote_json(quote: &Quote) -> Value {
    quote_view(quote).to_json().unwrap_or_default()
}

pub struct OrdersApi {
    pub ctx: Ctx,
}

impl OrdersApi {
    async fn view(&self, id: &OrderId) -> Result<OrderView> {
        let conn = &mut *self.ctx.db.reader().await?;
        let order = sql::find(conn, id).await?.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
        let lines = sql::find_lines(conn, id).await?;
        Ok(order_view(&self.ctx, &order, &lines))
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Orders")]
impl OrdersApi {
    /// Price what is wanted
    ///
    /// Prices the given lines, or the cart of the store, with coupons and freight, and says what each rule
    /// changed. Nothing is reserved. The `quote_token` is good for 15 minutes and for one order.
    ///
    /// Errors: `store_not_found`, `store_paused`, `fulfilment_not_offered`, `address_required`,
    /// `address_not_found`, `cart_empty`, `sku_not_sold`, `quantity_not_available`, `coupon_not_usable`.
    #[oai(path = "/quotes", method = "post", operation_id = "createQuote")]
    async fn create_quote(&self, auth: UserAuth, body: Body<QuoteInput>) -> Reply<Json<QuoteView>> {
        let input = body.into_inner();
        let wanted = |line: LineInput| WantedLine { sku_id: line.sku_id, quantity: line.quantity };
        let request = QuoteRequest {
            store_id: input.store_id,
            fulfilment: input.fulfilment,
            lines: input.lines.map(|lines| lines.into_iter().map(wanted).collect()),
            address_id: input.address_id,
            coupon_ids: input.coupon_ids.unwrap_or_default(),
        };
        Ok(Json(quote_view(&quote::quote(&self.ctx, &auth.0.user_id, &request).await?)))
    }

    /// Place an order
    ///
    /// Orders what the quote says: locks stock and coupon, and sets the time to pay. An order with nothing
    /// to pay is PAID at once. A second request with the same quote answers the same order.
    ///
    /// Errors: `quote_token_invalid`, `quote_changed` (with the new quote), `out_of_stock`,
    /// `coupon_not_usable`, and what POST /quotes answers when it can't be had any more.
    #[oai(path = "/orders", method = "post", operation_id = "placeOrder")]
    async fn place_order(
        &self,
        auth: UserAuth,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<PlaceInput>,
    ) -> Reply<Created<OrderView>> {
        let key = Key::new(&auth.actor(), "placeOrder", &key, body.raw())?;
        let placed =
            place::place(&self.ctx, &auth.0.user_id, &key, &body.quote_token, body.note.as_deref()).await?;
        Ok(Created::of(self.view(&placed.value.order_id).await?, &placed))
    }

    /// List my orders
    ///
    /// Newest first.
    #[oai(path = "/orders", method = "get", operation_id = "listOrders")]
    async fn list_orders(
        &self,
        auth: UserAuth,
        status: Query<Option<OrderStatus>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<OrderView>>> {
        let limit = Limit::parse(limit.0)?;
        let page = list::list(&self.ctx, &auth.0.user_id, status.0, cursor.0.as_ref(), limit).await?;
        let items = page.items.iter().map(|(order, lines)| order_view(&self.ctx, order, lines)).collect();
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// Count my orders by status
    ///
    /// Every status that occurs, with its number.
    #[oai(path = "/orders/counts", method = "get", operation_id = "countOrders")]
    async fn count_orders(&self, auth: UserAuth) -> Reply<Json<List<StatusCount>>> {
        let counts = list::counts(&self.ctx, &auth.0.user_id).await?;
        Ok(List::whole(counts.into_iter().map(|(status, count)| StatusCount { status, count }).collect()))
    }

    /// Cancel an unpaid order
    ///
    /// Releases stock and coupon. While a payment may be on its way the order is CLOSING until the channel
    /// has confirmed that it can't be paid any more.
    ///
    /// Errors: `order_not_found`, `order_not_cancellable`.
    #[oai(path = "/orders/:order_id/cancel", method = "post", operation_id = "cancelOrder")]
    async fn cancel_order(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<CancelInput>,
    ) -> Reply<Answer<OrderView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "cancelOrder", &key, &json!([order_id.0, body.raw()]))?;
        let done = cancel::cancel(&self.ctx, &actor, &key, &order_id, body.reason.as_deref()).await?;
        Ok(Answer::of(self.view(&order_id).await?, &done))
    }

    /// Confirm receipt
    ///
    /// Completes a shipped order and starts its after-sale window. With a refund open the order is completed
    /// when the refund has ended.
    ///
    /// Errors: `order_not_found`, `order_not_confirmable`.
    #[oai(path = "/orders/:order_id/confirm-receipt", method = "post", operation_id = "confirmReceipt")]
    async fn confirm_receipt(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<OrderView>> {
        let key = Key::new(&auth.actor(), "confirmReceipt", &key, &order_id.0)?;
        let done = complete::confirm_receipt(&self.ctx, &auth.0.user_id, &key, &order_id).await?;
        Ok(Answer::of(self.view(&order_id).await?, &done))
    }
}

//! Orders as staff sees and handles them.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::identity::Phone;
use crate::kernel::{
    Cursor, Failure, Limit, Moment, OrderId, OrderLineId, ProductId, Result, SkuId, StoreId, UserId,
};
use crate::order_views::{self, StaffOrder, StaffOrderDetail, Wanted};
use crate::orders::{self, Filter, Fulfilment, OrderStatus, ShipLine};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, List, Reply, Tag};
use crate::shipping::{self, Carrier, NewParcel, Tracking};
use crate::staff::{ROLE_NOT_ALLOWED, StaffAuth};
use crate::wechat::mini::Mini;

/// Units of a line that go into a parcel.
#[derive(Debug, Object)]
pub struct ShipLineInput {
    pub line_id: OrderLineId,
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

/// A parcel that is to be sent.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ParcelInput {
    /// An id of GET /admin/v1/carriers; absent, with `tracking_no`: the store's own courier.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub carrier: Option<String>,
    #[oai(validator(min_length = 1, max_length = 128))]
    pub tracking_no: Option<String>,
    /// Absent: all that is left to ship.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<ShipLineInput>>,
}

impl Example for ParcelInput {
    fn example() -> Self {
        Self { carrier: Some("SF".to_owned()), tracking_no: Some("SF1234567890123".to_owned()), lines: None }
    }
}

impl ParcelInput {
    fn parse(self) -> Result<NewParcel> {
        let line = |line: ShipLineInput| ShipLine { line_id: line.line_id, quantity: line.quantity };
        Ok(NewParcel {
            tracking: Tracking::parse(self.carrier.as_deref(), self.tracking_no.as_deref())?,
            lines: self.lines.map(|lines| lines.into_iter().map(line).collect()),
        })
    }
}

/// Why staff cancels an order.
#[derive(Debug, Object)]
#[oai(example)]
pub struct StaffCancelInput {
    /// For the timeline and the audit log.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for StaffCancelInput {
    fn example() -> Self {
        Self { reason: "顾客来电要求取消".to_owned() }
    }
}

/// Why an order is to be shipped after all.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ReleaseHoldInput {
    /// For the timeline and the audit log.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for ReleaseHoldInput {
    fn example() -> Self {
        Self { reason: "顾客改变主意，仍然要货".to_owned() }
    }
}

pub struct AdminOrdersApi {
    pub ctx: Ctx,
    pub mini: Mini,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Orders")]
impl AdminOrdersApi {
    /// List all orders
    ///
    /// Newest first, of the member's stores; everything that is given has to fit. `q` is one field for whatever
    /// somebody has at hand: an id (order, user, SKU, product, refund), a phone number, a number of a payment or a
    /// parcel, a code that is shown in the store, or a part of the name of goods. Names of goods are looked for in
    /// the last 31 days, or in the span of at most 92 that `placed_from` begins; SKU, product or fulfilment on top
    /// of other filters in the last 92 days, or from `placed_from` on. Codes are looked for by who may hand goods
    /// over, and after ten that nobody has not for a quarter of an hour. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `pickup_tries_exceeded`.
    #[oai(path = "/orders", method = "get", operation_id = "listAllOrders")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list_orders(
        &self,
        auth: StaffAuth,
        /// Whatever is known of the order.
        #[oai(validator(min_length = 1, max_length = 64))]
        q: Query<Option<String>>,
        /// Order id, out_trade_no, WeChat Pay's transaction id, or a tracking number; exact.
        #[oai(validator(min_length = 1, max_length = 128))]
        number: Query<Option<String>>,
        status: Query<Option<OrderStatus>>,
        fulfilment: Query<Option<Fulfilment>>,
        store_id: Query<Option<StoreId>>,
        user_id: Query<Option<UserId>>,
        /// The whole phone number, of the recipient or of the customer.
        #[oai(validator(min_length = 5, max_length = 20))]
        phone: Query<Option<String>>,
        /// The code that the customer shows in the store.
        #[oai(validator(min_length = 6, max_length = 16))]
        pickup_code: Query<Option<String>>,
        sku_id: Query<Option<SkuId>>,
        product_id: Query<Option<ProductId>>,
        /// A part of the name that a product or SKU had when it was ordered.
        #[oai(validator(min_length = 1, max_length = 64))]
        goods: Query<Option<String>>,
        /// Placed at or after this time (RFC 3339).
        placed_from: Query<Option<Moment>>,
        /// Placed before this time (RFC 3339).
        placed_until: Query<Option<Moment>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffOrder>>> {
        let phone = phone.0.map(|phone| Phone::parse(&phone)).transpose();
        let phone = phone.map_err(|error| Failure::invalid("phone", error.to_string()))?;
        let filter = Filter {
            scope: auth.scope().clone(),
            ids: None,
            status: status.0,
            fulfilment: fulfilment.0,
            store: store_id.0,
            user: user_id.0,
            phone: phone.map(|phone| phone.as_str().to_owned()),
            pickup_code: pickup_code.0,
            sku: sku_id.0,
            product: product_id.0,
            goods: goods.0,
            placed_from_ms: placed_from.0.map(|at| at.0),
            placed_until_ms: placed_until.0.map(|at| at.0),
        };
        let code_seeker = auth.may("verifyPickup").then(|| auth.0.id.clone());
        if filter.pickup_code.is_some() && code_seeker.is_none() {
            return Err(Failure::new(&ROLE_NOT_ALLOWED)
                .detail("Only who hands goods over looks for codes.")
                .into());
        }
        let wanted = Wanted { filter, q: q.0, number: number.0, code_seeker };
        let limit = Limit::parse(limit.0)?;
        let page = order_views::staff_list(&self.ctx, wanted, cursor.0.as_ref(), limit).await?;
        Ok(Json(List { items: page.items, next_cursor: page.next }))
    }

    /// One order
    ///
    /// With its customer, the whole timeline, attempts to pay, refunds, parcels, and what WeChat was told
    /// about them. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `order_not_found`.
    #[oai(path = "/orders/:order_id", method = "get", operation_id = "getOrderForStaff")]
    async fn get_order(&self, _auth: StaffAuth, order_id: Path<OrderId>) -> Reply<Json<StaffOrderDetail>> {
        Ok(Json(order_views::staff_detail(&self.ctx, &order_id).await?))
    }

    /// Ship a parcel
    ///
    /// Ships the given units, or all that is left, in one parcel; the order is PARTIALLY_SHIPPED or SHIPPED.
    /// What was paid through WeChat is reported to WeChat in the background, and the customer is told.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_shippable`, `quantity_not_shippable`,
    /// `carrier_unknown`, `parcel_exists`, `order_changed`.
    #[oai(path = "/orders/:order_id/ship", method = "post", operation_id = "shipOrder")]
    async fn ship_order(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<ParcelInput>,
    ) -> Reply<Created<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "shipOrder", &key, &json!([order_id.0, body.raw()]))?;
        let parcel = body.into_inner().parse()?;
        let done = shipping::ship(&self.ctx, &self.mini, &actor, &key, &order_id, &parcel).await?;
        Ok(Created::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// Cancel an unpaid order
    ///
    /// Releases stock and coupon, at once or as soon as the channel has confirmed that it can't be paid any
    /// more (CLOSING until then).
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_cancellable`, `order_changed`.
    #[oai(path = "/orders/:order_id/cancel", method = "post", operation_id = "cancelOrderByStaff")]
    async fn cancel_order(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<StaffCancelInput>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "cancelOrderByStaff", &key, &json!([order_id.0, body.raw()]))?;
        let done = orders::cancel(&self.ctx, &actor, &key, &order_id, Some(&body.reason)).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// Ship an order on hold after all
    ///
    /// Lifts the hold of an order that was cancelled and paid at the same moment, once its refund is over
    /// without the money having gone back.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_on_hold`, `order_changed`.
    #[oai(path = "/orders/:order_id/release-hold", method = "post", operation_id = "releaseOrderHold")]
    async fn release_hold(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<ReleaseHoldInput>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "releaseOrderHold", &key, &json!([order_id.0, body.raw()]))?;
        let done = orders::release_hold(&self.ctx, &actor, &key, &order_id, &body.reason).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// List the carriers
    ///
    /// The carriers that WeChat knows, at most a day old; while WeChat does not answer, the usual ones. Changes
    /// nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/carriers", method = "get", operation_id = "listCarriers")]
    async fn list_carriers(&self, _auth: StaffAuth) -> Reply<Json<List<Carrier>>> {
        Ok(List::whole(shipping::carriers(&self.ctx, &self.mini).await.list))
    }
}

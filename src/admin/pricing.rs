//! What staff writes on an order that is not paid yet: another price; and notes, at any time.

use poem_openapi::param::{Header, Path};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{Money, OrderId, OrderLineId};
use crate::order_views::{self, StaffOrderDetail};
use crate::orders::{self, LinePrice, NewPrices};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, Reply, Tag};
use crate::staff::StaffAuth;

/// A new price of a line.
#[derive(Debug, Object)]
pub struct LinePriceInput {
    pub line_id: OrderLineId,
    /// Of one unit, in the order's currency.
    pub unit_price: Money,
}

/// What an order is to cost.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RepriceInput {
    /// Of the order as it was seen.
    pub version: i64,
    /// Lines that are not named keep their price.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<LinePriceInput>>,
    /// Off all lines together; it takes the place of an earlier one. Absent: none.
    pub discount: Option<Money>,
    /// For the timeline and the audit log; the customer does not read it.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for RepriceInput {
    fn example() -> Self {
        Self {
            version: 1, lines: None, discount: Some(Money::cny(500)), reason: "包装有压痕".to_owned()
        }
    }
}

/// A note on an order.
#[derive(Debug, Object)]
#[oai(example)]
pub struct NoteInput {
    #[oai(validator(min_length = 1, max_length = 500))]
    pub text: String,
}

impl Example for NoteInput {
    fn example() -> Self {
        Self { text: "顾客周六来取，请留好礼盒袋".to_owned() }
    }
}

pub struct AdminPricingApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Orders")]
impl AdminPricingApi {
    /// Give an unpaid order another price
    ///
    /// New unit prices, a discount over the order, or both. What coupons took off stays as it was, and so does
    /// freight. With a payment open it is closed at the channel first, and the new price waits until then
    /// (`reprice_pending_to`); if it was paid meanwhile, the new price is dropped and an alert says so. The
    /// customer is told, and pays anew.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_repriceable`, `order_already_paid`,
    /// `payment_under_review`, `order_changed`.
    #[oai(path = "/orders/:order_id/reprice", method = "post", operation_id = "repriceOrder")]
    async fn reprice(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RepriceInput>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let key = Key::new(&auth.actor(), "repriceOrder", &key, &json!([order_id.0, body.raw()]))?;
        let body = body.into_inner();
        let line = |line: LinePriceInput| LinePrice { line_id: line.line_id, unit_price: line.unit_price };
        let prices = NewPrices {
            lines: body.lines.unwrap_or_default().into_iter().map(line).collect(),
            discount: body.discount,
            reason: body.reason,
        };
        let done = payments::reprice(&self.ctx, &auth.0.id, &key, &order_id, body.version, &prices).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// Write a note on an order
    ///
    /// For staff alone: it is in the order's timeline, and customers do not see it.
    ///
    /// Errors: `unauthenticated`, `order_not_found`.
    #[oai(path = "/orders/:order_id/notes", method = "post", operation_id = "addOrderNote")]
    async fn add_note(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<NoteInput>,
    ) -> Reply<Created<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "addOrderNote", &key, &json!([order_id.0, body.raw()]))?;
        let done = orders::add_note(&self.ctx, &actor, &key, &order_id, &body.text).await?;
        Ok(Created::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }
}

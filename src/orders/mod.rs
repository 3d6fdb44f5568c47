//! Orders: from a quote to the finished order.
//!
//! Owns the tables `orders`, `order_lines`, `order_timeline`, the transition table ([`state`]), and the
//! money and quantities that refunds reserve and settle. Stages the FIFO events of an order, and its
//! deadlines. A verb begins with [`hold`], which takes the order's row, so that what it reads stays true
//! until it commits; what it changes is changed conditionally all the same.

mod actions;
mod api;
mod cancel;
mod complete;
mod invariants;
mod list;
mod moves;
mod paid;
mod place;
mod quote;
mod quote_token;
mod refunding;
mod reveal;
mod search;
mod ship;
mod sql;
pub mod state;
mod sweep;

pub use actions::{Action, Actions, PAY_WINDOW_MS, actions};
pub use api::{DeliveryAddress, LineView, OrderView, OrdersApi, StatusCount, order_view};
pub use cancel::{cancel, close_confirmed, on_payment_deadline};
pub use complete::{complete_if_shipped, confirm_receipt, on_after_sale_ended, on_completion_due};
pub use invariants::{deadline_lag_ms, invariants, stuck};
pub use list::{Counts, counts, list};
pub use moves::{hold, record, stage};
pub use paid::{attempt_ended, attempt_opened, mark_paid, release_hold};
pub use place::{PlaceOutcome, delivery_address, place};
pub use quote::{Quote, QuoteRequest, WantedLine, quote};
pub use refunding::{
    LineRefund, Plan, RefundMoney, amount_of_units, count_open, orphan_refund_ended, plan, release_refund,
    reserve_freight, reserve_refund, settle_refund, take_compensation,
};
pub use reveal::{Recipient, reveal_recipients};
pub use search::{Filter, search};
pub use ship::{ShipLine, refusal_to_ship, ship_lines};
pub use sql::{count_to_ship, find, find_lines, find_owned, store_of, timeline};
pub use state::{OrderMove, OrderStatus};
pub use sweep::sweep;

use sqlx::FromRow;

use crate::kernel::{
    AttemptId, CouponId, Currency, Millis, OrderId, OrderLineId, ProductId, RefundId, SkuId, StoreId, UserId,
    codes, text_enum,
};
use crate::pricing::Share;

codes! {
    ORDER_NOT_FOUND: 404 "order_not_found" "There is no such order, or it is not yours.";
    FULFILMENT_NOT_OFFERED: 409 "fulfilment_not_offered" "This store does not offer that way of handing over.";
    STORE_PAUSED: 409 "store_paused" "The store takes no orders at the moment.";
    CART_EMPTY: 409 "cart_empty" "There is nothing to order: give lines, or put something into the cart.";
    QUANTITY_NOT_AVAILABLE: 409 "quantity_not_available" "There is not enough of it. `available` says how much there is.";
    ADDRESS_REQUIRED: 400 "address_required" "Delivery needs an address.";
    QUOTE_TOKEN_INVALID: 400 "quote_token_invalid" "This is no quote token that this shop gave to you.";
    QUOTE_CHANGED: 409 "quote_changed" "Prices, stock or coupons have changed since, or the quote has expired. `quote` is a new one.";
    ORDER_NOT_CANCELLABLE: 409 "order_not_cancellable" "Only an order that waits for payment can be cancelled. Ask for a refund instead.";
    ORDER_NOT_CONFIRMABLE: 409 "order_not_confirmable" "Receipt can be confirmed once everything is shipped.";
    ORDER_NOT_SHIPPABLE: 409 "order_not_shippable" "This order can't be shipped now: it is not paid, on hold, or has nothing left to ship.";
    QUANTITY_NOT_SHIPPABLE: 409 "quantity_not_shippable" "More than is left to ship of this line.";
    NO_RECIPIENT: 409 "no_recipient" "This order is not sent anywhere.";
    ORDER_CHANGED: 409 "order_changed" "Somebody changed this order at the same moment. Read it and try again.";
    HOLD_NOT_SET: 409 "order_not_on_hold" "This order is not on hold.";
    REFUND_OPEN: 409 "refund_open" "A refund of this order is open; what follows from it comes first.";
    REFUND_EXCEEDS_PAID: 409 "refund_exceeds_paid" "More than is left of what was paid.";
    QUANTITY_NOT_REFUNDABLE: 409 "quantity_not_refundable" "More than is left to refund of this line.";
}

text_enum! {
    /// How the goods reach the customer.
    pub enum Fulfilment {
        Delivery = "DELIVERY",
        Pickup = "PICKUP",
        InStore = "IN_STORE",
    }
}

text_enum! {
    pub enum PayStatus {
        Unpaid = "UNPAID",
        Authorized = "AUTHORIZED",
        Paid = "PAID",
    }
}

text_enum! {
    pub enum RefundStatus {
        None = "NONE",
        Partial = "PARTIAL",
        Full = "FULL",
    }
}

text_enum! {
    /// Why an order is closed.
    pub enum CloseReason {
        User = "user",
        Staff = "staff",
        Timeout = "timeout",
        Refunded = "refunded",
    }
}

/// An order. Money in minor units of `currency`.
#[derive(Debug, Clone, FromRow)]
pub struct Order {
    pub id: OrderId,
    pub user_id: UserId,
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub status: OrderStatus,
    pub close_reason: Option<CloseReason>,
    pub pay_status: PayStatus,
    pub refund_status: RefundStatus,
    pub currency: Currency,
    /// Σ net of the lines.
    pub goods_minor: i64,
    pub discount_minor: i64,
    pub freight_minor: i64,
    pub tax_minor: i64,
    /// goods + freight + tax = wallet + payable.
    pub total_minor: i64,
    pub wallet_minor: i64,
    pub payable_minor: i64,
    /// What came through the channel and belongs to this order.
    pub paid_minor: i64,
    pub refunded_minor: i64,
    pub refunding_minor: i64,
    pub freight_refunded_minor: i64,
    pub freight_refunding_minor: i64,
    pub coupon_id: Option<CouponId>,
    pub note: String,
    /// The address as it was when the order was placed, encrypted.
    pub address_sealed: Option<String>,
    /// The attempt that could be paid now.
    pub open_attempt: Option<AttemptId>,
    pub open_refunds: i64,
    /// The refund that took the order's one compensation coupon.
    pub compensation_refund: Option<RefundId>,
    /// Not to be shipped since then: cancelled and paid at the same moment.
    pub ship_hold_ms: Option<Millis>,
    pub placed_ms: Millis,
    pub pay_before_ms: Millis,
    pub paid_ms: Option<Millis>,
    pub closed_ms: Option<Millis>,
    pub shipped_ms: Option<Millis>,
    pub completed_ms: Option<Millis>,
    pub finished_ms: Option<Millis>,
    /// When it is completed by itself.
    pub complete_at_ms: Option<Millis>,
    /// Set while completion waits for the end of a refund.
    pub complete_due_ms: Option<Millis>,
    /// When the after-sale window ends.
    pub finish_at_ms: Option<Millis>,
    pub finish_due_ms: Option<Millis>,
    /// Rows of its timeline.
    pub version: i64,
    /// Its FIFO events.
    pub event_seq: i64,
}

/// A line of an order.
#[derive(Debug, Clone, FromRow)]
pub struct OrderLine {
    pub id: OrderLineId,
    pub position: i64,
    pub product_id: ProductId,
    pub sku_id: SkuId,
    pub product_name: String,
    pub sku_name: String,
    pub image: Option<String>,
    pub unit_price_minor: i64,
    pub quantity: i64,
    pub gross_minor: i64,
    pub net_minor: i64,
    pub tax_minor: i64,
    /// JSON of [`Share`]s.
    shares: String,
    pub shipped: i64,
    pub cancelled: i64,
    pub cancel_locked: i64,
    pub returned: i64,
    pub return_locked: i64,
    pub refunded_minor: i64,
    pub refunding_minor: i64,
}

impl OrderLine {
    pub fn shippable(&self) -> i64 {
        self.quantity - self.shipped - self.cancelled - self.cancel_locked
    }

    pub fn returnable(&self) -> i64 {
        self.shipped - self.returned - self.return_locked
    }

    /// Units that are refunded or being refunded.
    pub fn taken_back(&self) -> i64 {
        self.cancelled + self.cancel_locked + self.returned + self.return_locked
    }

    /// Which rule changed this line by how much.
    pub fn shares(&self) -> Vec<Share> {
        serde_json::from_str(&self.shares).unwrap_or_default()
    }
}

/// A row of an order's timeline.
#[derive(Debug, Clone, FromRow)]
pub struct TimelineRow {
    pub seq: i64,
    pub at_ms: Millis,
    pub actor_kind: String,
    pub actor_id: String,
    pub event: OrderMove,
    pub from_status: Option<OrderStatus>,
    pub to_status: OrderStatus,
    /// JSON.
    pub detail: String,
    pub request_id: String,
}

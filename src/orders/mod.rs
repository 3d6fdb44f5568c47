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
mod forget;
mod hand_over;
mod invariants;
mod list;
mod moves;
mod note;
mod paid;
mod pickup_code;
mod pickups;
mod place;
mod quote;
mod quote_token;
mod ready;
mod refunding;
mod reprice;
mod reveal;
mod search;
mod ship;
mod sql;
pub mod state;
mod sweep;

pub use actions::{Action, Actions, PAY_WINDOW_MS, actions};
pub use api::{DeliveryAddress, LineView, OrderView, OrdersApi, StatusCount, order_view};
pub use cancel::{cancel, close_confirmed, close_unanswered, on_payment_deadline};
pub use complete::{complete_if_shipped, confirm_receipt, on_after_sale_ended, on_completion_due};
pub use forget::{forget, hold_all};
pub use hand_over::{
    HandedOver, Shown, begin_code_search, code_search_found, exit_check, hand_over, hand_over_refusal, verify,
};
pub use invariants::{deadline_lag_ms, invariants, stuck};
pub use list::{Counts, counts, list};
pub use moves::{hold, record, stage};
pub use note::add_note;
pub use paid::{attempt_ended, attempt_opened, clear_hold, mark_paid, release_hold};
pub use pickups::{PickupStage, count_pickups, is_overdue, pickups};
pub use place::{PlaceOutcome, delivery_address, place};
pub use quote::{Quote, QuoteRequest, WantedLine, quote};
pub use ready::{on_pickup_reminder_due, ready};
pub use refunding::{
    LineRefund, Plan, RefundMoney, amount_of_units, apportion, count_open, freight_left, money_left,
    orphan_refund_ended, plan, release_refund, released, reserve_freight, reserve_refund, settle_refund,
    take_compensation,
};
pub use reprice::{LinePrice, NewPrices, Repriced, drop_pending, pending_payable_minor, reprice};
pub use reveal::{Recipient, reveal_recipients};
pub use search::{Filter, search};
pub use ship::{ShipLine, refusal_to_ship, ship_lines};
pub use sql::{
    count_to_ship, count_unanswered, find, find_lines, find_owned, has_ordered_in, store_of, timeline,
    timeline_of_request, unfinished,
};
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
    RECIPIENT_UNREADABLE: 409 "recipient_unreadable" "The address of this order can't be read: it is damaged, or was written under a master key that is gone. Ask the customer.";
    ORDER_NOT_REPRICEABLE: 409 "order_not_repriceable" "Only an order that waits for payment can get another price.";
    READY_NOT_POSSIBLE: 409 "ready_not_possible" "Only a paid order that is to be fetched is made ready, once, and not while it is on hold or all of it is refunded.";
    PICKUP_CODE_UNKNOWN: 404 "pickup_code_unknown" "No order of this store has this code.";
    PICKUP_TRIES_EXCEEDED: 429 "pickup_tries_exceeded" "Too many codes that open nothing. Wait for `Retry-After` seconds.";
    ALREADY_HANDED_OVER: 409 "already_handed_over" "These goods were handed over before; `handed_over_at` says when.";
    HAND_OVER_NOT_POSSIBLE: 409 "hand_over_not_possible" "This order can't be handed over now: it is not paid, was refunded, is on hold, or is sent in parcels. Goods that wait to be fetched are handed over by their code.";
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
    /// What the customer shows in the store, from payment on.
    pub pickup_code: Option<String>,
    /// The same while it opens something.
    pub pickup_code_open: Option<String>,
    /// Since when it can be fetched.
    pub ready_ms: Option<Millis>,
    /// When the next reminder to fetch it is due.
    pub pickup_next_ms: Option<Millis>,
    /// Why staff cancelled it, as the customer reads it.
    pub close_note: Option<String>,
    /// JSON of a new price that waits for the open attempt to be closed.
    pending_reprice: Option<String>,
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

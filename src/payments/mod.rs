//! Payments: attempts to pay an order through a channel, and what the channel says became of them.
//!
//! Owns `payment_attempts` and `payment_records`. Consumes `OrderClosing` (closes at the channel before
//! anything of the order is released); stages `PaymentFailed` and `PaymentOrphaned`. Money is believed
//! only from a verified notice or an answer to a query, and either is an inbox row first.

mod api;
mod callbacks;
mod client_result;
mod close;
mod decide;
mod forget;
mod invariants;
mod provider;
mod reprice;
mod settle;
mod sql;
mod start;
mod unanswered;
mod worker;

pub use api::{AttemptView, PaymentsApi, attempt_views, can_pay};
pub use callbacks::receive;
pub use close::on_order_closing;
pub use decide::{Decision, decide};
pub use forget::forget;
pub use invariants::invariants;
pub use provider::{
    ChannelError, PAYMENT_NEWS, PaidNews, Provider, REFUND_NEWS, RefundNews, RefundRequest, RefundState,
    Standing,
};
pub use reprice::{RepriceOutcome, reprice};
pub use settle::settle_notice;
pub use sql::{
    Arrived, ArrivedFilter, Attempt, by_id, by_number, by_transaction, count_mismatched, list_arrived,
    of_order, paid_attempt, record_of, unsettled,
};
pub use start::start;
pub use unanswered::{UNANSWERED_AFTER_MS, confirm_close, decline_close, propose_close};
pub use worker::{next_due, tick};

use crate::kernel::{Millis, codes, minute_ms, text_enum};

codes! {
    ORDER_NOT_PAYABLE: 409 "order_not_payable" "This order does not wait for payment.";
    ORDER_ALREADY_PAID: 409 "order_already_paid" "This order is paid.";
    PAYMENT_WINDOW_CLOSING: 409 "payment_window_closing" "Less than 90 seconds are left to pay; no payment is started any more.";
    PAYMENT_UNDER_REVIEW: 409 "payment_under_review" "A payment of this order does not match it and is looked at by a person.";
    PAYMENT_CLOSING: 409 "payment_closing" "An earlier payment of this order is being closed. Try again in a moment.";
    PAYMENT_REFUSED: 502 "payment_refused" "The payment channel refused to start this payment.";
    PAYMENT_CHANNEL_UNAVAILABLE: 503 "payment_channel_unavailable" "The payment channel does not answer. Repeat the request: it can't be paid twice.";
    CURRENCY_NOT_PAYABLE: 409 "currency_not_payable" "No configured payment channel takes the currency of this order.";
    SIGNATURE_INVALID: 401 "signature_invalid" "The notice is not signed by the payment channel, or is too old.";
    PAYMENT_NOT_FOUND: 404 "payment_not_found" "There is no such payment attempt.";
    PAYMENT_NOT_DECIDABLE: 409 "payment_not_decidable" "Only a mismatched payment is decided by a person, and only once. It can pay the order only if its amount and currency are what the order asks for, and is NOT_OURS only if another merchant got the money.";
    ORDER_NOT_UNANSWERED: 409 "order_not_unanswered" "Only an order that is CLOSING, a day after its time to pay, is closed without the channel's answer.";
    NO_OPENID: 409 "wechat_account_required" "Paying with WeChat needs a WeChat sign-in of this mini-program.";
}

text_enum! {
    /// Where an attempt stands.
    pub enum AttemptStatus {
        /// Made here; the channel may or may not know it.
        Created = "CREATED",
        /// The client can pay.
        Prepaid = "PREPAID",
        /// To be closed at the channel.
        Closing = "CLOSING",
        /// Proved: it can't be paid any more.
        Closed = "CLOSED",
        /// The channel refused to start it.
        Failed = "FAILED",
        Succeeded = "SUCCEEDED",
        /// Paid, and the order could not take it: it goes back in full.
        Orphan = "ORPHAN",
        /// Paid, and not what was asked for: a person decides.
        Mismatch = "MISMATCH",
    }
}

text_enum! {
    /// Which channel.
    pub enum ProviderKind {
        WechatPay = "WECHAT_PAY",
    }
}

/// What the verbs need beside the context: the channel and how it reaches us.
#[derive(Clone)]
pub struct Channel {
    pub provider: Provider,
    /// Base URL of our callbacks.
    pub public_url: String,
}

/// How long a claimed attempt is left to the one who claimed it.
pub const LEASE_MS: Millis = 30_000;

/// How long until the channel is asked again when it gave no answer at all: half of the time that its word has
/// been waited for, between these. The schedules are for a channel that answers "not yet".
const UNANSWERED_MS: (Millis, Millis) = (5_000, 60_000);

/// The pause after a question without an answer, of something that was asked for `age_ms` ago.
pub fn unanswered_pause_ms(age_ms: Millis) -> Millis {
    (age_ms / 2).clamp(UNANSWERED_MS.0, UNANSWERED_MS.1)
}

/// An attempt is queried this long after it was made; after these at its deadline.
const QUERY_AFTER_MS: [Millis; 4] = [5_000, 30_000, minute_ms(2), minute_ms(10)];

//! Refunds: asked for, approved, submitted to the channel, settled.
//!
//! Owns `refunds`, `refund_lines`, `refund_submissions`, `refund_submission_parts`. Consumes
//! `PaymentOrphaned` and `CancelledOrderPaid`; publishes `RefundSettled` in the settling transaction itself
//! (a half message), and `RefundRequested` / `RefundRejected` with the order's events. Whatever proves the
//! end of a refund is an inbox row first, and only the inbox worker settles.

mod api;
mod by_system;
mod decide;
mod invariants;
mod request;
mod settle;
mod sql;
mod submit;
mod worker;

pub use api::{RefundView, RefundsApi, refund_view, refund_views};
pub use by_system::{on_cancelled_order_paid, on_payment_orphaned};
pub use decide::{approve, reject, retry, withdraw};
pub use invariants::{invariants, levels, stuck};
pub use request::request;
pub use settle::{NO_MONEY, settle_notice};
pub use sql::{Refund, RefundLine, by_id, count, find_lines, list, of_order};
pub use worker::{next_due, tick};

use crate::kernel::{Millis, codes, minute_ms, text_enum};

codes! {
    REFUND_NOT_FOUND: 404 "refund_not_found" "There is no such refund, or it is not yours.";
    ORDER_NOT_PAID: 409 "order_not_paid" "Nothing was paid for this order; it can be cancelled instead.";
    ORDER_NOT_REFUNDABLE: 409 "order_not_refundable" "This order is closed, or its after-sale window is over.";
    REFUND_NOT_DECIDABLE: 409 "refund_not_decidable" "This refund was decided before.";
    REFUND_NOT_WITHDRAWABLE: 409 "refund_not_withdrawable" "This refund is approved or over; it can't be withdrawn any more.";
    REFUND_NOT_RETRYABLE: 409 "refund_not_retryable" "This refund does not wait for the channel.";
    RECEIVED_GOODS_REQUIRED: 400 "goods_condition_required" "Goods come back with this refund: say whether they can be sold again.";
}

text_enum! {
    /// Where a refund stands.
    pub enum RefundState {
        Requested = "REQUESTED",
        /// The goods must come back first.
        AwaitingReturn = "AWAITING_RETURN",
        /// To be submitted to the channel.
        Approved = "APPROVED",
        Submitted = "SUBMITTED",
        Processing = "PROCESSING",
        Succeeded = "SUCCEEDED",
        Rejected = "REJECTED",
        Withdrawn = "WITHDRAWN",
        /// The channel can't pay it out; a person must act.
        Abnormal = "ABNORMAL",
        /// The channel closed it without paying; it is submitted again under a new number.
        Closed = "CLOSED",
        /// Only people can end it.
        Manual = "MANUAL",
        GivenUp = "GIVEN_UP",
    }
}

text_enum! {
    /// Who wanted a refund, or why there is one.
    pub enum RefundKind {
        User = "USER",
        Staff = "STAFF",
        /// Money that no order could take.
        Orphan = "ORPHAN",
        /// Made in the channel's own console.
        External = "EXTERNAL",
    }
}

text_enum! {
    /// Whose fault it was.
    pub enum Fault {
        None = "NONE",
        Merchant = "MERCHANT",
    }
}

impl RefundState {
    /// Does it still hold money or goods?
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Rejected | Self::Withdrawn | Self::GivenUp)
    }
}

/// WeChat Pay takes at most this many refunds of one payment, this far apart, this long after it.
const PARTS_MAX: i64 = 50;
const SPACING_MS: Millis = minute_ms(1);
const PAYMENT_AGE_MAX_MS: Millis = crate::kernel::day_ms(365);
/// How often a refund that the channel closed is submitted again by itself.
const CLOSED_MAX: i64 = 3;
/// How long the merchant's refunds rest when the channel says that the account does not allow them.
const PAUSE_MS: Millis = minute_ms(10);

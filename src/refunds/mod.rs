//! Refunds: asked for, approved, submitted to the channel, settled.
//!
//! Owns `refunds`, `refund_lines`, `refund_submissions`, `refund_submission_parts`, `refund_photos`,
//! `refund_discrepancies`. Consumes `PaymentOrphaned`, `CancelledOrderPaid` and its own `ReturnDue`; publishes
//! `RefundSettled` in the settling transaction itself (a half message), and `RefundRequested`,
//! `RefundRejected`, `ReturnRequired`, `RefundDropped` with the order's events. Whatever proves the end of a
//! refund is an inbox row first, and only the inbox worker settles. What the merchant refunded in the
//! channel's own console is adopted (`adopt.rs`).

mod adopt;
mod amounts;
mod api;
mod by_people;
mod by_system;
mod decide;
mod discrepancies;
mod forget;
mod invariants;
mod photos;
mod request;
mod returns;
mod settle;
mod sql;
mod start;
mod submit;
mod sweep;
mod view;
mod worker;

pub use amounts::{Wanted, What};
pub use api::RefundsApi;
pub use by_people::{StaffEvidence, confirm_proposal, decline_proposal, propose_give_up, propose_proof};
pub use by_system::{on_cancelled_order_paid, on_payment_orphaned};
pub use decide::{Approval, Condition, approve, receive, reject, retry, withdraw};
pub use discrepancies::{adopt_again, close as close_discrepancy};
pub use forget::forget;
pub use invariants::{invariants, levels, stuck};
pub use photos::{photo_for_staff, upload as upload_photo};
pub use request::{Requested, request};
pub use returns::{on_return_due, require_return};
pub use settle::{NO_MONEY, PROOF, settle_notice};
pub use sql::{
    Discrepancy, ListFilter, Refund, RefundLine, Submission, by_id, discrepancies, discrepancy, find_lines,
    list, of_order, of_orphans, refund_of_photo, submissions, unanswered_orphans, unsettled, with_lines,
};
pub use start::{StaffRefund, Take, start};
pub use submit::{PAUSED_ALERT, look_up};
pub use sweep::sweep;
pub use view::{RefundView, refund_view, refund_views};
pub use worker::{next_due, tick};

use crate::kernel::{Millis, Result, codes, minute_ms, text_enum};
use crate::platform::db::Conn;
use crate::staff::StoreScope;

codes! {
    REFUND_NOT_FOUND: 404 "refund_not_found" "There is no such refund, or it is not yours.";
    ORDER_NOT_PAID: 409 "order_not_paid" "Nothing was paid for this order; it can be cancelled instead.";
    ORDER_NOT_REFUNDABLE: 409 "order_not_refundable" "This order is closed, or its after-sale window is over.";
    REFUND_NOT_DECIDABLE: 409 "refund_not_decidable" "This refund was decided before.";
    REFUND_NOT_WITHDRAWABLE: 409 "refund_not_withdrawable" "This refund is approved or over; it can't be withdrawn any more.";
    REFUND_NOT_RETRYABLE: 409 "refund_not_retryable" "This refund does not wait for the channel.";
    NOTHING_TO_RETURN: 409 "nothing_to_return" "No goods come back with this refund, or they are not waited for.";
    NOT_DECIDED_BY_PEOPLE: 409 "refund_not_for_people" "Only a refund that the channel can't end takes the decision of two people; and money that may still come from the channel keeps it from being given up.";
    FREIGHT_NOT_REFUNDABLE: 409 "freight_not_refundable" "Staff gives back freight only when the merchant is at fault, and only once.";
    PHOTO_NOT_FOUND: 404 "photo_not_found" "There is no such photo, it is not yours, or it belongs to another refund already.";
    TOO_MANY_PHOTOS: 409 "too_many_photos" "Too many photos are uploaded and not used; they are forgotten after a day.";
    DISCREPANCY_NOT_FOUND: 404 "discrepancy_not_found" "There is no such discrepancy that waits for a person.";
    DISCREPANCY_NOT_ADOPTABLE: 409 "discrepancy_not_adoptable" "This is no refund of the channel that could be adopted; look into it, and close it with a note.";
    REFUND_UNKNOWN_AT_CHANNEL: 404 "refund_unknown_at_channel" "The payment channel knows no refund of this number.";
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
    /// Why a customer wants their money back.
    pub enum RefundReason {
        ChangedMind = "CHANGED_MIND",
        WrongItem = "WRONG_ITEM",
        Damaged = "DAMAGED",
        NotAsDescribed = "NOT_AS_DESCRIBED",
        Missing = "MISSING",
        Late = "LATE",
        Other = "OTHER",
    }
}

impl RefundReason {
    /// In the customer's words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ChangedMind => "不想要了",
            Self::WrongItem => "商品发错了",
            Self::Damaged => "商品破损",
            Self::NotAsDescribed => "商品与描述不符",
            Self::Missing => "商品少件",
            Self::Late => "迟迟没有收到",
            Self::Other => "其他原因",
        }
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

/// How much of refunds waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Requests that nobody has decided.
    pub to_decide: i64,
    /// Returns that were sent and nobody has looked at.
    pub returns_to_check: i64,
    /// Those that only people can end.
    pub manual: i64,
    pub discrepancies: i64,
}

/// What of refunds of these stores waits for a person.
///
/// # Errors
/// The database.
pub async fn waiting(conn: &mut Conn, scope: &StoreScope) -> Result<Waiting> {
    Ok(Waiting {
        to_decide: sql::count_requested(conn, scope).await?,
        returns_to_check: sql::count_returns(conn, scope).await?,
        manual: sql::count_manual(conn, scope).await?,
        discrepancies: sql::count_discrepancies(conn, scope).await?,
    })
}

/// WeChat Pay takes at most this many refunds of one payment, this far apart, this long after it.
const PARTS_MAX: i64 = 50;
/// From so many on, refunds of a payment that wait go out together under one number.
const MERGE_FROM: i64 = 40;
const SPACING_MS: Millis = minute_ms(1);
const PAYMENT_AGE_MAX_MS: Millis = crate::kernel::day_ms(365);
/// How often a refund that the channel closed is submitted again by itself.
const CLOSED_MAX: i64 = 3;
/// How long the merchant's refunds rest when the channel says that the account does not allow them.
const PAUSE_MS: Millis = minute_ms(10);

//! Coupons: templates, coupons, and every move that a coupon makes.
//!
//! Tables: `coupon_templates`, `coupons`, `coupon_moves`.
//! Events: takes `UserRegistered` (new-user coupon) and `RefundSettled` (return, compensation); sends none.
//!
//! What holds:
//! - UNUSED → LOCKED(order) → USED; LOCKED or USED → UNUSED or EXPIRED; UNUSED → EXPIRED; UNUSED, EXPIRED →
//!   VOID. A coupon that is voided while an order holds it is marked, and becomes VOID when it comes back.
//! - Each move is one conditional update and one row with a cause that is unique.
//! - A claim takes one of `remaining` and is under UNIQUE(template, user, seq) with seq ≤ limit. A grant is
//!   under UNIQUE(source, source_id), has no seq, and touches neither.
//! - The last day of a coupon ends at the next midnight of its zone.

mod api;
mod check;
mod claim;
mod forget;
mod grant;
mod hold;
mod sql;
mod subscriptions;
mod sweep;
mod template;
mod usable;
mod validity;
mod view;
mod void;

use serde_json::Value;
use sqlx::FromRow;

pub use api::{CouponBenefit, CouponTemplateView, CouponValidity, CouponView, CouponsApi};
pub use check::invariants;
pub use claim::claim;
pub use forget::forget;
pub use grant::{Granted, grant, grant_by_staff};
pub use hold::{consume, give_back, lock, release};
pub use subscriptions::{on_refund_settled, on_user_registered};
pub use sweep::sweep;
pub use template::{
    Claimable, Issue, NewTemplate, Template, TemplateEdit, claimable, create_template, edit_template,
    find_template, list_templates,
};
pub use usable::{Unusable, Usable, Wanted, terms, usable, used_by};
pub use validity::Validity;
pub use view::{CouponDetail, find, list};
pub use void::void;

use crate::kernel::{CouponId, CouponTemplateId, Failure, Millis, OrderId, UserId, codes, text_enum};
use crate::pricing::Unmet;

codes! {
    TEMPLATE_NOT_FOUND: 404 "coupon_template_not_found" "There is no such coupon template, or it is not one to claim.";
    TEMPLATE_PAUSED: 409 "coupon_template_paused" "This coupon is not handed out at the moment.";
    TEMPLATE_ENDED: 409 "coupon_template_ended" "The time in which this coupon is valid is over.";
    SOLD_OUT: 409 "coupon_sold_out" "All coupons of this template are taken.";
    LIMIT_REACHED: 409 "coupon_limit_reached" "You have claimed as many of this coupon as one person may.";
    TOTAL_TOO_SMALL: 409 "coupon_total_too_small" "More coupons than that are claimed already.";
    LIMIT_LOWERED: 409 "coupon_limit_lowered" "The limit per person can only be raised: somebody may have claimed that many.";
    COUPON_NOT_FOUND: 404 "coupon_not_found" "There is no such coupon.";
    NOT_USABLE: 409 "coupon_not_usable" "The coupon can't be used here now; `reason` says why.";
    VOID_ALREADY: 409 "coupon_void_already" "The coupon is void already, or will be when its order gives it back.";
}

text_enum! {
    /// Where a coupon stands.
    pub enum CouponStatus {
        Unused = "UNUSED",
        /// Held by an order that is not paid.
        Locked = "LOCKED",
        Used = "USED",
        Expired = "EXPIRED",
        /// Taken away.
        Void = "VOID",
    }
}

text_enum! {
    /// What made a coupon.
    pub enum Source {
        /// The first login; the source's id is the user.
        NewUser = "new_user",
        /// A settled refund; its id.
        Refund = "refund",
        /// The user; the id is the coupon itself.
        Claim = "claim",
        /// A staff member; the id is of that one gift.
        Staff = "staff",
    }
}

text_enum! {
    /// How a coupon's discount is reckoned.
    pub enum BenefitKind {
        Amount = "AMOUNT",
        Percent = "PERCENT",
    }
}

text_enum! {
    /// Does a coupon go with others?
    pub enum Stacking {
        /// With none.
        Exclusive = "EXCLUSIVE",
        /// With one of every other group.
        OnePerGroup = "GROUP",
    }
}

text_enum! {
    /// Why a coupon can't be used for a basket.
    pub enum Reason {
        Used = "used",
        Locked = "locked",
        Expired = "expired",
        NotYetValid = "not_yet_valid",
        Void = "void",
        /// The goods that it is for do not reach its threshold.
        Threshold = "threshold_not_met",
        /// It is for other goods.
        OtherGoods = "other_goods",
        OtherStore = "other_store",
        OtherCurrency = "other_currency",
        /// It does not go with another coupon that was named.
        CannotCombine = "cannot_combine",
        /// It would take nothing off.
        NoEffect = "no_effect",
    }
}

text_enum! {
    /// What happened to a coupon.
    pub enum MoveKind {
        Granted = "GRANTED",
        Locked = "LOCKED",
        Used = "USED",
        /// The order was cancelled before it was paid.
        Released = "RELEASED",
        /// The order was refunded.
        GivenBack = "GIVEN_BACK",
        Expired = "EXPIRED",
        Voided = "VOIDED",
        /// To be void once its order gives it back.
        Marked = "MARKED",
    }
}

/// A coupon of a user.
#[derive(Debug, Clone, FromRow)]
pub struct Coupon {
    pub id: CouponId,
    pub template_id: CouponTemplateId,
    pub user_id: UserId,
    pub status: CouponStatus,
    /// The how many-th that the user claimed; `None` when it was granted.
    pub seq: Option<i64>,
    pub source: Source,
    pub source_id: String,
    /// The order that holds or used it.
    pub order_id: Option<OrderId>,
    pub valid_from_ms: Millis,
    /// The first millisecond at which it is not valid any more.
    pub valid_until_ms: Millis,
    /// Since when it is to be void once it comes back.
    pub void_when_back_ms: Option<Millis>,
    pub created_ms: Millis,
}

impl Coupon {
    /// Why nobody can use it now, whatever the basket.
    pub fn why_not(&self, now_ms: Millis) -> Option<Reason> {
        match self.status {
            CouponStatus::Unused if now_ms < self.valid_from_ms => Some(Reason::NotYetValid),
            CouponStatus::Unused if now_ms >= self.valid_until_ms => Some(Reason::Expired),
            CouponStatus::Unused => None,
            CouponStatus::Locked => Some(Reason::Locked),
            CouponStatus::Used => Some(Reason::Used),
            CouponStatus::Expired => Some(Reason::Expired),
            CouponStatus::Void => Some(Reason::Void),
        }
    }

    /// The status as a person sees it: expired at its end, not when the sweep comes by.
    pub fn status_at(&self, now_ms: Millis) -> CouponStatus {
        match self.status {
            CouponStatus::Unused if now_ms >= self.valid_until_ms => CouponStatus::Expired,
            status => status,
        }
    }
}

/// `coupon_not_usable` with its reason.
fn not_usable(coupon: &CouponId, reason: Reason) -> Failure {
    Failure::new(&NOT_USABLE)
        .detail(format!("Coupon {coupon} can't be used: {}.", reason.as_str().replace('_', " ")))
        .with("coupon_id", Value::from(coupon.as_str()))
        .with("reason", Value::from(reason.as_str()))
}

/// What a basket says of a coupon, in the words of this feature; `None`: it is not about a coupon.
fn reason_of(unmet: &Unmet) -> Option<(&CouponId, Reason)> {
    match unmet {
        Unmet::Threshold { coupon_id, .. } => Some((coupon_id, Reason::Threshold)),
        Unmet::OtherGoods { coupon_id } => Some((coupon_id, Reason::OtherGoods)),
        Unmet::CannotCombine { coupon_id } => Some((coupon_id, Reason::CannotCombine)),
        Unmet::NoEffect { coupon_id } => Some((coupon_id, Reason::NoEffect)),
        Unmet::OutOfRange => None,
    }
}

impl From<Unmet> for Failure {
    fn from(unmet: Unmet) -> Self {
        match (reason_of(&unmet), &unmet) {
            (Some((coupon, reason)), Unmet::Threshold { missing_minor, .. }) => {
                not_usable(coupon, reason).with("missing_minor", Value::from(*missing_minor))
            }
            (Some((coupon, reason)), _) => not_usable(coupon, reason),
            (None, _) => Failure::invalid("/lines", "the amount is larger than an order can be"),
        }
    }
}

/// A move, for its row.
struct Move<'a> {
    coupon: &'a CouponId,
    order: Option<&'a OrderId>,
    kind: MoveKind,
    from: Option<CouponStatus>,
    to: CouponStatus,
}

impl Move<'_> {
    /// What makes this move happen at most once.
    fn cause(&self) -> String {
        match self.order {
            Some(order) => format!("{}:{}:{order}", self.kind, self.coupon),
            None => format!("{}:{}", self.kind, self.coupon),
        }
    }
}

//! Asking for a refund: units and money are reserved at once, so that nobody else can take them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::amounts::{self, Wanted};
use super::photos;
use super::sql::{self, Refund};
use super::{Fault, ORDER_NOT_PAID, ORDER_NOT_REFUNDABLE, RefundKind, RefundReason, decide};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, RefundId, RefundPhotoId, Result, UserId};
use crate::orders::{
    self, LineRefund, ORDER_NOT_FOUND, Order, OrderMove, OrderStatus, PayStatus, RefundMoney,
};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// What a customer asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// `None`: everything that is left.
    pub lines: Option<Vec<Wanted>>,
    pub reason_code: RefundReason,
    /// In the customer's words; empty: those of the list.
    pub reason: String,
    pub photos: Vec<RefundPhotoId>,
}

/// Which refund it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Requested {
    pub refund_id: RefundId,
}

/// A customer asks for a refund of their own order. Where nothing is shipped the system approves it, if
/// the configuration says so.
///
/// # Errors
/// `order_not_found`, `order_not_paid`, `order_not_refundable`, `quantity_not_refundable`, `photo_not_found`.
pub async fn request(
    ctx: &Ctx,
    user: &UserId,
    key: &Key,
    id: &OrderId,
    wish: &Wish,
) -> Result<Done<Requested>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, id).await?;
            if order.user_id != *user {
                return Err(Failure::new(&ORDER_NOT_FOUND));
            }
            if order.pay_status != PayStatus::Paid {
                return Err(Failure::new(&ORDER_NOT_PAID));
            }
            if matches!(order.status, OrderStatus::Closed | OrderStatus::Finished) {
                return Err(Failure::new(&ORDER_NOT_REFUNDABLE));
            }
            let lines = orders::find_lines(tx, id).await?;
            let parts = match &wish.lines {
                Some(wanted) => amounts::parts(&lines, wanted)?,
                None => amounts::parts(&lines, &amounts::everything(&lines)?)?,
            };
            let parts = amounts::below_minimum(tx, ctx, &order, &lines, parts).await?;
            let reason = if wish.reason.is_empty() { wish.reason_code.text() } else { wish.reason.as_str() };
            let draft = Draft {
                reason_code: Some(wish.reason_code),
                photos: serde_json::to_string(&wish.photos)
                    .map_err(|e| Failure::internal("writing a refund", e))?,
                ..Draft::new(RefundKind::User, reason)
            };
            let actor = Actor::User(user.clone());
            let refund = open(tx, ctx, &mut order, &actor, draft, &parts).await?;
            let refund = refund.ok_or_else(|| Failure::internal("requesting a refund", "its id is taken"))?;
            photos::attach(tx, &actor, &refund.id, &wish.photos).await?;
            let untouched = lines.iter().all(|line| line.shipped == 0);
            if untouched && ctx.config.refunds.auto_approve_before_shipping {
                decide::approve_held(tx, ctx, &mut order, &refund, &Actor::System("refund_policy"), "")
                    .await?;
            }
            Ok(Requested { refund_id: refund.id })
        })
    })
    .await
}

/// What somebody wants of a refund, beside its lines.
pub(super) struct Draft<'a> {
    pub kind: RefundKind,
    /// What the system makes it for.
    pub cause: Option<String>,
    pub reason_code: Option<RefundReason>,
    pub reason: &'a str,
    /// JSON list of ids.
    pub photos: String,
    pub fault: Fault,
    /// Freight that goes back with it whatever else is refunded.
    pub freight_minor: i64,
}

impl<'a> Draft<'a> {
    pub fn new(kind: RefundKind, reason: &'a str) -> Self {
        Self {
            kind,
            cause: None,
            reason_code: None,
            reason,
            photos: "[]".to_owned(),
            fault: Fault::None,
            freight_minor: 0,
        }
    }
}

/// Opens a refund on a held order and reserves what it takes. `None`: there is one for this cause already.
pub(super) async fn open(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    draft: Draft<'_>,
    parts: &[LineRefund],
) -> Result<Option<Refund>> {
    let freight_minor = draft.freight_minor;
    let amount_minor = parts.iter().map(|part| part.money_minor).sum::<i64>() + freight_minor;
    let paid_by = payments::paid_attempt(tx, &order.id).await?;
    let refund = Refund {
        cause: draft.cause,
        reason_code: draft.reason_code,
        photos: draft.photos,
        fault: draft.fault,
        ..Refund::of_order(
            ctx,
            order,
            draft.kind,
            paid_by.map(|attempt| attempt.id),
            draft.reason,
            RefundMoney { amount_minor, freight_minor },
        )
    };
    if !sql::insert(tx, &refund).await? {
        return Ok(None);
    }
    for part in parts {
        sql::insert_line(tx, &refund.id, part).await?;
    }
    orders::reserve_refund(tx, order, parts, RefundMoney { amount_minor, freight_minor }).await?;
    let detail = json!({ "refund": refund.id, "amount_minor": amount_minor, "reason": refund.reason });
    orders::record(tx, ctx, order, OrderMove::RefundRequested, actor, detail).await?;
    let event = Event::RefundRequested {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        refund_id: refund.id.clone(),
    };
    orders::stage(tx, ctx, order, event).await?;
    Ok(Some(refund))
}

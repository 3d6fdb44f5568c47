//! Asking for a refund: units and money are reserved at once, so that nobody else can take them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sql::{self, Refund};
use super::{Fault, ORDER_NOT_PAID, ORDER_NOT_REFUNDABLE, RefundKind, RefundState, decide};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, OrderLineId, RefundId, Result, UserId};
use crate::orders::{
    self, LineRefund, ORDER_NOT_FOUND, Order, OrderLine, OrderMove, OrderStatus, PayStatus,
    QUANTITY_NOT_REFUNDABLE, RefundMoney,
};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// Units of one line that are to be refunded.
#[derive(Debug, Clone)]
pub struct WantedUnits {
    pub line_id: OrderLineId,
    pub quantity: i64,
}

/// What a customer asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// `None`: everything that is left.
    pub lines: Option<Vec<WantedUnits>>,
    pub reason: String,
    pub photos: Vec<String>,
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
/// `order_not_found`, `order_not_paid`, `order_not_refundable`, `quantity_not_refundable`.
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
            let parts = parts(&lines, wish.lines.as_deref())?;
            let draft = Draft {
                kind: RefundKind::User,
                cause: None,
                reason: wish.reason.clone(),
                photos: serde_json::to_string(&wish.photos)
                    .map_err(|e| Failure::internal("writing a refund", e))?,
            };
            let actor = Actor::User(user.clone());
            let refund = open(tx, ctx, &mut order, &actor, draft, &parts).await?;
            let Some(refund) = refund else {
                return Err(Failure::internal("requesting a refund", "its id was given twice"));
            };
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

/// What the system or a person wants of a refund, beside its lines.
pub(super) struct Draft {
    pub kind: RefundKind,
    pub cause: Option<String>,
    pub reason: String,
    pub photos: String,
}

/// Opens a refund on a held order and reserves what it takes. `None`: there is one for this cause already.
pub(super) async fn open(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    draft: Draft,
    parts: &[LineRefund],
) -> Result<Option<Refund>> {
    let amount_minor = parts.iter().map(|part| part.money_minor).sum();
    let paid_by = payments::paid_attempt(tx, &order.id).await?;
    let refund = Refund {
        id: ctx.new_id(),
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        attempt_id: paid_by.map(|attempt| attempt.id),
        kind: draft.kind,
        status: RefundState::Requested,
        cause: draft.cause,
        fault: Fault::None,
        reason: draft.reason,
        photos: draft.photos,
        amount_minor,
        freight_minor: 0,
        currency: order.currency,
        note: String::new(),
        compensation_template: None,
        requested_ms: ctx.clock.now_ms(),
        approved_ms: None,
        ended_ms: None,
        closed_times: 0,
        step: 0,
    };
    if !sql::insert(tx, &refund).await? {
        return Ok(None);
    }
    for part in parts {
        sql::insert_line(tx, &refund.id, part).await?;
    }
    orders::reserve_refund(tx, order, parts, RefundMoney { amount_minor, freight_minor: 0 }).await?;
    let detail = json!({ "refund": refund.id, "amount_minor": amount_minor });
    orders::record(tx, ctx, order, OrderMove::RefundRequested, actor, detail).await?;
    let event = Event::RefundRequested {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        refund_id: refund.id.clone(),
    };
    orders::stage(tx, ctx, order, event).await?;
    Ok(Some(refund))
}

/// Which units of which lines, and what they are worth: units that were not shipped before units that were.
pub(super) fn parts(lines: &[OrderLine], wanted: Option<&[WantedUnits]>) -> Result<Vec<LineRefund>> {
    let everything: Vec<WantedUnits>;
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => {
            let left = |line: &OrderLine| line.quantity - line.taken_back();
            everything = lines
                .iter()
                .filter(|line| left(line) > 0)
                .map(|line| WantedUnits { line_id: line.id.clone(), quantity: left(line) })
                .collect();
            &everything
        }
    };
    if wanted.is_empty() {
        return Err(Failure::new(&QUANTITY_NOT_REFUNDABLE).field("/lines"));
    }
    let mut parts: Vec<LineRefund> = Vec::with_capacity(wanted.len());
    for (index, units) in wanted.iter().enumerate() {
        let line = lines.iter().find(|line| line.id == units.line_id);
        let line = line.filter(|_| !parts.iter().any(|part| part.line_id == units.line_id));
        let Some(line) = line else {
            return Err(Failure::invalid(
                format!("/lines/{index}/line_id"),
                "is no line of this order, or is named twice",
            ));
        };
        let cancel = units.quantity.min(line.shippable().max(0));
        let give_back = units.quantity - cancel;
        if give_back > line.returnable() {
            return Err(Failure::new(&QUANTITY_NOT_REFUNDABLE)
                .field(format!("/lines/{index}/quantity"))
                .with("refundable", (line.quantity - line.taken_back()).into()));
        }
        parts.push(LineRefund {
            line_id: line.id.clone(),
            cancel,
            give_back,
            sellable: 0,
            money_minor: orders::amount_of_units(line, units.quantity),
        });
    }
    Ok(parts)
}

//! Staff starts a refund: of an order as a whole, of units, of money alone, of the freight.

use serde_json::json;

use super::amounts::{self, Wanted};
use super::decide::{self, Approval, Condition};
use super::request::{self, Draft, Requested};
use super::sql::{self, Refund};
use super::{FREIGHT_NOT_REFUNDABLE, Fault, ORDER_NOT_PAID, RefundKind, RefundState};
use crate::kernel::{Actor, Failure, OrderId, Result};
use crate::orders::{self, LineRefund, Order, OrderLine, PayStatus};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// What goes back.
#[derive(Debug, Clone)]
pub enum Take {
    /// Everything that is left.
    Everything,
    Lines(Vec<Wanted>),
    /// So much of the order, over what is left of its lines, then of the freight.
    Amount(i64),
    /// No line at all: the freight.
    Freight,
}

/// What staff wants.
#[derive(Debug, Clone)]
pub struct StaffRefund {
    pub take: Take,
    /// The freight, too; only when the merchant is at fault.
    pub freight: bool,
    pub fault: Fault,
    /// The customer reads it.
    pub reason: String,
    pub condition: Condition,
    /// May this person approve? Then it is approved in the same step, if nothing has to be looked at first.
    pub may_approve: bool,
}

/// Starts a refund of any paid order, FINISHED ones too. Approved at once where the person may approve and
/// either nothing comes back or its state is said; otherwise it waits for somebody who may.
///
/// # Errors
/// `order_not_found`, `order_not_paid`, `quantity_not_refundable`, `refund_exceeds_paid`,
/// `freight_not_refundable`, `invalid_request`.
pub async fn start(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &OrderId,
    wish: &StaffRefund,
) -> Result<Done<Requested>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, id).await?;
            if order.pay_status != PayStatus::Paid {
                return Err(Failure::new(&ORDER_NOT_PAID));
            }
            let lines = orders::find_lines(tx, id).await?;
            let (parts, freight_minor) = take(tx, ctx, &order, &lines, wish).await?;
            let draft =
                Draft { fault: wish.fault, freight_minor, ..Draft::new(RefundKind::Staff, &wish.reason) };
            let refund = request::open(tx, ctx, &mut order, actor, draft, &parts).await?;
            let refund = refund.ok_or_else(|| Failure::internal("starting a refund", "its id is taken"))?;
            let comes_back = parts.iter().any(|part| part.give_back > 0);
            let is_known = !matches!(wish.condition, Condition::Unknown);
            let approve = wish.may_approve && (is_known || !comes_back);
            if approve {
                let approval =
                    Approval { condition: wish.condition.clone(), fault: None, note: String::new() };
                decide::approve_with(tx, ctx, &mut order, &refund, actor, &approval).await?;
            }
            audit_start(tx, ctx, actor, &refund, approve).await?;
            Ok(Requested { refund_id: refund.id })
        })
    })
    .await
}

/// What the wish takes from the lines, and from the freight.
async fn take(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &Order,
    lines: &[OrderLine],
    wish: &StaffRefund,
) -> Result<(Vec<LineRefund>, i64)> {
    let wants_freight = wish.freight || matches!(wish.take, Take::Freight);
    if wants_freight && wish.fault != Fault::Merchant {
        return Err(Failure::new(&FREIGHT_NOT_REFUNDABLE).field("/freight"));
    }
    let wanted = match &wish.take {
        Take::Everything => &amounts::everything(lines)?,
        Take::Lines(wanted) => wanted,
        Take::Amount(minor) => return amounts::spread(order, lines, *minor),
        Take::Freight => return Ok((Vec::new(), amounts::freight(order)?)),
    };
    let parts = amounts::parts(lines, wanted)?;
    let parts = amounts::below_minimum(tx, ctx, order, lines, parts).await?;
    Ok((parts, if wants_freight { amounts::freight(order)? } else { 0 }))
}

async fn audit_start(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    refund: &Refund,
    approved: bool,
) -> Result<()> {
    let now = sql::by_id(tx, &refund.id).await?;
    let entry = audit::Entry {
        actor,
        operation: "startRefund",
        object: refund.id.as_str(),
        before: None::<()>,
        after: Some(json!({
            "order": refund.order_id,
            "status": if approved { RefundState::Approved } else { RefundState::Requested },
            "amount_minor": now.map_or(refund.amount_minor, |now| now.amount_minor),
            "fault": refund.fault,
            "reason": refund.reason,
        })),
    };
    audit::record(tx, ctx, entry).await
}

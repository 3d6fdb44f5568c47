//! Deciding a refund: approve, goods received, reject, withdraw, and hurry one that waits.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sql::{self, Refund};
use super::{
    Fault, NOTHING_TO_RETURN, RECEIVED_GOODS_REQUIRED, REFUND_NOT_DECIDABLE, REFUND_NOT_FOUND,
    REFUND_NOT_RETRYABLE, REFUND_NOT_WITHDRAWABLE, RefundKind, RefundState, settle, submit,
};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderLineId, RefundId, Result, UserId};
use crate::orders::{self, LineRefund, Order, OrderMove, RefundMoney};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::platform::idempotency::{Done, Key};

/// What a decision came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decided {
    pub status: String,
}

impl Decided {
    pub(super) fn now(status: RefundState) -> Self {
        Self { status: status.to_string() }
    }
}

/// The order, held, and its refund.
pub(super) async fn hold_both(tx: &mut Tx<'_>, id: &RefundId) -> Result<(Order, Refund)> {
    let found = sql::by_id(tx, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
    let order = orders::hold(tx, &found.order_id).await?;
    // Read again behind the order's row: nobody moves its refunds now.
    let refund = sql::by_id(tx, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
    Ok((order, refund))
}

pub(super) async fn audit_decision(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &'static str,
    refund: &Refund,
    to: RefundState,
    note: &str,
) -> Result<()> {
    let entry = audit::Entry {
        actor,
        operation,
        object: refund.id.as_str(),
        before: Some(json!({ "status": refund.status })),
        after: Some(json!({ "status": to, "note": note })),
    };
    audit::record(tx, ctx, entry).await
}

/// In which state goods came back.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Nobody has looked.
    Unknown,
    /// All of them can be sold again, or none.
    All(bool),
    /// Of each line that came back: how many can be sold again.
    Lines(Vec<(OrderLineId, i64)>),
}

/// What staff says when they approve.
#[derive(Debug, Clone)]
pub struct Approval {
    pub condition: Condition,
    /// Decides what follows for coupons. None: as it was.
    pub fault: Option<Fault>,
    pub note: String,
}

/// Staff approves. With goods that come back, it must be said which can be sold again.
///
/// # Errors
/// `refund_not_found`, `refund_not_decidable`, `goods_condition_required`.
pub async fn approve(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    approval: &Approval,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            approve_with(tx, ctx, &mut order, &refund, actor, approval).await?;
            let to = RefundState::Approved;
            audit_decision(tx, ctx, actor, "approveRefund", &refund, to, &approval.note).await?;
            Ok(Decided::now(to))
        })
    })
    .await
}

/// The goods that were waited for are there: the money goes back.
///
/// # Errors
/// `refund_not_found`, `nothing_to_return` when nobody waits for them, `goods_condition_required`.
pub async fn receive(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    approval: &Approval,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            if refund.status != RefundState::AwaitingReturn {
                return Err(Failure::new(&NOTHING_TO_RETURN));
            }
            approve_with(tx, ctx, &mut order, &refund, actor, approval).await?;
            let to = RefundState::Approved;
            audit_decision(tx, ctx, actor, "receiveReturn", &refund, to, &approval.note).await?;
            Ok(Decided::now(to))
        })
    })
    .await
}

/// Approves with the state of the goods and the fault.
pub(super) async fn approve_with(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    actor: &Actor,
    approval: &Approval,
) -> Result<()> {
    let back: Vec<(OrderLineId, i64)> = sql::find_lines(tx, &refund.id)
        .await?
        .into_iter()
        .filter(|line| line.return_quantity > 0)
        .map(|line| (line.line_id, line.return_quantity))
        .collect();
    for (line, sellable) in sellable_units(&back, &approval.condition)? {
        if !sql::set_sellable(tx, &refund.id, &line, sellable).await? {
            return Err(Failure::new(&REFUND_NOT_DECIDABLE));
        }
    }
    if let Some(fault) = approval.fault {
        sql::set_fault(tx, &refund.id, fault).await?;
    }
    approve_held(tx, ctx, order, refund, actor, &approval.note).await
}

/// Of each line that comes back: how many units can be sold again. Every one must be spoken of.
fn sellable_units(back: &[(OrderLineId, i64)], condition: &Condition) -> Result<Vec<(OrderLineId, i64)>> {
    match condition {
        Condition::Unknown if back.is_empty() => Ok(Vec::new()),
        Condition::Unknown => Err(Failure::new(&RECEIVED_GOODS_REQUIRED).field("/sellable")),
        Condition::All(sellable) => {
            Ok(back.iter().map(|(line, units)| (line.clone(), if *sellable { *units } else { 0 })).collect())
        }
        Condition::Lines(lines) => {
            for (index, (line, sellable)) in lines.iter().enumerate() {
                let came_back = back.iter().find(|(id, _)| id == line).map_or(-1, |(_, units)| *units);
                let is_first = !lines[..index].iter().any(|(other, _)| other == line);
                if came_back < 0 || !is_first {
                    let field = format!("/goods/{index}/line_id");
                    return Err(Failure::invalid(
                        field,
                        "does not come back with this refund, or is named twice",
                    ));
                }
                if *sellable > came_back {
                    let field = format!("/goods/{index}/sellable");
                    return Err(Failure::invalid(field, format!("only {came_back} came back")));
                }
            }
            if lines.len() < back.len() {
                return Err(Failure::new(&RECEIVED_GOODS_REQUIRED).field("/goods"));
            }
            Ok(lines.clone())
        }
    }
}

/// Approves a refund of a held order: freight joins it when nothing of the order is left, and it is due at
/// the channel, or settled by itself when no money has to move.
pub(super) async fn approve_held(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    actor: &Actor,
    note: &str,
) -> Result<()> {
    let from = refund.status;
    let decidable = matches!(from, RefundState::Requested | RefundState::AwaitingReturn);
    if !decidable || !sql::advance(tx, &refund.id, from, RefundState::Approved).await? {
        return Err(Failure::new(&REFUND_NOT_DECIDABLE));
    }
    let due_minor = freight_due(tx, order, refund).await?;
    if due_minor > 0 {
        let money = RefundMoney { amount_minor: due_minor, freight_minor: due_minor };
        orders::reserve_freight(tx, order, money).await?;
    }
    let (amount_minor, freight_minor) = (refund.amount_minor + due_minor, refund.freight_minor + due_minor);
    sql::set_approved(tx, &refund.id, amount_minor, freight_minor, note, ctx.clock.now_ms()).await?;
    let detail = json!({
        "refund": refund.id, "amount_minor": amount_minor, "freight_minor": freight_minor, "note": note,
    });
    orders::record(tx, ctx, order, OrderMove::RefundApproved, actor, detail).await?;
    if amount_minor == 0 || refund.attempt_id.is_none() {
        // No money has to move: that nothing is to be done is proof enough.
        return settle::store_own_proof(tx, ctx, &refund.id).await;
    }
    sql::schedule(tx, &refund.id, RefundState::Approved, 0, Some(ctx.clock.now_ms())).await?;
    tx.wake(Work::Refunds);
    Ok(())
}

/// The freight goes back once, in the refund by which every unit is cancelled by approved refunds.
async fn freight_due(tx: &mut Tx<'_>, order: &Order, refund: &Refund) -> Result<i64> {
    let left_minor = orders::freight_left(order);
    if left_minor == 0 || refund.kind == RefundKind::Orphan {
        return Ok(0);
    }
    let units: i64 = orders::find_lines(tx, &order.id).await?.iter().map(|line| line.quantity).sum();
    let cancelled = sql::cancelled_by_approved(tx, &order.id).await?;
    Ok(if cancelled == units { left_minor } else { 0 })
}

/// Staff rejects, with a reason that the customer reads. What was reserved is free again.
///
/// # Errors
/// `refund_not_found`, `refund_not_decidable`.
pub async fn reject(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    reason: &str,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            end(tx, ctx, &mut order, &refund, RefundState::Rejected, actor, reason).await?;
            let event = Event::RefundRejected {
                order_id: order.id.clone(),
                user_id: order.user_id.clone(),
                refund_id: refund.id.clone(),
            };
            orders::stage(tx, ctx, &mut order, event).await?;
            audit_decision(tx, ctx, actor, "rejectRefund", &refund, RefundState::Rejected, reason).await?;
            Ok(Decided::now(RefundState::Rejected))
        })
    })
    .await
}

/// The customer takes the request back.
///
/// # Errors
/// `refund_not_found`, `refund_not_withdrawable`.
pub async fn withdraw(ctx: &Ctx, user: &UserId, key: &Key, id: &RefundId) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            if refund.user_id != *user {
                return Err(Failure::new(&REFUND_NOT_FOUND));
            }
            if refund.kind != RefundKind::User {
                return Err(Failure::new(&REFUND_NOT_WITHDRAWABLE));
            }
            let actor = Actor::User(user.clone());
            let ended = end(tx, ctx, &mut order, &refund, RefundState::Withdrawn, &actor, "").await;
            ended.map_err(|failure| match failure.is(&REFUND_NOT_DECIDABLE) {
                true => Failure::new(&REFUND_NOT_WITHDRAWABLE),
                false => failure,
            })?;
            Ok(Decided::now(RefundState::Withdrawn))
        })
    })
    .await
}

/// Ends a refund that was only asked for, and frees what it had reserved.
pub(super) async fn end(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    to: RefundState,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    let decidable = matches!(refund.status, RefundState::Requested | RefundState::AwaitingReturn);
    if !decidable || !sql::advance(tx, &refund.id, refund.status, to).await? {
        return Err(Failure::new(&REFUND_NOT_DECIDABLE));
    }
    free(tx, ctx, order, refund, to, actor, why).await
}

/// Writes down how a refund ended without money, and frees what it had reserved.
pub(super) async fn free(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &Refund,
    to: RefundState,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    // The note is for the customer; why two people gave up is theirs.
    let note = if to == RefundState::GivenUp { "" } else { why };
    sql::set_ended(tx, &refund.id, note, ctx.clock.now_ms()).await?;
    let detail = json!({ "refund": refund.id, "outcome": to, "reason": why });
    orders::record(tx, ctx, order, OrderMove::RefundEnded, actor, detail).await?;
    if refund.kind == RefundKind::Orphan {
        return orders::orphan_refund_ended(tx, ctx, order).await;
    }
    let lines: Vec<LineRefund> =
        sql::find_lines(tx, &refund.id).await?.iter().map(sql::RefundLine::as_order_part).collect();
    orders::release_refund(tx, ctx, order, &lines, refund.money()).await
}

/// Staff asks the channel about a refund at once instead of at its time.
///
/// # Errors
/// `refund_not_found`, `refund_not_retryable`.
pub async fn retry(ctx: &Ctx, actor: &Actor, key: &Key, id: &RefundId) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            let waits = matches!(
                refund.status,
                RefundState::Approved
                    | RefundState::Submitted
                    | RefundState::Processing
                    | RefundState::Closed
            );
            if !waits {
                return Err(Failure::new(&REFUND_NOT_RETRYABLE));
            }
            sql::schedule(tx, id, refund.status, refund.step, Some(ctx.clock.now_ms())).await?;
            submit::try_oldest(tx, ctx).await?;
            tx.wake(Work::Refunds);
            let detail = json!({ "refund": id, "status": refund.status });
            orders::record(tx, ctx, &mut order, OrderMove::RefundRetried, actor, detail).await?;
            audit_decision(tx, ctx, actor, "retryRefund", &refund, refund.status, "").await?;
            Ok(Decided::now(refund.status))
        })
    })
    .await
}

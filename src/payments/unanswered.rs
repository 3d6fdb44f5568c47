//! An order that is CLOSING and a channel that does not answer: a day after its time to pay two people may
//! close it. Its attempts count as closed; money that comes all the same is an orphan and goes back.

use serde_json::{Value, json};

use super::ORDER_NOT_UNANSWERED;
use super::close::NOT_CLOSED;
use super::sql;
use crate::kernel::{Actor, Failure, Millis, OrderId, ProposalId, Result, day_ms};
use crate::orders::{self, ORDER_NOT_FOUND, Order, OrderMove, OrderStatus};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::platform::proposals::{self, About, PROPOSAL_NOT_FOUND, Proposal, ProposalKind};
use crate::platform::{alerts, audit};

/// How long after its time to pay the channel may answer before people may go on without it.
pub const UNANSWERED_AFTER_MS: Millis = day_ms(1);

/// One person says that the channel can't answer; another has to confirm it.
///
/// # Errors
/// `order_not_found`, `order_not_unanswered`, `proposal_open`.
pub async fn propose_close(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &OrderId,
    reason: &str,
) -> Result<Done<ProposalId>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, id).await?;
            is_unanswered(ctx, &order)?;
            let kind = ProposalKind::OrderClose;
            let detail = json!({ "reason": reason });
            let about = About { object: id.as_str(), store: &order.store_id };
            let proposal = proposals::propose(tx, ctx, actor, kind, about, &detail).await?;
            let row = json!({ "proposal": proposal, "kind": kind, "detail": detail });
            orders::record(tx, ctx, &mut order, OrderMove::Proposed, actor, row.clone()).await?;
            audit_row(tx, ctx, actor, "proposeOrderClose", &order, row).await?;
            Ok(proposal)
        })
    })
    .await
}

/// Another person confirms it: the order is closed and everything that it held is released.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`, `second_person_required`, `order_not_unanswered`.
pub async fn confirm_close(ctx: &Ctx, actor: &Actor, key: &Key, id: &ProposalId) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = held(tx, id).await?;
            let proposal = proposals::confirm(tx, ctx, actor, id).await?;
            is_unanswered(ctx, &order)?;
            let row = row_of(&proposal);
            orders::record(tx, ctx, &mut order, OrderMove::ProposalConfirmed, actor, row.clone()).await?;
            for attempt in sql::live_of_order(tx, &order.id).await? {
                sql::set_closed_by_staff(tx, &attempt.id, ctx.clock.now_ms()).await?;
                orders::attempt_ended(tx, ctx, &mut order, &attempt.id, actor, "closed by staff").await?;
                alerts::close(tx, ctx, NOT_CLOSED, attempt.id.as_str()).await?;
            }
            let detail: Value = serde_json::from_str(&proposal.detail).unwrap_or_default();
            let why = detail["reason"].as_str().unwrap_or_default();
            orders::close_unanswered(tx, ctx, &mut order, actor, why).await?;
            audit_row(tx, ctx, actor, "confirmProposal", &order, row).await
        })
    })
    .await
}

/// A person does not agree, or takes back what they proposed.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`.
pub async fn decline_close(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &ProposalId,
    reason: &str,
) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = held(tx, id).await?;
            let proposal = proposals::decline(tx, ctx, actor, id, reason).await?;
            let row = row_of(&proposal);
            orders::record(tx, ctx, &mut order, OrderMove::ProposalDeclined, actor, row.clone()).await?;
            audit_row(tx, ctx, actor, "declineProposal", &order, row).await
        })
    })
    .await
}

/// The order that a proposal is about, held.
async fn held(tx: &mut Tx<'_>, id: &ProposalId) -> Result<Order> {
    let proposal = proposals::find(tx, id).await?.ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))?;
    let order: OrderId = proposal.object.parse().map_err(|_| Failure::new(&ORDER_NOT_FOUND))?;
    orders::hold(tx, &order).await
}

fn is_unanswered(ctx: &Ctx, order: &Order) -> Result<()> {
    let late = ctx.clock.now_ms() - order.pay_before_ms >= UNANSWERED_AFTER_MS;
    if order.status == OrderStatus::Closing && late {
        Ok(())
    } else {
        Err(Failure::new(&ORDER_NOT_UNANSWERED))
    }
}

fn row_of(proposal: &Proposal) -> Value {
    let detail: Value = serde_json::from_str(&proposal.detail).unwrap_or_default();
    json!({
        "proposal": proposal.id, "kind": proposal.kind, "proposed_by": proposal.proposed_by,
        "reason": proposal.reason, "detail": detail,
    })
}

async fn audit_row(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &'static str,
    order: &Order,
    row: Value,
) -> Result<()> {
    let entry = audit::Entry {
        actor,
        operation,
        object: order.id.as_str(),
        before: Some(json!({ "status": OrderStatus::Closing })),
        after: Some(row),
    };
    audit::record(tx, ctx, entry).await
}

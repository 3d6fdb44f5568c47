//! Refunds that nobody asked for: money that no order could take, and orders that were cancelled and paid
//! at the same moment. Each is made once for its cause, and approved by the system.

use serde_json::json;

use super::request::{self, Draft};
use super::sql::{self, Refund};
use super::{RefundKind, RefundState, amounts, decide};
use crate::events::Event;
use crate::kernel::{Actor, AttemptId, Failure, OrderId, Result};
use crate::orders::{self, Order, OrderMove, RefundMoney};
use crate::payments;
use crate::platform::bus::{Delivery, Handled};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};

const ACTOR: Actor = Actor::System("refund_policy");

/// Money came that its order could not take: it goes back in full.
///
/// # Errors
/// The database.
pub async fn on_payment_orphaned(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::PaymentOrphaned { order_id, attempt_id, .. } = &delivery.event else {
        return Ok(Handled::Park("not an orphaned payment".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                refund_orphan(tx, ctx, order_id, attempt_id).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

async fn refund_orphan(tx: &mut Tx<'_>, ctx: &Ctx, order_id: &OrderId, attempt: &AttemptId) -> Result<()> {
    let record = payments::record_of(tx, attempt).await?;
    let record =
        record.ok_or_else(|| Failure::internal("refunding an orphan", format!("{attempt} has no record")))?;
    let currency =
        record.currency.parse().map_err(|e: String| Failure::internal("refunding an orphan", e))?;
    let mut order = orders::hold(tx, order_id).await?;
    let now_ms = ctx.clock.now_ms();
    let money = RefundMoney { amount_minor: record.amount_minor, freight_minor: 0 };
    let refund = Refund {
        status: RefundState::Approved,
        cause: Some(format!("orphan:{attempt}")),
        currency,
        approved_ms: Some(now_ms),
        ..Refund::of_order(
            ctx,
            &order,
            RefundKind::Orphan,
            Some(attempt.clone()),
            "订单已关闭，款项退回",
            money,
        )
    };
    if !sql::insert(tx, &refund).await? {
        return Ok(());
    }
    sql::schedule(tx, &refund.id, RefundState::Approved, 0, Some(now_ms)).await?;
    orders::count_open(tx, &mut order, 1).await?;
    let detail = json!({ "refund": refund.id, "amount_minor": refund.amount_minor, "orphan": attempt });
    orders::record(tx, ctx, &mut order, OrderMove::RefundApproved, &ACTOR, detail).await?;
    tx.wake(Work::Refunds);
    Ok(())
}

/// A cancelled order was paid at the same moment: everything goes back, once.
///
/// # Errors
/// The database.
pub async fn on_cancelled_order_paid(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::CancelledOrderPaid { order_id, .. } = &delivery.event else {
        return Ok(Handled::Park("not a cancelled order that was paid".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                let mut order = orders::hold(tx, order_id).await?;
                if order.ship_hold_ms.is_none() {
                    // Staff has decided to ship it after all.
                    return Ok(());
                }
                let lines = orders::find_lines(tx, order_id).await?;
                // The customer may have been faster and has asked for everything.
                if lines.iter().all(|line| line.taken_back() == line.quantity) {
                    return approve_waiting(tx, ctx, &mut order).await;
                }
                let parts = amounts::parts(&lines, &amounts::everything(&lines)?)?;
                let cause = Some(format!("cancelled:{order_id}"));
                let draft = Draft { cause, ..Draft::new(RefundKind::User, "订单已取消") };
                match request::open(tx, ctx, &mut order, &ACTOR, draft, &parts).await? {
                    Some(refund) => decide::approve_held(tx, ctx, &mut order, &refund, &ACTOR, "").await,
                    None => Ok(()),
                }
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// Approves what the customer has asked for already: the order was cancelled, so nobody has to decide it.
async fn approve_waiting(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    for refund in sql::of_order(tx, &order.id).await? {
        if refund.status == RefundState::Requested {
            decide::approve_held(tx, ctx, order, &refund, &ACTOR, "").await?;
        }
    }
    Ok(())
}

//! A payment that is not what was asked for: a person decides whether the money goes back or pays the order.

use serde_json::json;

use super::settle;
use super::sql;
use super::{AttemptStatus, PAYMENT_NOT_DECIDABLE, PAYMENT_NOT_FOUND};
use crate::kernel::{Actor, AttemptId, Failure, Result, text_enum};
use crate::orders::{self, OrderMove};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::{Done, Key};
use crate::platform::{alerts, audit, proposals};

text_enum! {
    /// What a mismatched payment is.
    pub enum Decision {
        /// The money goes back in full.
        Orphan = "ORPHAN",
        /// It pays the order after all: only if amount and currency are what the order asks for.
        Succeeded = "SUCCEEDED",
        /// Another merchant got it: it stays recorded, and nothing of ours comes of it.
        NotOurs = "NOT_OURS",
    }
}

/// Decides a mismatched payment, once.
///
/// # Errors
/// `payment_not_found`, `payment_not_decidable`.
pub async fn decide(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &AttemptId,
    decision: Decision,
    reason: &str,
) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let missing = || Failure::new(&PAYMENT_NOT_FOUND);
            let attempt = sql::by_id(tx, id).await?.ok_or_else(missing)?;
            let mut order = orders::hold(tx, &attempt.order_id).await?;
            let record = sql::record_of(tx, id).await?.ok_or_else(missing)?;
            let to = match decision {
                Decision::Orphan => AttemptStatus::Orphan,
                Decision::Succeeded => AttemptStatus::Succeeded,
                Decision::NotOurs => AttemptStatus::Mismatch,
            };
            let fits = record.amount_minor == order.payable_minor
                && attempt.amount_minor == order.payable_minor
                && record.currency == order.currency.as_str();
            // Money that went to another merchant is only recorded: it isn't ours to send back.
            let ours = record.mchid == attempt.mchid;
            let possible = match decision {
                Decision::Orphan => ours,
                Decision::Succeeded => ours && fits,
                Decision::NotOurs => !ours,
            };
            if !possible || !sql::decide_mismatch(tx, id, to, ctx.clock.now_ms()).await? {
                return Err(Failure::new(&PAYMENT_NOT_DECIDABLE));
            }
            let detail =
                json!({ "attempt": id, "decision": decision, "mchid": record.mchid, "reason": reason });
            orders::record(tx, ctx, &mut order, OrderMove::PaymentReviewed, actor, detail).await?;
            match decision {
                Decision::Orphan => {
                    settle::stage_orphan(tx, ctx, &mut order, id, record.amount_minor, actor).await?
                }
                Decision::Succeeded => {
                    if !orders::mark_paid(tx, ctx, &mut order, id, actor).await? {
                        return Err(Failure::new(&PAYMENT_NOT_DECIDABLE));
                    }
                    settle::close_others(tx, ctx, &order, id).await?;
                    proposals::drop_open(tx, ctx, order.id.as_str()).await?;
                }
                Decision::NotOurs => {}
            }
            alerts::close(tx, ctx, "payment_mismatch", id.as_str()).await?;
            let entry = audit::Entry {
                actor,
                operation: "decidePayment",
                object: id.as_str(),
                before: Some(json!({ "status": AttemptStatus::Mismatch })),
                after: Some(json!({ "status": to, "decision": decision, "reason": reason })),
            };
            audit::record(tx, ctx, entry).await
        })
    })
    .await
}

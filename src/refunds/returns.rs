//! Goods that must come back before the money goes back: asked for, sent, or not sent in time.

use serde_json::json;

use super::decide::{self, Decided, hold_both};
use super::{NOTHING_TO_RETURN, REFUND_NOT_DECIDABLE, REFUND_NOT_FOUND, RefundState, sql};
use crate::events::Event;
use crate::kernel::{Actor, Failure, RefundId, Result, UserId, day_ms, rfc3339};
use crate::orders::{self, OrderMove};
use crate::platform::bus::{self, Delivery, Handled, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// Who ends a request whose goods do not come.
const ACTOR: Actor = Actor::System("return_deadline");

/// Staff wants the goods back first; `note` says where to, and the customer reads it.
///
/// # Errors
/// `refund_not_found`, `refund_not_decidable`, `nothing_to_return`.
pub async fn require_return(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &RefundId,
    note: &str,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            if !sql::find_lines(tx, id).await?.iter().any(|line| line.return_quantity > 0) {
                return Err(Failure::new(&NOTHING_TO_RETURN));
            }
            let before_ms = ctx.clock.now_ms() + day_ms(ctx.config.refunds.return_days);
            if !sql::require_return(tx, id, before_ms, note).await? {
                return Err(Failure::new(&REFUND_NOT_DECIDABLE));
            }
            let detail = json!({ "refund": id, "return_before": rfc3339(before_ms), "note": note });
            orders::record(tx, ctx, &mut order, OrderMove::ReturnRequired, actor, detail).await?;
            let due = Event::ReturnDue { refund_id: id.clone() };
            bus::stage(tx, ctx, &due, Staged::At(before_ms)).await?;
            let event = Event::ReturnRequired {
                order_id: order.id.clone(),
                user_id: order.user_id.clone(),
                refund_id: id.clone(),
            };
            orders::stage(tx, ctx, &mut order, event).await?;
            let to = RefundState::AwaitingReturn;
            decide::audit_decision(tx, ctx, actor, "requireReturn", &refund, to, note).await?;
            Ok(Decided::now(to))
        })
    })
    .await
}

/// The customer has sent the goods. Said again, it corrects what was said before.
///
/// # Errors
/// `refund_not_found`, `nothing_to_return`.
pub async fn report_sent(
    ctx: &Ctx,
    user: &UserId,
    key: &Key,
    id: &RefundId,
    carrier: &str,
    tracking_no: &str,
) -> Result<Done<Decided>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (mut order, refund) = hold_both(tx, id).await?;
            if refund.user_id != *user {
                return Err(Failure::new(&REFUND_NOT_FOUND));
            }
            if !sql::set_return_sent(tx, id, carrier, tracking_no, ctx.clock.now_ms()).await? {
                return Err(Failure::new(&NOTHING_TO_RETURN));
            }
            let detail = json!({ "refund": id, "carrier": carrier, "tracking_no": tracking_no });
            let actor = Actor::User(user.clone());
            orders::record(tx, ctx, &mut order, OrderMove::ReturnSent, &actor, detail).await?;
            Ok(Decided::now(refund.status))
        })
    })
    .await
}

/// The goods should be on their way by now, says the bus: it is looked at again here.
///
/// # Errors
/// The database.
pub async fn on_return_due(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::ReturnDue { refund_id } = &delivery.event else {
        return Ok(Handled::Park("not the deadline of a return".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                lapse(tx, ctx, refund_id).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// Ends a request whose goods are not on their way in time. With a tracking number a person decides.
pub(super) async fn lapse(tx: &mut Tx<'_>, ctx: &Ctx, id: &RefundId) -> Result<()> {
    let (mut order, refund) = match hold_both(tx, id).await {
        Err(failure) if failure.is(&REFUND_NOT_FOUND) => return Ok(()),
        both => both?,
    };
    let Some(before_ms) = refund.return_before_ms else { return Ok(()) };
    if refund.status != RefundState::AwaitingReturn || refund.return_sent_ms.is_some() {
        return Ok(());
    }
    if ctx.clock.now_ms() < before_ms {
        let again = Event::ReturnDue { refund_id: id.clone() };
        bus::stage(tx, ctx, &again, Staged::At(before_ms)).await?;
        return Ok(());
    }
    let why = "未在期限内寄回商品";
    decide::end(tx, ctx, &mut order, &refund, RefundState::Withdrawn, &ACTOR, why).await?;
    let event = Event::RefundDropped {
        order_id: order.id.clone(),
        user_id: order.user_id.clone(),
        refund_id: id.clone(),
    };
    orders::stage(tx, ctx, &mut order, event).await
}

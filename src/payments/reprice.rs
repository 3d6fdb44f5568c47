//! New prices by staff: what could still be paid at the old ones is closed at the channel first.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sql;
use super::{ORDER_ALREADY_PAID, PAYMENT_UNDER_REVIEW};
use crate::kernel::{Actor, Failure, OrderId, Result, StaffId};
use crate::orders::{self, NewPrices, ORDER_CHANGED, PayStatus, Repriced};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;
use crate::platform::idempotency::{Done, Key};

/// What a new price came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepriceOutcome {
    /// False: it waits until the open payment is closed at the channel.
    pub applied: bool,
}

/// Gives an unpaid order new prices, if it is still at the version that was seen. With a payment open the
/// attempt is closed first; if it was paid meanwhile, the old price is what the order cost.
///
/// # Errors
/// `order_not_found`, `order_changed`, `order_not_repriceable`, `order_already_paid`, `payment_under_review`;
/// `invalid_request` where a price can't be.
pub async fn reprice(
    ctx: &Ctx,
    staff: &StaffId,
    key: &Key,
    id: &OrderId,
    version: i64,
    prices: &NewPrices,
) -> Result<Done<RepriceOutcome>> {
    let actor = &Actor::Staff(staff.clone());
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, id).await?;
            if order.pay_status == PayStatus::Paid {
                return Err(Failure::new(&ORDER_ALREADY_PAID));
            }
            if sql::has_mismatch(tx, id).await? {
                return Err(Failure::new(&PAYMENT_UNDER_REVIEW));
            }
            if order.version != version {
                return Err(Failure::new(&ORDER_CHANGED).with("version", order.version.into()));
            }
            let from_minor = order.payable_minor;
            let repriced = orders::reprice(tx, ctx, &mut order, staff, prices).await?;
            if repriced == Repriced::Waits {
                for attempt in sql::live_of_order(tx, id).await? {
                    sql::set_closing(tx, &attempt.id, ctx.clock.now_ms()).await?;
                }
                tx.wake(Work::Payments);
            }
            let applied = repriced == Repriced::Applied;
            let entry = audit::Entry {
                actor,
                operation: "repriceOrder",
                object: id.as_str(),
                before: Some(json!({ "payable_minor": from_minor })),
                after: Some(json!({ "prices": prices, "applied": applied })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(RepriceOutcome { applied })
        })
    })
    .await
}

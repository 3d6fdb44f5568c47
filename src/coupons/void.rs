//! A staff member takes a coupon away.

use serde_json::json;

use super::{COUPON_NOT_FOUND, CouponStatus, Move, MoveKind, VOID_ALREADY, sql};
use crate::kernel::{Actor, CouponId, Failure, Result, common};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// Rounds in which a coupon that moves at this moment is looked for.
const ROUNDS: usize = 3;

/// Voids an unused or expired coupon. One that an order holds or used is marked, and becomes void when the
/// order gives it back; the order itself stays as it is.
///
/// # Errors
/// `coupon_not_found`, `coupon_void_already`.
pub async fn void(
    ctx: &Ctx,
    actor: &Actor,
    coupon: &CouponId,
    reason: &str,
    key: &Key,
) -> Result<Done<CouponId>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let (from, to) = void_or_mark(tx, ctx, coupon).await?;
            let entry = audit::Entry {
                actor,
                operation: "voidCoupon",
                object: coupon.as_str(),
                before: Some(json!({ "status": from })),
                after: Some(json!({ "status": to, "void_when_back": from == to, "reason": reason })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(coupon.clone())
        })
    })
    .await
}

/// The statuses before and after; the same one when the coupon was marked.
pub(super) async fn void_or_mark(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    coupon: &CouponId,
) -> Result<(CouponStatus, CouponStatus)> {
    let now_ms = ctx.clock.now_ms();
    for _ in 0..ROUNDS {
        let Some(found) = sql::coupon(tx, coupon).await? else {
            return Err(Failure::new(&COUPON_NOT_FOUND));
        };
        let from = found.status;
        let (done, kind, to) = match from {
            CouponStatus::Void => return Err(Failure::new(&VOID_ALREADY)),
            CouponStatus::Unused | CouponStatus::Expired => {
                (sql::void(tx, coupon, from).await?, MoveKind::Voided, CouponStatus::Void)
            }
            CouponStatus::Locked | CouponStatus::Used if found.void_when_back_ms.is_some() => {
                return Err(Failure::new(&VOID_ALREADY));
            }
            CouponStatus::Locked | CouponStatus::Used => {
                (sql::mark(tx, coupon, from, now_ms).await?, MoveKind::Marked, from)
            }
        };
        if done {
            let step = Move { coupon, order: None, kind, from: Some(from), to };
            sql::insert_move(tx, &step, &step.cause(), now_ms).await?;
            return Ok((from, to));
        }
    }
    Err(Failure::new(&common::UNAVAILABLE)
        .detail("The coupon is being used at this moment.")
        .retry_after_s(1))
}

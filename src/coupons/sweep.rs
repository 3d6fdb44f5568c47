//! Coupons whose time is over become EXPIRED. Nothing waits for it: every rule compares the time itself.

use super::{CouponStatus, Move, MoveKind, sql};
use crate::kernel::Result;
use crate::platform::ctx::Ctx;

/// Coupons that one sweep takes.
const BATCH: i64 = 200;

/// Expires unused coupons whose time is over, up to 200 at a time. Answers how many.
///
/// # Errors
/// The database.
pub async fn sweep(ctx: &Ctx) -> Result<usize> {
    let now_ms = ctx.clock.now_ms();
    let over = sql::past_validity(&mut *ctx.db.reader().await?, now_ms, BATCH).await?;
    if over.is_empty() {
        return Ok(0);
    }
    let over = &over;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut expired = 0;
                for coupon in over {
                    if sql::expire(tx, coupon, now_ms).await? {
                        let step = Move {
                            coupon,
                            order: None,
                            kind: MoveKind::Expired,
                            from: Some(CouponStatus::Unused),
                            to: CouponStatus::Expired,
                        };
                        sql::insert_move(tx, &step, &step.cause(), now_ms).await?;
                        expired += 1;
                    }
                }
                Ok(expired)
            })
        })
        .await
}

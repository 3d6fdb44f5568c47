//! What an order does with its coupon: lock, use, give back. Each is a conditional update with a row of its
//! own, so that a second call finds nothing to do.

use super::validity::end_after_days;
use super::{COUPON_NOT_FOUND, Coupon, CouponStatus, Move, MoveKind, Reason, not_usable, sql};
use crate::kernel::{CouponId, Failure, Millis, OrderId, Result, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

/// Locks a coupon of this user for an order that is being placed.
///
/// # Errors
/// `coupon_not_found`; `coupon_not_usable` with the reason, also when another order was faster.
pub async fn lock(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    user: &UserId,
    coupon: &CouponId,
    order: &OrderId,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    if sql::lock(tx, user, coupon, order, now_ms).await? {
        let step = Move {
            coupon,
            order: Some(order),
            kind: MoveKind::Locked,
            from: Some(CouponStatus::Unused),
            to: CouponStatus::Locked,
        };
        return sql::insert_move(tx, &step, &step.cause(), now_ms).await;
    }
    match sql::coupon(tx, coupon).await?.filter(|coupon| coupon.user_id == *user) {
        None => Err(Failure::new(&COUPON_NOT_FOUND)),
        // Free again by now: it was locked at the moment that counts.
        Some(found) => Err(not_usable(coupon, found.why_not(now_ms).unwrap_or(Reason::Locked))),
    }
}

/// The order is paid: LOCKED → USED.
///
/// # Errors
/// The database.
pub async fn consume(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    for coupon in sql::held_by(tx, order, CouponStatus::Locked).await? {
        if sql::consume(tx, &coupon.id, order).await? {
            let step = Move {
                coupon: &coupon.id,
                order: Some(order),
                kind: MoveKind::Used,
                from: Some(CouponStatus::Locked),
                to: CouponStatus::Used,
            };
            sql::insert_move(tx, &step, &step.cause(), now_ms).await?;
        }
    }
    Ok(())
}

/// The order is closed without payment: its locked coupon comes back.
///
/// # Errors
/// The database.
pub async fn release(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId) -> Result<()> {
    come_back(tx, ctx, order, CouponStatus::Locked, MoveKind::Released).await
}

/// The order is refunded and its used coupon comes back, once: the coupon forgets the order as it returns.
///
/// # Errors
/// The database.
pub async fn give_back(tx: &mut Tx<'_>, ctx: &Ctx, order: &OrderId) -> Result<()> {
    come_back(tx, ctx, order, CouponStatus::Used, MoveKind::GivenBack).await
}

async fn come_back(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &OrderId,
    from: CouponStatus,
    kind: MoveKind,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    for coupon in sql::held_by(tx, order, from).await? {
        let (back, valid_until_ms) = after_return(&coupon, now_ms, ctx.config.coupons.grace_days)?;
        // The first of these that finds its row. A mark may come between the first two, and never goes away.
        for (to, marked) in [(CouponStatus::Void, true), (back, false), (CouponStatus::Void, true)] {
            let target = sql::Return { coupon: &coupon.id, order, from, to, marked, valid_until_ms };
            if sql::come_back(tx, &target).await? {
                let step = Move { coupon: &coupon.id, order: Some(order), kind, from: Some(from), to };
                sql::insert_move(tx, &step, &step.cause(), now_ms).await?;
                break;
            }
        }
    }
    Ok(())
}

/// What an unmarked coupon becomes when it comes back now, and until when it is valid then.
fn after_return(coupon: &Coupon, now_ms: Millis, grace_days: i64) -> Result<(CouponStatus, Millis)> {
    if now_ms < coupon.valid_until_ms {
        Ok((CouponStatus::Unused, coupon.valid_until_ms))
    } else if grace_days > 0 {
        Ok((CouponStatus::Unused, end_after_days(now_ms, grace_days)?))
    } else {
        Ok((CouponStatus::Expired, coupon.valid_until_ms))
    }
}

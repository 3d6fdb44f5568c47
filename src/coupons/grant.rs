//! A coupon is given to a user: by the system for a cause, or by a staff member.

use serde_json::json;

use super::void::void_or_mark;
use super::{CouponStatus, Move, MoveKind, Source, TEMPLATE_NOT_FOUND, Template, sql};
use crate::identity::{self, USER_DELETED};
use crate::kernel::{Actor, Code, CouponId, CouponTemplateId, Failure, Millis, Result, UserId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// What became of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    Coupon(CouponId),
    /// This cause has granted before.
    Duplicate,
    /// The template is gone; or paused or over, except for a refund.
    Refused(&'static Code),
}

/// A coupon that is about to be made.
pub(super) struct NewCoupon<'a> {
    pub id: &'a CouponId,
    pub template: &'a Template,
    pub user: &'a UserId,
    /// `None`: not claimed.
    pub seq: Option<i64>,
    pub source: Source,
    pub source_id: &'a str,
}

/// Inserts the coupon with its first move; false when its cause or its seq exists.
pub(super) async fn insert(tx: &mut Tx<'_>, new: &NewCoupon<'_>, now_ms: Millis) -> Result<bool> {
    let (from_ms, until_ms) = new.template.terms.validity.from_now(now_ms)?;
    if !sql::insert_coupon(tx, new, (from_ms, until_ms), now_ms).await? {
        return Ok(false);
    }
    let step =
        Move { coupon: new.id, order: None, kind: MoveKind::Granted, from: None, to: CouponStatus::Unused };
    sql::insert_move(tx, &step, &format!("{}:{}", new.source, new.source_id), now_ms).await?;
    Ok(true)
}

/// Gives the user a coupon of this template for this cause, once. It touches neither what remains of the
/// template nor the limit per user. Somebody who has deleted the account gets none; what a refund owes is written
/// down all the same, and void.
///
/// # Errors
/// The database.
pub async fn grant(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    user: &UserId,
    template: &CouponTemplateId,
    source: Source,
    source_id: &str,
) -> Result<Granted> {
    let now_ms = ctx.clock.now_ms();
    let is_there = identity::try_hold(tx, user).await?;
    if !is_there && source != Source::Refund {
        return Ok(Granted::Refused(&USER_DELETED));
    }
    let Some(template) = sql::template(tx, template).await? else {
        return Ok(Granted::Refused(&TEMPLATE_NOT_FOUND));
    };
    // What a settled refund stored is owed, whatever has happened to the template since.
    if let Some(code) = template.refuses(now_ms).filter(|_| source != Source::Refund) {
        return Ok(Granted::Refused(code));
    }
    let id = ctx.new_id::<CouponId>();
    let new = NewCoupon { id: &id, template: &template, user, seq: None, source, source_id };
    if !insert(tx, &new, now_ms).await? {
        return Ok(Granted::Duplicate);
    }
    if !is_there {
        void_or_mark(tx, ctx, &id).await?;
    }
    Ok(Granted::Coupon(id))
}

/// A staff member gives a coupon to a user, with a reason that goes to the audit log.
///
/// # Errors
/// `user_not_found`, `user_deleted`, `coupon_template_not_found`, `coupon_template_paused`, `coupon_template_ended`.
pub async fn grant_by_staff(
    ctx: &Ctx,
    actor: &Actor,
    user: &UserId,
    template: &CouponTemplateId,
    reason: &str,
    key: &Key,
) -> Result<Done<CouponId>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            if identity::summary(tx, user).await?.is_none() {
                return Err(Failure::new(&identity::USER_NOT_FOUND));
            }
            // The idempotency key makes it single, so the cause is this one gift.
            let cause = ctx.new_id::<CouponId>();
            let coupon = match grant(tx, ctx, user, template, Source::Staff, cause.as_str()).await? {
                Granted::Coupon(coupon) => coupon,
                Granted::Refused(code) => return Err(Failure::new(code)),
                Granted::Duplicate => {
                    return Err(Failure::internal("granting a coupon", "a fresh id was taken"));
                }
            };
            let entry = audit::Entry {
                actor,
                operation: "grantCoupon",
                object: coupon.as_str(),
                before: None::<()>,
                after: Some(json!({ "user_id": user, "template_id": template, "reason": reason })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(coupon)
        })
    })
    .await
}

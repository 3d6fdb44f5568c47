//! A person claims a coupon of a template.

use super::grant::{NewCoupon, insert};
use super::{Issue, LIMIT_REACHED, SOLD_OUT, Source, TEMPLATE_NOT_FOUND, sql};
use crate::identity;
use crate::kernel::{CouponId, CouponTemplateId, Failure, Millis, Result, UserId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// How long a template that is sold out is refused without asking the database.
const GATE_MS: Millis = 5_000;

/// Takes one of what remains, and makes the user's next coupon of this template.
///
/// A template that was found sold out is refused for some seconds by a gate in kv, so that a rush on it does
/// not queue at the database. The gate is set after the refusal and only ever refuses: the conditional
/// update and the unique key decide, with or without it.
///
/// # Errors
/// `coupon_template_not_found`, `coupon_template_paused`, `coupon_template_ended`, `coupon_sold_out`,
/// `coupon_limit_reached`.
pub async fn claim(
    ctx: &Ctx,
    user: &UserId,
    template: &CouponTemplateId,
    key: &Key,
) -> Result<Done<CouponId>> {
    if let Ok(Some(_)) = ctx.kv.get(&gate(template)).await {
        // Whoever got one asks again under the same key and is answered what was stored.
        return match key.remembered(ctx).await? {
            Some(done) => Ok(done),
            None => Err(Failure::new(&SOLD_OUT)),
        };
    }
    let outcome = key.run(ctx, |tx| Box::pin(take(tx, ctx, user, template))).await;
    if outcome.as_ref().is_err_and(|failure| failure.is(&SOLD_OUT)) {
        // Without kv there is no gate, and nothing else changes.
        let _ = ctx.kv.put(&gate(template), b"sold out", GATE_MS).await;
    }
    outcome
}

/// Lets the database decide again.
pub(super) async fn open_gate(ctx: &Ctx, template: &CouponTemplateId) {
    // If kv does not answer, the gate opens by itself within seconds.
    let _ = ctx.kv.delete(&gate(template)).await;
}

fn gate(template: &CouponTemplateId) -> String {
    format!("gate:sold-out:{template}")
}

async fn take(tx: &mut Tx<'_>, ctx: &Ctx, user: &UserId, id: &CouponTemplateId) -> Result<CouponId> {
    identity::hold(tx, user).await?;
    let now_ms = ctx.clock.now_ms();
    // Then the count, which locks the row: what is read behind it is the template as it is.
    let taken = sql::take_one(tx, id).await?;
    let template = sql::template(tx, id).await?.filter(|template| template.terms.issue == Issue::Claim);
    let template = template.ok_or_else(|| Failure::new(&TEMPLATE_NOT_FOUND))?;
    if let Some(code) = template.refuses(now_ms) {
        return Err(Failure::new(code));
    }
    if !taken {
        return Err(Failure::new(&SOLD_OUT));
    }
    let mut seq = sql::last_seq(tx, id, user).await?;
    while seq < template.terms.limit_per_user {
        seq += 1;
        let coupon = ctx.new_id::<CouponId>();
        let new = NewCoupon {
            id: &coupon,
            template: &template,
            user,
            seq: Some(seq),
            source: Source::Claim,
            source_id: coupon.as_str(),
        };
        // A claim of the same user that was faster has this seq: try the next.
        if insert(tx, &new, now_ms).await? {
            return Ok(coupon);
        }
    }
    Err(Failure::new(&LIMIT_REACHED))
}

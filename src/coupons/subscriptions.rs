//! Events that bring a coupon: the first login, and a settled refund.

use serde_json::json;

use super::Source;
use super::grant::{Granted, grant};
use super::hold::give_back;
use crate::events::Event;
use crate::identity;
use crate::kernel::{CouponTemplateId, Millis, OrderId, RefundId, Result, UserId, day_ms};
use crate::platform::bus::{Delivery, Handled};
use crate::platform::ctx::Ctx;

/// How long the gate of the new-user coupon stays: longer than an event is repeated.
const GATE_MS: Millis = day_ms(7);

/// Grants the new-user coupon, unless the same openid had an account before that was deleted.
///
/// A gate in kv is set after the commit, so a hit means that it is done and a repeated event costs one read.
/// With the gate lost or kv down, the unique (source, user) decides.
///
/// # Errors
/// The database.
pub async fn on_user_registered(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::UserRegistered { user_id } = &delivery.event else {
        return Ok(Handled::Park("not an event of this subscription".to_owned()));
    };
    let gate = format!("gate:new-user:{user_id}");
    if let Ok(Some(_)) = ctx.kv.get(&gate).await {
        tracing::info!(user.id = %user_id, "{user_id} has the new-user coupon already: the event came again");
        return Ok(Handled::Done);
    }
    let template = configured(&ctx.config.coupons.new_user_template);
    let outcome = ctx
        .db
        .write(|tx| {
            let template = &template;
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(None);
                }
                let Some(template) = template else { return Ok(None) };
                if identity::came_back(tx, user_id).await? {
                    tracing::info!(user.id = %user_id, "{user_id} had an account before: no new-user coupon");
                    return Ok(None);
                }
                let granted = grant(tx, ctx, user_id, template, Source::NewUser, user_id.as_str()).await?;
                Ok(Some((granted, identity::phone_hash(tx, user_id).await?)))
            })
        })
        .await?;
    let Some((granted, phone_hash)) = outcome else { return Ok(Handled::Done) };
    log(&granted, Source::NewUser, user_id);
    if !matches!(granted, Granted::Refused(_)) {
        let value = json!({ "user_id": user_id, "phone_hash": phone_hash }).to_string();
        if ctx.kv.put(&gate, value.as_bytes(), GATE_MS).await.is_err() {
            tracing::debug!(user.id = %user_id, "no gate for {user_id}: kv does not answer");
        }
    }
    Ok(Handled::Done)
}

/// A refund has settled: the coupon that its order used comes back, and a compensation coupon is issued, as
/// the event says.
///
/// # Errors
/// The database.
pub async fn on_refund_settled(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::RefundSettled { refund_id, order_id, user_id, return_coupon, compensation_template, .. } =
        &delivery.event
    else {
        return Ok(Handled::Park("not an event of this subscription".to_owned()));
    };
    let effects = Effects {
        refund: refund_id,
        order: return_coupon.then_some(order_id),
        user: user_id,
        template: compensation_template.as_ref(),
    };
    let effects = &effects;
    let granted = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(None);
                }
                // The new coupon first: it takes the person's row, before that of another coupon.
                let granted = match effects.template {
                    Some(template) => {
                        let refund = effects.refund.as_str();
                        Some(grant(tx, ctx, effects.user, template, Source::Refund, refund).await?)
                    }
                    None => None,
                };
                if let Some(order) = effects.order {
                    give_back(tx, ctx, order).await?;
                }
                Ok(granted)
            })
        })
        .await?;
    if let Some(granted) = granted {
        log(&granted, Source::Refund, user_id);
    }
    Ok(Handled::Done)
}

/// What a settled refund brings.
struct Effects<'a> {
    refund: &'a RefundId,
    /// Its coupon comes back.
    order: Option<&'a OrderId>,
    user: &'a UserId,
    template: Option<&'a CouponTemplateId>,
}

/// A template of the configuration; `None`: none, or not an id.
fn configured(template: &str) -> Option<CouponTemplateId> {
    if template.is_empty() {
        return None;
    }
    template
        .parse()
        .inspect_err(|error| tracing::warn!("coupons.new_user_template is not a template: {error}"))
        .ok()
}

fn log(granted: &Granted, source: Source, user: &UserId) {
    match granted {
        Granted::Coupon(coupon) => {
            tracing::info!(coupon.id = %coupon, user.id = %user, "{user} got coupon {coupon} ({source})");
        }
        Granted::Duplicate => {
            tracing::info!(user.id = %user, "{user} has the {source} coupon already: the event came again");
        }
        Granted::Refused(code) => {
            tracing::warn!(user.id = %user, "no {source} coupon for {user}: {}", code.code);
        }
    }
}

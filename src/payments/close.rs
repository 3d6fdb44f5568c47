//! Closing attempts at the channel: only its word makes an attempt CLOSED, and only then is the order released.

use super::settle::confirm_close_if_last;
use super::sql;
use super::sql::Attempt;
use super::start::CHANNEL_ACTOR;
use crate::events::Event;
use crate::kernel::{Actor, Result};
use crate::orders;
use crate::platform::alerts;
use crate::platform::bus::{Delivery, Handled};
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;

/// Alert: the channel does not say that an attempt is closed.
pub(super) const NOT_CLOSED: &str = "payment_not_closed";

/// An order is being closed: its attempts are to be closed at the channel.
///
/// # Errors
/// The database.
pub async fn on_order_closing(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let Event::OrderClosing { order_id, .. } = &delivery.event else {
        return Ok(Handled::Park("not an order that is closing".to_owned()));
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let now_ms = ctx.clock.now_ms();
                if !delivery.begin(tx, now_ms).await? {
                    return Ok(());
                }
                let mut order = orders::hold(tx, order_id).await?;
                for attempt in sql::live_of_order(tx, order_id).await? {
                    sql::set_closing(tx, &attempt.id, now_ms).await?;
                }
                tx.wake(Work::Payments);
                confirm_close_if_last(tx, ctx, &mut order).await
            })
        })
        .await?;
    Ok(Handled::Done)
}

/// The channel has proved that `attempt` can't be paid any more.
pub(super) async fn closed_at_channel(ctx: &Ctx, attempt: &Attempt) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut order = orders::hold(tx, &attempt.order_id).await?;
                if !sql::set_closed(tx, &attempt.id, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                alerts::close(tx, ctx, NOT_CLOSED, attempt.id.as_str()).await?;
                let actor = Actor::System(CHANNEL_ACTOR);
                orders::attempt_ended(tx, ctx, &mut order, &attempt.id, &actor, "closed").await?;
                confirm_close_if_last(tx, ctx, &mut order).await
            })
        })
        .await
}

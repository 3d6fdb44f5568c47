//! From events to entries.

use sqlx::FromRow;

use super::{MessageKind, sql};
use crate::events::Event;
use crate::kernel::{Currency, Failure, Millis, OrderId, RefundId, Result, StoreId};
use crate::orders::{self, Fulfilment};
use crate::platform::bus::{Delivery, Handled, Subscription};
use crate::platform::ctx::Ctx;
use crate::refunds;

/// The events that staff is told of.
const EVENTS: &[&str] = &["OrderPaid", "CancelledOrderPaid", "RefundRequested"];

/// What staff is told. Money in minor units.
#[derive(Debug, Clone, FromRow)]
pub struct Entry {
    pub seq: i64,
    pub kind: MessageKind,
    pub order_id: OrderId,
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub refund_id: Option<RefundId>,
    pub amount_minor: i64,
    pub currency: Currency,
    pub at_ms: Millis,
}

/// What this module takes from the bus; the other half is [`super::Feed::subscription`].
pub fn subscriptions() -> Vec<Subscription> {
    vec![Subscription::new("feed.entries", EVENTS, |ctx, delivery| Box::pin(on_event(ctx, delivery)))]
}

async fn on_event(ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    let (kind, order_id, refund_id) = match &delivery.event {
        Event::OrderPaid { order_id, .. } => (MessageKind::OrderPaid, order_id, None),
        Event::CancelledOrderPaid { order_id, .. } => (MessageKind::OrderOnHold, order_id, None),
        Event::RefundRequested { order_id, refund_id, .. } => {
            (MessageKind::RefundRequested, order_id, Some(refund_id))
        }
        _ => return Ok(Handled::Park("nothing that staff is told".to_owned())),
    };
    let grown = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                if !delivery.begin(tx, ctx.clock.now_ms()).await? {
                    return Ok(None);
                }
                let missing =
                    || Failure::internal("telling staff of an order", format!("{order_id} is gone"));
                let order = orders::find(tx, order_id).await?.ok_or_else(missing)?;
                let amount_minor = match refund_id {
                    Some(refund_id) => refunds::by_id(tx, refund_id).await?.ok_or_else(missing)?.amount_minor,
                    None => order.paid_minor,
                };
                let entry = Entry {
                    seq: sql::next_seq(tx).await?,
                    kind,
                    order_id: order.id,
                    store_id: order.store_id,
                    fulfilment: order.fulfilment,
                    refund_id: refund_id.cloned(),
                    amount_minor,
                    currency: order.currency,
                    at_ms: delivery.created_ms,
                };
                sql::insert(tx, &entry).await?;
                Ok(Some(entry.seq))
            })
        })
        .await?;
    if let Some(seq) = grown {
        ctx.bus.broadcast(ctx, Event::FeedGrew { seq }).await;
    }
    Ok(Handled::Done)
}

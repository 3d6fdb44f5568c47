//! The relay: takes due events out of the outbox and sends them on.

use futures_util::StreamExt;
#[cfg(feature = "rocketmq")]
use futures_util::future::join_all;

use super::receive::park_unknown;
use super::sql::{self, OutboxRow};
use super::{Backend, Bus, Delivery, DeliveryState, Envelope, Place};
use crate::events::{Event, Kind};
use crate::kernel::{Millis, Result};
use crate::platform::ctx::Ctx;

/// Events that one round sends.
const BATCH: i64 = 128;
/// How long a node may take to send what it has claimed, until another node does: it would be sent twice,
/// which costs a message and changes nothing.
const LEASE_MS: Millis = 15_000;
/// How long an event waits that the broker did not take.
const PAUSE_MS: Millis = 1_000;

impl Bus {
    /// How long before they are due timed events are handed to the broker's own timer.
    pub(super) fn timed_ahead_ms(&self, ctx: &Ctx) -> Millis {
        match &self.0.backend {
            Backend::Embedded => 0,
            // The broker knows the real time only: under any other clock the relay keeps them itself.
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(_) if !ctx.clock.is_real() => 0,
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => node.timed_ahead_ms(),
        }
    }

    /// Sends due events.
    pub(super) async fn send_due(&self, ctx: &Ctx) -> Result<usize> {
        let now_ms = ctx.clock.now_ms();
        let timed_before_ms = now_ms + self.timed_ahead_ms(ctx);
        let due = sql::due_events(&mut *ctx.db.reader().await?, now_ms, timed_before_ms, BATCH).await?;
        if due.is_empty() {
            return Ok(0);
        }
        match &self.0.backend {
            Backend::Embedded => self.fan_out(ctx, &due).await,
            #[cfg(feature = "rocketmq")]
            Backend::RocketMq(node) => publish(ctx, node, due).await,
        }
    }

    /// Embedded: events become the deliveries of this process.
    async fn fan_out(&self, ctx: &Ctx, due: &[OutboxRow]) -> Result<usize> {
        let now_ms = ctx.clock.now_ms();
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    for event in due {
                        if !sql::mark_sent(tx, &event.id, now_ms).await? || is_broadcast(event) {
                            continue;
                        }
                        for subscription in self.takers(&event.event) {
                            sql::insert_delivery(tx, &pending(event, subscription.name, now_ms)).await?;
                        }
                        if !Event::NAMES.contains(&event.event.as_str()) {
                            park_unknown(tx, &event.id, now_ms).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        for event in due.iter().filter(|event| is_broadcast(event)) {
            match serde_json::from_str::<Event>(&event.body) {
                Ok(event) => self.deliver_broadcast(ctx, &event).await,
                Err(error) => tracing::warn!("broadcast {} can't be read: {error}", event.id),
            }
        }
        Ok(due.len())
    }

    /// Calls the handlers of a broadcast on this node. One that is lost heals by the caches' time to live.
    pub(super) async fn deliver_broadcast(&self, ctx: &Ctx, event: &Event) {
        debug_assert_eq!(event.kind(), Kind::Broadcast);
        let mut calls: futures_util::stream::FuturesUnordered<_> = self
            .takers(event.name())
            .map(|subscription| async move {
                let delivery = Delivery {
                    id: ctx.new_id(),
                    event: event.clone(),
                    subscription: subscription.name,
                    request_id: crate::telemetry::request_id(),
                    created_ms: ctx.clock.now_ms(),
                    place: Place::Nowhere,
                };
                if let Err(failure) = (subscription.handler)(ctx, &delivery).await {
                    tracing::warn!("{} did not take {}: {failure}", subscription.name, event.name());
                }
            })
            .collect();
        while calls.next().await.is_some() {}
    }
}

fn is_broadcast(event: &OutboxRow) -> bool {
    event.kind == Kind::Broadcast.name()
}

/// The row of a delivery that waits for its handler.
pub(super) fn pending<'a>(
    event: &'a OutboxRow,
    subscription: &'a str,
    now_ms: Millis,
) -> sql::NewDelivery<'a> {
    sql::NewDelivery {
        event_id: &event.id,
        subscription,
        state: DeliveryState::Pending,
        fifo_key: event.fifo_key.as_deref(),
        seq: event.seq,
        attempts: 0,
        next_ms: now_ms,
        due_ms: event.due_ms,
        error: None,
    }
}

/// RocketMQ: claims events, publishes them, and marks what the broker took.
#[cfg(feature = "rocketmq")]
async fn publish(ctx: &Ctx, node: &super::rocketmq::Node, due: Vec<OutboxRow>) -> Result<usize> {
    let now_ms = ctx.clock.now_ms();
    let due = &due;
    let claimed = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let mut claimed = Vec::with_capacity(due.len());
                for event in due {
                    if sql::claim_event(tx, &event.id, now_ms, now_ms + LEASE_MS).await? {
                        claimed.push(event);
                    }
                }
                Ok(claimed)
            })
        })
        .await?;
    if claimed.is_empty() {
        return Ok(0);
    }
    let sends = claimed.iter().map(|event| async move { node.publish(&Envelope::of_row(event)).await });
    let outcomes = join_all(sends).await;
    let sent_ms = ctx.clock.now_ms();
    let (claimed, outcomes) = (&claimed, &outcomes);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for (event, outcome) in claimed.iter().zip(outcomes) {
                    match outcome {
                        Ok(()) => {
                            sql::mark_sent(tx, &event.id, sent_ms.max(event.due_ms)).await?;
                        }
                        Err(_) => sql::postpone_event(tx, &event.id, sent_ms + PAUSE_MS).await?,
                    }
                }
                Ok(())
            })
        })
        .await?;
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    if let Some(error) = failed.first() {
        tracing::warn!("{} events wait for the broker: {error}", failed.len());
    }
    Ok(claimed.len() - failed.len())
}

//! The bus inside one process: outbox rows become delivery rows, delivery rows become calls.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Delivery, DeliveryState, Handled, Subscription, sql};
use crate::events::{Event, Kind};
use crate::kernel::{Millis, Result};
use crate::platform::ctx::Ctx;
use crate::telemetry::with_request_id;

/// Rows that one round reads.
const BATCH: i64 = 256;
/// The first pause after a failed delivery, doubled by each further one, and its longest.
const FIRST_PAUSE_MS: Millis = 1_000;
const LONGEST_PAUSE_MS: Millis = 60_000;

pub struct Embedded {
    subscriptions: OnceLock<Vec<Subscription>>,
    up: AtomicBool,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { subscriptions: OnceLock::new(), up: AtomicBool::new(true) }
    }
}

impl Embedded {
    pub fn subscribe(&self, subscriptions: Vec<Subscription>) {
        let first = self.subscriptions.set(subscriptions).is_ok();
        debug_assert!(first, "the list of subscriptions is given once");
    }

    fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.get().map_or(&[], Vec::as_slice)
    }

    fn subscription(&self, name: &str) -> Option<&Subscription> {
        self.subscriptions().iter().find(|subscription| subscription.name == name)
    }

    pub fn set_available(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    pub fn is_available(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    pub async fn next_due(&self, ctx: &Ctx) -> Result<Option<Millis>> {
        sql::next_due(&mut *ctx.db.reader().await?).await
    }

    pub async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        if !self.is_available() {
            return Ok(0);
        }
        let sent = self.send_due(ctx).await?;
        let delivered = self.deliver_due(ctx).await?;
        Ok(sent + delivered)
    }

    /// Turns due events into deliveries.
    async fn send_due(&self, ctx: &Ctx) -> Result<usize> {
        let now_ms = ctx.clock.now_ms();
        let due = sql::due_events(&mut *ctx.db.reader().await?, now_ms, BATCH).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let due = &due;
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    for event in due {
                        if !sql::mark_sent(tx, &event.id).await? || event.kind == "BROADCAST" {
                            continue;
                        }
                        let known = Event::NAMES.contains(&event.event.as_str());
                        for subscription in self.subscriptions() {
                            if subscription.events.contains(&event.event.as_str()) {
                                sql::insert_delivery(
                                    tx,
                                    event,
                                    subscription.name,
                                    DeliveryState::Pending,
                                    None,
                                    now_ms,
                                )
                                .await?;
                            }
                        }
                        if !known {
                            // A newer version of the program wrote it: kept, and shown.
                            let why = Some("this version does not know the event");
                            sql::insert_delivery(
                                tx,
                                event,
                                "unknown-event",
                                DeliveryState::Parked,
                                why,
                                now_ms,
                            )
                            .await?;
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        for event in due.iter().filter(|event| event.kind == "BROADCAST") {
            match serde_json::from_str::<Event>(&event.body) {
                Ok(event) => self.broadcast(ctx, &event).await,
                Err(error) => tracing::warn!("broadcast {} can't be read: {error}", event.id),
            }
        }
        Ok(due.len())
    }

    pub async fn broadcast(&self, ctx: &Ctx, event: &Event) {
        debug_assert_eq!(event.kind(), Kind::Broadcast);
        for subscription in self.subscriptions().iter().filter(|s| s.events.contains(&event.name())) {
            let delivery = Delivery {
                id: ctx.new_id(),
                event: event.clone(),
                subscription: subscription.name,
                request_id: crate::telemetry::request_id(),
                created_ms: ctx.clock.now_ms(),
            };
            if let Err(failure) = (subscription.handler)(ctx, &delivery).await {
                // Lost broadcasts heal by the local time to live.
                tracing::warn!("{} did not take {}: {failure}", subscription.name, event.name());
            }
        }
    }

    /// Makes due deliveries, a bounded number at a time, each key in its order.
    async fn deliver_due(&self, ctx: &Ctx) -> Result<usize> {
        let due = sql::due_deliveries(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
        let count = due.len();
        let mut waiting = due.into_iter();
        let mut running: FuturesUnordered<_> =
            waiting.by_ref().take(ctx.config.bus.parallel).map(|due| self.deliver(ctx, due)).collect();
        while let Some(result) = running.next().await {
            result?;
            if let Some(due) = waiting.next() {
                running.push(self.deliver(ctx, due));
            }
        }
        Ok(count)
    }

    async fn deliver(&self, ctx: &Ctx, due: sql::DueDelivery) -> Result<()> {
        let request_id = due.request_id.clone();
        with_request_id(request_id, async {
            let outcome = self.call(ctx, &due).await;
            let now_ms = ctx.clock.now_ms();
            let due = &due;
            let (label, state, next_ms, error) = match outcome {
                Ok(Handled::Done) => {
                    ctx.metrics.delivery(&due.subscription, "done");
                    // A handler without a transaction of its own has not written its row.
                    return self.complete_if_pending(ctx, due, now_ms).await;
                }
                Ok(Handled::Park(reason)) => ("parked", DeliveryState::Parked, now_ms, reason),
                Err(failure) if due.attempts + 1 >= ctx.config.bus.attempts_max => {
                    ("parked", DeliveryState::Parked, now_ms, failure.to_string())
                }
                Err(failure) => {
                    let pause_ms = (FIRST_PAUSE_MS << due.attempts.min(6)).min(LONGEST_PAUSE_MS);
                    ("retried", DeliveryState::Pending, now_ms + pause_ms, failure.to_string())
                }
            };
            ctx.metrics.delivery(&due.subscription, label);
            tracing::warn!(event.id = %due.event_id, "{} {label} {}: {error}", due.subscription, due.event_id);
            let error = &error;
            ctx.db
                .write(|tx| {
                    Box::pin(async move {
                        sql::record_failure(tx, due, state, next_ms, error).await?;
                        Ok(())
                    })
                })
                .await
        })
        .await
    }

    pub(super) async fn call(&self, ctx: &Ctx, due: &sql::DueDelivery) -> Result<Handled> {
        let Some(subscription) = self.subscription(&due.subscription) else {
            return Ok(Handled::Park("nobody subscribes by this name any more".to_owned()));
        };
        let event = match serde_json::from_str(&due.body) {
            Ok(event) => event,
            Err(error) => return Ok(Handled::Park(format!("the event can't be read: {error}"))),
        };
        let delivery = Delivery {
            id: due.event_id.clone(),
            event,
            subscription: subscription.name,
            request_id: due.request_id.clone(),
            created_ms: due.created_ms,
        };
        (subscription.handler)(ctx, &delivery).await
    }

    async fn complete_if_pending(&self, ctx: &Ctx, due: &sql::DueDelivery, now_ms: Millis) -> Result<()> {
        let pending = sql::is_pending(&mut *ctx.db.reader().await?, &due.event_id, &due.subscription).await?;
        if !pending {
            return Ok(());
        }
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    sql::complete(tx, &due.event_id, &due.subscription, now_ms).await?;
                    Ok(())
                })
            })
            .await
    }
}

//! Deliveries that wait as rows: made with pauses that grow, each key in its order, until they are done or
//! parked. Where several nodes share the rows, each is claimed for the time of a try.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Bus, Delivery, DeliveryState, Handled, Place, sql, tries};
use crate::kernel::{EventId, Millis, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::Work;
use crate::platform::patience::{DELIVERY_LIMIT, within};
use crate::telemetry::{request_id, with_request_id};

/// Rows that one round reads.
const BATCH: i64 = 256;
/// The first pause after a failed delivery, doubled by each further one, and its longest.
const FIRST_PAUSE_MS: Millis = 1_000;
const LONGEST_PAUSE_MS: Millis = 60_000;
/// How long a node may take for a try, until another node tries, too. The handler's transaction decides
/// which of them changes anything.
const LEASE_MS: Millis = 30_000;

impl Bus {
    /// Makes due deliveries, a bounded number at a time. Answers how many were tried.
    pub(super) async fn deliver_due(&self, ctx: &Ctx) -> Result<usize> {
        let due = sql::due_deliveries(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
        let mut waiting = due.into_iter();
        let mut tried = 0;
        let mut running: FuturesUnordered<_> =
            waiting.by_ref().take(ctx.config.bus.parallel).map(|due| self.deliver(ctx, due)).collect();
        while let Some(result) = running.next().await {
            match result {
                Ok(is_ours) => tried += usize::from(is_ours),
                // The others in flight are not dropped for it; its row is still there, and due.
                Err(failure) => tracing::error!("a delivery was neither made nor put off: {failure}"),
            }
            if let Some(due) = waiting.next() {
                running.push(self.deliver(ctx, due));
            }
        }
        Ok(tried)
    }

    /// False: another node has it.
    async fn deliver(&self, ctx: &Ctx, due: sql::DueDelivery) -> Result<bool> {
        let due = &due;
        if self.is_shared() {
            let until_ms = ctx.clock.now_ms() + LEASE_MS;
            let claim = ctx
                .db
                .write(|tx| Box::pin(async move { sql::claim_delivery(tx, due, until_ms).await }))
                .await?;
            if !claim {
                return Ok(false);
            }
        }
        with_request_id(due.request_id.clone(), async {
            let (id, name, body) = (&due.event_id, due.subscription.as_str(), &due.body);
            self.try_delivery(ctx, id, name, body, due.created_ms, Place::Row, due.attempts).await
        })
        .await?;
        Ok(true)
    }

    /// One try of a delivery, and what came of it, recorded where the delivery is.
    #[expect(clippy::too_many_arguments, reason = "a delivery before it is one: its event may be unreadable")]
    pub(super) async fn try_delivery(
        &self,
        ctx: &Ctx,
        id: &EventId,
        subscription: &str,
        body: &str,
        created_ms: Millis,
        place: Place,
        attempts: i64,
    ) -> Result<()> {
        let call = Box::pin(self.call(ctx, id, subscription, body, created_ms, &place));
        let outcome = within(DELIVERY_LIMIT, subscription, call).await;
        let now_ms = ctx.clock.now_ms();
        let (label, state, next_ms, error) = match outcome {
            Ok(Handled::Done) => {
                ctx.metrics.delivery(subscription, "done");
                // A handler without a transaction of its own has not written its row.
                return complete(ctx, id, subscription, &place, now_ms).await;
            }
            Ok(Handled::Park(reason)) => ("parked", DeliveryState::Parked, now_ms, reason),
            Err(failure) if attempts + 1 >= ctx.config.bus.attempts_max => {
                ("parked", DeliveryState::Parked, now_ms, failure.to_string())
            }
            Err(failure) => {
                let pause_ms = (FIRST_PAUSE_MS << attempts.min(6)).min(LONGEST_PAUSE_MS);
                ("retried", DeliveryState::Pending, now_ms + pause_ms, failure.to_string())
            }
        };
        ctx.metrics.delivery(subscription, label);
        tracing::warn!(event.id = %id, "{subscription} {label} {id}: {error}");
        let (place, error) = (&place, &error);
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    let counts = match place.new_row(id, subscription, state, next_ms) {
                        Some(row) => {
                            let row = sql::NewDelivery { attempts: 1, error: Some(error), ..row };
                            sql::insert_delivery(tx, &row).await?
                        }
                        None => sql::record_failure(tx, id, subscription, state, next_ms, error).await?,
                    };
                    if counts {
                        tries::keep(tx, ctx, id, subscription, error).await?;
                    }
                    tx.wake(Work::Bus);
                    Ok(())
                })
            })
            .await
    }

    async fn call(
        &self,
        ctx: &Ctx,
        id: &EventId,
        subscription: &str,
        body: &str,
        created_ms: Millis,
        place: &Place,
    ) -> Result<Handled> {
        let Some(subscription) = self.subscriptions().iter().find(|s| s.name == subscription) else {
            return Ok(Handled::Park("nobody subscribes by this name any more".to_owned()));
        };
        let event = match serde_json::from_str(body) {
            Ok(event) => event,
            Err(error) => return Ok(Handled::Park(format!("the event can't be read: {error}"))),
        };
        let delivery = Delivery {
            id: id.clone(),
            event,
            subscription: subscription.name,
            request_id: request_id(),
            created_ms,
            place: place.clone(),
        };
        (subscription.handler)(ctx, &delivery).await
    }
}

/// Records that a delivery is done, where its handler has not done so.
async fn complete(ctx: &Ctx, id: &EventId, subscription: &str, place: &Place, now_ms: Millis) -> Result<()> {
    let state = {
        let conn = &mut *ctx.db.reader().await?;
        sql::deliveries_of(conn, id).await?.into_iter().find(|(name, _)| name == subscription)
    };
    let new_row = place.new_row(id, subscription, DeliveryState::Done, now_ms);
    let new_row = &match (state, new_row) {
        (Some((_, DeliveryState::Pending)), None) => None,
        (None, Some(row)) => Some(row),
        _ => return Ok(()),
    };
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                match new_row {
                    Some(row) => sql::insert_delivery(tx, row).await?,
                    None => sql::complete(tx, id, subscription, now_ms).await?,
                };
                Ok(())
            })
        })
        .await
}

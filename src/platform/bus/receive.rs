//! What a consumer does with a message. The database decides: a message is only the news that an event is
//! there, so a lost one, a second one, or one out of order changes nothing for good.
//!
//! The first try is made at once. What fails, or must wait for an event before it, becomes a row of
//! `deliveries` that any node takes up, with pauses that grow: so a poison message holds back neither its
//! queue nor other orders, and no retry depends on the broker.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

#[cfg(feature = "rocketmq")]
use super::SCHEMA_VERSION;
use super::sql::{self, OutboxRow};
use super::{Bus, DeliveryState, Place, Subscription};
use crate::events::Event;
use crate::kernel::{EventId, Millis, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Work};
use crate::telemetry::with_request_id;

/// Keeps events that no version of this program knows, so that a person or a newer version finds them.
const UNKNOWN: &str = "unknown-event";

/// An event as a message says it. Every released shape stays readable; new members are optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub id: EventId,
    /// The name of the event.
    pub name: String,
    pub topic: String,
    /// How it travels, as the outbox says it.
    pub kind: String,
    /// Version of the body's shape.
    pub schema: i64,
    /// Events of one key are in order of their `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    pub due_ms: Millis,
    pub created_ms: Millis,
    #[serde(default)]
    pub request_id: String,
    /// The event as JSON.
    pub body: String,
}

impl Envelope {
    pub(super) fn of_row(row: &OutboxRow) -> Self {
        Self {
            id: row.id.clone(),
            name: row.event.clone(),
            topic: row.topic.clone(),
            kind: row.kind.clone(),
            schema: row.schema_version,
            key: row.fifo_key.clone(),
            seq: row.seq,
            due_ms: row.due_ms,
            created_ms: row.created_ms,
            request_id: row.request_id.clone(),
            body: row.body.clone(),
        }
    }

    #[cfg(any(test, feature = "rocketmq"))]
    pub(super) fn of_new(row: &sql::NewEvent<'_>) -> Self {
        Self {
            id: row.id.clone(),
            name: row.name.to_owned(),
            topic: row.topic.to_owned(),
            kind: row.kind.to_owned(),
            schema: row.schema_version,
            key: row.fifo.map(|(key, _)| key.to_owned()),
            seq: row.fifo.map(|(_, seq)| seq),
            due_ms: row.due_ms,
            created_ms: row.now_ms,
            request_id: row.request_id.clone(),
            body: row.body.clone(),
        }
    }

    /// A message that no row stands behind.
    #[cfg(feature = "rocketmq")]
    pub(super) fn of_broadcast(ctx: &Ctx, event: &Event) -> Self {
        let now_ms = ctx.clock.now_ms();
        Self {
            id: ctx.new_id(),
            name: event.name().to_owned(),
            topic: event.topic().to_owned(),
            kind: event.kind().name().to_owned(),
            schema: SCHEMA_VERSION,
            key: None,
            seq: None,
            due_ms: now_ms,
            created_ms: now_ms,
            request_id: crate::telemetry::request_id(),
            body: serde_json::to_string(event).unwrap_or_default(),
        }
    }

    fn row(&self) -> OutboxRow {
        OutboxRow {
            id: self.id.clone(),
            event: self.name.clone(),
            topic: self.topic.clone(),
            kind: self.kind.clone(),
            fifo_key: self.key.clone(),
            seq: self.seq,
            due_ms: self.due_ms,
            expected_ms: None,
            schema_version: self.schema,
            request_id: self.request_id.clone(),
            created_ms: self.created_ms,
            body: self.body.clone(),
        }
    }
}

/// What is known of the events of the same key before a message.
#[derive(Default)]
struct Earlier {
    /// (event, seq, due) → its deliveries.
    events: BTreeMap<(i64, EventId), (String, Millis, Vec<(String, DeliveryState)>)>,
}

impl Earlier {
    async fn read(conn: &mut Conn, message: &Envelope) -> Result<Self> {
        let mut earlier = Self::default();
        if let (Some(key), Some(seq)) = (&message.key, message.seq) {
            for row in sql::before(conn, key, seq).await? {
                let entry =
                    earlier.events.entry((row.seq, row.id)).or_insert((row.event, row.due_ms, vec![]));
                if let (Some(subscription), Some(state)) = (row.subscription, row.state) {
                    entry.2.push((subscription, state));
                }
            }
        }
        Ok(earlier)
    }

    /// Is something before the message that this subscription has not handled yet?
    fn holds_back(&self, subscription: &Subscription) -> bool {
        self.unhandled(subscription).next().is_some()
    }

    fn unhandled<'a>(
        &'a self,
        subscription: &'a Subscription,
    ) -> impl Iterator<Item = (&'a EventId, i64, Millis)> {
        self.events.iter().filter_map(move |((seq, id), (name, due_ms, deliveries))| {
            let mut own = deliveries.iter().filter(|(name, _)| name == subscription.name);
            let waits = own.next().is_none_or(|(_, state)| *state == DeliveryState::Pending);
            (subscription.takes(name) && waits).then_some((id, *seq, *due_ms))
        })
    }
}

impl Bus {
    /// Handles a message. An error means that nothing could be recorded, and the broker gives it again.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn receive(&self, ctx: &Ctx, message: &Envelope) -> Result<()> {
        with_request_id(message.request_id.clone(), async {
            if message.kind == crate::events::Kind::Broadcast.name() {
                match serde_json::from_str::<Event>(&message.body) {
                    Ok(event) => self.deliver_broadcast(ctx, &event).await,
                    Err(error) => tracing::warn!("broadcast {} can't be read: {error}", message.id),
                }
                return Ok(());
            }
            if !Event::NAMES.contains(&message.name.as_str()) {
                return self.park_unknown(ctx, message).await;
            }
            let (there, earlier) = {
                let conn = &mut *ctx.db.reader().await?;
                (sql::deliveries_of(conn, &message.id).await?, Earlier::read(conn, message).await?)
            };
            let mut now = Vec::new();
            for subscription in self.takers(&message.name) {
                if there.iter().any(|(name, _)| name == subscription.name) {
                    continue;
                }
                if earlier.holds_back(subscription) {
                    self.queue_behind(ctx, message, &earlier, subscription).await?;
                } else {
                    now.push(self.first_try(ctx, message, subscription));
                }
            }
            try_join_all(now).await?;
            Ok(())
        })
        .await
    }

    /// A newer version of the program wrote it: kept, and shown.
    async fn park_unknown(&self, ctx: &Ctx, message: &Envelope) -> Result<()> {
        ctx.db
            .write(|tx| Box::pin(async move { park_unknown(tx, &message.id, ctx.clock.now_ms()).await }))
            .await
    }

    /// A message of a shape that this version can't read: its event is in the outbox, and is shown.
    #[cfg(any(test, feature = "rocketmq"))]
    pub(super) async fn keep_unreadable(&self, ctx: &Ctx, id: &str, error: &str) -> Result<()> {
        let Ok(id) = id.parse::<EventId>() else {
            tracing::error!("a message without an event's id was thrown away: {error}");
            return Ok(());
        };
        tracing::error!(event.id = %id, "message {id} can't be read: {error}");
        ctx.db
            .write(|tx| {
                let id = id.clone();
                Box::pin(async move { park_unknown(tx, &id, ctx.clock.now_ms()).await })
            })
            .await
    }

    /// The message, and what its subscription has not seen of the events before it, wait as rows.
    async fn queue_behind(
        &self,
        ctx: &Ctx,
        message: &Envelope,
        earlier: &Earlier,
        subscription: &Subscription,
    ) -> Result<()> {
        let now_ms = ctx.clock.now_ms();
        let own = &message.row();
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    let row = super::relay::pending(own, subscription.name, now_ms);
                    for (event_id, seq, due_ms) in earlier.unhandled(subscription) {
                        let seq = Some(seq);
                        sql::insert_delivery(tx, &sql::NewDelivery { event_id, seq, due_ms, ..row }).await?;
                    }
                    sql::insert_delivery(tx, &row).await?;
                    tx.wake(Work::Bus);
                    Ok(())
                })
            })
            .await
    }

    async fn first_try(&self, ctx: &Ctx, message: &Envelope, subscription: &Subscription) -> Result<()> {
        let place =
            Place::Message { fifo_key: message.key.clone(), seq: message.seq, due_ms: message.due_ms };
        let created_ms = message.created_ms;
        self.try_delivery(ctx, &message.id, subscription.name, &message.body, created_ms, place, 0).await
    }
}

/// Keeps an event that this version does not know, as a dead letter.
pub(super) async fn park_unknown(conn: &mut Conn, event_id: &EventId, now_ms: Millis) -> Result<()> {
    let row = sql::NewDelivery {
        event_id,
        subscription: UNKNOWN,
        state: DeliveryState::Parked,
        fifo_key: None,
        seq: None,
        attempts: 0,
        next_ms: now_ms,
        due_ms: now_ms,
        error: Some("this version does not know the event"),
    };
    sql::insert_delivery(conn, &row).await?;
    Ok(())
}

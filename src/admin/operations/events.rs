//! How the bus is doing, what waits on it, and where an event stands.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use crate::kernel::{Cursor, EventId, Failure, Limit, Result, rfc3339};
use crate::platform::bus::{self, DeliveryState, EVENT_NOT_FOUND, StoredDelivery, StoredEvent, Try};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::web::{List, Reply, Tag};
use crate::staff::StaffAuth;

/// How the bus is doing.
#[derive(Debug, Object)]
pub struct OutboxView {
    /// How late the oldest due event or delivery is; 0: nothing is late.
    pub lag_ms: i64,
    /// Events that are due and not sent yet.
    pub waiting: i64,
    /// Events whose time has not come.
    pub timed: i64,
    /// Deliveries that are still to be made.
    pub deliveries: i64,
    /// Dead letters.
    pub parked: i64,
    /// Does the bus take messages?
    pub available: bool,
}

/// An event.
#[derive(Debug, Object)]
pub struct EventView {
    pub id: EventId,
    /// Its name.
    pub event: String,
    pub topic: String,
    /// NORMAL, FIFO, TIMED, HALF or BROADCAST.
    pub kind: String,
    /// Events of one key are delivered in the order of `seq`.
    #[oai(skip_serializing_if_is_none)]
    pub key: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub seq: Option<i64>,
    /// READY: to be sent. SENT. ABORTED: its transaction was given up.
    pub state: String,
    pub due_at: String,
    pub created_at: String,
    /// The request that caused it.
    pub request_id: String,
    pub body: Value,
}

impl From<StoredEvent> for EventView {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id,
            event: event.event,
            topic: event.topic,
            kind: event.kind,
            key: event.fifo_key,
            seq: event.seq,
            state: event.state,
            due_at: rfc3339(event.due_ms),
            created_at: rfc3339(event.created_ms),
            request_id: event.request_id,
            body: value(event.body),
        }
    }
}

/// Where an event stands with one subscription.
#[derive(Debug, Object)]
pub struct DeliveryView {
    pub event_id: EventId,
    pub subscription: String,
    pub state: DeliveryState,
    /// Tries that failed.
    pub attempts: i64,
    /// PENDING: when it is tried next.
    #[oai(skip_serializing_if_is_none)]
    pub next_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub done_at: Option<String>,
    /// Why the last try failed.
    #[oai(skip_serializing_if_is_none)]
    pub error: Option<String>,
}

impl From<StoredDelivery> for DeliveryView {
    fn from(delivery: StoredDelivery) -> Self {
        let waits = delivery.state == DeliveryState::Pending;
        Self {
            event_id: delivery.event_id,
            subscription: delivery.subscription,
            state: delivery.state,
            attempts: delivery.attempts,
            next_at: waits.then(|| rfc3339(delivery.next_ms)),
            done_at: delivery.done_ms.map(rfc3339),
            error: delivery.error,
        }
    }
}

/// A try that failed.
#[derive(Debug, Object)]
#[oai(rename = "DeliveryTry")]
pub struct TryView {
    pub at: String,
    /// The node that tried.
    pub node: String,
    pub error: String,
}

impl From<Try> for TryView {
    fn from(failed: Try) -> Self {
        Self { at: rfc3339(failed.at_ms), node: failed.node, error: failed.error }
    }
}

/// Where an event stands with one subscription, with what was tried.
#[derive(Debug, Object)]
pub struct DeliveryDetail {
    #[oai(flatten)]
    pub delivery: DeliveryView,
    /// The last 20 failed tries, oldest first.
    pub tries: Vec<TryView>,
}

/// An event and its deliveries.
#[derive(Debug, Object)]
pub struct EventDetail {
    #[oai(flatten)]
    pub event: EventView,
    /// One for each subscription that takes the event; none while it is READY, nor of a broadcast.
    pub deliveries: Vec<DeliveryDetail>,
}

/// JSON that is stored as text.
pub fn value(json: String) -> Value {
    serde_json::from_str(&json).unwrap_or(Value::String(json))
}

/// An event with its deliveries and their tries.
pub async fn detail(conn: &mut Conn, event: StoredEvent) -> Result<EventDetail> {
    let mut deliveries = Vec::new();
    for delivery in bus::deliveries(conn, &event.id).await? {
        let tries = bus::tries(conn, &event.id, &delivery.subscription).await?;
        deliveries.push(DeliveryDetail {
            delivery: delivery.into(),
            tries: tries.into_iter().map(TryView::from).collect(),
        });
    }
    Ok(EventDetail { event: event.into(), deliveries })
}

pub struct EventsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl EventsApi {
    /// How the bus is doing
    ///
    /// Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/outbox", method = "get", operation_id = "getOutbox")]
    async fn outbox(&self, _auth: StaffAuth) -> Reply<Json<OutboxView>> {
        let (conn, now_ms) = (&mut *self.ctx.db.reader().await?, self.ctx.clock.now_ms());
        let waiting = bus::waiting(conn, now_ms).await?;
        Ok(Json(OutboxView {
            lag_ms: bus::lag_ms(conn, now_ms).await?,
            waiting: waiting.events,
            timed: waiting.timed,
            deliveries: waiting.deliveries,
            parked: bus::count_parked(conn).await?,
            available: self.ctx.bus.is_available(),
        }))
    }

    /// List the events that wait
    ///
    /// Those that are still to be sent, the first that is due first; timed ones wait for their time. Changes
    /// nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/outbox/events", method = "get", operation_id = "listWaitingEvents")]
    async fn waiting_events(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<EventView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = bus::waiting_events(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, EventView::from))
    }

    /// List the deliveries that wait
    ///
    /// Those that are still to be made, the first that is tried first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/outbox/deliveries", method = "get", operation_id = "listWaitingDeliveries")]
    async fn waiting_deliveries(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<DeliveryView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = bus::waiting_deliveries(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, DeliveryView::from))
    }

    /// One event
    ///
    /// With its deliveries: where each stands, and the tries that failed. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `event_not_found`.
    #[oai(path = "/events/:event_id", method = "get", operation_id = "getEvent")]
    async fn event(&self, _auth: StaffAuth, event_id: Path<EventId>) -> Reply<Json<EventDetail>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let event = bus::event(conn, &event_id).await?.ok_or_else(|| Failure::new(&EVENT_NOT_FOUND))?;
        Ok(Json(detail(conn, event).await?))
    }
}

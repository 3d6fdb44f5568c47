//! What people read of the bus: events and where their deliveries stand, and what waits.

use sqlx::FromRow;

use super::DeliveryState;
use crate::kernel::{Cursor, EventId, Failure, Limit, Millis, Page, Result, minute_ms};
use crate::platform::db::Conn;

/// An event as it is stored.
#[derive(Debug, Clone, FromRow)]
pub struct StoredEvent {
    pub id: EventId,
    pub event: String,
    pub topic: String,
    pub kind: String,
    pub fifo_key: Option<String>,
    pub seq: Option<i64>,
    /// READY: to be sent. SENT. ABORTED: the transaction that it was part of was given up.
    pub state: String,
    pub due_ms: Millis,
    pub created_ms: Millis,
    pub request_id: String,
    /// JSON.
    pub body: String,
}

/// Where an event stands with one subscription.
#[derive(Debug, Clone, FromRow)]
pub struct StoredDelivery {
    pub event_id: EventId,
    pub subscription: String,
    pub state: DeliveryState,
    pub attempts: i64,
    /// When it is tried next, while it is PENDING.
    pub next_ms: Millis,
    pub due_ms: Millis,
    pub done_ms: Option<Millis>,
    pub error: Option<String>,
}

/// How much waits on the bus.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// Events that are due and not sent yet.
    pub events: i64,
    /// Events whose time has not come.
    pub timed: i64,
    /// Deliveries that are still to be made.
    pub deliveries: i64,
}

macro_rules! event_columns {
    () => {
        "id, event, topic, kind, fifo_key, seq, state, due_ms, created_ms, request_id, body"
    };
}

macro_rules! delivery_columns {
    () => {
        "event_id, subscription, state, attempts, next_ms, due_ms, done_ms, error"
    };
}

/// How long a message that nobody has taken may be on its way, healing included, before it counts as lost.
const ON_ITS_WAY_MS: Millis = minute_ms(10);

/// The SQL condition that an event has not reached a subscription yet: what it brings about may still be missing.
/// `which` says of what it is, with the event's row as `x`.
pub fn on_its_way(event: &str, subscription: &str, which: &str, now_ms: Millis) -> String {
    let delivery =
        format!("SELECT 1 FROM deliveries d WHERE d.event_id = x.id AND d.subscription = '{subscription}'");
    format!(
        "EXISTS (SELECT 1 FROM outbox x WHERE x.event = '{event}' AND {which} AND (x.state = 'READY' \
         OR EXISTS ({delivery} AND d.state IN ('PENDING', 'PARKED')) \
         OR (x.state = 'SENT' AND x.expected_ms > {} AND NOT EXISTS ({delivery}))))",
        now_ms - ON_ITS_WAY_MS
    )
}

/// One event.
///
/// # Errors
/// The database.
pub async fn event(conn: &mut Conn, id: &EventId) -> Result<Option<StoredEvent>> {
    Ok(sqlx::query_as(concat!("SELECT ", event_columns!(), " FROM outbox WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// Where an event stands with each of its subscriptions.
///
/// # Errors
/// The database.
pub async fn deliveries(conn: &mut Conn, event: &EventId) -> Result<Vec<StoredDelivery>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries WHERE event_id = ? ORDER BY subscription"
    ))
    .bind(event)
    .fetch_all(conn)
    .await?)
}

/// The events that a request caused, oldest first.
///
/// # Errors
/// The database.
pub async fn events_of_request(conn: &mut Conn, request_id: &str, limit: i64) -> Result<Vec<StoredEvent>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        event_columns!(),
        " FROM outbox WHERE request_id = ? ORDER BY id LIMIT ?"
    ))
    .bind(request_id)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Counts of what waits.
///
/// # Errors
/// The database.
pub async fn waiting(conn: &mut Conn, now_ms: Millis) -> Result<Waiting> {
    let (events,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM outbox WHERE state = 'READY' AND due_ms <= ?")
            .bind(now_ms)
            .fetch_one(&mut *conn)
            .await?;
    let (timed,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM outbox WHERE state = 'READY' AND due_ms > ?")
        .bind(now_ms)
        .fetch_one(&mut *conn)
        .await?;
    let (deliveries,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM deliveries WHERE state = 'PENDING'").fetch_one(conn).await?;
    Ok(Waiting { events, timed, deliveries })
}

/// Events that are still to be sent, those that are due first.
///
/// # Errors
/// A cursor of another list.
pub async fn waiting_events(
    conn: &mut Conn,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<StoredEvent>> {
    let (due_ms, id) = place(after)?;
    let rows: Vec<StoredEvent> = sqlx::query_as(concat!(
        "SELECT ",
        event_columns!(),
        " FROM outbox WHERE state = 'READY' AND due_ms >= ? AND (due_ms > ? OR id > ?) \
         ORDER BY due_ms, id LIMIT ?"
    ))
    .bind(due_ms)
    .bind(due_ms)
    .bind(id)
    .bind(limit.and_one())
    .fetch_all(conn)
    .await?;
    Ok(Page::cut(rows, limit, |row| format!("{} {}", row.due_ms, row.id)))
}

/// Deliveries that are still to be made, those that are tried next first.
///
/// # Errors
/// A cursor of another list.
pub async fn waiting_deliveries(
    conn: &mut Conn,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<StoredDelivery>> {
    let (next_ms, rest) = place(after)?;
    let (id, subscription) = rest.split_once(' ').unwrap_or((rest, ""));
    let rows: Vec<StoredDelivery> = sqlx::query_as(concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries WHERE state = 'PENDING' AND next_ms >= ? \
         AND (next_ms > ? OR event_id > ? OR (event_id = ? AND subscription > ?)) \
         ORDER BY next_ms, event_id, subscription LIMIT ?"
    ))
    .bind(next_ms)
    .bind(next_ms)
    .bind(id)
    .bind(id)
    .bind(subscription)
    .bind(limit.and_one())
    .fetch_all(conn)
    .await?;
    Ok(Page::cut(rows, limit, |row| format!("{} {} {}", row.next_ms, row.event_id, row.subscription)))
}

/// A time and what follows it, of a cursor.
fn place(after: Option<&Cursor>) -> Result<(Millis, &str)> {
    let Some(cursor) = after else { return Ok((Millis::MIN, "")) };
    let place = cursor.key().split_once(' ').and_then(|(ms, rest)| Some((ms.parse().ok()?, rest)));
    place.ok_or_else(|| Failure::invalid("cursor", "not a cursor of this list"))
}

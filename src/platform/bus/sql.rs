//! SQL of the outbox and the deliveries.

use sqlx::FromRow;

use super::DeliveryState;
use crate::events::Event;
use crate::kernel::{EventId, Millis, Result};
use crate::platform::db::{Conn, changed, inserted};

/// Events that one clean-up forgets: the writer is not kept from others for long.
const CLEAN_UP_BATCH: i64 = 500;

pub struct NewEvent<'a> {
    pub id: EventId,
    pub event: &'a Event,
    pub fifo: Option<(&'a str, i64)>,
    pub due_ms: Millis,
    pub now_ms: Millis,
    pub schema_version: i64,
    pub request_id: String,
    pub body: String,
}

#[derive(FromRow)]
pub struct OutboxRow {
    pub id: EventId,
    pub event: String,
    pub kind: String,
    pub fifo_key: Option<String>,
    pub seq: Option<i64>,
    pub due_ms: Millis,
    pub body: String,
}

#[derive(FromRow, Clone)]
pub struct DueDelivery {
    pub event_id: EventId,
    pub subscription: String,
    pub attempts: i64,
    pub request_id: String,
    pub created_ms: Millis,
    pub body: String,
}

pub async fn insert_event(conn: &mut Conn, row: &NewEvent<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO outbox (id, event, topic, kind, fifo_key, seq, due_ms, state, lease_until_ms, \
         schema_version, request_id, created_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, 'READY', 0, ?, ?, ?, ?)",
    )
    .bind(&row.id)
    .bind(row.event.name())
    .bind(row.event.topic())
    .bind(format!("{:?}", row.event.kind()).to_uppercase())
    .bind(row.fifo.map(|(key, _)| key.to_owned()))
    .bind(row.fifo.map(|(_, seq)| seq))
    .bind(row.due_ms)
    .bind(row.schema_version)
    .bind(&row.request_id)
    .bind(row.now_ms)
    .bind(&row.body)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn due_events(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<OutboxRow>> {
    Ok(sqlx::query_as(
        "SELECT id, event, kind, fifo_key, seq, due_ms, body FROM outbox \
         WHERE state = 'READY' AND due_ms <= ? ORDER BY due_ms, id LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn mark_sent(conn: &mut Conn, id: &EventId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE outbox SET state = 'SENT' WHERE id = ? AND state = 'READY'")
            .bind(id)
            .execute(conn)
            .await,
    )
}

pub async fn insert_delivery(
    conn: &mut Conn,
    event: &OutboxRow,
    subscription: &str,
    state: DeliveryState,
    error: Option<&str>,
    now_ms: Millis,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO deliveries (event_id, subscription, state, fifo_key, seq, attempts, next_ms, due_ms, \
             error) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)",
        )
        .bind(&event.id)
        .bind(subscription)
        .bind(state)
        .bind(&event.fifo_key)
        .bind(event.seq)
        .bind(now_ms)
        .bind(event.due_ms)
        .bind(error)
        .execute(conn)
        .await,
    )
}

/// Due deliveries, of each subscription and key only the first; an event of the same key that is not sent yet
/// holds back those behind it.
pub async fn due_deliveries(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<DueDelivery>> {
    Ok(sqlx::query_as(
        "SELECT d.event_id, d.subscription, d.attempts, o.request_id, o.created_ms, o.body \
         FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.state = 'PENDING' AND d.next_ms <= ? AND (d.fifo_key IS NULL OR NOT EXISTS (\
         SELECT 1 FROM deliveries e WHERE e.subscription = d.subscription AND e.fifo_key = d.fifo_key \
         AND e.seq < d.seq AND e.state = 'PENDING') AND NOT EXISTS (SELECT 1 FROM outbox p \
         WHERE p.fifo_key = d.fifo_key AND p.seq < d.seq AND p.state = 'READY')) ORDER BY d.next_ms, d.event_id LIMIT ?",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Done by this transaction; false when it was done, parked or discarded before.
pub async fn complete(conn: &mut Conn, event: &EventId, subscription: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE deliveries SET state = 'DONE', done_ms = ?, error = NULL \
             WHERE event_id = ? AND subscription = ? AND state = 'PENDING'",
        )
        .bind(now_ms)
        .bind(event)
        .bind(subscription)
        .execute(conn)
        .await,
    )
}

/// Records a failed try: due again at `next_ms`, or parked.
pub async fn record_failure(
    conn: &mut Conn,
    delivery: &DueDelivery,
    state: DeliveryState,
    next_ms: Millis,
    error: &str,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, next_ms = ?, error = ? \
             WHERE event_id = ? AND subscription = ? AND state = 'PENDING'",
        )
        .bind(state)
        .bind(next_ms)
        .bind(error)
        .bind(&delivery.event_id)
        .bind(&delivery.subscription)
        .execute(conn)
        .await,
    )
}

/// When the next event or delivery is due, if any waits.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let event: (Option<i64>,) =
        sqlx::query_as("SELECT MIN(due_ms) FROM outbox WHERE state = 'READY'").fetch_one(&mut *conn).await?;
    let delivery: (Option<i64>,) =
        sqlx::query_as("SELECT MIN(next_ms) FROM deliveries WHERE state = 'PENDING'").fetch_one(conn).await?;
    Ok([event.0, delivery.0].into_iter().flatten().min())
}

/// How late the oldest due event or delivery is, ms.
///
/// # Errors
/// The database.
pub async fn lag_ms(conn: &mut Conn, now_ms: Millis) -> Result<Millis> {
    let event: (Option<i64>,) =
        sqlx::query_as("SELECT MIN(due_ms) FROM outbox WHERE state = 'READY'").fetch_one(&mut *conn).await?;
    let delivery: (Option<i64>,) =
        sqlx::query_as("SELECT MIN(due_ms) FROM deliveries WHERE state = 'PENDING'").fetch_one(conn).await?;
    Ok([event.0, delivery.0].into_iter().flatten().map(|due_ms| (now_ms - due_ms).max(0)).max().unwrap_or(0))
}

/// Events and deliveries that were due before this time and still wait.
///
/// # Errors
/// The database.
pub async fn overdue(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, event FROM outbox WHERE state = 'READY' AND due_ms <= ? \
         UNION ALL SELECT event_id, subscription FROM deliveries WHERE state = 'PENDING' AND due_ms <= ? LIMIT ?",
    )
    .bind(before_ms)
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id, what)| format!("{id} {what}")).collect())
}

#[derive(FromRow)]
pub struct ParkedRow {
    pub event_id: EventId,
    pub subscription: String,
    pub event: String,
    pub body: String,
    pub error: Option<String>,
    pub attempts: i64,
    pub created_ms: Millis,
    pub request_id: String,
}

pub async fn parked(conn: &mut Conn, after: Option<&str>, limit: i64) -> Result<Vec<ParkedRow>> {
    Ok(sqlx::query_as(
        "SELECT d.event_id, d.subscription, o.event, o.body, d.error, d.attempts, o.created_ms, o.request_id \
         FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.state = 'PARKED' AND d.event_id < ? ORDER BY d.event_id DESC, d.subscription LIMIT ?",
    )
    .bind(after.unwrap_or("~"))
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Takes a dead letter out of its state.
pub async fn move_parked(
    conn: &mut Conn,
    event: &EventId,
    subscription: &str,
    to: DeliveryState,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE deliveries SET state = ?, attempts = 0, next_ms = ?, due_ms = ?, fifo_key = NULL \
             WHERE event_id = ? AND subscription = ? AND state = 'PARKED'",
        )
        .bind(to)
        .bind(now_ms)
        .bind(now_ms)
        .bind(event)
        .bind(subscription)
        .execute(conn)
        .await,
    )
}

/// How many dead letters there are.
///
/// # Errors
/// The database.
pub async fn count_parked(conn: &mut Conn) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM deliveries WHERE state = 'PARKED'").fetch_one(conn).await?;
    Ok(count)
}

/// Forgets some events that every subscription has handled long ago; the next sweep goes on.
///
/// # Errors
/// The database.
pub async fn delete_old(conn: &mut Conn, before_ms: Millis) -> Result<()> {
    let old: Vec<(EventId,)> = sqlx::query_as(
        "SELECT o.id FROM outbox o WHERE o.state = 'SENT' AND o.due_ms < ? AND NOT EXISTS (SELECT 1 FROM deliveries d \
         WHERE d.event_id = o.id AND d.state IN ('PENDING', 'PARKED')) ORDER BY o.due_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(CLEAN_UP_BATCH)
    .fetch_all(&mut *conn)
    .await?;
    for (id,) in &old {
        sqlx::query("DELETE FROM deliveries WHERE event_id = ?").bind(id).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM outbox WHERE id = ?").bind(id).execute(&mut *conn).await?;
    }
    Ok(())
}

pub async fn is_pending(conn: &mut Conn, event: &EventId, subscription: &str) -> Result<bool> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT state FROM deliveries WHERE event_id = ? AND subscription = ? AND state = 'PENDING'",
    )
    .bind(event)
    .bind(subscription)
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

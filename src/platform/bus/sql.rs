//! SQL of the outbox and the deliveries.

use sqlx::FromRow;

use super::{DeliveryState, Wanted};
use crate::kernel::{EventId, Millis, Result};
use crate::platform::db::{Conn, changed, inserted};

/// Events that one clean-up forgets: the writer is not kept from others for long.
const CLEAN_UP_BATCH: i64 = 500;

pub struct NewEvent<'a> {
    pub id: EventId,
    pub name: &'a str,
    pub topic: &'a str,
    pub kind: &'a str,
    pub fifo: Option<(&'a str, i64)>,
    pub due_ms: Millis,
    /// READY: to be sent. SENT: the broker has it, or its half message. ABORTED: never to be true.
    pub state: &'static str,
    pub expected_ms: Option<Millis>,
    pub now_ms: Millis,
    pub schema_version: i64,
    pub request_id: String,
    pub body: String,
}

/// An event that is stored.
#[derive(FromRow, Clone)]
pub struct OutboxRow {
    pub id: EventId,
    pub event: String,
    pub topic: String,
    pub kind: String,
    pub fifo_key: Option<String>,
    pub seq: Option<i64>,
    pub due_ms: Millis,
    pub expected_ms: Option<Millis>,
    pub schema_version: i64,
    pub request_id: String,
    pub created_ms: Millis,
    pub body: String,
}

macro_rules! outbox_columns {
    () => {
        "id, event, topic, kind, fifo_key, seq, due_ms, expected_ms, schema_version, request_id, created_ms, body"
    };
}

pub struct NewDelivery<'a> {
    pub event_id: &'a EventId,
    pub subscription: &'a str,
    pub state: DeliveryState,
    pub fifo_key: Option<&'a str>,
    pub seq: Option<i64>,
    pub attempts: i64,
    pub next_ms: Millis,
    pub due_ms: Millis,
    pub error: Option<&'a str>,
}

#[derive(FromRow, Clone)]
pub struct DueDelivery {
    pub event_id: EventId,
    pub subscription: String,
    pub attempts: i64,
    pub next_ms: Millis,
    pub request_id: String,
    pub created_ms: Millis,
    pub body: String,
}

/// False: the event is there already.
pub async fn insert_event(conn: &mut Conn, row: &NewEvent<'_>) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO outbox (id, event, topic, kind, fifo_key, seq, due_ms, state, lease_until_ms, expected_ms, \
             schema_version, request_id, created_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id)
        .bind(row.name)
        .bind(row.topic)
        .bind(row.kind)
        .bind(row.fifo.map(|(key, _)| key.to_owned()))
        .bind(row.fifo.map(|(_, seq)| seq))
        .bind(row.due_ms)
        .bind(row.state)
        .bind(row.expected_ms)
        .bind(row.schema_version)
        .bind(&row.request_id)
        .bind(row.now_ms)
        .bind(&row.body)
        .execute(conn)
        .await,
    )
}

/// An event is the first of its key that is still to be sent.
const FIRST_TO_SEND: &str = "(o.fifo_key IS NULL OR NOT EXISTS (SELECT 1 FROM outbox p \
     WHERE p.fifo_key = o.fifo_key AND p.seq < o.seq AND p.state = 'READY'))";

/// Events to be sent: due before `now_ms`, timed ones already before `timed_before_ms`; of each key only the
/// first, so that the next one is sent only after the broker has that; none that another node is sending.
pub async fn due_events(
    conn: &mut Conn,
    now_ms: Millis,
    timed_before_ms: Millis,
    limit: i64,
) -> Result<Vec<OutboxRow>> {
    let select = |filter: &str| {
        let columns = outbox_columns!();
        sqlx::AssertSqlSafe(format!(
            "SELECT {columns} FROM outbox o WHERE o.state = 'READY' AND o.due_ms <= ? AND o.lease_until_ms <= ? \
             AND {filter} ORDER BY o.due_ms, o.id LIMIT ?"
        ))
    };
    let mut due: Vec<OutboxRow> = sqlx::query_as(select(FIRST_TO_SEND))
        .bind(now_ms)
        .bind(now_ms)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
    if timed_before_ms > now_ms {
        let timed: Vec<OutboxRow> = sqlx::query_as(select("o.due_ms > ? AND o.kind = 'TIMED'"))
            .bind(timed_before_ms)
            .bind(now_ms)
            .bind(now_ms)
            .bind(limit)
            .fetch_all(conn)
            .await?;
        due.extend(timed);
    }
    Ok(due)
}

/// Takes an event for sending; false when another node was faster.
pub async fn claim_event(conn: &mut Conn, id: &EventId, now_ms: Millis, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE outbox SET lease_until_ms = ? WHERE id = ? AND state = 'READY' AND lease_until_ms <= ?",
        )
        .bind(until_ms)
        .bind(id)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// The event could not be sent: again at this time.
pub async fn postpone_event(conn: &mut Conn, id: &EventId, until_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE outbox SET lease_until_ms = ? WHERE id = ? AND state = 'READY'")
        .bind(until_ms)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn mark_sent(conn: &mut Conn, id: &EventId, expected_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query("UPDATE outbox SET state = 'SENT', expected_ms = ? WHERE id = ? AND state = 'READY'")
            .bind(expected_ms)
            .bind(id)
            .execute(conn)
            .await,
    )
}

/// READY, SENT or ABORTED; none when the event was never written.
#[cfg(feature = "rocketmq")]
pub async fn event_state(conn: &mut Conn, id: &EventId) -> Result<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT state FROM outbox WHERE id = ?").bind(id).fetch_optional(conn).await?;
    Ok(row.map(|(state,)| state))
}

/// False: the delivery is there already.
pub async fn insert_delivery(conn: &mut Conn, row: &NewDelivery<'_>) -> Result<bool> {
    let done_ms = (row.state == DeliveryState::Done).then_some(row.next_ms);
    inserted(
        sqlx::query(
            "INSERT INTO deliveries (event_id, subscription, state, fifo_key, seq, attempts, next_ms, due_ms, \
             done_ms, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.event_id)
        .bind(row.subscription)
        .bind(row.state)
        .bind(row.fifo_key.map(str::to_owned))
        .bind(row.seq)
        .bind(row.attempts)
        .bind(row.next_ms)
        .bind(row.due_ms)
        .bind(done_ms)
        .bind(row.error.map(str::to_owned))
        .execute(conn)
        .await,
    )
}

/// A delivery that waits is the first of its subscription and key, and no event of the key before it is still
/// to be sent.
const FIRST_OF_KEY: &str = "(d.fifo_key IS NULL OR NOT EXISTS (\
     SELECT 1 FROM deliveries e WHERE e.subscription = d.subscription AND e.fifo_key = d.fifo_key \
     AND e.seq < d.seq AND e.state = 'PENDING') AND NOT EXISTS (SELECT 1 FROM outbox p \
     WHERE p.fifo_key = d.fifo_key AND p.seq < d.seq AND p.state = 'READY'))";

/// Due deliveries, of each subscription and key only the first.
pub async fn due_deliveries(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<DueDelivery>> {
    let query = format!(
        "SELECT d.event_id, d.subscription, d.attempts, d.next_ms, o.request_id, o.created_ms, o.body \
         FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.state = 'PENDING' AND d.next_ms <= ? AND {FIRST_OF_KEY} ORDER BY d.next_ms, d.event_id LIMIT ?"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(now_ms).bind(limit).fetch_all(conn).await?)
}

/// Takes a delivery for the time of a try; false when another node was faster.
pub async fn claim_delivery(conn: &mut Conn, due: &DueDelivery, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE deliveries SET next_ms = ? WHERE event_id = ? AND subscription = ? AND state = 'PENDING' \
             AND next_ms = ?",
        )
        .bind(until_ms)
        .bind(&due.event_id)
        .bind(&due.subscription)
        .bind(due.next_ms)
        .execute(conn)
        .await,
    )
}

/// Where the deliveries of an event stand.
pub async fn deliveries_of(conn: &mut Conn, event: &EventId) -> Result<Vec<(String, DeliveryState)>> {
    Ok(sqlx::query_as("SELECT subscription, state FROM deliveries WHERE event_id = ?")
        .bind(event)
        .fetch_all(conn)
        .await?)
}

/// An event of a key, and one of its deliveries.
#[derive(FromRow)]
pub struct Before {
    pub id: EventId,
    pub event: String,
    pub seq: i64,
    pub due_ms: Millis,
    pub subscription: Option<String>,
    pub state: Option<DeliveryState>,
}

/// The events of a key before `seq`, with their deliveries.
pub async fn before(conn: &mut Conn, fifo_key: &str, seq: i64) -> Result<Vec<Before>> {
    Ok(sqlx::query_as(
        "SELECT o.id, o.event, o.seq, o.due_ms, d.subscription, d.state FROM outbox o \
         LEFT JOIN deliveries d ON d.event_id = o.id WHERE o.fifo_key = ? AND o.seq < ?",
    )
    .bind(fifo_key)
    .bind(seq)
    .fetch_all(conn)
    .await?)
}

/// Sent events whose deliveries were to be expected after `after` and until `until_ms`, in that order.
pub async fn sent(
    conn: &mut Conn,
    after: (Millis, &str),
    until_ms: Millis,
    limit: i64,
) -> Result<Vec<OutboxRow>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        outbox_columns!(),
        " FROM outbox WHERE state = 'SENT' AND kind <> 'BROADCAST' AND expected_ms >= ? AND expected_ms <= ? \
         AND (expected_ms > ? OR id > ?) ORDER BY expected_ms, id LIMIT ?"
    ))
    .bind(after.0)
    .bind(until_ms)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// The deliveries of sent events that were expected in this time.
pub async fn delivered_between(
    conn: &mut Conn,
    from_ms: Millis,
    until_ms: Millis,
) -> Result<Vec<(EventId, String)>> {
    Ok(sqlx::query_as(
        "SELECT d.event_id, d.subscription FROM outbox o JOIN deliveries d ON d.event_id = o.id \
         WHERE o.state = 'SENT' AND o.expected_ms >= ? AND o.expected_ms <= ?",
    )
    .bind(from_ms)
    .bind(until_ms)
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
    event: &EventId,
    subscription: &str,
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
        .bind(event)
        .bind(subscription)
        .execute(conn)
        .await,
    )
}

/// When the next event is to be sent; timed ones are sent `timed_ahead_ms` before they are due.
pub async fn next_send(conn: &mut Conn, now_ms: Millis, timed_ahead_ms: Millis) -> Result<Option<Millis>> {
    // What is due now may be in the hands of another node: then its lease says when to look again.
    let query = format!(
        "SELECT MIN(o.lease_until_ms) FROM outbox o WHERE o.state = 'READY' AND o.due_ms <= ? AND {FIRST_TO_SEND}"
    );
    let leased: (Option<i64>,) =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(now_ms).fetch_one(&mut *conn).await?;
    let timed: (Option<i64>,) =
        sqlx::query_as("SELECT MIN(due_ms) FROM outbox WHERE state = 'READY' AND due_ms > ?")
            .bind(now_ms)
            .fetch_one(conn)
            .await?;
    Ok([leased.0, timed.0.map(|due_ms| due_ms - timed_ahead_ms)].into_iter().flatten().min())
}

/// When the next delivery that nothing holds back is due.
pub async fn next_delivery(conn: &mut Conn) -> Result<Option<Millis>> {
    let query =
        format!("SELECT MIN(d.next_ms) FROM deliveries d WHERE d.state = 'PENDING' AND {FIRST_OF_KEY}");
    let next: (Option<i64>,) = sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_one(conn).await?;
    Ok(next.0)
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

/// Dead letters, newest first, behind an event and subscription.
pub async fn parked(
    conn: &mut Conn,
    wanted: &Wanted<'_>,
    after: Option<(&str, &str)>,
    limit: i64,
) -> Result<Vec<ParkedRow>> {
    let mut query = String::from(
        "SELECT d.event_id, d.subscription, o.event, o.body, d.error, d.attempts, o.created_ms, o.request_id \
         FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.state = 'PARKED' AND (d.event_id < ? OR (d.event_id = ? AND d.subscription > ?))",
    );
    query.push_str(&of_wanted(wanted));
    query.push_str(" ORDER BY d.event_id DESC, d.subscription LIMIT ?");
    let (event, subscription) = after.unwrap_or(("~", ""));
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(event).bind(event).bind(subscription);
    for given in [wanted.subscription, wanted.event].into_iter().flatten() {
        query = query.bind(given);
    }
    Ok(query.bind(limit).fetch_all(conn).await?)
}

/// A condition that narrows dead letters, to be bound to what is wanted.
fn of_wanted(wanted: &Wanted<'_>) -> String {
    let clause = |given: Option<&str>, clause: &'static str| given.map_or("", |_| clause);
    [clause(wanted.subscription, " AND d.subscription = ?"), clause(wanted.event, " AND o.event = ?")]
        .concat()
}

/// The oldest of these dead letters.
pub async fn oldest_parked(
    conn: &mut Conn,
    wanted: &Wanted<'_>,
    limit: i64,
) -> Result<Vec<(EventId, String)>> {
    let query = format!(
        "SELECT d.event_id, d.subscription FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.state = 'PARKED'{} ORDER BY d.event_id, d.subscription LIMIT ?",
        of_wanted(wanted)
    );
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
    for given in [wanted.subscription, wanted.event].into_iter().flatten() {
        query = query.bind(given);
    }
    Ok(query.bind(limit).fetch_all(conn).await?)
}

/// One dead letter.
pub async fn parked_one(conn: &mut Conn, event: &EventId, subscription: &str) -> Result<Option<ParkedRow>> {
    Ok(sqlx::query_as(
        "SELECT d.event_id, d.subscription, o.event, o.body, d.error, d.attempts, o.created_ms, o.request_id \
         FROM deliveries d JOIN outbox o ON o.id = d.event_id \
         WHERE d.event_id = ? AND d.subscription = ? AND d.state = 'PARKED'",
    )
    .bind(event)
    .bind(subscription)
    .fetch_optional(conn)
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
        "SELECT o.id FROM outbox o WHERE o.state IN ('SENT', 'ABORTED') AND o.due_ms < ? AND NOT EXISTS (SELECT 1 FROM deliveries d \
         WHERE d.event_id = o.id AND d.state IN ('PENDING', 'PARKED')) ORDER BY o.due_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(CLEAN_UP_BATCH)
    .fetch_all(&mut *conn)
    .await?;
    for (id,) in &old {
        super::tries::forget(conn, id).await?;
        sqlx::query("DELETE FROM deliveries WHERE event_id = ?").bind(id).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM outbox WHERE id = ?").bind(id).execute(&mut *conn).await?;
    }
    Ok(())
}

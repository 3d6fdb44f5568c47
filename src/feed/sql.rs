//! SQL of the feed.

use super::Entry;
use crate::kernel::{Millis, Result};
use crate::platform::db::Conn;

pub const INVARIANTS: [(&str, &str); 1] = [(
    "feed: entries are numbered up to the sequence",
    "SELECT e.order_id FROM feed_entries e JOIN feed_sequence s ON s.id = 1 WHERE e.seq > s.latest",
)];

/// Takes the next number. Its row is held until the commit, so numbers become visible in their order.
pub async fn next_seq(conn: &mut Conn) -> Result<i64> {
    sqlx::query("UPDATE feed_sequence SET latest = latest + 1 WHERE id = 1").execute(&mut *conn).await?;
    latest(conn).await
}

/// The last number that was given.
pub async fn latest(conn: &mut Conn) -> Result<i64> {
    let (latest,): (i64,) =
        sqlx::query_as("SELECT latest FROM feed_sequence WHERE id = 1").fetch_one(conn).await?;
    Ok(latest)
}

pub async fn insert(conn: &mut Conn, entry: &Entry) -> Result<()> {
    sqlx::query(
        "INSERT INTO feed_entries (seq, kind, order_id, store_id, fulfilment, refund_id, amount_minor, currency, \
         at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(entry.seq)
    .bind(entry.kind)
    .bind(&entry.order_id)
    .bind(&entry.store_id)
    .bind(entry.fulfilment)
    .bind(&entry.refund_id)
    .bind(entry.amount_minor)
    .bind(entry.currency)
    .bind(entry.at_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Entries behind `after`, in their order.
pub async fn behind(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Entry>> {
    Ok(sqlx::query_as(
        "SELECT seq, kind, order_id, store_id, fulfilment, refund_id, amount_minor, currency, at_ms \
         FROM feed_entries WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Numbers and times of the oldest entries.
pub async fn oldest(conn: &mut Conn, limit: i64) -> Result<Vec<(i64, Millis)>> {
    Ok(sqlx::query_as("SELECT seq, at_ms FROM feed_entries ORDER BY seq LIMIT ?")
        .bind(limit)
        .fetch_all(conn)
        .await?)
}

pub async fn delete_up_to(conn: &mut Conn, seq: i64) -> Result<()> {
    sqlx::query("DELETE FROM feed_entries WHERE seq <= ?").bind(seq).execute(conn).await?;
    Ok(())
}

//! Dead letters: deliveries that were given up. A person reads, replays or discards them.

use super::{DEAD_LETTER_NOT_FOUND, DeliveryState, sql};
use crate::kernel::{Cursor, EventId, Failure, Limit, Millis, Page, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx, Work};

/// A delivery that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub event_id: EventId,
    pub subscription: String,
    pub event: String,
    /// The event as JSON.
    pub body: String,
    pub error: String,
    pub attempts: i64,
    pub created_ms: Millis,
    pub request_id: String,
}

/// Which dead letters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Of this subscription only.
    pub subscription: Option<&'a str>,
    /// Of events with this name only.
    pub event: Option<&'a str>,
}

impl From<sql::ParkedRow> for DeadLetter {
    fn from(row: sql::ParkedRow) -> Self {
        Self {
            event_id: row.event_id,
            subscription: row.subscription,
            event: row.event,
            body: row.body,
            error: row.error.unwrap_or_default(),
            attempts: row.attempts,
            created_ms: row.created_ms,
            request_id: row.request_id,
        }
    }
}

/// Newest first.
///
/// # Errors
/// A cursor of another list.
pub async fn list(
    conn: &mut Conn,
    wanted: &Wanted<'_>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<DeadLetter>> {
    let wrong = || Failure::invalid("cursor", "not a cursor of this list");
    let after = after.map(|cursor| cursor.key().split_once(' ').ok_or_else(wrong)).transpose()?;
    let rows = sql::parked(conn, wanted, after, limit.and_one()).await?;
    let page = Page::cut(rows, limit, |row| format!("{} {}", row.event_id, row.subscription));
    Ok(page.map(DeadLetter::from))
}

/// One dead letter.
///
/// # Errors
/// `dead_letter_not_found`.
pub async fn find(conn: &mut Conn, event: &EventId, subscription: &str) -> Result<DeadLetter> {
    let row = sql::parked_one(conn, event, subscription).await?;
    row.map(DeadLetter::from).ok_or_else(|| Failure::new(&DEAD_LETTER_NOT_FOUND))
}

/// Gives at most `limit` of these dead letters to their handlers once more, oldest first. Answers which.
///
/// # Errors
/// The database.
pub async fn replay_many(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    wanted: &Wanted<'_>,
    limit: i64,
) -> Result<Vec<(EventId, String)>> {
    let mut replayed = Vec::new();
    for (event, subscription) in sql::oldest_parked(tx, wanted, limit).await? {
        let moved =
            sql::move_parked(tx, &event, &subscription, DeliveryState::Pending, ctx.clock.now_ms()).await?;
        // Otherwise somebody was here first.
        if moved {
            replayed.push((event, subscription));
        }
    }
    tx.wake(Work::Bus);
    Ok(replayed)
}

/// Gives a dead letter to its handler once more: it goes straight there, whatever came behind it.
///
/// # Errors
/// `dead_letter_not_found` when it is not parked (any more).
pub async fn replay(tx: &mut Tx<'_>, ctx: &Ctx, event: &EventId, subscription: &str) -> Result<()> {
    move_out(tx, ctx, event, subscription, DeliveryState::Pending).await?;
    tx.wake(Work::Bus);
    Ok(())
}

/// Decides that a dead letter is not to be delivered.
///
/// # Errors
/// `dead_letter_not_found` when it is not parked (any more).
pub async fn discard(tx: &mut Tx<'_>, ctx: &Ctx, event: &EventId, subscription: &str) -> Result<()> {
    move_out(tx, ctx, event, subscription, DeliveryState::Discarded).await
}

async fn move_out(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    event: &EventId,
    subscription: &str,
    to: DeliveryState,
) -> Result<()> {
    if sql::move_parked(tx, event, subscription, to, ctx.clock.now_ms()).await? {
        Ok(())
    } else {
        Err(Failure::new(&DEAD_LETTER_NOT_FOUND))
    }
}

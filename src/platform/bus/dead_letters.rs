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

/// Newest first.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut Conn, after: Option<&Cursor>, limit: Limit) -> Result<Page<DeadLetter>> {
    let rows = sql::parked(conn, after.map(Cursor::key), limit.and_one()).await?;
    let page = Page::cut(rows, limit, |row| row.event_id.to_string());
    Ok(page.map(|row| DeadLetter {
        event_id: row.event_id,
        subscription: row.subscription,
        event: row.event,
        body: row.body,
        error: row.error.unwrap_or_default(),
        attempts: row.attempts,
        created_ms: row.created_ms,
        request_id: row.request_id,
    }))
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

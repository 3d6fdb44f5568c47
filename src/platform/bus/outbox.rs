//! The outbox: events are rows, written in the transaction that makes them true.

use super::{SCHEMA_VERSION, sql};
use crate::events::{Event, Kind};
use crate::kernel::{EventId, Failure, Millis, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::telemetry;

/// How an event is staged.
#[derive(Debug, Clone, Copy)]
pub enum Staged<'a> {
    Now,
    /// Not before this time.
    At(Millis),
    /// In the order of `seq` among the events of `key`.
    InOrder {
        key: &'a str,
        seq: i64,
    },
}

/// Publishes `event` with this transaction.
///
/// # Errors
/// The database, or an event staged in a way that its kind does not know.
pub async fn stage(tx: &mut Tx<'_>, ctx: &Ctx, event: &Event, how: Staged<'_>) -> Result<EventId> {
    match (event.kind(), how) {
        (Kind::Normal | Kind::Broadcast, Staged::Now)
        | (Kind::Timed, Staged::At(_))
        | (Kind::Fifo, Staged::InOrder { .. }) => insert(tx, ctx, event, how).await,
        (kind, how) => {
            Err(Failure::internal("staging an event", format!("{} is {kind:?}, not {how:?}", event.name())))
        }
    }
}

/// The half message of the embedded backend: the row in the same transaction.
pub(super) async fn stage_half(tx: &mut Tx<'_>, ctx: &Ctx, event: &Event) -> Result<EventId> {
    insert(tx, ctx, event, Staged::Now).await
}

async fn insert(tx: &mut Tx<'_>, ctx: &Ctx, event: &Event, how: Staged<'_>) -> Result<EventId> {
    let now_ms = ctx.clock.now_ms();
    let (due_ms, fifo) = match how {
        Staged::Now => (now_ms, None),
        Staged::At(due_ms) => (due_ms, None),
        Staged::InOrder { key, seq } => (now_ms, Some((key, seq))),
    };
    let body = serde_json::to_string(event).map_err(|e| Failure::internal("writing an event", e))?;
    let row = sql::NewEvent {
        id: ctx.new_id(),
        event,
        fifo,
        due_ms,
        now_ms,
        schema_version: SCHEMA_VERSION,
        request_id: telemetry::request_id(),
        body,
    };
    sql::insert_event(tx, &row).await?;
    tx.wake(Work::Bus);
    Ok(row.id)
}

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
        | (Kind::Fifo, Staged::InOrder { .. }) => {
            let row = row(ctx, event, how)?;
            insert(tx, &row).await?;
            Ok(row.id)
        }
        (kind, how) => {
            Err(Failure::internal("staging an event", format!("{} is {kind:?}, not {how:?}", event.name())))
        }
    }
}

/// The row of an event that is ready to be sent.
pub(super) fn row<'a>(ctx: &Ctx, event: &'a Event, how: Staged<'a>) -> Result<sql::NewEvent<'a>> {
    let now_ms = ctx.clock.now_ms();
    let (due_ms, fifo) = match how {
        Staged::Now => (now_ms, None),
        Staged::At(due_ms) => (due_ms, None),
        Staged::InOrder { key, seq } => (now_ms, Some((key, seq))),
    };
    let body = serde_json::to_string(event).map_err(|e| Failure::internal("writing an event", e))?;
    Ok(sql::NewEvent {
        id: ctx.new_id(),
        name: event.name(),
        topic: event.topic(),
        kind: event.kind().name(),
        fifo,
        due_ms,
        state: "READY",
        expected_ms: None,
        now_ms,
        schema_version: SCHEMA_VERSION,
        request_id: telemetry::request_id(),
        body,
    })
}

/// Writes the row, and wakes whoever sends it.
pub(super) async fn insert(tx: &mut Tx<'_>, row: &sql::NewEvent<'_>) -> Result<()> {
    if !sql::insert_event(tx, row).await? {
        return Err(Failure::internal("staging an event", format!("{} is there already", row.id)));
    }
    tx.wake(Work::Bus);
    Ok(())
}

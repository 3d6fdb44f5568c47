//! The backstop: what a lost message left behind. Each look is an index range and bounded.

use super::{cancel, complete, ready, sql};
use crate::kernel::{Millis, OrderId, Result, minute_ms};
use crate::platform::ctx::Ctx;

const BATCH: i64 = 200;
/// The messages get this much time before the sweep acts in their place.
const GRACE_MS: Millis = minute_ms(2);

/// Times out, completes and finishes what is overdue, and reminds of what is not fetched. Answers how many orders it looked at.
///
/// # Errors
/// The database.
pub async fn sweep(ctx: &Ctx) -> Result<usize> {
    let before_ms = ctx.clock.now_ms() - GRACE_MS;
    let (unpaid, due, forgotten) = {
        let conn = &mut *ctx.db.reader().await?;
        let unpaid = sql::unpaid_past_deadline(conn, before_ms, BATCH).await?;
        let mut due = sql::completion_past_due(conn, before_ms, BATCH).await?;
        due.extend(sql::finish_past_due(conn, before_ms, BATCH).await?);
        (unpaid, due, sql::reminders_past_due(conn, before_ms, BATCH).await?)
    };
    for id in &unpaid {
        tracing::warn!(order.id = %id, "the sweep times out order {id}: its deadline message is late");
        go_on(id, ctx.db.write(|tx| Box::pin(cancel::time_out(tx, ctx, id))).await);
    }
    for id in &due {
        go_on(id, ctx.db.write(|tx| Box::pin(complete::look_again(tx, ctx, id))).await);
    }
    for id in &forgotten {
        go_on(id, ctx.db.write(|tx| Box::pin(ready::remind(tx, ctx, id))).await);
    }
    Ok(unpaid.len() + due.len() + forgotten.len())
}

/// One order that can't be moved keeps no other from its turn.
fn go_on(id: &OrderId, result: Result<()>) {
    if let Err(failure) = result {
        tracing::error!(order.id = %id, "the sweep can't move order {id}: {failure}");
    }
}

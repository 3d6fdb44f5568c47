//! The audit log: who did what to what, before and after, in the verb's own transaction.

use serde::Serialize;

use super::ctx::Ctx;
use super::db::Tx;
use crate::kernel::{Actor, AuditId, Failure, Result};
use crate::telemetry;

/// What happened, for one audit row.
pub struct Entry<'a, B: Serialize, A: Serialize> {
    pub actor: &'a Actor,
    /// The operation's id in the OpenAPI document.
    pub operation: &'a str,
    /// The id of what was changed.
    pub object: &'a str,
    pub before: Option<B>,
    pub after: Option<A>,
}

/// Writes an audit row.
///
/// # Errors
/// The database.
pub async fn record<B: Serialize, A: Serialize>(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    entry: Entry<'_, B, A>,
) -> Result<()> {
    let before = json(entry.before.as_ref())?;
    let after = json(entry.after.as_ref())?;
    sqlx::query(
        "INSERT INTO audit (id, at_ms, actor_kind, actor_id, operation, object, before_json, after_json, \
         request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(ctx.new_id::<AuditId>())
    .bind(ctx.clock.now_ms())
    .bind(entry.actor.kind())
    .bind(entry.actor.id())
    .bind(entry.operation)
    .bind(entry.object)
    .bind(before)
    .bind(after)
    .bind(telemetry::request_id())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn json<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(serde_json::to_string).transpose().map_err(|e| Failure::internal("writing an audit row", e))
}

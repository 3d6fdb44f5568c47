//! The audit log: who did what to what, before and after, in the verb's own transaction.

use std::fmt::Display;

use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::ctx::Ctx;
use super::db::{Conn, Tx, execute_for};
use crate::kernel::{Actor, AuditId, Cursor, Failure, Limit, Millis, Page, Result};
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

/// Takes what was written on these objects in an operation out of the log; who did it, and when, stays.
///
/// # Errors
/// The database.
pub async fn blank<I: Display + Sync>(tx: &mut Tx<'_>, operation: &'static str, objects: &[I]) -> Result<()> {
    // The operation is a name of ours, no text from outside.
    let statement = format!(
        "UPDATE audit SET before_json = NULL, after_json = NULL WHERE operation = '{operation}' AND object IN ({{}})"
    );
    execute_for(tx, &statement, objects).await
}

/// A row of the audit log.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub id: AuditId,
    pub at_ms: Millis,
    pub actor_kind: String,
    pub actor_id: String,
    pub operation: String,
    pub object: String,
    /// JSON.
    pub before_json: Option<String>,
    /// JSON.
    pub after_json: Option<String>,
    pub request_id: String,
}

/// What the audit log is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// The id of a person, or the name of a part of the system.
    pub actor: Option<&'a str>,
    pub operation: Option<&'a str>,
    pub object: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub from_ms: Option<Millis>,
    /// Not included.
    pub until_ms: Option<Millis>,
}

/// The audit log, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    conn: &mut Conn,
    filter: &Filter<'_>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Row>> {
    let texts = [
        (filter.actor, " AND actor_id = ?"),
        (filter.operation, " AND operation = ?"),
        (filter.object, " AND object = ?"),
        (filter.request_id, " AND request_id = ?"),
    ];
    let times = [(filter.from_ms, " AND at_ms >= ?"), (filter.until_ms, " AND at_ms < ?")];
    let mut query = String::from(
        "SELECT id, at_ms, actor_kind, actor_id, operation, object, before_json, after_json, request_id \
         FROM audit WHERE id < ?",
    );
    texts.iter().filter(|(given, _)| given.is_some()).for_each(|(_, clause)| query.push_str(clause));
    times.iter().filter(|(given, _)| given.is_some()).for_each(|(_, clause)| query.push_str(clause));
    query.push_str(" ORDER BY id DESC LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(after.map_or("~", Cursor::key));
    for text in texts.into_iter().filter_map(|(given, _)| given) {
        query = query.bind(text);
    }
    for time in times.into_iter().filter_map(|(given, _)| given) {
        query = query.bind(time);
    }
    let rows: Vec<Row> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |row| row.id.to_string()))
}

fn json<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(serde_json::to_string).transpose().map_err(|e| Failure::internal("writing an audit row", e))
}

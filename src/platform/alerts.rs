//! Alerts: what needs a person's eyes. One row for each kind and object, however often it is raised.

use sqlx::FromRow;

use super::ctx::Ctx;
use super::db::{Conn, Tx, changed, inserted};
use crate::kernel::{AlertId, Cursor, Limit, Millis, Page, Result, codes};

codes! {
    ALERT_NOT_FOUND: 404 "alert_not_found" "No alert is open under this id.";
    ALERT_CLOSES_ITSELF: 409 "alert_closes_itself" "This alert says how something stands, and ends when that does: deal with its cause.";
}

/// Something that needs a person's eyes.
#[derive(Debug, Clone, FromRow)]
pub struct Alert {
    pub id: AlertId,
    pub kind: String,
    pub object: String,
    pub detail: String,
    pub opened_ms: Millis,
}

/// Opens an alert, or opens it again.
///
/// # Errors
/// The database.
pub async fn open(tx: &mut Tx<'_>, ctx: &Ctx, kind: &str, object: &str, detail: &str) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    tracing::error!(alert.kind = kind, alert.object = object, "alert {kind} for {object}: {detail}");
    let fresh = inserted(
        sqlx::query("INSERT INTO alerts (id, kind, object, detail, opened_ms) VALUES (?, ?, ?, ?, ?)")
            .bind(ctx.new_id::<AlertId>())
            .bind(kind)
            .bind(object)
            .bind(detail)
            .bind(now_ms)
            .execute(&mut **tx)
            .await,
    )?;
    if !fresh {
        sqlx::query(
            "UPDATE alerts SET detail = ?, opened_ms = ?, closed_ms = NULL \
             WHERE kind = ? AND object = ? AND closed_ms IS NOT NULL",
        )
        .bind(detail)
        .bind(now_ms)
        .bind(kind)
        .bind(object)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Closes an alert; false when none is open.
///
/// # Errors
/// The database.
pub async fn close(tx: &mut Tx<'_>, ctx: &Ctx, kind: &str, object: &str) -> Result<bool> {
    changed(
        // Not `IS NULL`, for which MySQL takes the index of all that is open, and each of these waits for the others.
        sqlx::query(
            "UPDATE alerts SET closed_ms = ? WHERE kind = ? AND object = ? AND COALESCE(closed_ms, -1) = -1",
        )
        .bind(ctx.clock.now_ms())
        .bind(kind)
        .bind(object)
        .execute(&mut **tx)
        .await,
    )
}

/// A person has looked at an alert and closes it; `None`: none is open under this id.
///
/// # Errors
/// The database.
pub async fn close_by_id(tx: &mut Tx<'_>, ctx: &Ctx, id: &AlertId) -> Result<Option<Alert>> {
    let alert: Option<Alert> = sqlx::query_as(
        "SELECT id, kind, object, detail, opened_ms FROM alerts WHERE id = ? AND closed_ms IS NULL",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(alert) = alert else { return Ok(None) };
    Ok(close(tx, ctx, &alert.kind, &alert.object).await?.then_some(alert))
}

/// Is an alert of this kind open for the object?
///
/// # Errors
/// The database.
pub async fn is_open(conn: &mut Conn, kind: &str, object: &str) -> Result<bool> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT id FROM alerts WHERE kind = ? AND object = ? AND closed_ms IS NULL")
            .bind(kind)
            .bind(object)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// Open alerts, newest first.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut Conn, after: Option<&Cursor>, limit: Limit) -> Result<Page<Alert>> {
    let rows: Vec<Alert> = sqlx::query_as(
        "SELECT id, kind, object, detail, opened_ms FROM alerts WHERE closed_ms IS NULL AND id < ? \
         ORDER BY id DESC LIMIT ?",
    )
    .bind(after.map_or("~", Cursor::key))
    .bind(limit.and_one())
    .fetch_all(conn)
    .await?;
    Ok(Page::cut(rows, limit, |alert| alert.id.to_string()))
}

/// How many alerts are open.
///
/// # Errors
/// The database.
pub async fn count(conn: &mut Conn) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM alerts WHERE closed_ms IS NULL").fetch_one(conn).await?;
    Ok(count)
}

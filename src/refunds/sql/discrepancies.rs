//! SQL of discrepancies: money that the channel refunded, and that fits no refund here.

use sqlx::{AssertSqlSafe, FromRow};

use super::lists::of_stores;

use crate::kernel::{AttemptId, Currency, Cursor, DiscrepancyId, Limit, Millis, OrderId, Page, Result};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;

/// Money that the channel refunded, and that fits no refund here.
#[derive(Debug, Clone, FromRow)]
pub struct Discrepancy {
    pub id: DiscrepancyId,
    /// The channel's number of the refund, or what else proved it.
    pub external_no: String,
    pub order_id: OrderId,
    pub attempt_id: AttemptId,
    pub amount_minor: i64,
    pub currency: Currency,
    pub why: String,
    /// The channel's news, as JSON.
    pub news: String,
    /// How often a person had it tried again.
    pub tries: i64,
    pub found_ms: Millis,
    pub ended_ms: Option<Millis>,
    /// What was done about it.
    pub note: Option<String>,
}

macro_rules! columns {
    () => {
        "id, external_no, order_id, attempt_id, amount_minor, currency, why, news, tries, found_ms, ended_ms, note"
    };
}

/// False: it is known.
pub async fn insert_discrepancy(conn: &mut Conn, row: &Discrepancy) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO refund_discrepancies (id, external_no, order_id, attempt_id, amount_minor, currency, why, \
             news, tries, found_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        )
        .bind(&row.id)
        .bind(&row.external_no)
        .bind(&row.order_id)
        .bind(&row.attempt_id)
        .bind(row.amount_minor)
        .bind(row.currency)
        .bind(&row.why)
        .bind(&row.news)
        .bind(row.found_ms)
        .execute(conn)
        .await,
    )
}

/// # Errors
/// The database.
pub async fn discrepancy(conn: &mut Conn, id: &DiscrepancyId) -> Result<Option<Discrepancy>> {
    Ok(sqlx::query_as(concat!("SELECT ", columns!(), " FROM refund_discrepancies WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// Those of these stores, newest first; `open`: only those that wait for a person.
///
/// # Errors
/// The database.
pub async fn discrepancies(
    conn: &mut Conn,
    scope: &StoreScope,
    open: bool,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Discrepancy>> {
    let mut query = String::from(concat!("SELECT ", columns!(), " FROM refund_discrepancies WHERE id < ?"));
    if open {
        query.push_str(" AND ended_ms IS NULL");
    }
    query.push_str(&of_stores(scope, "refund_discrepancies"));
    query.push_str(" ORDER BY id DESC LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(after.map_or("~", Cursor::key));
    for store in scope.bound() {
        query = query.bind(store);
    }
    let rows: Vec<Discrepancy> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |row| row.id.to_string()))
}

/// Counts a further try of one that is open, and answers nothing when it is over.
pub async fn try_again(conn: &mut Conn, id: &DiscrepancyId, tries: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refund_discrepancies SET tries = tries + 1 WHERE id = ? AND tries = ? AND ended_ms IS NULL",
        )
        .bind(id)
        .bind(tries)
        .execute(conn)
        .await,
    )
}

/// Ends one; false: it is over.
pub async fn end_discrepancy(conn: &mut Conn, external_no: &str, note: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refund_discrepancies SET ended_ms = ?, note = ? WHERE external_no = ? AND ended_ms IS NULL",
        )
        .bind(now_ms)
        .bind(note)
        .bind(external_no)
        .execute(conn)
        .await,
    )
}

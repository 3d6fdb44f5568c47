//! SQL of lists and counts: refunds with their lines in two queries, however many there are.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Refund, RefundLine, RefundState, refund_columns};
use crate::kernel::{AttemptId, Cursor, Limit, OrderId, Page, RefundId, Result};
use crate::platform::db::Conn;
use crate::staff::StoreScope;

/// What staff narrows the list to.
#[derive(Debug, Default, Clone, Copy)]
pub struct ListFilter<'a> {
    pub order: Option<&'a OrderId>,
    pub status: Option<RefundState>,
    /// Only those whose goods are on their way back (true), or are not (false).
    pub return_sent: Option<bool>,
}

/// The refunds of these stores, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    conn: &mut Conn,
    scope: &StoreScope,
    filter: ListFilter<'_>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Refund>> {
    let mut query = String::from(concat!("SELECT ", refund_columns!(), " FROM refunds WHERE id < ?"));
    if filter.order.is_some() {
        query.push_str(" AND order_id = ?");
    }
    if filter.status.is_some() {
        query.push_str(" AND status = ?");
    }
    query.push_str(match filter.return_sent {
        Some(true) => " AND return_sent_ms IS NOT NULL",
        Some(false) => " AND return_sent_ms IS NULL",
        None => "",
    });
    query.push_str(&of_stores(scope, "refunds"));
    query.push_str(" ORDER BY id DESC LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(after.map_or("~", Cursor::key));
    if let Some(order) = filter.order {
        query = query.bind(order);
    }
    if let Some(status) = filter.status {
        query = query.bind(status);
    }
    for store in scope.bound() {
        query = query.bind(store);
    }
    let rows: Vec<Refund> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |refund| refund.id.to_string()))
}

#[derive(FromRow)]
struct Owned {
    refund_id: RefundId,
    #[sqlx(flatten)]
    line: RefundLine,
}

/// The refunds, each with its lines.
///
/// # Errors
/// The database.
pub async fn with_lines(conn: &mut Conn, refunds: Vec<Refund>) -> Result<Vec<(Refund, Vec<RefundLine>)>> {
    if refunds.is_empty() {
        return Ok(Vec::new());
    }
    let places = vec!["?"; refunds.len()].join(", ");
    let query = format!(
        "SELECT refund_id, line_id, cancel_quantity, return_quantity, sellable_quantity, amount_minor \
         FROM refund_lines WHERE refund_id IN ({places}) ORDER BY refund_id, line_id"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for refund in &refunds {
        query = query.bind(&refund.id);
    }
    let mut lines: Vec<Owned> = query.fetch_all(conn).await?;
    let mut take = |id: &RefundId| -> Vec<RefundLine> {
        let (own, others) = std::mem::take(&mut lines).into_iter().partition(|row| row.refund_id == *id);
        lines = others;
        let own: Vec<Owned> = own;
        own.into_iter().map(|row| row.line).collect()
    };
    Ok(refunds
        .into_iter()
        .map(|refund| {
            let lines = take(&refund.id);
            (refund, lines)
        })
        .collect())
}

/// The refunds of payments that no order could take.
///
/// # Errors
/// The database.
pub async fn of_orphans(conn: &mut Conn, attempts: &[AttemptId]) -> Result<Vec<Refund>> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    let places = vec!["?"; attempts.len()].join(", ");
    let query = format!(
        concat!("SELECT ", refund_columns!(), " FROM refunds WHERE kind = 'ORPHAN' AND attempt_id IN ({})"),
        places
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for attempt in attempts {
        query = query.bind(attempt);
    }
    Ok(query.fetch_all(conn).await?)
}

/// A condition that narrows rows of this table to the orders of these stores.
pub(super) fn of_stores(scope: &StoreScope, table: &str) -> String {
    if scope.is_all() {
        return String::new();
    }
    format!(
        " AND EXISTS (SELECT 1 FROM orders WHERE orders.id = {table}.order_id{})",
        scope.condition("orders.store_id")
    )
}

async fn count_where(conn: &mut Conn, scope: &StoreScope, table: &str, condition: &str) -> Result<i64> {
    let query = format!("SELECT COUNT(*) FROM {table} WHERE {condition}{}", of_stores(scope, table));
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for store in scope.bound() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

/// How many requests of these stores nobody has decided.
pub async fn count_requested(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    count_where(conn, scope, "refunds", "status = 'REQUESTED'").await
}

/// How many refunds of these stores only people can end.
pub async fn count_manual(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    count_where(conn, scope, "refunds", "status IN ('MANUAL', 'ABNORMAL')").await
}

/// How many returns to these stores are on their way, or there, and wait to be looked at.
pub async fn count_returns(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    count_where(conn, scope, "refunds", "status = 'AWAITING_RETURN' AND return_sent_ms IS NOT NULL").await
}

/// How many discrepancies of these stores wait for a person.
pub async fn count_discrepancies(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    count_where(conn, scope, "refund_discrepancies", "ended_ms IS NULL").await
}

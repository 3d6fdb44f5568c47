//! SQL of payments.

use sqlx::{AssertSqlSafe, FromRow};

use super::{AttemptStatus, PaidNews, ProviderKind};
use crate::kernel::{AttemptId, Currency, Cursor, Limit, Millis, OrderId, Page, Result, UserId};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;

mod forget;

pub use forget::*;

/// A payment attempt.
#[derive(Debug, Clone, FromRow)]
pub struct Attempt {
    pub id: AttemptId,
    pub order_id: OrderId,
    pub user_id: UserId,
    pub provider: ProviderKind,
    pub status: AttemptStatus,
    pub out_trade_no: String,
    pub appid: String,
    pub mchid: String,
    /// Empty once its owner has deleted the account; so is what started it.
    pub openid: String,
    pub amount_minor: i64,
    pub currency: Currency,
    pub time_expire_ms: Millis,
    /// The exact bytes that started it, to be sent again.
    pub request_body: String,
    pub prepay_id: Option<String>,
    pub prepaid_ms: Option<Millis>,
    pub transaction_id: Option<String>,
    pub paid_ms: Option<Millis>,
    pub created_ms: Millis,
    /// How often the channel was asked since it is in this state.
    pub step: i64,
    /// When a person decided what a mismatched one is.
    pub reviewed_ms: Option<Millis>,
}

impl Attempt {
    /// Paid, not what was asked for, and nobody has decided what it is.
    pub fn is_under_review(&self) -> bool {
        self.status == AttemptStatus::Mismatch && self.reviewed_ms.is_none()
    }
}

/// What arrived for an attempt.
#[derive(Debug, Clone, FromRow)]
pub struct Record {
    pub kind: AttemptStatus,
    pub mchid: String,
    pub transaction_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub paid_ms: Millis,
}

macro_rules! attempt_columns {
    () => {
        "id, order_id, user_id, provider, status, out_trade_no, appid, mchid, openid, amount_minor, currency, \
         time_expire_ms, request_body, prepay_id, prepaid_ms, transaction_id, paid_ms, created_ms, step, \
         reviewed_ms"
    };
}

pub async fn insert(conn: &mut Conn, attempt: &Attempt, next_ms: Millis) -> Result<()> {
    sqlx::query(
        "INSERT INTO payment_attempts (id, order_id, user_id, provider, status, out_trade_no, appid, mchid, openid, \
         amount_minor, currency, time_expire_ms, request_body, created_ms, step, next_ms, lease_until_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0)",
    )
    .bind(&attempt.id)
    .bind(&attempt.order_id)
    .bind(&attempt.user_id)
    .bind(attempt.provider)
    .bind(attempt.status)
    .bind(&attempt.out_trade_no)
    .bind(&attempt.appid)
    .bind(&attempt.mchid)
    .bind(&attempt.openid)
    .bind(attempt.amount_minor)
    .bind(attempt.currency)
    .bind(attempt.time_expire_ms)
    .bind(&attempt.request_body)
    .bind(attempt.created_ms)
    .bind(next_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// # Errors
/// The database.
pub async fn by_id(conn: &mut Conn, id: &AttemptId) -> Result<Option<Attempt>> {
    Ok(sqlx::query_as(concat!("SELECT ", attempt_columns!(), " FROM payment_attempts WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// The attempt that the channel knows by this number.
///
/// # Errors
/// The database.
pub async fn by_number(conn: &mut Conn, mchid: &str, out_trade_no: &str) -> Result<Option<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE mchid = ? AND out_trade_no = ?"
    ))
    .bind(mchid)
    .bind(out_trade_no)
    .fetch_optional(conn)
    .await?)
}

/// The attempt of a channel's transaction.
///
/// # Errors
/// The database.
pub async fn by_transaction(conn: &mut Conn, transaction_id: &str) -> Result<Option<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE transaction_id = ? ORDER BY id LIMIT 1"
    ))
    .bind(transaction_id)
    .fetch_optional(conn)
    .await?)
}

/// All attempts of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE order_id = ? ORDER BY id LIMIT 200"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// The attempt that paid an order.
///
/// # Errors
/// The database.
pub async fn paid_attempt(conn: &mut Conn, order: &OrderId) -> Result<Option<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE order_id = ? AND status = 'SUCCEEDED'"
    ))
    .bind(order)
    .fetch_optional(conn)
    .await?)
}

/// What arrived for an attempt.
///
/// # Errors
/// The database.
pub async fn record_of(conn: &mut Conn, attempt: &AttemptId) -> Result<Option<Record>> {
    Ok(sqlx::query_as(
        "SELECT kind, mchid, transaction_id, amount_minor, currency, paid_ms FROM payment_records WHERE attempt_id = ?",
    )
    .bind(attempt)
    .fetch_optional(conn)
    .await?)
}

/// CREATED → PREPAID; false when the attempt went on without this answer.
pub async fn set_prepaid(conn: &mut Conn, id: &AttemptId, prepay_id: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = 'PREPAID', prepay_id = ?, prepaid_ms = ? \
             WHERE id = ? AND status IN ('CREATED', 'PREPAID')",
        )
        .bind(prepay_id)
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// Can the client pay it now?
pub async fn is_prepaid(conn: &mut Conn, id: &AttemptId) -> Result<bool> {
    let row: Option<(AttemptId,)> =
        sqlx::query_as("SELECT id FROM payment_attempts WHERE id = ? AND status = 'PREPAID'")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

pub async fn set_failed(conn: &mut Conn, id: &AttemptId, failure: &str, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = 'FAILED', failure = ?, closed_ms = ?, next_ms = NULL \
             WHERE id = ? AND status = 'CREATED'",
        )
        .bind(failure.chars().take(200).collect::<String>())
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// CREATED, PREPAID → CLOSING, due now: also for a worker that is just asking about it as an open one.
pub async fn set_closing(conn: &mut Conn, id: &AttemptId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = 'CLOSING', step = 0, next_ms = ?, lease_until_ms = 0 \
             WHERE id = ? AND status IN ('CREATED', 'PREPAID')",
        )
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// The channel has proved that it can't be paid any more.
pub async fn set_closed(conn: &mut Conn, id: &AttemptId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = 'CLOSED', closed_ms = ?, next_ms = NULL \
             WHERE id = ? AND status IN ('CREATED', 'PREPAID', 'CLOSING')",
        )
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// Money arrived: from any state but those of money that had arrived before.
pub async fn set_arrived(
    conn: &mut Conn,
    id: &AttemptId,
    status: AttemptStatus,
    news: &PaidNews,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = ?, transaction_id = ?, paid_ms = ?, next_ms = NULL \
             WHERE id = ? AND status IN ('CREATED', 'PREPAID', 'CLOSING', 'CLOSED', 'FAILED')",
        )
        .bind(status)
        .bind(&news.transaction_id)
        .bind(news.paid_ms.unwrap_or(now_ms))
        .bind(id)
        .execute(conn)
        .await,
    )
}

pub async fn insert_record(
    conn: &mut Conn,
    attempt: &Attempt,
    kind: AttemptStatus,
    news: &PaidNews,
    now_ms: Millis,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO payment_records (attempt_id, order_id, kind, mchid, transaction_id, amount_minor, \
             payer_minor, currency, paid_ms, recorded_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&attempt.id)
        .bind(&attempt.order_id)
        .bind(kind)
        .bind(&news.mchid)
        .bind(&news.transaction_id)
        .bind(news.total_minor)
        .bind(news.payer_minor)
        .bind(&news.currency)
        .bind(news.paid_ms.unwrap_or(now_ms))
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// Attempts that could still be paid, as far as is known.
pub async fn live_of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE order_id = ? AND status IN ('CREATED', 'PREPAID', 'CLOSING') ORDER BY id"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?)
}

pub async fn has_mismatch(conn: &mut Conn, order: &OrderId) -> Result<bool> {
    let row: Option<(AttemptId,)> = sqlx::query_as(
        "SELECT id FROM payment_attempts WHERE order_id = ? AND status = 'MISMATCH' \
         AND reviewed_ms IS NULL LIMIT 1",
    )
    .bind(order)
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// A condition that narrows payments of this table to the orders of these stores.
fn of_stores(scope: &StoreScope, table: &str) -> String {
    if scope.is_all() {
        return String::new();
    }
    format!(
        " AND EXISTS (SELECT 1 FROM orders WHERE orders.id = {table}.order_id{})",
        scope.condition("orders.store_id")
    )
}

/// Payments that a person has to decide.
///
/// # Errors
/// The database.
pub async fn count_mismatched(conn: &mut Conn, scope: &StoreScope) -> Result<i64> {
    let query = format!(
        "SELECT COUNT(*) FROM payment_attempts WHERE status = 'MISMATCH' AND reviewed_ms IS NULL{}",
        of_stores(scope, "payment_attempts")
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for store in scope.bound() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

/// A person decided what a mismatched payment is, or that it stays one.
pub async fn decide_mismatch(
    conn: &mut Conn,
    id: &AttemptId,
    to: AttemptStatus,
    now_ms: Millis,
) -> Result<bool> {
    let moved = changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = ?, reviewed_ms = ? WHERE id = ? AND status = 'MISMATCH' \
             AND reviewed_ms IS NULL",
        )
        .bind(to)
        .bind(now_ms)
        .bind(id)
        .execute(&mut *conn)
        .await,
    )?;
    if moved {
        sqlx::query("UPDATE payment_records SET kind = ? WHERE attempt_id = ?")
            .bind(to)
            .bind(id)
            .execute(conn)
            .await?;
    }
    Ok(moved)
}

/// A payment that arrived: what was asked for, and what came.
#[derive(Debug, Clone, FromRow)]
pub struct Arrived {
    pub attempt_id: AttemptId,
    pub order_id: OrderId,
    pub user_id: UserId,
    /// SUCCEEDED, ORPHAN or MISMATCH.
    pub kind: AttemptStatus,
    pub out_trade_no: String,
    pub asked_minor: i64,
    pub asked_currency: Currency,
    pub asked_mchid: String,
    pub mchid: String,
    pub transaction_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub paid_ms: Millis,
    pub reviewed_ms: Option<Millis>,
}

/// What staff narrows the list of payments to.
#[derive(Debug, Default, Clone, Copy)]
pub struct ArrivedFilter<'a> {
    pub order: Option<&'a OrderId>,
    pub kind: Option<AttemptStatus>,
    /// Only mismatched ones that nobody has decided.
    pub waiting: bool,
}

/// Payments of these stores that arrived, newest first.
///
/// # Errors
/// The database.
pub async fn list_arrived(
    conn: &mut Conn,
    scope: &StoreScope,
    filter: ArrivedFilter<'_>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Arrived>> {
    let mut query = String::from(
        "SELECT r.attempt_id, r.order_id, a.user_id, r.kind, a.out_trade_no, a.amount_minor AS asked_minor, \
         a.currency AS asked_currency, a.mchid AS asked_mchid, r.mchid, r.transaction_id, r.amount_minor, \
         r.currency, r.paid_ms, a.reviewed_ms FROM payment_records r JOIN payment_attempts a \
         ON a.id = r.attempt_id WHERE r.attempt_id < ?",
    );
    if filter.order.is_some() {
        query.push_str(" AND r.order_id = ?");
    }
    if filter.kind.is_some() {
        query.push_str(" AND r.kind = ?");
    }
    if filter.waiting {
        query.push_str(" AND r.kind = 'MISMATCH' AND a.reviewed_ms IS NULL");
    }
    query.push_str(&of_stores(scope, "a"));
    query.push_str(" ORDER BY r.attempt_id DESC LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(after.map_or("~", Cursor::key));
    if let Some(order) = filter.order {
        query = query.bind(order);
    }
    if let Some(kind) = filter.kind {
        query = query.bind(kind);
    }
    for store in scope.bound() {
        query = query.bind(store);
    }
    let rows: Vec<Arrived> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |row| row.attempt_id.to_string()))
}

/// Two people have confirmed that the channel can't answer.
pub async fn set_closed_by_staff(conn: &mut Conn, id: &AttemptId, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET status = 'CLOSED', closed_ms = ?, next_ms = NULL, \
             failure = 'closed by staff: the channel did not answer' \
             WHERE id = ? AND status IN ('CREATED', 'PREPAID', 'CLOSING')",
        )
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Attempt>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM payment_attempts WHERE next_ms <= ? AND lease_until_ms <= ? ORDER BY next_ms, id LIMIT ?"
    ))
    .bind(now_ms)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(CASE WHEN lease_until_ms > next_ms THEN lease_until_ms ELSE next_ms END) FROM payment_attempts WHERE next_ms IS NOT NULL")
            .fetch_one(conn)
            .await?;
    Ok(next)
}

/// Takes a due attempt for a while; false when somebody else has it.
pub async fn claim(conn: &mut Conn, id: &AttemptId, now_ms: Millis, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE payment_attempts SET lease_until_ms = ? WHERE id = ? AND next_ms <= ? AND lease_until_ms <= ?",
        )
        .bind(until_ms)
        .bind(id)
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// When the channel is asked next, if nothing else happened to the attempt meanwhile.
pub async fn schedule(
    conn: &mut Conn,
    id: &AttemptId,
    status: AttemptStatus,
    step: i64,
    next_ms: Option<Millis>,
) -> Result<()> {
    sqlx::query(
        "UPDATE payment_attempts SET step = ?, next_ms = ?, lease_until_ms = 0 WHERE id = ? AND status = ?",
    )
    .bind(step)
    .bind(next_ms)
    .bind(id)
    .bind(status)
    .execute(conn)
    .await?;
    Ok(())
}

/// Asks the channel at once.
pub async fn hurry(conn: &mut Conn, id: &AttemptId, now_ms: Millis) -> Result<()> {
    sqlx::query(
        "UPDATE payment_attempts SET next_ms = ?, lease_until_ms = 0 \
         WHERE id = ? AND status IN ('CREATED', 'PREPAID', 'CLOSING') AND (next_ms IS NULL OR next_ms > ?)",
    )
    .bind(now_ms)
    .bind(id)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

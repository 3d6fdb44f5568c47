//! SQL of refunds.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Fault, RefundKind, RefundState};
use crate::kernel::{
    AttemptId, CouponTemplateId, Currency, Cursor, Limit, Millis, OrderId, OrderLineId, Page, RefundId,
    Result, SubmissionId, UserId,
};
use crate::orders::LineRefund;
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;

/// A refund. Money in minor units.
#[derive(Debug, Clone, FromRow)]
pub struct Refund {
    pub id: RefundId,
    pub order_id: OrderId,
    pub user_id: UserId,
    /// The payment that it goes back through; none when nothing was paid.
    pub attempt_id: Option<AttemptId>,
    pub kind: RefundKind,
    pub status: RefundState,
    /// What the system made it for; once for each cause.
    pub cause: Option<String>,
    pub fault: Fault,
    pub reason: String,
    /// JSON list of URLs.
    pub photos: String,
    /// Everything, freight included.
    pub amount_minor: i64,
    pub freight_minor: i64,
    pub currency: Currency,
    /// What staff wrote when they decided.
    pub note: String,
    pub compensation_template: Option<CouponTemplateId>,
    pub requested_ms: Millis,
    pub approved_ms: Option<Millis>,
    pub ended_ms: Option<Millis>,
    pub closed_times: i64,
    /// How often the channel was asked since it is in this state.
    pub step: i64,
}

/// What a refund takes from one line.
#[derive(Debug, Clone, FromRow)]
pub struct RefundLine {
    pub line_id: OrderLineId,
    pub cancel_quantity: i64,
    pub return_quantity: i64,
    pub sellable_quantity: i64,
    pub amount_minor: i64,
}

impl RefundLine {
    pub fn as_order_part(&self) -> LineRefund {
        LineRefund {
            line_id: self.line_id.clone(),
            cancel: self.cancel_quantity,
            give_back: self.return_quantity,
            sellable: self.sellable_quantity,
            money_minor: self.amount_minor,
        }
    }
}

/// One number at the channel.
#[derive(Debug, Clone, FromRow)]
pub struct Submission {
    pub id: SubmissionId,
    pub attempt_id: AttemptId,
    pub transaction_id: String,
    pub out_refund_no: String,
    pub amount_minor: i64,
    pub total_minor: i64,
    pub currency: String,
    pub outcome: Option<String>,
    pub created_ms: Millis,
}

macro_rules! refund_columns {
    () => {
        "id, order_id, user_id, attempt_id, kind, status, cause, fault, reason, photos, amount_minor, \
         freight_minor, currency, note, compensation_template, requested_ms, approved_ms, ended_ms, closed_times, step"
    };
}

/// False: there is one for this cause already.
pub async fn insert(conn: &mut Conn, refund: &Refund) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO refunds (id, order_id, user_id, attempt_id, kind, status, cause, fault, reason, photos, \
             amount_minor, freight_minor, currency, note, requested_ms, closed_times, step, lease_until_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
        )
        .bind(&refund.id)
        .bind(&refund.order_id)
        .bind(&refund.user_id)
        .bind(&refund.attempt_id)
        .bind(refund.kind)
        .bind(refund.status)
        .bind(&refund.cause)
        .bind(refund.fault)
        .bind(&refund.reason)
        .bind(&refund.photos)
        .bind(refund.amount_minor)
        .bind(refund.freight_minor)
        .bind(refund.currency)
        .bind(&refund.note)
        .bind(refund.requested_ms)
        .execute(conn)
        .await,
    )
}

pub async fn insert_line(conn: &mut Conn, refund: &RefundId, line: &LineRefund) -> Result<()> {
    sqlx::query(
        "INSERT INTO refund_lines (refund_id, line_id, cancel_quantity, return_quantity, sellable_quantity, \
         amount_minor) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(refund)
    .bind(&line.line_id)
    .bind(line.cancel)
    .bind(line.give_back)
    .bind(line.sellable)
    .bind(line.money_minor)
    .execute(conn)
    .await?;
    Ok(())
}

/// # Errors
/// The database.
pub async fn by_id(conn: &mut Conn, id: &RefundId) -> Result<Option<Refund>> {
    Ok(sqlx::query_as(concat!("SELECT ", refund_columns!(), " FROM refunds WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// What a refund takes, in the order of line ids.
///
/// # Errors
/// The database.
pub async fn find_lines(conn: &mut Conn, refund: &RefundId) -> Result<Vec<RefundLine>> {
    Ok(sqlx::query_as(
        "SELECT line_id, cancel_quantity, return_quantity, sellable_quantity, amount_minor FROM refund_lines \
         WHERE refund_id = ? ORDER BY line_id",
    )
    .bind(refund)
    .fetch_all(conn)
    .await?)
}

/// The refunds of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE order_id = ? ORDER BY id LIMIT 500"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// The refunds of these stores, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    conn: &mut Conn,
    scope: &StoreScope,
    status: Option<RefundState>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Refund>> {
    let mut query = String::from(concat!("SELECT ", refund_columns!(), " FROM refunds WHERE id < ?"));
    if status.is_some() {
        query.push_str(" AND status = ?");
    }
    query.push_str(&of_stores(scope));
    query.push_str(" ORDER BY id DESC LIMIT ?");
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(after.map_or("~", Cursor::key));
    if let Some(status) = status {
        query = query.bind(status);
    }
    for store in scope.bound() {
        query = query.bind(store);
    }
    let rows: Vec<Refund> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |refund| refund.id.to_string()))
}

/// A condition that narrows refunds to the orders of these stores.
fn of_stores(scope: &StoreScope) -> String {
    if scope.is_all() {
        return String::new();
    }
    format!(
        " AND EXISTS (SELECT 1 FROM orders WHERE orders.id = refunds.order_id{})",
        scope.condition("orders.store_id")
    )
}

/// How many refunds of these stores are in one of these states.
///
/// # Errors
/// The database.
pub async fn count(conn: &mut Conn, scope: &StoreScope, states: &[RefundState]) -> Result<i64> {
    let mut total = 0;
    for state in states {
        let query = format!("SELECT COUNT(*) FROM refunds WHERE status = ?{}", of_stores(scope));
        let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(*state);
        for store in scope.bound() {
            query = query.bind(store);
        }
        let (count,): (i64,) = query.fetch_one(&mut *conn).await?;
        total += count;
    }
    Ok(total)
}

/// Moves a refund; false when it is not where it was any more.
pub async fn advance(conn: &mut Conn, id: &RefundId, from: RefundState, to: RefundState) -> Result<bool> {
    changed(
        sqlx::query("UPDATE refunds SET status = ?, step = 0, next_ms = NULL WHERE id = ? AND status = ?")
            .bind(to)
            .bind(id)
            .bind(from)
            .execute(conn)
            .await,
    )
}

pub async fn set_approved(
    conn: &mut Conn,
    id: &RefundId,
    amount_minor: i64,
    freight_minor: i64,
    note: &str,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "UPDATE refunds SET amount_minor = ?, freight_minor = ?, note = ?, approved_ms = ? WHERE id = ?",
    )
    .bind(amount_minor)
    .bind(freight_minor)
    .bind(note)
    .bind(now_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_ended(conn: &mut Conn, id: &RefundId, note: &str, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE refunds SET ended_ms = ?, note = ?, next_ms = NULL WHERE id = ?")
        .bind(now_ms)
        .bind(note)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// What follows from the refund, as it was decided when it was settled.
pub async fn set_settled(
    conn: &mut Conn,
    id: &RefundId,
    whole: bool,
    return_coupon: bool,
    template: Option<&CouponTemplateId>,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "UPDATE refunds SET ended_ms = ?, whole = ?, return_coupon = ?, compensation_template = ?, next_ms = NULL \
         WHERE id = ?",
    )
    .bind(now_ms)
    .bind(i64::from(whole))
    .bind(i64::from(return_coupon))
    .bind(template)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose fault it was, as staff decided.
pub async fn set_fault(conn: &mut Conn, id: &RefundId, fault: Fault) -> Result<()> {
    sqlx::query("UPDATE refunds SET fault = ? WHERE id = ?").bind(fault).bind(id).execute(conn).await?;
    Ok(())
}

/// Goods that came back can be sold again.
pub async fn set_sellable(conn: &mut Conn, id: &RefundId) -> Result<()> {
    sqlx::query("UPDATE refund_lines SET sellable_quantity = return_quantity WHERE refund_id = ?")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Units of an order that approved refunds, settled or not, cancel.
pub async fn cancelled_by_approved(conn: &mut Conn, order: &OrderId) -> Result<i64> {
    let (units,): (Option<i64>,) = sqlx::query_as(
        "SELECT CAST(SUM(l.cancel_quantity) AS SIGNED) FROM refund_lines l JOIN refunds r ON r.id = l.refund_id \
         WHERE r.order_id = ? AND r.kind <> 'ORPHAN' AND r.status IN ('APPROVED', 'SUBMITTED', 'PROCESSING', \
         'SUCCEEDED', 'ABNORMAL', 'CLOSED', 'MANUAL')",
    )
    .bind(order)
    .fetch_one(conn)
    .await?;
    Ok(units.unwrap_or(0))
}

pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE next_ms <= ? AND lease_until_ms <= ? ORDER BY next_ms LIMIT ?"
    ))
    .bind(now_ms)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(CASE WHEN lease_until_ms > next_ms THEN lease_until_ms ELSE next_ms END) FROM refunds WHERE next_ms IS NOT NULL").fetch_one(conn).await?;
    Ok(next)
}

pub async fn claim(conn: &mut Conn, id: &RefundId, now_ms: Millis, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET lease_until_ms = ? WHERE id = ? AND next_ms <= ? AND lease_until_ms <= ?",
        )
        .bind(until_ms)
        .bind(id)
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// When the channel is asked next, if the refund is still where it was.
pub async fn schedule(
    conn: &mut Conn,
    id: &RefundId,
    status: RefundState,
    step: i64,
    next_ms: Option<Millis>,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET step = ?, next_ms = ?, lease_until_ms = 0 WHERE id = ? AND status = ?",
        )
        .bind(step)
        .bind(next_ms)
        .bind(id)
        .bind(status)
        .execute(conn)
        .await,
    )
}

/// The refund that has waited longest for the channel to take it, be it on its way there at this moment.
pub async fn oldest_waiting(conn: &mut Conn) -> Result<Option<RefundId>> {
    let row: Option<(RefundId,)> = sqlx::query_as(
        "SELECT id FROM refunds WHERE status IN ('APPROVED', 'SUBMITTED') AND next_ms IS NOT NULL \
         ORDER BY approved_ms, id LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id,)| id))
}

/// Everything that waits to be submitted is due now.
pub async fn hurry_approved(conn: &mut Conn, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE refunds SET next_ms = ? WHERE status = 'APPROVED' AND next_ms > ?")
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn count_closed(conn: &mut Conn, id: &RefundId) -> Result<()> {
    sqlx::query("UPDATE refunds SET closed_times = closed_times + 1 WHERE id = ?")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn insert_submission(conn: &mut Conn, submission: &Submission, refund: &RefundId) -> Result<()> {
    sqlx::query(
        "INSERT INTO refund_submissions (id, attempt_id, transaction_id, out_refund_no, amount_minor, total_minor, \
         currency, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&submission.id)
    .bind(&submission.attempt_id)
    .bind(&submission.transaction_id)
    .bind(&submission.out_refund_no)
    .bind(submission.amount_minor)
    .bind(submission.total_minor)
    .bind(&submission.currency)
    .bind(submission.created_ms)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO refund_submission_parts (submission_id, refund_id, amount_minor) VALUES (?, ?, ?)",
    )
    .bind(&submission.id)
    .bind(refund)
    .bind(submission.amount_minor)
    .execute(conn)
    .await?;
    Ok(())
}

/// How many submissions a payment has, and when the last one was made.
pub async fn submissions_of(conn: &mut Conn, attempt: &AttemptId) -> Result<(i64, Option<Millis>)> {
    Ok(sqlx::query_as("SELECT COUNT(*), MAX(created_ms) FROM refund_submissions WHERE attempt_id = ?")
        .bind(attempt)
        .fetch_one(conn)
        .await?)
}

/// The submission of a refund that is open, otherwise the newest. Ids are made by clocks that may be apart,
/// and at most one submission is open.
pub async fn last_submission(conn: &mut Conn, refund: &RefundId) -> Result<Option<Submission>> {
    Ok(sqlx::query_as(
        "SELECT s.id, s.attempt_id, s.transaction_id, s.out_refund_no, s.amount_minor, s.total_minor, s.currency, \
         s.outcome, s.created_ms FROM refund_submissions s JOIN refund_submission_parts p ON p.submission_id = s.id \
         WHERE p.refund_id = ? ORDER BY CASE WHEN s.outcome IS NULL THEN 0 ELSE 1 END, s.id DESC LIMIT 1",
    )
    .bind(refund)
    .fetch_optional(conn)
    .await?)
}

pub async fn submission_by_number(conn: &mut Conn, out_refund_no: &str) -> Result<Option<Submission>> {
    Ok(sqlx::query_as(
        "SELECT id, attempt_id, transaction_id, out_refund_no, amount_minor, total_minor, currency, outcome, \
         created_ms FROM refund_submissions WHERE out_refund_no = ?",
    )
    .bind(out_refund_no)
    .fetch_optional(conn)
    .await?)
}

pub async fn refunds_in(conn: &mut Conn, submission: &SubmissionId) -> Result<Vec<RefundId>> {
    let rows: Vec<(RefundId,)> = sqlx::query_as(
        "SELECT refund_id FROM refund_submission_parts WHERE submission_id = ? ORDER BY refund_id",
    )
    .bind(submission)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn set_outcome(
    conn: &mut Conn,
    submission: &SubmissionId,
    outcome: &str,
    channel_id: &str,
) -> Result<()> {
    sqlx::query("UPDATE refund_submissions SET outcome = ?, channel_refund_id = ? WHERE id = ?")
        .bind(outcome)
        .bind(channel_id)
        .bind(submission)
        .execute(conn)
        .await?;
    Ok(())
}

//! SQL of submissions: numbers at the channel, and which refunds each carries.

use sqlx::FromRow;

use super::{Refund, refund_columns};
use crate::kernel::{AttemptId, Millis, RefundId, Result, SubmissionId};
use crate::platform::db::{Conn, changed};

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
    /// SUCCESS, CLOSED, or REFUSED: it never came to be. None: it may still pay out.
    pub outcome: Option<String>,
    pub created_ms: Millis,
    /// What the channel is told.
    pub reason: Option<String>,
}

/// What a submission carries of one refund.
#[derive(Debug, Clone, FromRow)]
pub struct Part {
    pub refund_id: RefundId,
    pub amount_minor: i64,
    /// When the channel's success was settled for it.
    pub settled_ms: Option<Millis>,
}

macro_rules! submission_columns {
    () => {
        "s.id, s.attempt_id, s.transaction_id, s.out_refund_no, s.amount_minor, s.total_minor, s.currency, \
         s.outcome, s.created_ms, s.reason"
    };
}

/// A number and the refunds that it carries.
pub async fn insert_submission(conn: &mut Conn, submission: &Submission, refunds: &[Refund]) -> Result<()> {
    sqlx::query(
        "INSERT INTO refund_submissions (id, attempt_id, transaction_id, out_refund_no, amount_minor, total_minor, \
         currency, created_ms, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&submission.id)
    .bind(&submission.attempt_id)
    .bind(&submission.transaction_id)
    .bind(&submission.out_refund_no)
    .bind(submission.amount_minor)
    .bind(submission.total_minor)
    .bind(&submission.currency)
    .bind(submission.created_ms)
    .bind(&submission.reason)
    .execute(&mut *conn)
    .await?;
    for refund in refunds {
        sqlx::query(
            "INSERT INTO refund_submission_parts (submission_id, refund_id, amount_minor) VALUES (?, ?, ?)",
        )
        .bind(&submission.id)
        .bind(&refund.id)
        .bind(refund.amount_minor)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// How many refunds of a payment the channel has, or may have, and when the last submission was made.
pub async fn submissions_of(conn: &mut Conn, attempt: &AttemptId) -> Result<(i64, Option<Millis>)> {
    let (submitted, last_ms): (i64, Option<Millis>) =
        sqlx::query_as("SELECT COUNT(*), MAX(created_ms) FROM refund_submissions WHERE attempt_id = ?")
            .bind(attempt)
            .fetch_one(&mut *conn)
            .await?;
    let (external,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM refunds WHERE attempt_id = ? AND kind = 'EXTERNAL'")
            .bind(attempt)
            .fetch_one(conn)
            .await?;
    Ok((submitted + external, last_ms))
}

/// Refunds of a payment that wait for a number, oldest first: those that may go out together.
pub async fn without_number(conn: &mut Conn, attempt: &AttemptId, now_ms: Millis) -> Result<Vec<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE attempt_id = ? AND next_ms IS NOT NULL \
         AND (status = 'APPROVED' OR (status = 'CLOSED' AND next_ms <= ?)) \
         AND NOT EXISTS (SELECT 1 FROM refund_submission_parts p JOIN refund_submissions s ON \
         s.id = p.submission_id WHERE p.refund_id = refunds.id AND s.outcome IS NULL) \
         ORDER BY id LIMIT 100"
    ))
    .bind(attempt)
    .bind(now_ms)
    .fetch_all(conn)
    .await?)
}

/// The submission of a refund that is open, otherwise the newest. Ids are made by clocks that may be apart,
/// and at most one submission is open.
pub async fn last_submission(conn: &mut Conn, refund: &RefundId) -> Result<Option<Submission>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        submission_columns!(),
        " FROM refund_submissions s JOIN refund_submission_parts p ON p.submission_id = s.id \
         WHERE p.refund_id = ? ORDER BY CASE WHEN s.outcome IS NULL THEN 0 ELSE 1 END, s.id DESC LIMIT 1"
    ))
    .bind(refund)
    .fetch_optional(conn)
    .await?)
}

/// Every number under which a refund was submitted, oldest first.
///
/// # Errors
/// The database.
pub async fn submissions(conn: &mut Conn, refund: &RefundId) -> Result<Vec<Submission>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        submission_columns!(),
        " FROM refund_submissions s JOIN refund_submission_parts p ON p.submission_id = s.id \
         WHERE p.refund_id = ? ORDER BY s.id LIMIT 100"
    ))
    .bind(refund)
    .fetch_all(conn)
    .await?)
}

pub async fn submission_by_number(conn: &mut Conn, out_refund_no: &str) -> Result<Option<Submission>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        submission_columns!(),
        " FROM refund_submissions s WHERE s.out_refund_no = ?"
    ))
    .bind(out_refund_no)
    .fetch_optional(conn)
    .await?)
}

/// What a submission carries, in the order of refund ids.
pub async fn parts_of(conn: &mut Conn, submission: &SubmissionId) -> Result<Vec<Part>> {
    Ok(sqlx::query_as(
        "SELECT refund_id, amount_minor, settled_ms FROM refund_submission_parts WHERE submission_id = ? \
         ORDER BY refund_id",
    )
    .bind(submission)
    .fetch_all(conn)
    .await?)
}

/// The channel's success was settled for this refund; false: it was before.
pub async fn settle_part(
    conn: &mut Conn,
    submission: &SubmissionId,
    refund: &RefundId,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refund_submission_parts SET settled_ms = ? \
             WHERE submission_id = ? AND refund_id = ? AND settled_ms IS NULL",
        )
        .bind(now_ms)
        .bind(submission)
        .bind(refund)
        .execute(conn)
        .await,
    )
}

pub async fn set_outcome(
    conn: &mut Conn,
    submission: &SubmissionId,
    outcome: &str,
    channel_id: Option<&str>,
) -> Result<()> {
    sqlx::query("UPDATE refund_submissions SET outcome = ?, channel_refund_id = ? WHERE id = ?")
        .bind(outcome)
        .bind(channel_id)
        .bind(submission)
        .execute(conn)
        .await?;
    Ok(())
}

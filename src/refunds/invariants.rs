//! What must be true of refunds at any moment: each rule is a query that finds no row.

use crate::kernel::{Millis, Result, minute_ms};
use crate::platform::bus;
use crate::platform::db::{Conn, VIOLATIONS_SHOWN, violations};

/// How long after its time a refund may wait for the channel before `check` calls it stuck.
const BOUND_MS: Millis = minute_ms(15);

const RULES: &[(&str, &str)] = &[
    (
        "refunds: what an order has refunded and is refunding is the sum of its refunds",
        "SELECT o.id FROM orders o WHERE o.refunded_minor <> COALESCE((SELECT CAST(SUM(r.amount_minor) AS SIGNED) \
         FROM refunds r WHERE r.order_id = o.id AND r.kind <> 'ORPHAN' AND r.status = 'SUCCEEDED'), 0) \
         OR o.refunding_minor <> COALESCE((SELECT CAST(SUM(r.amount_minor) AS SIGNED) FROM refunds r \
         WHERE r.order_id = o.id AND r.kind <> 'ORPHAN' \
         AND r.status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN', 'GIVEN_UP')), 0)",
    ),
    (
        "refunds: the same for freight",
        "SELECT o.id FROM orders o WHERE o.freight_refunded_minor <> COALESCE((SELECT CAST(SUM(r.freight_minor) AS \
         SIGNED) FROM refunds r WHERE r.order_id = o.id AND r.status = 'SUCCEEDED'), 0) \
         OR o.freight_refunding_minor <> COALESCE((SELECT CAST(SUM(r.freight_minor) AS SIGNED) FROM refunds r \
         WHERE r.order_id = o.id AND r.status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN', 'GIVEN_UP')), 0)",
    ),
    (
        "refunds: the same for each line",
        "SELECT l.id FROM order_lines l WHERE l.refunded_minor <> COALESCE((SELECT CAST(SUM(p.amount_minor) AS \
         SIGNED) FROM refund_lines p JOIN refunds r ON r.id = p.refund_id WHERE p.line_id = l.id \
         AND r.status = 'SUCCEEDED'), 0) \
         OR l.refunding_minor <> COALESCE((SELECT CAST(SUM(p.amount_minor) AS SIGNED) FROM refund_lines p \
         JOIN refunds r ON r.id = p.refund_id WHERE p.line_id = l.id \
         AND r.status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN', 'GIVEN_UP')), 0)",
    ),
    (
        "refunds: a refund is the sum of its lines and its freight",
        "SELECT r.id FROM refunds r WHERE r.kind <> 'ORPHAN' AND r.amount_minor <> r.freight_minor + \
         COALESCE((SELECT CAST(SUM(p.amount_minor) AS SIGNED) FROM refund_lines p WHERE p.refund_id = r.id), 0)",
    ),
    (
        "refunds: an order counts its open refunds",
        "SELECT o.id FROM orders o WHERE o.open_refunds <> (SELECT COUNT(*) FROM refunds r WHERE r.order_id = o.id \
         AND r.status NOT IN ('SUCCEEDED', 'REJECTED', 'WITHDRAWN', 'GIVEN_UP'))",
    ),
    (
        "refunds: a submission is the sum of its parts, and one number succeeds for a refund at most once",
        "SELECT s.id FROM refund_submissions s WHERE s.amount_minor <> (SELECT CAST(SUM(p.amount_minor) AS SIGNED) \
         FROM refund_submission_parts p WHERE p.submission_id = s.id) \
         UNION ALL SELECT p.refund_id FROM refund_submission_parts p JOIN refund_submissions s ON \
         s.id = p.submission_id WHERE s.outcome = 'SUCCESS' GROUP BY p.refund_id HAVING COUNT(*) > 1",
    ),
    (
        "refunds: the compensation slot of an order is held by the refund that brings the coupon",
        "SELECT r.id FROM refunds r JOIN orders o ON o.id = r.order_id WHERE r.compensation_template IS NOT NULL \
         AND (o.compensation_refund IS NULL OR o.compensation_refund <> r.id) \
         UNION ALL SELECT o.id FROM orders o LEFT JOIN refunds r ON r.id = o.compensation_refund \
         WHERE o.compensation_refund IS NOT NULL AND (r.id IS NULL OR r.compensation_template IS NULL)",
    ),
    (
        "refunds: no used coupon comes back without a settled refund that stored it",
        "SELECT m.coupon_id FROM coupon_moves m WHERE m.kind = 'GIVEN_BACK' AND NOT EXISTS (SELECT 1 FROM refunds r \
         WHERE r.order_id = m.order_id AND r.status = 'SUCCEEDED' AND r.return_coupon = 1)",
    ),
    (
        "refunds: where goods must come back first it is said until when, and no more can be sold than came back",
        "SELECT id FROM refunds WHERE status = 'AWAITING_RETURN' AND return_before_ms IS NULL \
         UNION ALL SELECT refund_id FROM refund_lines WHERE sellable_quantity > return_quantity \
         OR sellable_quantity < 0",
    ),
    (
        "refunds: an adopted one has the channel's number, has succeeded, and takes money alone",
        "SELECT r.id FROM refunds r WHERE r.kind = 'EXTERNAL' AND (r.external_no IS NULL OR r.status <> 'SUCCEEDED' \
         OR EXISTS (SELECT 1 FROM refund_lines l WHERE l.refund_id = r.id AND l.cancel_quantity + l.return_quantity > 0))",
    ),
    (
        "refunds: money that moved was proved once, by a number of ours or by another",
        "SELECT r.id FROM refunds r WHERE r.status = 'SUCCEEDED' AND r.amount_minor > 0 AND r.attempt_id IS NOT NULL \
         AND 1 <> (SELECT COUNT(*) FROM refund_submission_parts p WHERE p.refund_id = r.id AND p.settled_ms IS NOT NULL) \
         + CASE WHEN r.external_no IS NULL THEN 0 ELSE 1 END \
         UNION ALL SELECT p.refund_id FROM refund_submission_parts p \
         JOIN refund_submissions s ON s.id = p.submission_id JOIN refunds r ON r.id = p.refund_id \
         WHERE p.settled_ms IS NOT NULL AND (s.outcome IS NULL OR s.outcome <> 'SUCCESS' OR r.status <> 'SUCCEEDED')",
    ),
    (
        "refunds: a number that may still pay out carries refunds that wait for it, or that people look at",
        "SELECT s.id FROM refund_submissions s JOIN refund_submission_parts p ON p.submission_id = s.id \
         JOIN refunds r ON r.id = p.refund_id WHERE s.outcome IS NULL \
         AND r.status NOT IN ('APPROVED', 'SUBMITTED', 'PROCESSING', 'ABNORMAL', 'MANUAL', 'SUCCEEDED')",
    ),
    (
        "refunds: a photo belongs to a refund that exists, at most 6 of the customer's to each",
        "SELECT f.id FROM refund_photos f LEFT JOIN refunds r ON r.id = f.refund_id \
         WHERE f.refund_id IS NOT NULL AND r.id IS NULL \
         UNION ALL SELECT f.refund_id FROM refund_photos f JOIN refunds r ON r.id = f.refund_id \
         AND r.user_id = f.owner_id GROUP BY f.refund_id HAVING COUNT(*) > 6",
    ),
    (
        "refunds: no compensation without a settled refund that stored it",
        "SELECT c.id FROM coupons c LEFT JOIN refunds r ON r.id = c.source_id WHERE c.source = 'refund' \
         AND (r.id IS NULL OR r.status <> 'SUCCEEDED' OR r.compensation_template IS NULL)",
    ),
];

/// The rules that an event in flight excuses.
fn unless_on_its_way(now_ms: Millis) -> [(&'static str, String); 3] {
    let orphaned = bus::on_its_way("PaymentOrphaned", "refunds.orphan", "x.fifo_key = a.order_id", now_ms);
    let settled = bus::on_its_way("RefundSettled", "coupons.refund", "INSTR(x.body, r.id) > 0", now_ms);
    [
        (
            "refunds: every orphan payment has one refund of what arrived, and no other payment has one",
            format!(
                "SELECT a.id FROM payment_attempts a JOIN payment_records p ON p.attempt_id = a.id \
                 WHERE a.status = 'ORPHAN' AND NOT {orphaned} \
                 AND 1 <> (SELECT COUNT(*) FROM refunds r WHERE r.attempt_id = a.id AND r.kind = 'ORPHAN' \
                 AND r.amount_minor = p.amount_minor) \
                 UNION ALL SELECT r.id FROM refunds r JOIN payment_attempts a ON a.id = r.attempt_id \
                 WHERE r.kind = 'ORPHAN' AND a.status <> 'ORPHAN'"
            ),
        ),
        (
            "refunds: a settled refund has issued the compensation that it stored, or its event is on its way",
            format!(
                "SELECT r.id FROM refunds r WHERE r.status = 'SUCCEEDED' AND r.compensation_template IS NOT NULL \
                 AND EXISTS (SELECT 1 FROM coupon_templates t WHERE t.id = r.compensation_template) \
                 AND NOT EXISTS (SELECT 1 FROM coupons c WHERE c.source = 'refund' AND c.source_id = r.id) \
                 AND NOT {settled}"
            ),
        ),
        (
            "refunds: a settled refund has given the coupon back if it stored so, or its event is on its way",
            format!(
                "SELECT r.id FROM refunds r WHERE r.status = 'SUCCEEDED' AND r.return_coupon = 1 \
                 AND NOT EXISTS (SELECT 1 FROM coupon_moves m WHERE m.order_id = r.order_id \
                 AND m.kind = 'GIVEN_BACK') AND NOT {settled}"
            ),
        ),
    ]
}

/// Runs the rules over refunds. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn, now_ms: Millis) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut found = violations(conn, RULES).await?;
    found.extend(violations(conn, &unless_on_its_way(now_ms)).await?);
    Ok(found)
}

/// Refunds that are not over, as people watch them.
pub struct Levels {
    /// How long the one that is most overdue waits for its next step at the channel.
    pub lag_ms: Millis,
    /// Approved, and the channel has not ended them.
    pub at_channel: i64,
    /// Somebody has to decide or to act.
    pub for_people: i64,
}

/// # Errors
/// The database.
pub async fn levels(conn: &mut Conn, now_ms: Millis) -> Result<Levels> {
    let (at_channel, next_ms): (i64, Option<i64>) = sqlx::query_as(
        "SELECT COUNT(*), MIN(next_ms) FROM refunds \
         WHERE status IN ('APPROVED', 'SUBMITTED', 'PROCESSING', 'CLOSED')",
    )
    .fetch_one(&mut *conn)
    .await?;
    let (for_people,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM refunds WHERE status IN ('REQUESTED', 'AWAITING_RETURN', 'ABNORMAL', 'MANUAL')",
    )
    .fetch_one(conn)
    .await?;
    let lag_ms = next_ms.map_or(0, |next_ms| (now_ms - next_ms).max(0));
    Ok(Levels { lag_ms, at_channel, for_people })
}

/// Refunds that should have been submitted or asked about long ago.
///
/// # Errors
/// The database.
pub async fn stuck(conn: &mut Conn, now_ms: Millis) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT id FROM refunds WHERE status IN ('APPROVED', 'SUBMITTED', 'PROCESSING', 'CLOSED') \
         AND next_ms < ? LIMIT ?",
    )
    .bind(now_ms - BOUND_MS)
    .bind(VIOLATIONS_SHOWN)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

//! What must be true of refunds at any moment: each rule is a query that finds no row.

use crate::kernel::{Millis, Result, minute_ms};
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
        "refunds: every orphan payment has one refund of what arrived, and no other payment has one",
        "SELECT a.id FROM payment_attempts a JOIN payment_records p ON p.attempt_id = a.id WHERE a.status = 'ORPHAN' \
         AND NOT EXISTS (SELECT 1 FROM outbox x WHERE x.event = 'PaymentOrphaned' AND x.fifo_key = a.order_id \
         AND (x.state = 'READY' OR EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = x.id \
         AND d.state IN ('PENDING', 'PARKED')))) \
         AND 1 <> (SELECT COUNT(*) FROM refunds r WHERE r.attempt_id = a.id AND r.kind = 'ORPHAN' \
         AND r.amount_minor = p.amount_minor) \
         UNION ALL SELECT r.id FROM refunds r JOIN payment_attempts a ON a.id = r.attempt_id \
         WHERE r.kind = 'ORPHAN' AND a.status <> 'ORPHAN'",
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
        "refunds: a settled refund has issued the compensation that it stored, or its event is on its way",
        "SELECT r.id FROM refunds r WHERE r.status = 'SUCCEEDED' AND r.compensation_template IS NOT NULL \
         AND EXISTS (SELECT 1 FROM coupon_templates t WHERE t.id = r.compensation_template) \
         AND NOT EXISTS (SELECT 1 FROM coupons c WHERE c.source = 'refund' AND c.source_id = r.id) \
         AND NOT EXISTS (SELECT 1 FROM outbox x WHERE x.event = 'RefundSettled' AND x.state = 'READY') \
         AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN outbox x ON x.id = d.event_id \
         WHERE x.event = 'RefundSettled' AND d.state IN ('PENDING', 'PARKED'))",
    ),
    (
        "refunds: a settled refund has given the coupon back if it stored so, or its event is on its way",
        "SELECT r.id FROM refunds r WHERE r.status = 'SUCCEEDED' AND r.return_coupon = 1 \
         AND NOT EXISTS (SELECT 1 FROM coupon_moves m WHERE m.order_id = r.order_id AND m.kind = 'GIVEN_BACK') \
         AND NOT EXISTS (SELECT 1 FROM outbox x WHERE x.event = 'RefundSettled' AND x.state = 'READY') \
         AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN outbox x ON x.id = d.event_id \
         WHERE x.event = 'RefundSettled' AND d.state IN ('PENDING', 'PARKED'))",
    ),
    (
        "refunds: no used coupon comes back without a settled refund that stored it",
        "SELECT m.coupon_id FROM coupon_moves m WHERE m.kind = 'GIVEN_BACK' AND NOT EXISTS (SELECT 1 FROM refunds r \
         WHERE r.order_id = m.order_id AND r.status = 'SUCCEEDED' AND r.return_coupon = 1)",
    ),
    (
        "refunds: no compensation without a settled refund that stored it",
        "SELECT c.id FROM coupons c LEFT JOIN refunds r ON r.id = c.source_id WHERE c.source = 'refund' \
         AND (r.id IS NULL OR r.status <> 'SUCCEEDED' OR r.compensation_template IS NULL)",
    ),
];

/// Runs the rules over refunds. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    violations(conn, RULES).await
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

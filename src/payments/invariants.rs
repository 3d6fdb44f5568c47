//! What must be true of payments at any moment: each rule is a query that finds no row.

use crate::kernel::Result;
use crate::platform::db::{Conn, violations};

const RULES: &[(&str, &str)] = &[
    (
        "payments: every paid order with something to pay has exactly one SUCCEEDED attempt of that amount and currency",
        "SELECT o.id FROM orders o WHERE o.pay_status = 'PAID' AND o.payable_minor > 0 AND 1 <> \
         (SELECT COUNT(*) FROM payment_attempts a WHERE a.order_id = o.id AND a.status = 'SUCCEEDED' \
         AND a.amount_minor = o.payable_minor AND a.currency = o.currency)",
    ),
    (
        "payments: a SUCCEEDED attempt has a paid order",
        "SELECT a.id FROM payment_attempts a LEFT JOIN orders o ON o.id = a.order_id \
         WHERE a.status = 'SUCCEEDED' AND (o.id IS NULL OR o.pay_status <> 'PAID')",
    ),
    (
        "payments: an order has at most one attempt that can be paid, and a closed one has none",
        "SELECT o.id FROM orders o WHERE (SELECT COUNT(*) FROM payment_attempts a WHERE a.order_id = o.id \
         AND a.status IN ('CREATED', 'PREPAID')) > 1 OR (o.status = 'CLOSED' AND EXISTS (SELECT 1 FROM \
         payment_attempts a WHERE a.order_id = o.id AND a.status IN ('CREATED', 'PREPAID', 'CLOSING')))",
    ),
    (
        "payments: the open attempt of an order is one of its own that can be paid or is being closed",
        "SELECT o.id FROM orders o LEFT JOIN payment_attempts a ON a.id = o.open_attempt AND a.order_id = o.id \
         WHERE o.open_attempt IS NOT NULL AND (a.id IS NULL OR a.status NOT IN ('CREATED', 'PREPAID', 'CLOSING'))",
    ),
    (
        "payments: one record for each attempt whose money arrived, and none for another",
        "SELECT a.id FROM payment_attempts a LEFT JOIN payment_records r ON r.attempt_id = a.id AND r.kind = a.status \
         WHERE a.status IN ('SUCCEEDED', 'ORPHAN', 'MISMATCH') AND r.attempt_id IS NULL \
         UNION ALL SELECT r.attempt_id FROM payment_records r JOIN payment_attempts a ON a.id = r.attempt_id \
         WHERE a.status NOT IN ('SUCCEEDED', 'ORPHAN', 'MISMATCH')",
    ),
];

/// Runs the rules over payments. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    violations(conn, RULES).await
}

//! What must be true of deleted accounts: each rule is a query that finds no row.

use crate::kernel::Result;
use crate::platform::db::{Conn, violations};

const RULES: &[(&str, &str)] = &[
    (
        "accounts: a deleted one has no order that is not over, and no coupon that can be used",
        "SELECT o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE u.deleted_ms IS NOT NULL \
         AND o.status NOT IN ('CLOSED', 'FINISHED') \
         UNION ALL SELECT c.id FROM users u JOIN coupons c ON c.user_id = u.id WHERE u.deleted_ms IS NOT NULL \
         AND (c.status = 'UNUSED' OR (c.status IN ('LOCKED', 'USED') AND c.void_when_back_ms IS NULL))",
    ),
    (
        "accounts: a deleted one has no address, cart, notice, message, permission or photo",
        "SELECT u.id FROM users u WHERE u.deleted_ms IS NOT NULL AND (\
         EXISTS (SELECT 1 FROM addresses a WHERE a.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM address_books b WHERE b.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM carts c WHERE c.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM cart_lines l WHERE l.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM notices n WHERE n.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM subscribe_credits s WHERE s.user_id = u.id) \
         OR EXISTS (SELECT 1 FROM refund_photos f WHERE f.owner_id = u.id) \
         OR EXISTS (SELECT 1 FROM orders o JOIN messages m ON m.order_id = o.id WHERE o.user_id = u.id))",
    ),
    (
        "accounts: no order of a deleted one tells whose it was",
        "SELECT o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE u.deleted_ms IS NOT NULL \
         AND (o.note <> '' OR o.address_sealed IS NOT NULL OR o.phone_hash IS NOT NULL \
         OR o.pickup_code IS NOT NULL OR o.close_note IS NOT NULL)",
    ),
    (
        "accounts: no payment or refund of a deleted one tells whose it was",
        "SELECT a.id FROM users u JOIN orders o ON o.user_id = u.id JOIN payment_attempts a ON a.order_id = o.id \
         WHERE u.deleted_ms IS NOT NULL AND (a.openid <> '' OR a.request_body <> '') \
         UNION ALL SELECT r.id FROM users u JOIN orders o ON o.user_id = u.id JOIN refunds r ON r.order_id = o.id \
         WHERE u.deleted_ms IS NOT NULL AND r.kind = 'USER' AND (r.reason <> '' OR r.photos <> '[]' \
         OR r.return_carrier IS NOT NULL OR r.return_tracking_no IS NOT NULL)",
    ),
];

/// Runs the rules. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    violations(conn, RULES).await
}

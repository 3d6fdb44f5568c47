//! SQL of the invariants: each query returns what violates a rule.

use crate::kernel::Result;
use crate::platform::db::Conn;

/// The ids that a query finds, at most `limit`.
async fn ids(conn: &mut Conn, query: &'static str, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(query).bind(limit).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn miscounted(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT t.id FROM coupon_templates t WHERE t.remaining < 0 OR t.remaining > t.total \
         OR t.total - t.remaining <> (SELECT COUNT(*) FROM coupons c WHERE c.template_id = t.id \
         AND c.seq IS NOT NULL) LIMIT ?";
    ids(conn, query, limit).await
}

pub async fn above_limit(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT c.id FROM coupons c LEFT JOIN coupon_templates t ON t.id = c.template_id \
         WHERE t.id IS NULL OR c.seq < 1 OR c.seq > t.limit_per_user LIMIT ?";
    ids(conn, query, limit).await
}

pub async fn wrongly_bound(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT id FROM coupons WHERE (order_id IS NULL AND status IN ('LOCKED', 'USED')) \
         OR (order_id IS NOT NULL AND status NOT IN ('LOCKED', 'USED')) LIMIT ?";
    ids(conn, query, limit).await
}

/// A coupon has come to its status once more often than it has left it.
pub async fn moves_off(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT c.id FROM coupons c WHERE \
         (SELECT COUNT(*) FROM coupon_moves m WHERE m.coupon_id = c.id AND m.to_status = c.status \
         AND (m.from_status IS NULL OR m.from_status <> m.to_status)) <> 1 + \
         (SELECT COUNT(*) FROM coupon_moves m WHERE m.coupon_id = c.id AND m.from_status = c.status \
         AND m.from_status <> m.to_status) LIMIT ?";
    ids(conn, query, limit).await
}

pub async fn given_back_off(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT g.coupon_id FROM coupon_moves g WHERE g.kind = 'GIVEN_BACK' AND \
         ((SELECT COUNT(*) FROM coupon_moves u WHERE u.coupon_id = g.coupon_id \
         AND u.order_id = g.order_id AND u.kind = 'USED') <> 1 OR \
         (SELECT COUNT(*) FROM coupon_moves b WHERE b.coupon_id = g.coupon_id \
         AND b.order_id = g.order_id AND b.kind = 'GIVEN_BACK') <> 1) LIMIT ?";
    ids(conn, query, limit).await
}

pub async fn marked_but_free(conn: &mut Conn, limit: i64) -> Result<Vec<String>> {
    let query = "SELECT id FROM coupons WHERE void_when_back_ms IS NOT NULL \
         AND status IN ('UNUSED', 'EXPIRED') LIMIT ?";
    ids(conn, query, limit).await
}

//! What must hold of coupons, and what later features compare with their own rows.

use super::{CouponStatus, Source, sql};
use crate::kernel::{CouponId, CouponTemplateId, OrderId, Result, UserId};
use crate::platform::db::Conn;

/// Violations that one rule reports.
const SHOWN: i64 = 20;

/// The rules that can be seen in the coupon tables alone, each with its violations.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![
        ("coupons: total − remaining = coupons claimed, both ≥ 0", sql::miscounted(conn, SHOWN).await?),
        ("coupons: claimed per user ≤ limit", sql::above_limit(conn, SHOWN).await?),
        ("coupons: LOCKED and USED have an order, the others none", sql::wrongly_bound(conn, SHOWN).await?),
        ("coupons: the moves lead to the status", sql::moves_off(conn, SHOWN).await?),
        ("coupons: given back only after used, and once", sql::given_back_off(conn, SHOWN).await?),
        ("coupons: marked ones are not UNUSED or EXPIRED", sql::marked_but_free(conn, SHOWN).await?),
    ])
}

/// A coupon that an order holds or used.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Bound {
    pub id: CouponId,
    pub order_id: OrderId,
    pub status: CouponStatus,
}

/// Coupons that are LOCKED or USED, by id, for the feature that knows the orders.
///
/// # Errors
/// The database.
pub async fn bound_to_orders(conn: &mut Conn, after: Option<&CouponId>, limit: i64) -> Result<Vec<Bound>> {
    sql::bound_to_orders(conn, after.map(CouponId::as_str), limit).await
}

/// The coupons that an order gave back after its refund.
///
/// # Errors
/// The database.
pub async fn returned(conn: &mut Conn, order: &OrderId) -> Result<Vec<CouponId>> {
    sql::returned(conn, order).await
}

/// The coupon that a cause has granted.
///
/// # Errors
/// The database.
pub async fn granted(conn: &mut Conn, source: Source, source_id: &str) -> Result<Option<CouponId>> {
    sql::granted(conn, source, source_id).await
}

/// Compensation coupons by the id of their refund: (refund, user, template), for the feature that knows
/// what each refund decided.
///
/// # Errors
/// The database.
pub async fn refund_grants(
    conn: &mut Conn,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<(String, UserId, CouponTemplateId)>> {
    sql::refund_grants(conn, after, limit).await
}

//! What must hold of coupons, as far as their own tables tell; what joins them with orders and refunds is
//! checked there.

use super::sql;
use crate::kernel::Result;
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

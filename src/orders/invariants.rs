//! What must be true of orders at any moment: each rule is a query that finds no row.

use super::state;
use crate::kernel::{Millis, OrderId, Result, minute_ms};
use crate::platform::db::{Conn, VIOLATIONS_SHOWN, violations};
use crate::pricing::Share;

/// How long an unpaid or closing order may be overdue before `check` calls it stuck.
pub const BOUND_MS: Millis = minute_ms(10);

const RULES: &[(&str, &str)] = &[
    (
        "orders: every line has one stock lock of its quantity",
        "SELECT l.id FROM order_lines l LEFT JOIN stock_locks k ON k.line_id = l.id AND k.order_id = l.order_id \
         AND k.quantity = l.quantity WHERE k.line_id IS NULL",
    ),
    (
        "orders: stock is LOCKed exactly while an order waits for payment or is closing",
        "SELECT o.id FROM orders o JOIN stock_locks k ON k.order_id = o.id \
         WHERE (k.state = 'LOCK' AND o.status NOT IN ('PENDING_PAYMENT', 'CLOSING')) \
         OR (k.state <> 'LOCK' AND o.status IN ('PENDING_PAYMENT', 'CLOSING'))",
    ),
    (
        "orders: a stock lock is CANCELled exactly when its order was closed without payment",
        "SELECT o.id FROM orders o JOIN stock_locks k ON k.order_id = o.id \
         WHERE (k.state = 'CANCEL' AND NOT (o.status = 'CLOSED' AND o.pay_status <> 'PAID')) \
         OR (k.state <> 'CANCEL' AND o.status = 'CLOSED' AND o.pay_status <> 'PAID')",
    ),
    (
        "orders: a stock lock has an order",
        "SELECT k.line_id FROM stock_locks k LEFT JOIN orders o ON o.id = k.order_id WHERE o.id IS NULL",
    ),
    (
        "orders: what is restocked was cancelled or returned",
        "SELECT l.id FROM order_lines l JOIN stock_locks k ON k.line_id = l.id \
         WHERE k.state = 'FINISH' AND (k.restocked < l.cancelled OR k.restocked > l.cancelled + l.returned)",
    ),
    (
        "orders: a coupon is LOCKED exactly while its order waits for payment or is closing",
        "SELECT c.id FROM coupons c LEFT JOIN orders o ON o.id = c.order_id WHERE c.status = 'LOCKED' \
         AND (o.id IS NULL OR o.status NOT IN ('PENDING_PAYMENT', 'CLOSING')) \
         UNION ALL SELECT o.id FROM orders o LEFT JOIN coupons c ON c.id = o.coupon_id AND c.order_id = o.id \
         AND c.status = 'LOCKED' WHERE o.coupon_id IS NOT NULL AND o.status IN ('PENDING_PAYMENT', 'CLOSING') \
         AND c.id IS NULL",
    ),
    (
        "orders: a USED coupon belongs to a paid order",
        "SELECT c.id FROM coupons c LEFT JOIN orders o ON o.id = c.order_id \
         WHERE c.status = 'USED' AND (o.id IS NULL OR o.pay_status <> 'PAID')",
    ),
    (
        "orders: the coupon of a paid order is USED by it, or was given back",
        "SELECT o.id FROM orders o WHERE o.pay_status = 'PAID' AND o.coupon_id IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM coupons c WHERE c.id = o.coupon_id AND c.order_id = o.id \
         AND c.status = 'USED') AND NOT EXISTS (SELECT 1 FROM coupon_moves m WHERE m.order_id = o.id \
         AND m.coupon_id = o.coupon_id AND m.kind = 'GIVEN_BACK')",
    ),
    (
        "orders: a line is its price times its quantity, and its net is from zero to that",
        "SELECT id FROM order_lines WHERE net_minor < 0 OR net_minor > gross_minor \
         OR gross_minor <> unit_price_minor * quantity",
    ),
    (
        "orders: goods, discount and total add up",
        "SELECT o.id FROM orders o WHERE o.total_minor <> o.goods_minor + o.freight_minor + o.tax_minor \
         OR o.total_minor <> o.wallet_minor + o.payable_minor \
         OR o.goods_minor <> (SELECT CAST(SUM(l.net_minor) AS SIGNED) FROM order_lines l WHERE l.order_id = o.id) \
         OR o.discount_minor <> (SELECT CAST(SUM(l.gross_minor - l.net_minor) AS SIGNED) FROM order_lines l \
         WHERE l.order_id = o.id)",
    ),
    (
        "orders: never more is refunded than was paid, in all, for freight and for a line",
        "SELECT id FROM orders WHERE refunded_minor < 0 OR refunding_minor < 0 \
         OR refunded_minor + refunding_minor > paid_minor \
         OR freight_refunded_minor + freight_refunding_minor > freight_minor \
         UNION ALL SELECT id FROM order_lines WHERE refunded_minor < 0 OR refunding_minor < 0 \
         OR refunded_minor + refunding_minor > net_minor + tax_minor",
    ),
    (
        "orders: units shipped, cancelled and returned fit the quantity",
        "SELECT id FROM order_lines WHERE shipped < 0 OR cancelled < 0 OR cancel_locked < 0 OR returned < 0 \
         OR return_locked < 0 OR shipped + cancelled + cancel_locked > quantity \
         OR returned + return_locked > shipped",
    ),
    (
        "orders: a pickup code is open exactly while a paid order waits to be handed over in its store",
        "SELECT id FROM orders WHERE (pickup_code_open IS NULL) <> (fulfilment = 'DELIVERY' \
         OR status NOT IN ('PAID', 'READY_FOR_PICKUP')) OR (pickup_code_open IS NOT NULL \
         AND (pickup_code IS NULL OR pickup_code <> pickup_code_open))",
    ),
    (
        "orders: no two open pickup codes of a store are the same",
        "SELECT MAX(id) FROM orders WHERE pickup_code_open IS NOT NULL \
         GROUP BY store_id, pickup_code_open HAVING COUNT(*) > 1",
    ),
    (
        "orders: an order that ended in its store has handed over every unit that was not refunded before, \
         and no other has handed over any",
        "SELECT l.id FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.fulfilment <> 'DELIVERY' \
         AND ((o.status IN ('COMPLETED', 'FINISHED') AND l.shipped + l.cancelled <> l.quantity) \
         OR (o.status NOT IN ('COMPLETED', 'FINISHED') AND l.shipped <> 0))",
    ),
    (
        "orders: a discrepancy was supplied for a line of an order in the store, of at most its quantity, or taken \
         back when nobody paid, and nothing else names a line",
        "SELECT m.id FROM supply_moves m LEFT JOIN order_lines l ON l.id = m.line_id AND l.sku_id = m.sku_id \
         LEFT JOIN orders o ON o.id = l.order_id AND o.store_id = m.store_id AND o.fulfilment = 'IN_STORE' \
         WHERE (m.kind = 'DISCREPANCY' AND (o.id IS NULL OR m.quantity = 0 OR m.quantity > l.quantity \
         OR m.quantity < -l.quantity OR (m.quantity < 0 AND (o.status <> 'CLOSED' OR o.paid_minor <> 0)))) \
         OR (m.kind <> 'DISCREPANCY' AND m.line_id IS NOT NULL)",
    ),
    (
        "orders: a new price waits only for an open payment of an order that is not paid",
        "SELECT id FROM orders WHERE pending_reprice IS NOT NULL \
         AND (status <> 'PENDING_PAYMENT' OR open_attempt IS NULL)",
    ),
    (
        "orders: paid means paid in full",
        "SELECT id FROM orders WHERE (pay_status = 'PAID' AND paid_minor <> payable_minor) \
         OR (pay_status <> 'PAID' AND paid_minor <> 0) \
         OR (pay_status = 'PAID' AND status IN ('PENDING_PAYMENT', 'CLOSING')) \
         OR (pay_status <> 'PAID' AND status NOT IN ('PENDING_PAYMENT', 'CLOSING', 'CLOSED'))",
    ),
    (
        "orders: the timeline has as many rows as the version says, without a gap",
        "SELECT o.id FROM orders o WHERE o.version <> (SELECT COUNT(*) FROM order_timeline t WHERE t.order_id = o.id) \
         OR o.version <> (SELECT MAX(t.seq) FROM order_timeline t WHERE t.order_id = o.id)",
    ),
    (
        "orders: each timeline row begins where the one before it ended",
        "SELECT t.order_id FROM order_timeline t JOIN order_timeline p ON p.order_id = t.order_id \
         AND p.seq = t.seq - 1 WHERE t.from_status IS NULL OR t.from_status <> p.to_status",
    ),
    (
        "orders: the last timeline row says the status",
        "SELECT o.id FROM orders o JOIN order_timeline t ON t.order_id = o.id AND t.seq = o.version \
         WHERE t.to_status <> o.status",
    ),
];

/// Runs the rules over orders. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut found = violations(conn, RULES).await?;
    found.push((
        "orders: the shares of a line are what it was discounted by, each at least 0",
        wrong_shares(conn).await?,
    ));
    found.push(("orders: every move is in the transition table", illegal_moves(conn).await?));
    Ok(found)
}

async fn illegal_moves(conn: &mut Conn) -> Result<Vec<String>> {
    let kinds: Vec<(Option<state::OrderStatus>, state::OrderMove, state::OrderStatus)> =
        sqlx::query_as("SELECT DISTINCT from_status, event, to_status FROM order_timeline")
            .fetch_all(conn)
            .await?;
    let illegal = kinds.into_iter().filter(|(from, event, to)| state::next(*from, *event) != Some(*to));
    Ok(illegal.map(|(from, event, to)| format!("{from:?} --{event}--> {to}")).collect())
}

/// Unpaid orders and closing ones that are overdue by more than the bound.
///
/// # Errors
/// The database.
pub async fn stuck(conn: &mut Conn, now_ms: Millis) -> Result<Vec<OrderId>> {
    let rows: Vec<(OrderId,)> = sqlx::query_as(
        "SELECT id FROM orders WHERE status IN ('PENDING_PAYMENT', 'CLOSING') AND pay_before_ms < ? LIMIT ?",
    )
    .bind(now_ms - BOUND_MS)
    .bind(VIOLATIONS_SHOWN)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// How long the oldest order is past its deadline and neither paid nor closed; 0: none is.
///
/// # Errors
/// The database.
pub async fn deadline_lag_ms(conn: &mut Conn, now_ms: Millis) -> Result<Millis> {
    let mut lag_ms = 0;
    // One look into the index for each.
    for query in [
        "SELECT MIN(pay_before_ms) FROM orders WHERE status = 'PENDING_PAYMENT'",
        "SELECT MIN(pay_before_ms) FROM orders WHERE status = 'CLOSING'",
    ] {
        let (oldest,): (Option<i64>,) = sqlx::query_as(query).fetch_one(&mut *conn).await?;
        lag_ms = lag_ms.max(oldest.map_or(0, |pay_before_ms| now_ms - pay_before_ms));
    }
    Ok(lag_ms)
}

/// Lines whose stored shares do not add up to their discount, page by page.
async fn wrong_shares(conn: &mut Conn) -> Result<Vec<String>> {
    const PAGE: i64 = 1_000;
    let mut wrong = Vec::new();
    let mut after = String::new();
    loop {
        let lines: Vec<(String, i64, i64, String)> = sqlx::query_as(
            "SELECT id, gross_minor, net_minor, shares FROM order_lines WHERE id > ? \
             AND (gross_minor <> net_minor OR shares <> '[]') ORDER BY id LIMIT ?",
        )
        .bind(&after)
        .bind(PAGE)
        .fetch_all(&mut *conn)
        .await?;
        let Some((last, ..)) = lines.last() else { return Ok(wrong) };
        after.clone_from(last);
        for (id, gross_minor, net_minor, shares) in lines {
            let shares: Vec<Share> = serde_json::from_str(&shares).unwrap_or_default();
            let taken: i64 = shares.iter().map(|share| share.minor).sum();
            if taken != gross_minor - net_minor || shares.iter().any(|share| share.minor < 0) {
                wrong.push(id);
            }
        }
        if wrong.len() >= VIOLATIONS_SHOWN as usize {
            wrong.truncate(VIOLATIONS_SHOWN as usize);
            return Ok(wrong);
        }
    }
}

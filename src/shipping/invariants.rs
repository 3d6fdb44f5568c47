//! What must be true of parcels and uploads: each rule is a query that finds no row.

use super::NOT_UPLOADED_ALERT;
use crate::kernel::{Millis, Result, minute_ms};
use crate::platform::bus;
use crate::platform::db::{Conn, violations};

/// How long an upload may be overdue, and how long after shipping there may be none yet.
const BOUND_MS: Millis = minute_ms(10);

/// Runs the rules. Each comes with the ids that violate it.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn, now_ms: Millis) -> Result<Vec<(&'static str, Vec<String>)>> {
    let before_ms = now_ms - BOUND_MS;
    let of_order = "x.fifo_key = o.id";
    let handed_over = bus::on_its_way("OrderCompleted", "shipping.handed-over", of_order, now_ms);
    let rest_refunded = bus::on_its_way("OrderRestRefunded", "shipping.rest-refunded", of_order, now_ms);
    let rules = [
        (
            "shipping: what is in parcels is what the lines say is shipped",
            "SELECT l.id FROM order_lines l JOIN orders o ON o.id = l.order_id \
             WHERE o.fulfilment = 'DELIVERY' AND l.shipped <> COALESCE((SELECT CAST(SUM(p.quantity) AS SIGNED) \
             FROM parcel_lines p WHERE p.line_id = l.id), 0)"
                .to_owned(),
        ),
        (
            "shipping: a shipped order that was paid through WeChat is uploaded, being uploaded, or alerted, \
             or the event that starts it is on its way",
            format!(
                "SELECT o.id FROM orders o JOIN payment_attempts a ON a.order_id = o.id \
                 AND a.status = 'SUCCEEDED' AND a.provider = 'WECHAT_PAY' \
                 LEFT JOIN shipping_uploads u ON u.order_id = o.id \
                 LEFT JOIN alerts w ON w.kind = '{NOT_UPLOADED_ALERT}' AND w.object = o.id AND w.closed_ms IS NULL \
                 WHERE o.shipped_ms < {before_ms} AND w.id IS NULL AND u.next_ms IS NULL \
                 AND (u.order_id IS NULL OR u.state IN ('PENDING', 'GIVEN_UP') \
                 OR (u.state = 'ACCEPTED' AND u.all_delivered = 0)) \
                 AND NOT (o.fulfilment <> 'DELIVERY' AND {handed_over}) AND NOT {rest_refunded}"
            ),
        ),
        (
            "shipping: a row of a file that is shipped has a parcel of its order",
            "SELECT r.batch_id FROM shipping_batch_rows r LEFT JOIN parcels p \
             ON p.id = r.parcel_id AND p.order_id = r.order_id WHERE r.state = 'SHIPPED' AND p.id IS NULL"
                .to_owned(),
        ),
        (
            "shipping: a file is applied when its last row has ended, and until then it is due",
            "SELECT b.id FROM shipping_batches b WHERE (b.state = 'APPLYING' AND b.next_ms IS NULL) \
             OR (b.state IN ('APPLIED', 'APPLIED_IN_PART') AND EXISTS (SELECT 1 FROM shipping_batch_rows r \
             WHERE r.batch_id = b.id AND r.state IN ('READY', 'WRONG')))"
                .to_owned(),
        ),
        (
            "shipping: a file is applied in part exactly when a row of it failed",
            "SELECT b.id FROM shipping_batches b WHERE (b.state = 'APPLIED' AND EXISTS \
             (SELECT 1 FROM shipping_batch_rows r WHERE r.batch_id = b.id AND r.state = 'FAILED')) \
             OR (b.state = 'APPLIED_IN_PART' AND NOT EXISTS \
             (SELECT 1 FROM shipping_batch_rows r WHERE r.batch_id = b.id AND r.state = 'FAILED'))"
                .to_owned(),
        ),
        (
            "liveness: no file of parcels waits long to be applied",
            format!("SELECT id FROM shipping_batches WHERE next_ms < {before_ms}"),
        ),
        (
            "liveness: money that should be settled is asked about",
            format!("SELECT order_id FROM shipping_uploads WHERE settle_check_ms < {before_ms}"),
        ),
        (
            "liveness: no upload of shipping information waits long after its time",
            format!("SELECT order_id FROM shipping_uploads WHERE next_ms < {before_ms}"),
        ),
    ];
    violations(conn, &rules).await
}

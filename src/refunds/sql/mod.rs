//! SQL of refunds.

mod discrepancies;
mod forget;
mod lists;
mod photos;
mod submissions;

use sqlx::FromRow;

pub use discrepancies::*;
pub use forget::*;
pub use lists::*;
pub use photos::*;
pub use submissions::*;

use super::{Fault, RefundKind, RefundReason, RefundState};
use crate::kernel::{
    AttemptId, CouponTemplateId, Currency, Millis, OrderId, OrderLineId, RefundId, Result, UserId,
};
use crate::orders::{LineRefund, Order, RefundMoney};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, changed, inserted};

/// A refund. Money in minor units.
#[derive(Debug, Clone, FromRow)]
pub struct Refund {
    pub id: RefundId,
    pub order_id: OrderId,
    pub user_id: UserId,
    /// The payment that it goes back through; none when nothing was paid.
    pub attempt_id: Option<AttemptId>,
    pub kind: RefundKind,
    pub status: RefundState,
    /// What the system made it for; once for each cause.
    pub cause: Option<String>,
    pub fault: Fault,
    /// What the customer chose from the list; none where nobody was asked.
    pub reason_code: Option<RefundReason>,
    pub reason: String,
    /// JSON list of the ids of photos.
    pub photos: String,
    /// Everything, freight included.
    pub amount_minor: i64,
    pub freight_minor: i64,
    pub currency: Currency,
    /// What staff wrote when they decided.
    pub note: String,
    pub compensation_template: Option<CouponTemplateId>,
    pub requested_ms: Millis,
    pub approved_ms: Option<Millis>,
    pub ended_ms: Option<Millis>,
    pub closed_times: i64,
    /// How often the channel was asked since it is in this state.
    pub step: i64,
    /// Where the goods must come back first: until when they must be on their way.
    pub return_before_ms: Option<Millis>,
    pub return_carrier: Option<String>,
    pub return_tracking_no: Option<String>,
    pub return_sent_ms: Option<Millis>,
    /// The channel's number that settled it, where the shop did not submit it.
    pub external_no: Option<String>,
}

impl Refund {
    /// A fresh one of an order, REQUESTED now.
    pub fn of_order(
        ctx: &Ctx,
        order: &Order,
        kind: RefundKind,
        attempt: Option<AttemptId>,
        reason: &str,
        money: RefundMoney,
    ) -> Self {
        Self {
            id: ctx.new_id(),
            order_id: order.id.clone(),
            user_id: order.user_id.clone(),
            attempt_id: attempt,
            kind,
            status: RefundState::Requested,
            cause: None,
            fault: Fault::None,
            reason_code: None,
            reason: reason.to_owned(),
            photos: "[]".to_owned(),
            amount_minor: money.amount_minor,
            freight_minor: money.freight_minor,
            currency: order.currency,
            note: String::new(),
            compensation_template: None,
            requested_ms: ctx.clock.now_ms(),
            approved_ms: None,
            ended_ms: None,
            closed_times: 0,
            step: 0,
            return_before_ms: None,
            return_carrier: None,
            return_tracking_no: None,
            return_sent_ms: None,
            external_no: None,
        }
    }

    /// What it takes of the order's money.
    pub fn money(&self) -> RefundMoney {
        RefundMoney { amount_minor: self.amount_minor, freight_minor: self.freight_minor }
    }
}

/// What a refund takes from one line.
#[derive(Debug, Clone, FromRow)]
pub struct RefundLine {
    pub line_id: OrderLineId,
    pub cancel_quantity: i64,
    pub return_quantity: i64,
    pub sellable_quantity: i64,
    pub amount_minor: i64,
}

impl RefundLine {
    pub fn as_order_part(&self) -> LineRefund {
        LineRefund {
            line_id: self.line_id.clone(),
            cancel: self.cancel_quantity,
            give_back: self.return_quantity,
            sellable: self.sellable_quantity,
            money_minor: self.amount_minor,
        }
    }
}

macro_rules! refund_columns {
    () => {
        "id, order_id, user_id, attempt_id, kind, status, cause, fault, reason_code, reason, photos, amount_minor, \
         freight_minor, currency, note, compensation_template, requested_ms, approved_ms, ended_ms, closed_times, \
         step, return_before_ms, return_carrier, return_tracking_no, return_sent_ms, external_no"
    };
}
use refund_columns;

/// False: there is one for this cause, or for this number of the channel, already.
pub async fn insert(conn: &mut Conn, refund: &Refund) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO refunds (id, order_id, user_id, attempt_id, kind, status, cause, fault, reason_code, reason, \
             photos, amount_minor, freight_minor, currency, note, requested_ms, approved_ms, closed_times, step, \
             lease_until_ms, external_no) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?)",
        )
        .bind(&refund.id)
        .bind(&refund.order_id)
        .bind(&refund.user_id)
        .bind(&refund.attempt_id)
        .bind(refund.kind)
        .bind(refund.status)
        .bind(&refund.cause)
        .bind(refund.fault)
        .bind(refund.reason_code)
        .bind(&refund.reason)
        .bind(&refund.photos)
        .bind(refund.amount_minor)
        .bind(refund.freight_minor)
        .bind(refund.currency)
        .bind(&refund.note)
        .bind(refund.requested_ms)
        .bind(refund.approved_ms)
        .bind(&refund.external_no)
        .execute(conn)
        .await,
    )
}

pub async fn insert_line(conn: &mut Conn, refund: &RefundId, line: &LineRefund) -> Result<()> {
    sqlx::query(
        "INSERT INTO refund_lines (refund_id, line_id, cancel_quantity, return_quantity, sellable_quantity, \
         amount_minor) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(refund)
    .bind(&line.line_id)
    .bind(line.cancel)
    .bind(line.give_back)
    .bind(line.sellable)
    .bind(line.money_minor)
    .execute(conn)
    .await?;
    Ok(())
}

/// # Errors
/// The database.
pub async fn by_id(conn: &mut Conn, id: &RefundId) -> Result<Option<Refund>> {
    Ok(sqlx::query_as(concat!("SELECT ", refund_columns!(), " FROM refunds WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// What a refund takes, in the order of line ids.
///
/// # Errors
/// The database.
pub async fn find_lines(conn: &mut Conn, refund: &RefundId) -> Result<Vec<RefundLine>> {
    Ok(sqlx::query_as(
        "SELECT line_id, cancel_quantity, return_quantity, sellable_quantity, amount_minor FROM refund_lines \
         WHERE refund_id = ? ORDER BY line_id",
    )
    .bind(refund)
    .fetch_all(conn)
    .await?)
}

/// The refunds of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn of_order(conn: &mut Conn, order: &OrderId) -> Result<Vec<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE order_id = ? ORDER BY id LIMIT 500"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?)
}

/// Moves a refund; false when it is not where it was any more.
pub async fn advance(conn: &mut Conn, id: &RefundId, from: RefundState, to: RefundState) -> Result<bool> {
    changed(
        sqlx::query("UPDATE refunds SET status = ?, step = 0, next_ms = NULL WHERE id = ? AND status = ?")
            .bind(to)
            .bind(id)
            .bind(from)
            .execute(conn)
            .await,
    )
}

pub async fn set_approved(
    conn: &mut Conn,
    id: &RefundId,
    amount_minor: i64,
    freight_minor: i64,
    note: &str,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "UPDATE refunds SET amount_minor = ?, freight_minor = ?, note = ?, approved_ms = ? WHERE id = ?",
    )
    .bind(amount_minor)
    .bind(freight_minor)
    .bind(note)
    .bind(now_ms)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_ended(conn: &mut Conn, id: &RefundId, note: &str, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE refunds SET ended_ms = ?, note = ?, next_ms = NULL WHERE id = ?")
        .bind(now_ms)
        .bind(note)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// What follows from the refund, as it was decided when it was settled.
pub async fn set_settled(
    conn: &mut Conn,
    id: &RefundId,
    whole: bool,
    return_coupon: bool,
    template: Option<&CouponTemplateId>,
    now_ms: Millis,
) -> Result<()> {
    sqlx::query(
        "UPDATE refunds SET ended_ms = ?, whole = ?, return_coupon = ?, compensation_template = ?, next_ms = NULL \
         WHERE id = ?",
    )
    .bind(now_ms)
    .bind(i64::from(whole))
    .bind(i64::from(return_coupon))
    .bind(template)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose fault it was, as staff decided.
pub async fn set_fault(conn: &mut Conn, id: &RefundId, fault: Fault) -> Result<()> {
    sqlx::query("UPDATE refunds SET fault = ? WHERE id = ?").bind(fault).bind(id).execute(conn).await?;
    Ok(())
}

/// How many of the units that came back can be sold again; false: not so many came back.
pub async fn set_sellable(conn: &mut Conn, id: &RefundId, line: &OrderLineId, sellable: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refund_lines SET sellable_quantity = ? WHERE refund_id = ? AND line_id = ? \
             AND return_quantity >= ?",
        )
        .bind(sellable)
        .bind(id)
        .bind(line)
        .bind(sellable)
        .execute(conn)
        .await,
    )
}

/// REQUESTED → AWAITING_RETURN, with the time by which the goods must be on their way.
pub async fn require_return(conn: &mut Conn, id: &RefundId, before_ms: Millis, note: &str) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET status = 'AWAITING_RETURN', return_before_ms = ?, note = ? \
             WHERE id = ? AND status = 'REQUESTED'",
        )
        .bind(before_ms)
        .bind(note)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// The customer has sent the goods; false when nobody waits for them.
pub async fn set_return_sent(
    conn: &mut Conn,
    id: &RefundId,
    carrier: &str,
    tracking_no: &str,
    now_ms: Millis,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET return_carrier = ?, return_tracking_no = ?, return_sent_ms = ? \
             WHERE id = ? AND status = 'AWAITING_RETURN'",
        )
        .bind(carrier)
        .bind(tracking_no)
        .bind(now_ms)
        .bind(id)
        .execute(conn)
        .await,
    )
}

/// Refunds whose goods are not on their way although their time is over.
pub async fn returns_past_due(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<RefundId>> {
    let rows: Vec<(RefundId,)> = sqlx::query_as(
        "SELECT id FROM refunds WHERE status = 'AWAITING_RETURN' AND return_before_ms <= ? \
         AND return_sent_ms IS NULL ORDER BY return_before_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The refund of a payment that no order could take.
pub async fn of_orphan(conn: &mut Conn, attempt: &AttemptId) -> Result<Option<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE attempt_id = ? AND kind = 'ORPHAN'"
    ))
    .bind(attempt)
    .fetch_optional(conn)
    .await?)
}

/// The refund that this number of the channel settled, without having been submitted under it.
pub async fn by_external_no(conn: &mut Conn, number: &str) -> Result<Option<RefundId>> {
    let row: Option<(RefundId,)> = sqlx::query_as("SELECT id FROM refunds WHERE external_no = ?")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|(id,)| id))
}

/// The refund was settled by a number that the shop did not submit; false: the number settled another one.
pub async fn set_external_no(conn: &mut Conn, id: &RefundId, number: &str) -> Result<bool> {
    inserted(
        sqlx::query("UPDATE refunds SET external_no = ? WHERE id = ?")
            .bind(number)
            .bind(id)
            .execute(conn)
            .await,
    )
}

/// Units of an order that approved refunds, settled or not, cancel.
pub async fn cancelled_by_approved(conn: &mut Conn, order: &OrderId) -> Result<i64> {
    let (units,): (Option<i64>,) = sqlx::query_as(
        "SELECT CAST(SUM(l.cancel_quantity) AS SIGNED) FROM refund_lines l JOIN refunds r ON r.id = l.refund_id \
         WHERE r.order_id = ? AND r.kind <> 'ORPHAN' AND r.status IN ('APPROVED', 'SUBMITTED', 'PROCESSING', \
         'SUCCEEDED', 'ABNORMAL', 'CLOSED', 'MANUAL')",
    )
    .bind(order)
    .fetch_one(conn)
    .await?;
    Ok(units.unwrap_or(0))
}

pub async fn due(conn: &mut Conn, now_ms: Millis, limit: i64) -> Result<Vec<Refund>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        refund_columns!(),
        " FROM refunds WHERE next_ms <= ? AND lease_until_ms <= ? ORDER BY next_ms, id LIMIT ?"
    ))
    .bind(now_ms)
    .bind(now_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

pub async fn next_due(conn: &mut Conn) -> Result<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(CASE WHEN lease_until_ms > next_ms THEN lease_until_ms ELSE next_ms END) FROM refunds WHERE next_ms IS NOT NULL").fetch_one(conn).await?;
    Ok(next)
}

pub async fn claim(conn: &mut Conn, id: &RefundId, now_ms: Millis, until_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET lease_until_ms = ? WHERE id = ? AND next_ms <= ? AND lease_until_ms <= ?",
        )
        .bind(until_ms)
        .bind(id)
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await,
    )
}

/// When the channel is asked next, if the refund is still where it was.
pub async fn schedule(
    conn: &mut Conn,
    id: &RefundId,
    status: RefundState,
    step: i64,
    next_ms: Option<Millis>,
) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refunds SET step = ?, next_ms = ?, lease_until_ms = 0 WHERE id = ? AND status = ?",
        )
        .bind(step)
        .bind(next_ms)
        .bind(id)
        .bind(status)
        .execute(conn)
        .await,
    )
}

/// The refund that has waited longest for the channel to take it, be it on its way there at this moment.
pub async fn oldest_waiting(conn: &mut Conn) -> Result<Option<RefundId>> {
    let row: Option<(RefundId,)> = sqlx::query_as(
        "SELECT id FROM refunds WHERE status IN ('APPROVED', 'SUBMITTED') AND next_ms IS NOT NULL \
         ORDER BY approved_ms, id LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id,)| id))
}

/// Everything that waits to be submitted is due now.
pub async fn hurry_approved(conn: &mut Conn, now_ms: Millis) -> Result<()> {
    sqlx::query("UPDATE refunds SET next_ms = ? WHERE status = 'APPROVED' AND next_ms > ?")
        .bind(now_ms)
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn count_closed(conn: &mut Conn, id: &RefundId) -> Result<()> {
    sqlx::query("UPDATE refunds SET closed_times = closed_times + 1 WHERE id = ?")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

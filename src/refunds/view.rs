//! A refund as an answer shows it.

use poem_openapi::Object;

use super::sql::{self, Refund, RefundLine};
use super::{Fault, RefundKind, RefundReason, RefundState};
use crate::kernel::{Money, OrderId, OrderLineId, RefundId, RefundPhotoId, Result, rfc3339};
use crate::platform::db::Conn;

/// What a refund takes from one line.
#[derive(Debug, Object)]
pub struct RefundLineView {
    pub line_id: OrderLineId,
    pub quantity: i64,
    /// Of these: units that come back.
    pub returned: i64,
    pub amount: Money,
}

/// Goods that come back before the money does.
#[derive(Debug, Object)]
pub struct ReturnView {
    /// Until when they must be on their way.
    pub before: String,
    #[oai(skip_serializing_if_is_none)]
    pub carrier: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub tracking_no: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub sent_at: Option<String>,
}

/// A refund.
#[derive(Debug, Object)]
pub struct RefundView {
    pub id: RefundId,
    pub order_id: OrderId,
    pub kind: RefundKind,
    pub status: RefundState,
    /// Where it stands, in a short Chinese sentence for the customer.
    pub text: String,
    pub lines: Vec<RefundLineView>,
    /// Freight included.
    pub amount: Money,
    pub freight: Money,
    /// What the customer chose from the list.
    #[oai(skip_serializing_if_is_none)]
    pub reason_code: Option<RefundReason>,
    pub reason: String,
    /// Each is read with `getRefundPhoto`.
    pub photos: Vec<RefundPhotoId>,
    /// What the store wrote when it decided: where to send the goods, or why not.
    pub note: String,
    /// Goods that come back first, if the store asked for them.
    #[oai(rename = "return", skip_serializing_if_is_none)]
    pub goods: Option<ReturnView>,
    /// Whose fault it was.
    pub fault: Fault,
    /// It brought a compensation coupon.
    pub compensated: bool,
    pub requested_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub approved_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub ended_at: Option<String>,
}

/// A refund as an answer shows it.
pub fn refund_view(refund: Refund, lines: &[RefundLine]) -> RefundView {
    let currency = refund.currency;
    let money = |amount: i64| Money::new(amount, currency);
    let line = |line: &RefundLine| RefundLineView {
        line_id: line.line_id.clone(),
        quantity: line.cancel_quantity + line.return_quantity,
        returned: line.return_quantity,
        amount: money(line.amount_minor),
    };
    RefundView {
        text: text(&refund).to_owned(),
        lines: lines.iter().map(line).collect(),
        amount: money(refund.amount_minor),
        freight: money(refund.freight_minor),
        photos: serde_json::from_str(&refund.photos).unwrap_or_default(),
        goods: refund.return_before_ms.map(|before_ms| ReturnView {
            before: rfc3339(before_ms),
            carrier: refund.return_carrier,
            tracking_no: refund.return_tracking_no,
            sent_at: refund.return_sent_ms.map(rfc3339),
        }),
        fault: refund.fault,
        compensated: refund.compensation_template.is_some(),
        requested_at: rfc3339(refund.requested_ms),
        approved_at: refund.approved_ms.map(rfc3339),
        ended_at: refund.ended_ms.map(rfc3339),
        id: refund.id,
        order_id: refund.order_id,
        kind: refund.kind,
        status: refund.status,
        reason_code: refund.reason_code,
        reason: refund.reason,
        note: refund.note,
    }
}

/// The customer need not know where between the store and the channel the money is.
fn text(refund: &Refund) -> &'static str {
    match refund.status {
        RefundState::Requested => "等待商家处理",
        RefundState::AwaitingReturn if refund.return_sent_ms.is_some() => "等待商家签收退货",
        RefundState::AwaitingReturn => "请寄回商品",
        RefundState::Approved
        | RefundState::Submitted
        | RefundState::Processing
        | RefundState::Abnormal
        | RefundState::Closed
        | RefundState::Manual => "退款处理中",
        RefundState::Succeeded => "退款成功",
        RefundState::Rejected => "商家未同意退款",
        RefundState::Withdrawn => "申请已撤回",
        RefundState::GivenUp => "退款未完成，请联系商家",
    }
}

/// The refunds of an order, as its page shows them.
///
/// # Errors
/// The database.
pub async fn refund_views(conn: &mut Conn, order: &OrderId) -> Result<Vec<RefundView>> {
    let refunds = sql::of_order(conn, order).await?;
    let full = sql::with_lines(conn, refunds).await?;
    Ok(full.into_iter().map(|(refund, lines)| refund_view(refund, &lines)).collect())
}

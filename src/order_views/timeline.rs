//! The timeline of an order: in the customer's words, and in full for staff.

use poem_openapi::Object;
use serde_json::Value;

use crate::kernel::rfc3339;
use crate::orders::{Fulfilment, OrderMove as M, OrderStatus, TimelineRow};

/// Something that happened to an order.
#[derive(Debug, Object)]
pub struct TimelineEntry {
    pub at: String,
    /// What happened, stable.
    pub code: M,
    /// The same in a short Chinese sentence.
    pub text: String,
}

/// Something that happened to an order: who did it, and what is known about it.
#[derive(Debug, Object)]
pub struct StaffTimelineEntry {
    pub seq: i64,
    pub at: String,
    /// `user`, `staff` or `system`.
    pub actor_kind: String,
    /// The person's id, or the part of the system.
    pub actor_id: String,
    pub code: M,
    /// What the customer reads; absent where the customer sees nothing.
    #[oai(skip_serializing_if_is_none)]
    pub text: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub from: Option<OrderStatus>,
    pub to: OrderStatus,
    /// Reasons, amounts and ids, as far as the move has any.
    pub detail: Value,
    pub request_id: String,
}

/// What the customer reads of a timeline.
pub fn for_customer(fulfilment: Fulfilment, rows: Vec<TimelineRow>) -> Vec<TimelineEntry> {
    let entry = |row: TimelineRow| {
        let text = text(fulfilment, row.event, &row.actor_kind, &detail(&row))?;
        Some(TimelineEntry { at: rfc3339(row.at_ms), code: row.event, text })
    };
    rows.into_iter().filter_map(entry).collect()
}

/// What staff reads of a timeline.
pub fn for_staff(fulfilment: Fulfilment, rows: Vec<TimelineRow>) -> Vec<StaffTimelineEntry> {
    let entry = |row: TimelineRow| {
        let detail = detail(&row);
        StaffTimelineEntry {
            seq: row.seq,
            at: rfc3339(row.at_ms),
            text: text(fulfilment, row.event, &row.actor_kind, &detail),
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            code: row.event,
            from: row.from_status,
            to: row.to_status,
            detail,
            request_id: row.request_id,
        }
    };
    rows.into_iter().map(entry).collect()
}

fn detail(row: &TimelineRow) -> Value {
    serde_json::from_str(&row.detail).unwrap_or_default()
}

/// The move in the customer's words; `None`: it is nothing to the customer.
fn text(fulfilment: Fulfilment, event: M, actor_kind: &str, detail: &Value) -> Option<String> {
    let fixed = match event {
        M::Cancelled | M::CloseConfirmed | M::ClosedByStaff => return Some(cancelled(detail)),
        M::Placed => "订单已提交，等待付款",
        M::PlacedFree => "订单已提交，无需付款",
        M::Repriced => "商家修改了订单价格",
        M::PaymentSucceeded => match fulfilment {
            Fulfilment::Delivery => "付款成功，等待发货",
            Fulfilment::Pickup => "付款成功，等待门店备货",
            Fulfilment::InStore => "付款成功，请在出口出示取货码",
        },
        M::Closing => "订单取消中，正在确认没有付款",
        M::HoldReleased if fulfilment == Fulfilment::Delivery => "订单恢复处理，等待发货",
        M::HoldReleased => "订单恢复处理，等待取货",
        M::ShippedPart => "部分商品已发货",
        M::ShippedAll => "商品已全部发货",
        M::RestRefunded => "未发货的商品已退款，其余已全部发货",
        M::ReadyForPickup => "商品已备好，可以到店取货",
        M::PickedUp => "商品已取走",
        M::ExitChecked => "商品已核对，欢迎再来",
        M::RefundedWhole => "已全额退款，订单关闭",
        M::RefundedAfterwards => "已全额退款",
        M::Completed if actor_kind == "user" => "你已确认收货",
        M::Completed => "已自动确认收货",
        M::Finished => "售后期结束，订单完成",
        M::RefundRequested => "退款申请已提交",
        M::RefundApproved => "商家已同意退款，款项将原路退回",
        M::RefundEnded => match detail["outcome"].as_str() {
            Some("SUCCEEDED") => "退款成功",
            Some("REJECTED") => "商家未同意退款",
            Some("WITHDRAWN") => "退款申请已撤回",
            _ => "退款已结束",
        },
        M::PaymentOrphaned => "订单未能收下这笔付款，款项将原路退回",
        M::PaymentMismatched => "付款与订单不符，正在人工核对",
        M::TrackingCorrected => "物流信息已更正",
        M::RepriceRequested => "商家正在修改订单价格，请稍候付款",
        M::PaymentStarted
        | M::PaymentEnded
        | M::RepriceDropped
        | M::ChannelUnreachable
        | M::CompletionWaits
        | M::FinishWaits
        | M::OwnerChanged
        | M::NoteAdded => return None,
    };
    Some(fixed.to_owned())
}

fn cancelled(detail: &Value) -> String {
    let by = match detail["by"].as_str() {
        Some("user") => "你取消了订单",
        Some("staff") => {
            let reason = detail["reason"].as_str().map(|reason| format!("：{reason}"));
            return format!("商家取消了订单{}", reason.unwrap_or_default());
        }
        Some("timeout") => "超时未付款，订单已取消",
        _ => "订单已取消",
    };
    by.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(event: M, actor_kind: &str, detail: Value) -> Option<String> {
        text(Fulfilment::Delivery, event, actor_kind, &detail)
    }

    #[test]
    fn who_cancelled_and_how_a_refund_ended_is_told() {
        let timeout = said(M::Cancelled, "system", json!({ "by": "timeout" }));
        assert_eq!(timeout.as_deref(), Some("超时未付款，订单已取消"));
        let staff = said(M::CloseConfirmed, "system", json!({ "by": "staff", "reason": "缺货" }));
        assert_eq!(staff.as_deref(), Some("商家取消了订单：缺货"));
        let rejected = said(M::RefundEnded, "staff", json!({ "outcome": "REJECTED" }));
        assert_eq!(rejected.as_deref(), Some("商家未同意退款"));
        assert_eq!(said(M::Completed, "user", json!({})).as_deref(), Some("你已确认收货"));
        assert_eq!(said(M::NoteAdded, "staff", json!({})), None);
    }
}

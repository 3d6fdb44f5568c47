//! The timeline of an order: in the customer's words, and in full for staff. A move that is new has to be worded
//! here for both, or it does not compile.

use std::collections::HashMap;

use poem_openapi::Object;
use serde_json::Value;

use crate::kernel::{Currency, StaffId, rfc3339};
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
    /// The person's name, or what the part of the system is called.
    pub actor_name: String,
    pub code: M,
    /// What happened, in staff's words.
    pub summary: String,
    /// Why, where whoever did it has said so.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<String>,
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
        let text = sentence(fulfilment, row.event, &row.actor_kind, &detail(&row))?;
        Some(TimelineEntry { at: rfc3339(row.at_ms), code: row.event, text })
    };
    rows.into_iter().filter_map(entry).collect()
}

/// Who is in a timeline.
pub struct Names {
    pub customer: String,
    pub staff: HashMap<StaffId, String>,
}

impl Names {
    fn of(&self, kind: &str, id: &str) -> String {
        match kind {
            "user" => self.customer.clone(),
            "staff" => {
                let name = id.parse().ok().and_then(|id: StaffId| self.staff.get(&id));
                name.map_or_else(|| id.to_owned(), Clone::clone)
            }
            _ => part_of_system(id).to_owned(),
        }
    }
}

fn part_of_system(part: &str) -> &'static str {
    match part {
        "timeout" | "after_sale" | "pickup_reminder" => "系统：到时",
        "refund" | "refund_policy" => "系统：退款",
        "wechat_pay" => "微信支付",
        "wechat_push" | "wechat_settlement" | "wechat_shipping" => "微信",
        _ => "系统",
    }
}

/// The staff members who are in a timeline.
pub fn staff_in(rows: &[TimelineRow]) -> Vec<StaffId> {
    let staff = rows.iter().filter(|row| row.actor_kind == "staff");
    let mut ids: Vec<StaffId> = staff.filter_map(|row| row.actor_id.parse().ok()).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// What staff reads of a timeline.
pub fn for_staff(
    fulfilment: Fulfilment,
    rows: Vec<TimelineRow>,
    names: &Names,
    currency: Currency,
) -> Vec<StaffTimelineEntry> {
    let entry = |row: TimelineRow| {
        let detail = detail(&row);
        StaffTimelineEntry {
            seq: row.seq,
            at: rfc3339(row.at_ms),
            text: sentence(fulfilment, row.event, &row.actor_kind, &detail),
            summary: summary(row.event, &detail, currency),
            reason: reason(&detail),
            actor_name: names.of(&row.actor_kind, &row.actor_id),
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

/// The reason as somebody wrote it: for the move itself, or for what was proposed.
fn reason(detail: &Value) -> Option<String> {
    let places = ["/reason", "/note", "/detail/reason", "/detail/text"];
    let mut said = places.iter().filter_map(|place| detail.pointer(place)?.as_str());
    said.find(|said| !said.is_empty()).map(str::to_owned)
}

/// The move in staff's words.
fn summary(event: M, detail: &Value, currency: Currency) -> String {
    let plain = match event {
        M::Placed => return with_amount("提交订单", "应付", &detail["total_minor"], currency),
        M::PlacedFree => "提交订单，无需付款",
        M::PaymentStarted => "发起付款",
        M::PaymentEnded => "这次付款已结束，没有付成",
        M::RepriceRequested => "准备改价：先在支付渠道关闭付款",
        M::Repriced => "修改价格",
        M::RepriceDropped => "改价作废",
        M::PaymentSucceeded => return with_amount("付款成功", "实付", &detail["amount_minor"], currency),
        M::Cancelled => cancelled_by(detail),
        M::Closing => "取消中：先在支付渠道关闭付款",
        M::ChannelUnreachable => "支付渠道没有应答，稍后再试",
        M::CloseConfirmed => "支付渠道确认没有付款，订单取消",
        M::ClosedByStaff => "两人确认支付渠道无法应答，订单取消",
        M::HoldReleased => "解除暂停，恢复发货",
        M::ShippedPart => return with_units("发出一个包裹", &detail["units"], "还有未发"),
        M::ShippedAll => return with_units("发出一个包裹", &detail["units"], "已全部发出"),
        M::RestRefunded => "未发的部分已退款，其余视为全部发出",
        M::ReadyForPickup => "备货完成，等待取货",
        M::PickedUp => "顾客已取货",
        M::ExitChecked => "出口核验通过",
        M::RefundedWhole => "已全额退款，订单关闭",
        M::RefundedAfterwards => "交付后已全额退款",
        M::Completed => match detail["why"].as_str() {
            Some("confirmed") => "顾客确认收货",
            Some("wechat_settlement") => "微信已结算，视为收货",
            _ => "到时自动确认收货",
        },
        M::CompletionWaits => "有退款未结束，收货确认推后",
        M::Finished => "售后期结束",
        M::FinishWaits => "有退款未结束，售后期结束推后",
        M::RefundRequested => return with_amount("申请退款", "金额", &detail["amount_minor"], currency),
        M::RefundApproved => return with_amount("同意退款", "金额", &detail["amount_minor"], currency),
        M::RefundEnded => match detail["outcome"].as_str() {
            Some("SUCCEEDED") => "退款成功",
            Some("REJECTED") => "拒绝退款",
            Some("WITHDRAWN") => "撤回退款申请",
            Some("GIVEN_UP") => "放弃退款",
            _ => "退款结束",
        },
        M::PaymentOrphaned => {
            return with_amount(
                "收到订单不能接受的付款，将原路退回",
                "金额",
                &detail["amount_minor"],
                currency,
            );
        }
        M::PaymentMismatched => "收到与订单不符的付款，等待人工处理",
        M::PaymentReviewed => match detail["decision"].as_str() {
            Some("ORPHAN") => "核对了与订单不符的付款：原路退回",
            Some("SUCCEEDED") => "核对了与订单不符的付款：算作本单付款",
            Some("NOT_OURS") => "核对了与订单不符的付款：由其他商户收取，只作记录",
            _ => "人工核对了与订单不符的付款",
        },
        M::ReturnRequired => "要求顾客先寄回商品",
        M::ReturnSent => "顾客已寄出退货",
        M::RefundRetried => "立即重试退款",
        M::RefundStuck => "退款需要人工处理",
        M::RefundDiffers => "渠道退款与本地记录不符",
        M::Proposed => return format!("提议{}，等待另一人确认", proposed(detail)),
        M::ProposalConfirmed => return format!("确认了另一人的提议：{}", proposed(detail)),
        M::ProposalDeclined => return format!("否决了提议：{}", proposed(detail)),
        M::TrackingCorrected => return corrected(detail),
        M::PickupReminded => "提醒顾客到店取货",
        M::PickupOverdue => "长时间无人取货，请联系顾客或退款",
        M::RecipientRevealed => "查看了收件人的完整信息",
        M::UploadAccepted => match (detail["state"].as_str(), detail["all_delivered"].as_bool()) {
            (Some("SHIPPED_BEFORE"), _) => "微信已有本单的发货信息",
            (_, Some(true)) => "微信已收下发货信息：全部发出",
            _ => "微信已收下发货信息",
        },
        M::UploadFailed => "发货信息没有报给微信，稍后再试",
        M::UploadGivenUp => "发货信息没有报给微信，不再自动重试",
        M::UploadRetried => "立即重新向微信报发货信息",
        M::MoneyHeld => return held(detail),
        M::MoneyReleased => "微信不再冻结本单货款",
        M::OwnerChanged => "订单转到另一位顾客名下",
        M::NoteAdded => "添加备注",
    };
    plain.to_owned()
}

/// What somebody proposes.
fn proposed(detail: &Value) -> &'static str {
    match detail["kind"].as_str() {
        Some("REFUND_PROOF") => "以凭证证明退款已到顾客手中",
        Some("REFUND_GIVE_UP") => "放弃退款",
        Some("ORDER_CLOSE") => "关闭渠道无法应答的订单",
        _ => "处理方案",
    }
}

fn held(detail: &Value) -> String {
    match detail["days"].as_i64() {
        Some(days) => format!("微信收到发货信息 {days} 天后仍冻结货款"),
        None => "微信仍冻结货款".to_owned(),
    }
}

fn cancelled_by(detail: &Value) -> &'static str {
    match detail["by"].as_str() {
        Some("user") => "顾客取消订单",
        Some("staff") => "商家取消订单",
        Some("timeout") => "超时未付款，订单取消",
        _ => "订单取消",
    }
}

fn with_amount(what: &str, called: &str, minor: &Value, currency: Currency) -> String {
    let Some(minor) = minor.as_i64() else { return what.to_owned() };
    let amount = match currency {
        Currency::Jpy => format!("{minor} {currency}"),
        Currency::Cny => format!("¥{}.{:02}", minor / 100, minor % 100),
        Currency::Usd | Currency::Eur => format!("{}.{:02} {currency}", minor / 100, minor % 100),
    };
    format!("{what}，{called} {amount}")
}

fn with_units(what: &str, units: &Value, rest: &str) -> String {
    match units.as_i64() {
        Some(units) => format!("{what}（{units} 件），{rest}"),
        None => format!("{what}，{rest}"),
    }
}

fn corrected(detail: &Value) -> String {
    let parcel = |side: &Value| {
        let text = |name: &str| side[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("carrier"), text("tracking_no")).trim().to_owned()
    };
    format!("更正物流信息：{} → {}", parcel(&detail["from"]), parcel(&detail["to"]))
}

fn detail(row: &TimelineRow) -> Value {
    serde_json::from_str(&row.detail).unwrap_or_default()
}

/// The move in the customer's words, with the reason where the customer is owed one.
fn sentence(fulfilment: Fulfilment, event: M, actor_kind: &str, detail: &Value) -> Option<String> {
    let text = text(fulfilment, event, actor_kind, detail)?;
    let why = match event {
        M::RefundEnded if detail["outcome"] == "REJECTED" => detail["reason"].as_str().unwrap_or_default(),
        _ => "",
    };
    Some(if why.is_empty() { text } else { format!("{text}：{why}") })
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
        M::RefundRequested if actor_kind == "user" => "退款申请已提交",
        M::RefundRequested if actor_kind == "staff" => "商家为你发起了退款",
        M::RefundRequested => "退款已发起",
        M::ReturnRequired => "商家已受理退款申请，请先寄回商品",
        M::ReturnSent => "你已寄出退货商品，等待商家签收",
        M::RefundApproved => "商家已同意退款，款项将原路退回",
        M::RefundEnded => match detail["outcome"].as_str() {
            Some("SUCCEEDED") => "退款成功",
            Some("REJECTED") => "商家未同意退款",
            Some("WITHDRAWN") if actor_kind == "system" => "未在期限内寄回商品，退款申请已关闭",
            Some("WITHDRAWN") => "退款申请已撤回",
            Some("GIVEN_UP") => "退款未能完成，请联系商家",
            _ => "退款已结束",
        },
        M::PaymentOrphaned => "订单未能收下这笔付款，款项将原路退回",
        M::PaymentMismatched => "付款与订单不符，正在人工核对",
        M::TrackingCorrected => "物流信息已更正",
        M::PickupReminded => "商品已备好，请到店取货",
        M::RepriceRequested => "商家正在修改订单价格，请稍候付款",
        M::PaymentStarted
        | M::PaymentEnded
        | M::RepriceDropped
        | M::ChannelUnreachable
        | M::CompletionWaits
        | M::RefundRetried
        | M::RefundStuck
        | M::RefundDiffers
        | M::Proposed
        | M::ProposalConfirmed
        | M::ProposalDeclined
        | M::PaymentReviewed
        | M::PickupOverdue
        | M::RecipientRevealed
        | M::UploadAccepted
        | M::UploadFailed
        | M::UploadGivenUp
        | M::UploadRetried
        | M::MoneyHeld
        | M::MoneyReleased
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

    /// Moves that are nothing to the customer.
    const HIDDEN: &[M] = &[
        M::PaymentStarted,
        M::PaymentEnded,
        M::RepriceDropped,
        M::ChannelUnreachable,
        M::CompletionWaits,
        M::FinishWaits,
        M::RefundRetried,
        M::RefundStuck,
        M::RefundDiffers,
        M::Proposed,
        M::ProposalConfirmed,
        M::ProposalDeclined,
        M::PaymentReviewed,
        M::PickupOverdue,
        M::RecipientRevealed,
        M::UploadAccepted,
        M::UploadFailed,
        M::UploadGivenUp,
        M::UploadRetried,
        M::MoneyHeld,
        M::MoneyReleased,
        M::OwnerChanged,
        M::NoteAdded,
    ];

    fn said(event: M, actor_kind: &str, detail: Value) -> Option<String> {
        sentence(Fulfilment::Delivery, event, actor_kind, &detail)
    }

    #[test]
    fn who_cancelled_and_how_a_refund_ended_is_told() {
        let timeout = said(M::Cancelled, "system", json!({ "by": "timeout" }));
        assert_eq!(timeout.as_deref(), Some("超时未付款，订单已取消"));
        let staff = said(M::CloseConfirmed, "system", json!({ "by": "staff", "reason": "缺货" }));
        assert_eq!(staff.as_deref(), Some("商家取消了订单：缺货"));
        let rejected =
            said(M::RefundEnded, "staff", json!({ "outcome": "REJECTED", "reason": "商品已使用" }));
        assert_eq!(rejected.as_deref(), Some("商家未同意退款：商品已使用"));
        assert_eq!(said(M::Completed, "user", json!({})).as_deref(), Some("你已确认收货"));
        assert_eq!(said(M::NoteAdded, "staff", json!({})), None);
    }

    #[test]
    fn every_move_has_words_for_staff_and_either_words_for_the_customer_or_a_place_among_the_hidden() {
        for event in M::ALL {
            let staff = summary(*event, &json!({}), Currency::Cny);
            assert!(!staff.is_empty(), "{event}");
            for kind in ["user", "staff", "system"] {
                for fulfilment in Fulfilment::ALL {
                    let customer = text(*fulfilment, *event, kind, &json!({}));
                    assert_eq!(customer.is_none(), HIDDEN.contains(event), "{event} by {kind}");
                    assert!(customer.is_none_or(|words| !words.is_empty()), "{event}");
                }
            }
        }
    }

    #[test]
    fn staff_reads_amounts_units_and_reasons() {
        let said = |event, detail: Value| summary(event, &detail, Currency::Cny);
        assert_eq!(said(M::Placed, json!({ "total_minor": 1990 })), "提交订单，应付 ¥19.90");
        assert_eq!(said(M::ShippedAll, json!({ "units": 2 })), "发出一个包裹（2 件），已全部发出");
        let detail = json!({
            "from": { "carrier": "中通快递", "tracking_no": "1" },
            "to": { "carrier": "顺丰速运", "tracking_no": "2" }, "reason": "抄错了",
        });
        assert_eq!(said(M::TrackingCorrected, detail.clone()), "更正物流信息：中通快递 1 → 顺丰速运 2");
        assert_eq!(reason(&detail).as_deref(), Some("抄错了"));
        assert_eq!(reason(&json!({ "reason": "" })), None);
        let proposal = json!({ "kind": "REFUND_PROOF", "reason": null, "detail": { "text": "银行转账" } });
        assert_eq!(reason(&proposal).as_deref(), Some("银行转账"));
        assert_eq!(said(M::Proposed, proposal), "提议以凭证证明退款已到顾客手中，等待另一人确认");
    }
}

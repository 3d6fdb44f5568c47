//! What is said: one builder for each kind of notice, and the choice among them by the event. The keys of
//! `values` are those that the templates must have; `config.toml` lists them.

use super::NoticeKind;
use crate::events::Event;
use crate::kernel::{Currency, Failure, Millis, OrderId, Result};
use crate::orders::{self, CloseReason, Fulfilment, Order, OrderStatus};
use crate::payments;
use crate::platform::db::Conn;
use crate::refunds::{self, Refund, RefundKind, RefundState};
use crate::shipping::{self, Parcel};
use crate::stores::{self, Store};
use crate::wechat::mini::{message_amount, message_time};

/// A value of a `thing` key has at most this many characters.
const THING_CHARS_MAX: usize = 20;

/// What a customer is told.
#[derive(Debug)]
pub struct Note {
    pub kind: NoticeKind,
    pub title: &'static str,
    pub body: String,
    /// Keys of the template and their values; empty where there is no template.
    pub values: Vec<(&'static str, String)>,
}

/// An order and what was bought, as one line.
struct Subject {
    order: Order,
    goods: String,
}

/// The note that an event calls for, and whose order it is about; `None`: it is nothing to the customer.
///
/// # Errors
/// The database; something that the event names does not exist.
pub async fn of_event(conn: &mut Conn, event: &Event) -> Result<Option<(Order, Note)>> {
    let order_id = match event {
        Event::OrderPlaced { order_id, .. }
        | Event::OrderPaid { order_id, .. }
        | Event::OrderClosed { order_id, .. }
        | Event::OrderShipped { order_id, .. }
        | Event::TrackingCorrected { order_id, .. }
        | Event::OrderReadyForPickup { order_id, .. }
        | Event::PickupReminded { order_id, .. }
        | Event::OrderRepriced { order_id, .. }
        | Event::OrderFinished { order_id, .. }
        | Event::PaymentFailed { order_id, .. }
        | Event::PaymentOrphaned { order_id, .. }
        | Event::RefundRejected { order_id, .. }
        | Event::ReturnRequired { order_id, .. }
        | Event::RefundDropped { order_id, .. }
        | Event::RefundSettled { order_id, .. } => order_id,
        _ => return Ok(None),
    };
    let subject = subject(conn, order_id).await?;
    let note = match event {
        // Nothing is to be paid: there is nothing to wait for.
        Event::OrderPlaced { .. } if subject.order.payable_minor == 0 => None,
        Event::OrderPlaced { .. } => Some(wait_pay(&subject)),
        Event::OrderPaid { .. } => Some(paid(&subject)),
        // The refund's own message says it.
        Event::OrderClosed { reason, .. } if reason == CloseReason::Refunded.as_str() => None,
        Event::OrderClosed { reason, .. } => Some(cancelled(&subject, reason)),
        Event::OrderShipped { parcel_id, all, .. } => {
            let parcel = shipping::parcel(conn, parcel_id).await?;
            let parcel = parcel.ok_or_else(|| missing(order_id, "parcel"))?;
            Some(confirm(&subject, &parcel, *all))
        }
        Event::TrackingCorrected { parcel_id, .. } => {
            let parcel = shipping::parcel(conn, parcel_id).await?;
            let parcel = parcel.ok_or_else(|| missing(order_id, "parcel"))?;
            Some(tracking_corrected(&subject, &parcel))
        }
        Event::OrderRepriced { .. } if subject.order.status != OrderStatus::PendingPayment => None,
        Event::OrderRepriced { .. } => Some(repriced(&subject)),
        // Fetched meanwhile: there is nothing to be told any more.
        Event::OrderReadyForPickup { .. } | Event::PickupReminded { .. }
            if subject.order.pickup_code_open.is_none() =>
        {
            None
        }
        Event::OrderReadyForPickup { .. } | Event::PickupReminded { .. } => {
            let store = stores::find(conn, &subject.order.store_id).await?;
            let store = store.ok_or_else(|| missing(order_id, "store"))?;
            let again = matches!(event, Event::PickupReminded { .. });
            Some(ready(&subject, &store, again))
        }
        Event::OrderFinished { .. } => Some(finished(&subject)),
        Event::PaymentFailed { .. } => Some(payment_failed(&subject)),
        Event::PaymentOrphaned { attempt_id, .. } => {
            let record = payments::record_of(conn, attempt_id).await?;
            let record = record.ok_or_else(|| missing(order_id, "payment record"))?;
            Some(payment_orphaned(&subject, record.amount_minor))
        }
        Event::RefundRejected { refund_id, .. }
        | Event::ReturnRequired { refund_id, .. }
        | Event::RefundDropped { refund_id, .. } => {
            let refund = refunds::by_id(conn, refund_id).await?;
            let refund = refund.ok_or_else(|| missing(order_id, "refund"))?;
            Some(match event {
                Event::RefundRejected { .. } => refund_rejected(&subject, &refund),
                Event::ReturnRequired { .. } => return_required(&subject, &refund),
                _ => refund_dropped(&subject, &refund),
            })
        }
        Event::RefundSettled { refund_id, compensation_template, .. } => {
            let refund = refunds::by_id(conn, refund_id).await?;
            let refund = refund.ok_or_else(|| missing(order_id, "refund"))?;
            Some(refunded(&subject, &refund, compensation_template.is_some()))
        }
        _ => None,
    };
    Ok(note.map(|note| (subject.order, note)))
}

fn missing(order: &OrderId, what: &str) -> Failure {
    Failure::internal("writing a notice", format!("{order} has no such {what}"))
}

async fn subject(conn: &mut Conn, id: &OrderId) -> Result<Subject> {
    let order = orders::find(conn, id).await?.ok_or_else(|| missing(id, "row"))?;
    let lines = orders::find_lines(conn, id).await?;
    let name = lines.first().map_or("商品", |line| line.product_name.as_str());
    let goods = goods(name, lines.iter().map(|line| line.quantity).sum());
    Ok(Subject { order, goods })
}

/// `手冲壶`, or `手冲壶等3件商品`: the count is never what is cut off.
fn goods(name: &str, units: i64) -> String {
    let rest = if units > 1 { format!("等{units}件商品") } else { String::new() };
    let room = THING_CHARS_MAX - rest.chars().count().min(THING_CHARS_MAX);
    short(name, room) + &rest
}

/// At most so many characters, the last one says that there were more.
fn short(text: &str, chars_max: usize) -> String {
    match text.chars().count() > chars_max {
        true => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

impl Subject {
    fn amount(&self, minor: i64) -> String {
        let sign = match self.order.currency {
            Currency::Cny => return message_amount(minor),
            Currency::Jpy => return format!("¥{minor}"),
            Currency::Usd => "$",
            Currency::Eur => "€",
        };
        format!("{sign}{}.{:02}", minor / 100, minor % 100)
    }

    /// The two values with which every template begins.
    fn values(&self, rest: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let number = ("character_string1", self.order.id.to_string());
        [number, ("thing2", self.goods.clone())].into_iter().chain(rest).collect()
    }

    fn at(&self, at: Option<Millis>) -> String {
        message_time(at.unwrap_or(self.order.placed_ms))
    }
}

fn wait_pay(subject: &Subject) -> Note {
    let amount = subject.amount(subject.order.payable_minor);
    let until = message_time(subject.order.pay_before_ms);
    Note {
        kind: NoticeKind::WaitPay,
        title: "订单待付款",
        body: format!("{}，共 {amount}，请在 {until} 前付款，逾期订单将自动取消。", subject.goods),
        values: subject.values(vec![
            ("amount3", amount),
            ("time4", until),
            ("thing5", "逾期未付款，订单将自动取消".to_owned()),
        ]),
    }
}

/// It costs something else now, and is to be paid anew.
fn repriced(subject: &Subject) -> Note {
    let amount = subject.amount(subject.order.payable_minor);
    let until = message_time(subject.order.pay_before_ms);
    Note {
        kind: NoticeKind::WaitPay,
        title: "订单价格已修改",
        body: format!("{}：商家修改了价格，现在共 {amount}，请在 {until} 前付款。", subject.goods),
        values: subject.values(vec![
            ("amount3", amount),
            ("time4", until),
            ("thing5", "商家修改了价格，请重新付款".to_owned()),
        ]),
    }
}

fn cancelled(subject: &Subject, reason: &str) -> Note {
    let why = match (reason, &subject.order.close_note) {
        ("user", _) => "你取消了订单".to_owned(),
        ("staff", Some(note)) => format!("商家取消：{note}"),
        ("staff", None) => "商家取消了订单".to_owned(),
        _ => "超时未付款".to_owned(),
    };
    let coupon = if subject.order.coupon_id.is_some() {
        "使用的优惠券已退回券包，有效期不变。"
    } else {
        ""
    };
    Note {
        kind: NoticeKind::Cancel,
        title: "订单已取消",
        body: format!("{}：{why}。{coupon}", subject.goods),
        values: subject.values(vec![
            ("amount3", subject.amount(subject.order.payable_minor)),
            ("thing4", short(&why, THING_CHARS_MAX)),
            ("time5", subject.at(subject.order.closed_ms)),
        ]),
    }
}

fn confirm(subject: &Subject, parcel: &Parcel, all: bool) -> Note {
    let tip = if all {
        "商品已全部发出，请留意查收"
    } else {
        "部分商品已发出，其余会尽快发货"
    };
    let number = match parcel.tracking_no.as_str() {
        "" => String::new(),
        number => format!("，单号 {number}"),
    };
    Note {
        kind: NoticeKind::Confirm,
        title: if all { "商品已发货" } else { "部分商品已发货" },
        body: format!("{}：{}{number}。{tip}。", subject.goods, parcel.carrier_name),
        values: subject.values(vec![
            ("thing3", parcel.carrier_name.clone()),
            ("character_string4", parcel.tracking_no.clone()),
            ("thing5", tip.to_owned()),
        ]),
    }
}

fn tracking_corrected(subject: &Subject, parcel: &Parcel) -> Note {
    Note {
        kind: NoticeKind::TrackingCorrected,
        title: "物流信息已更正",
        body: format!(
            "{}的物流信息已更正：{}，单号 {}。请以此为准。",
            subject.goods, parcel.carrier_name, parcel.tracking_no
        ),
        values: Vec::new(),
    }
}

/// It can be fetched: where, and by which code.
fn ready(subject: &Subject, store: &Store, again: bool) -> Note {
    let code = subject.order.pickup_code.clone().unwrap_or_default();
    let (title, tip) = match again {
        false => ("商品已备好，请来取货", "请凭取货码到店取货"),
        true => ("你的商品还在门店等你", "商品已备好多时，请尽快取货"),
    };
    Note {
        kind: NoticeKind::Confirm,
        title,
        body: format!(
            "{}：取货码 {code}，{}（{}，电话 {}）。{tip}。",
            subject.goods,
            store.name,
            store.whole_address(),
            store.phone
        ),
        values: subject.values(vec![
            ("thing3", short(&store.name, THING_CHARS_MAX)),
            ("character_string4", code),
            ("thing5", tip.to_owned()),
        ]),
    }
}

fn paid(subject: &Subject) -> Note {
    let amount = subject.amount(subject.order.paid_minor);
    let tip = match (subject.order.ship_hold_ms, subject.order.fulfilment) {
        (Some(_), _) => "订单已取消，款项将原路退回",
        (None, Fulfilment::Delivery) => "我们会尽快为你发货",
        (None, Fulfilment::Pickup) => "备好后会通知你到店取货",
        (None, Fulfilment::InStore) => "请在出口出示订单里的取货码",
    };
    Note {
        kind: NoticeKind::Pay,
        title: "付款成功",
        body: format!("{}，已付 {amount}。{tip}。", subject.goods),
        values: subject.values(vec![
            ("amount3", amount),
            ("time4", subject.at(subject.order.paid_ms)),
            ("thing5", tip.to_owned()),
        ]),
    }
}

fn finished(subject: &Subject) -> Note {
    let tip = "感谢惠顾，欢迎再次光临";
    Note {
        kind: NoticeKind::Finished,
        title: "订单已完成",
        body: format!("{}：售后期已结束，订单完成。{tip}。", subject.goods),
        values: subject
            .values(vec![("time3", subject.at(subject.order.finished_ms)), ("thing4", tip.to_owned())]),
    }
}

fn refunded(subject: &Subject, refund: &Refund, compensated: bool) -> Note {
    let amount = subject.amount(refund.amount_minor);
    let what = match refund.kind {
        RefundKind::Orphan => "订单未能收下的款项已原路退回",
        _ if compensated => "款项已原路退回，另送你一张优惠券",
        _ => "款项已原路退回",
    };
    Note {
        kind: NoticeKind::Refund,
        title: "退款成功",
        body: format!("{}：退款 {amount}，{what}。", subject.goods),
        values: subject.values(vec![
            ("amount3", amount),
            ("thing4", what.to_owned()),
            ("time5", subject.at(refund.ended_ms)),
        ]),
    }
}

fn payment_failed(subject: &Subject) -> Note {
    let until = message_time(subject.order.pay_before_ms);
    Note {
        kind: NoticeKind::PaymentFailed,
        title: "付款没有成功",
        body: format!("{}的付款没有成功，订单为你保留到 {until}，请重新付款。", subject.goods),
        values: Vec::new(),
    }
}

fn payment_orphaned(subject: &Subject, amount_minor: i64) -> Note {
    let amount = subject.amount(amount_minor);
    Note {
        kind: NoticeKind::PaymentOrphaned,
        title: "有一笔付款将退回",
        body: format!("{}的订单未能收下你的付款 {amount}，款项将全额原路退回，无需操作。", subject.goods),
        values: Vec::new(),
    }
}

fn refund_rejected(subject: &Subject, refund: &Refund) -> Note {
    let why = match refund.note.as_str() {
        "" => String::new(),
        note => format!("：{note}"),
    };
    Note {
        kind: NoticeKind::RefundRejected,
        title: "退款申请未通过",
        body: format!("{}的退款申请未通过{why}。如有疑问请联系商家。", subject.goods),
        values: Vec::new(),
    }
}

fn return_required(subject: &Subject, refund: &Refund) -> Note {
    let until = subject.at(refund.return_before_ms);
    Note {
        kind: NoticeKind::ReturnRequired,
        title: "请寄回商品",
        body: format!(
            "{}的退款申请已受理，请在 {until} 前寄回商品并填写运单号：{}",
            subject.goods, refund.note
        ),
        values: Vec::new(),
    }
}

fn refund_dropped(subject: &Subject, refund: &Refund) -> Note {
    let what = match refund.status {
        RefundState::GivenUp => "退款未能完成，请联系商家",
        _ => "的退款申请已关闭：未在期限内寄回商品",
    };
    Note {
        kind: NoticeKind::RefundDropped,
        title: "退款已关闭",
        body: format!("{}{what}。", subject.goods),
        values: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goods_fit_a_value_and_keep_their_count() {
        assert_eq!(goods("手冲壶", 1), "手冲壶");
        assert_eq!(goods("手冲壶", 3), "手冲壶等3件商品");
        let long = goods(&"云南小粒咖啡豆".repeat(5), 12);
        assert_eq!(long.chars().count(), THING_CHARS_MAX);
        assert!(long.ends_with("…等12件商品"), "{long}");
    }
}

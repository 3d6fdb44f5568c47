//! What the customer can do with an order now, and why not the rest. From the order alone, so that every
//! answer that shows an order shows the same.

use poem_openapi::Object;

use super::{Order, OrderLine, OrderStatus, PayStatus};
use crate::kernel::Millis;

/// Less than this before the deadline no payment is started: WeChat would lift its expiry to a minute.
pub const PAY_WINDOW_MS: Millis = 90_000;

/// Whether something can be done, and if not, why.
#[derive(Debug, Clone, Object)]
pub struct Action {
    pub allowed: bool,
    /// The `code` that trying it would answer.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<String>,
}

/// What the customer can do with the order now.
#[derive(Debug, Clone, Object)]
pub struct Actions {
    pub can_pay: Action,
    pub can_cancel: Action,
    pub can_refund: Action,
    pub can_confirm: Action,
}

fn action(refusal: Option<&str>) -> Action {
    Action { allowed: refusal.is_none(), reason: refusal.map(str::to_owned) }
}

/// Works out the actions of an order.
pub fn actions(order: &Order, lines: &[OrderLine], now_ms: Millis) -> Actions {
    let waits = order.status == OrderStatus::PendingPayment;
    let pay = match order.status {
        OrderStatus::PendingPayment if order.pay_before_ms - now_ms < PAY_WINDOW_MS => {
            Some("payment_window_closing")
        }
        OrderStatus::PendingPayment => None,
        _ if order.pay_status == PayStatus::Paid => Some("order_already_paid"),
        _ => Some("order_not_payable"),
    };
    let refund = if order.pay_status != PayStatus::Paid {
        Some("order_not_paid")
    } else if matches!(order.status, OrderStatus::Closed | OrderStatus::Finished) {
        Some("order_not_refundable")
    } else if lines.iter().all(|line| line.taken_back() == line.quantity) {
        Some("quantity_not_refundable")
    } else {
        None
    };
    Actions {
        can_pay: action(pay),
        can_cancel: action((!waits).then_some("order_not_cancellable")),
        can_refund: action(refund),
        can_confirm: action((order.status != OrderStatus::Shipped).then_some("order_not_confirmable")),
    }
}

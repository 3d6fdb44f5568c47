//! What refunds do to an order: reserve units and money, give them back, or take them for good.

use serde_json::json;

use super::moves::{advance, stage};
use super::ready::NOT_FETCHED;
use super::{
    CloseReason, ORDER_CHANGED, Order, OrderLine, OrderMove, OrderStatus, QUANTITY_NOT_REFUNDABLE,
    REFUND_EXCEEDS_PAID, RefundStatus, complete, ship, sql,
};
use crate::catalog::stock;
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderLineId, RefundId, Result, split_by};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use sql::LineDelta;

/// What a refund takes from one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRefund {
    pub line_id: OrderLineId,
    /// Units that were not shipped.
    pub cancel: i64,
    /// Units that come back.
    pub give_back: i64,
    /// Of the units that came back: how many can be sold again.
    pub sellable: i64,
    pub money_minor: i64,
}

impl LineRefund {
    fn delta(&self) -> LineDelta<'_> {
        LineDelta {
            line: &self.line_id,
            cancel: self.cancel,
            give_back: self.give_back,
            money_minor: self.money_minor,
        }
    }
}

/// The money of a refund: lines and freight together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundMoney {
    /// Everything, freight included.
    pub amount_minor: i64,
    pub freight_minor: i64,
}

/// What `units` more units of a line are worth: counted from the first refunded unit on and floored, so
/// that the last unit takes whatever is left, and any split gives back exactly what was paid.
pub fn amount_of_units(line: &OrderLine, units: i64) -> i64 {
    let paid_minor = i128::from(line.net_minor + line.tax_minor);
    let cumulative = paid_minor * i128::from(line.taken_back() + units) / i128::from(line.quantity);
    (cumulative as i64 - line.refunded_minor - line.refunding_minor).max(0)
}

/// Minor units of a line that no refund has taken.
pub fn money_left(line: &OrderLine) -> i64 {
    line.net_minor + line.tax_minor - line.refunded_minor - line.refunding_minor
}

/// Minor units of the freight that no refund has taken.
pub fn freight_left(order: &Order) -> i64 {
    order.freight_minor - order.freight_refunded_minor - order.freight_refunding_minor
}

/// Splits an amount over what is left of the lines, in proportion, and then of the freight. `None`: so much
/// is not left. Answers the lines' parts, in their order, and the freight's.
pub fn apportion(order: &Order, lines: &[OrderLine], amount_minor: i64) -> Option<(Vec<i64>, i64)> {
    let mut by_sku: Vec<usize> = (0..lines.len()).collect();
    by_sku.sort_by_key(|at| &lines[*at].sku_id);
    let left: Vec<i64> = by_sku.iter().map(|at| money_left(&lines[*at])).collect();
    let goods_minor = amount_minor.min(left.iter().sum());
    let freight_minor = amount_minor - goods_minor;
    let order_left = order.paid_minor - order.refunded_minor - order.refunding_minor;
    if freight_minor > freight_left(order) || amount_minor > order_left {
        return None;
    }
    let mut parts = vec![0; lines.len()];
    for (at, part) in by_sku.into_iter().zip(split_by(goods_minor, &left)) {
        parts[at] = part;
    }
    Some((parts, freight_minor))
}

/// What settling a refund makes of its order. Pure, so that it can be worked out before the half message
/// goes out, and again inside of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Everything is refunded afterwards.
    pub whole: bool,
    /// Units that nobody asked to cancel, and that nobody pays for any more.
    pub also_cancelled: Vec<(OrderLineId, i64)>,
    /// Nothing of the order is with the customer.
    pub before_shipping: bool,
    rest_refunded: bool,
}

/// Works out what settling `refund` makes of the order.
pub fn plan(order: &Order, lines: &[OrderLine], refund: &[LineRefund], money: RefundMoney) -> Plan {
    let mut lines = lines.to_vec();
    for part in refund {
        if let Some(line) = lines.iter_mut().find(|line| line.id == part.line_id) {
            line.cancelled += part.cancel;
            line.cancel_locked -= part.cancel;
            line.returned += part.give_back;
            line.return_locked -= part.give_back;
        }
    }
    let last_money = order.paid_minor > 0 && order.refunded_minor + money.amount_minor == order.paid_minor;
    let mut also_cancelled = Vec::new();
    if last_money {
        for line in lines.iter_mut().filter(|line| line.shippable() > 0) {
            also_cancelled.push((line.id.clone(), line.shippable()));
            line.cancelled += line.shippable();
        }
    }
    let before_shipping = lines.iter().all(|line| line.shipped == 0);
    let whole = if before_shipping {
        lines.iter().all(|line| line.cancelled == line.quantity)
    } else {
        last_money || lines.iter().all(|line| line.cancelled + line.returned == line.quantity)
    };
    let rest_refunded = order.status == OrderStatus::PartiallyShipped
        && lines.iter().all(|line| line.quantity == line.shipped + line.cancelled);
    Plan { whole, also_cancelled, before_shipping, rest_refunded }
}

/// Reserves units and money for a refund that was asked for; counts it as open.
///
/// # Errors
/// `quantity_not_refundable`, `refund_exceeds_paid`.
pub async fn reserve_refund(
    tx: &mut Tx<'_>,
    order: &mut Order,
    lines: &[LineRefund],
    money: RefundMoney,
) -> Result<()> {
    for (index, line) in lines.iter().enumerate() {
        if !sql::reserve_line(tx, &order.id, &line.delta()).await? {
            return Err(Failure::new(&QUANTITY_NOT_REFUNDABLE).field(format!("/lines/{index}/quantity")));
        }
    }
    reserve_freight(tx, order, money).await?;
    count_open(tx, order, 1).await
}

/// Reserves further money for a refund that is open: the freight, when it is approved.
///
/// # Errors
/// `refund_exceeds_paid`.
pub async fn reserve_freight(tx: &mut Tx<'_>, order: &mut Order, money: RefundMoney) -> Result<()> {
    if !sql::reserve_money(tx, &order.id, money.amount_minor, money.freight_minor).await? {
        return Err(Failure::new(&REFUND_EXCEEDS_PAID));
    }
    order.refunding_minor += money.amount_minor;
    order.freight_refunding_minor += money.freight_minor;
    Ok(())
}

/// Counts a refund that reserves nothing (an orphan payment's) as open, or as ended.
///
/// # Errors
/// The database.
pub async fn count_open(tx: &mut Tx<'_>, order: &mut Order, by: i64) -> Result<()> {
    if !sql::add_open_refunds(tx, &order.id, by).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    order.open_refunds += by;
    Ok(())
}

/// The refund of an orphan payment, which had reserved nothing, is over. Acts on what waited for it.
///
/// # Errors
/// The database.
pub async fn orphan_refund_ended(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    count_open(tx, order, -1).await?;
    complete::act_on_due(tx, ctx, order).await
}

/// Gives back what a refund had reserved: it was rejected, withdrawn or given up. Acts on what waited for it.
///
/// # Errors
/// The database.
pub async fn release_refund(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    lines: &[LineRefund],
    money: RefundMoney,
) -> Result<()> {
    for line in lines {
        if !sql::release_line(tx, &order.id, &line.delta()).await? {
            return Err(Failure::new(&ORDER_CHANGED));
        }
    }
    if !sql::release_money(tx, &order.id, money.amount_minor, money.freight_minor).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    order.refunding_minor -= money.amount_minor;
    order.freight_refunding_minor -= money.freight_minor;
    count_open(tx, order, -1).await?;
    complete::act_on_due(tx, ctx, order).await
}

/// What an order would be if a refund gave back what it has reserved: to find out whether another one fits.
pub fn released(order: &mut Order, lines: &mut [OrderLine], refund: &[LineRefund], money: RefundMoney) {
    for part in refund {
        if let Some(line) = lines.iter_mut().find(|line| line.id == part.line_id) {
            line.cancel_locked -= part.cancel;
            line.return_locked -= part.give_back;
            line.refunding_minor -= part.money_minor;
        }
    }
    order.refunding_minor -= money.amount_minor;
    order.freight_refunding_minor -= money.freight_minor;
}

/// Takes what a refund had reserved for good: units are cancelled or returned, what was not shipped or is
/// sellable goes back on the shelf, and the order moves where the plan says.
///
/// # Errors
/// The database; `order_changed` when less is reserved than the refund takes.
pub async fn settle_refund(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &RefundId,
    lines: &[LineRefund],
    money: RefundMoney,
    plan: &Plan,
) -> Result<()> {
    for line in lines {
        if !sql::settle_line(tx, &order.id, &line.delta()).await? {
            return Err(Failure::new(&ORDER_CHANGED));
        }
        let restocked = line.cancel + line.sellable;
        if restocked > 0 {
            stock::restock(tx, &line.line_id, restocked).await?;
        }
    }
    for (line, quantity) in &plan.also_cancelled {
        if !sql::cancel_unshipped_units(tx, line, *quantity).await? {
            return Err(Failure::new(&ORDER_CHANGED));
        }
        stock::restock(tx, line, *quantity).await?;
    }
    if !sql::settle_money(tx, &order.id, money.amount_minor, money.freight_minor).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    order.refunded_minor += money.amount_minor;
    order.refunding_minor -= money.amount_minor;
    let was_full = order.refund_status == RefundStatus::Full;
    order.refund_status = if plan.whole || was_full { RefundStatus::Full } else { RefundStatus::Partial };
    sql::set_refund_status(tx, &order.id, order.refund_status).await?;
    count_open(tx, order, -1).await?;
    follow(tx, ctx, order, refund, plan, was_full).await?;
    complete::act_on_due(tx, ctx, order).await
}

/// Moves the order where the settled refund leads it.
async fn follow(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    refund: &RefundId,
    plan: &Plan,
    was_full: bool,
) -> Result<()> {
    let actor = Actor::System("refund");
    let detail = json!({ "refund": refund });
    if plan.rest_refunded {
        advance(tx, ctx, order, OrderMove::RestRefunded, &actor, detail.clone()).await?;
        ship::all_shipped(tx, ctx, order).await?;
        let event = Event::OrderRestRefunded { order_id: order.id.clone(), user_id: order.user_id.clone() };
        stage(tx, ctx, order, event).await?;
    }
    if !plan.whole || was_full {
        return Ok(());
    }
    match order.status {
        OrderStatus::Paid | OrderStatus::ReadyForPickup => {
            advance(tx, ctx, order, OrderMove::RefundedWhole, &actor, detail).await?;
            sql::set_closed(tx, &order.id, CloseReason::Refunded, ctx.clock.now_ms()).await?;
            sql::set_hold(tx, &order.id, None).await?;
            alerts::close(tx, ctx, NOT_FETCHED, order.id.as_str()).await?;
            let event = Event::OrderClosed {
                order_id: order.id.clone(),
                user_id: order.user_id.clone(),
                reason: CloseReason::Refunded.to_string(),
            };
            stage(tx, ctx, order, event).await
        }
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Finished => {
            advance(tx, ctx, order, OrderMove::RefundedAfterwards, &actor, detail).await
        }
        _ => Ok(()),
    }
}

/// Takes the order's one slot for a compensation coupon; false when another refund has it.
///
/// # Errors
/// The database.
pub async fn take_compensation(tx: &mut Tx<'_>, order: &mut Order, refund: &RefundId) -> Result<bool> {
    let taken = sql::take_compensation(tx, &order.id, refund).await?;
    if taken {
        order.compensation_refund = Some(refund.clone());
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Id, time_ordered};
    use proptest::prelude::*;

    fn line(net_minor: i64, quantity: i64) -> OrderLine {
        let id = || time_ordered(1, 0, [0; 8]);
        OrderLine {
            id: Id::from_tail(&id()),
            position: 1,
            product_id: Id::from_tail(&id()),
            sku_id: Id::from_tail(&id()),
            product_name: String::new(),
            sku_name: String::new(),
            image: None,
            unit_price_minor: net_minor / quantity,
            quantity,
            gross_minor: net_minor,
            net_minor,
            tax_minor: 0,
            shares: "[]".to_owned(),
            shipped: 0,
            cancelled: 0,
            cancel_locked: 0,
            returned: 0,
            return_locked: 0,
            refunded_minor: 0,
            refunding_minor: 0,
        }
    }

    proptest! {
        #[test]
        fn any_split_of_a_line_gives_back_exactly_what_was_paid(
            net_minor in 0_i64..1_000_000,
            parts in prop::collection::vec(1_i64..5, 1..8),
        ) {
            let mut line = line(net_minor, parts.iter().sum());
            let mut given = 0;
            for units in parts {
                let amount = amount_of_units(&line, units);
                line.cancelled += units;
                line.refunded_minor += amount;
                given += amount;
                prop_assert!(given <= net_minor);
            }
            prop_assert_eq!(given, net_minor);
        }

        #[test]
        fn rejected_parts_free_their_share_for_later_ones(
            net_minor in 0_i64..1_000_000,
            parts in prop::collection::vec((1_i64..4, any::<bool>()), 1..8),
        ) {
            let mut line = line(net_minor, parts.iter().map(|(units, _)| units).sum());
            for (units, rejected) in &parts {
                let amount = amount_of_units(&line, *units);
                if !rejected {
                    line.cancelled += units;
                    line.refunded_minor += amount;
                }
            }
            let left = line.quantity - line.cancelled;
            if left > 0 {
                line.refunded_minor += amount_of_units(&line, left);
            }
            prop_assert_eq!(line.refunded_minor, net_minor);
        }
    }
}

//! What a refund takes from which line: units, and what they are worth.

use super::FREIGHT_NOT_REFUNDABLE;
use crate::config::BelowMinimum;
use crate::coupons;
use crate::kernel::{Failure, OrderLineId, Result, split_by};
use crate::orders::{self, LineRefund, Order, OrderLine, QUANTITY_NOT_REFUNDABLE, REFUND_EXCEEDS_PAID};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::pricing::LineIn;

/// What of one line is to be refunded.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub line_id: OrderLineId,
    pub what: What,
}

/// Units with what was paid for them, or money alone.
#[derive(Debug, Clone, Copy)]
pub enum What {
    Units(i64),
    /// Minor units; less if less is left.
    Money(i64),
}

/// Everything that is left of an order.
pub fn everything(lines: &[OrderLine]) -> Result<Vec<Wanted>> {
    let left = |line: &OrderLine| line.quantity - line.taken_back();
    let wanted: Vec<Wanted> = lines
        .iter()
        .filter(|line| left(line) > 0)
        .map(|line| Wanted { line_id: line.id.clone(), what: What::Units(left(line)) })
        .collect();
    if wanted.is_empty() { Err(Failure::new(&QUANTITY_NOT_REFUNDABLE).field("/lines")) } else { Ok(wanted) }
}

/// Which units of which lines, and what they are worth: units that were not shipped before units that were.
///
/// # Errors
/// `quantity_not_refundable`, `refund_exceeds_paid`, `invalid_request`, each naming the line.
pub fn parts(lines: &[OrderLine], wanted: &[Wanted]) -> Result<Vec<LineRefund>> {
    let mut parts: Vec<LineRefund> = Vec::with_capacity(wanted.len());
    for (index, wish) in wanted.iter().enumerate() {
        let line = lines.iter().find(|line| line.id == wish.line_id);
        let line = line.filter(|_| !parts.iter().any(|part| part.line_id == wish.line_id));
        let Some(line) = line else {
            return Err(Failure::invalid(
                format!("/lines/{index}/line_id"),
                "is no line of this order, or is named twice",
            ));
        };
        parts.push(match wish.what {
            What::Units(units) => units_of(line, units, index)?,
            What::Money(minor) => money_of(line, minor, index)?,
        });
    }
    Ok(parts)
}

fn units_of(line: &OrderLine, units: i64, index: usize) -> Result<LineRefund> {
    let cancel = units.min(line.shippable().max(0));
    let give_back = units - cancel;
    if give_back > line.returnable() {
        return Err(Failure::new(&QUANTITY_NOT_REFUNDABLE)
            .field(format!("/lines/{index}/quantity"))
            .with("refundable", (line.quantity - line.taken_back()).into()));
    }
    let money_minor = orders::amount_of_units(line, units);
    Ok(LineRefund { line_id: line.id.clone(), cancel, give_back, sellable: 0, money_minor })
}

fn money_of(line: &OrderLine, asked_minor: i64, index: usize) -> Result<LineRefund> {
    let money_minor = asked_minor.min(orders::money_left(line));
    if money_minor <= 0 {
        return Err(Failure::new(&REFUND_EXCEEDS_PAID).field(format!("/lines/{index}/amount")));
    }
    Ok(LineRefund { line_id: line.id.clone(), cancel: 0, give_back: 0, sellable: 0, money_minor })
}

/// An amount of the whole order: over what is left of the lines, then of the freight; less if less is left.
///
/// # Errors
/// `refund_exceeds_paid`: nothing is left.
pub fn spread(order: &Order, lines: &[OrderLine], asked_minor: i64) -> Result<(Vec<LineRefund>, i64)> {
    let left_minor: i64 = lines.iter().map(orders::money_left).sum::<i64>() + orders::freight_left(order);
    let amount_minor = asked_minor.min(left_minor);
    let exceeds = || Failure::new(&REFUND_EXCEEDS_PAID).field("/amount");
    if amount_minor <= 0 {
        return Err(exceeds());
    }
    let (parts, freight_minor) = orders::apportion(order, lines, amount_minor).ok_or_else(exceeds)?;
    Ok((money_parts(lines, &parts), freight_minor))
}

/// Money of lines without any units.
pub fn money_parts(lines: &[OrderLine], parts: &[i64]) -> Vec<LineRefund> {
    let part = |(line, minor): (&OrderLine, &i64)| LineRefund {
        line_id: line.id.clone(),
        cancel: 0,
        give_back: 0,
        sellable: 0,
        money_minor: *minor,
    };
    lines.iter().zip(parts).filter(|(_, minor)| **minor > 0).map(part).collect()
}

/// The freight that no refund has taken.
///
/// # Errors
/// `freight_not_refundable`.
pub fn freight(order: &Order) -> Result<i64> {
    match orders::freight_left(order) {
        left_minor @ 1.. => Ok(left_minor),
        _ => Err(Failure::new(&FREIGHT_NOT_REFUNDABLE).field("/freight")),
    }
}

/// Where the shop is configured so: if what is kept no longer reaches the minimum spend of the order's coupon,
/// the refund is what was paid less what the kept units cost without the coupon, and at least nothing.
///
/// # Errors
/// The database.
pub async fn below_minimum(
    conn: &mut Conn,
    ctx: &Ctx,
    order: &Order,
    lines: &[OrderLine],
    parts: Vec<LineRefund>,
) -> Result<Vec<LineRefund>> {
    let takes_units = parts.iter().any(|part| part.cancel + part.give_back > 0);
    let is_kept = ctx.config.refunds.below_minimum_spend == BelowMinimum::Keep;
    if is_kept || !takes_units || order.coupon_id.is_none() {
        return Ok(parts);
    }
    let kept = kept_units(lines, &parts);
    let basket: Vec<LineIn> = lines
        .iter()
        .zip(&kept)
        .map(|(line, units)| LineIn {
            sku_id: line.sku_id.clone(),
            unit_price_minor: line.unit_price_minor,
            quantity: *units,
        })
        .collect();
    let coupons = coupons::used_by(conn, &order.id).await?;
    if coupons.iter().all(|coupon| coupon.is_reached_by(&basket)) {
        return Ok(parts);
    }
    Ok(repriced(lines, &kept, parts))
}

/// Units of each line that stay with the customer.
fn kept_units(lines: &[OrderLine], parts: &[LineRefund]) -> Vec<i64> {
    let taken = |line: &OrderLine| {
        let part = parts.iter().find(|part| part.line_id == line.id);
        line.taken_back() + part.map_or(0, |part| part.cancel + part.give_back)
    };
    lines.iter().map(|line| line.quantity - taken(line)).collect()
}

fn repriced(lines: &[OrderLine], kept: &[i64], mut parts: Vec<LineRefund>) -> Vec<LineRefund> {
    let kept_minor: i64 = lines
        .iter()
        .zip(kept)
        .map(|(line, units)| units * line.unit_price_minor + line.tax_minor * units / line.quantity)
        .sum();
    let left_minor: i64 = lines.iter().map(orders::money_left).sum();
    let total_minor = (left_minor - kept_minor).max(0);
    let usual: Vec<i64> = parts.iter().map(|part| part.money_minor).collect();
    let surplus_minor = total_minor - usual.iter().sum::<i64>();
    if surplus_minor <= 0 {
        for (part, minor) in parts.iter_mut().zip(split_by(total_minor, &usual)) {
            part.money_minor = minor;
        }
        return parts;
    }
    // What earlier refunds held back on lines of which nothing is left comes with this one.
    let held_back: Vec<i64> = lines
        .iter()
        .zip(kept)
        .map(|(line, units)| {
            let is_over = *units == 0 && !parts.iter().any(|part| part.line_id == line.id);
            if is_over { orders::money_left(line) } else { 0 }
        })
        .collect();
    let surplus_minor = surplus_minor.min(held_back.iter().sum());
    if surplus_minor > 0 {
        parts.extend(money_parts(lines, &split_by(surplus_minor, &held_back)));
    }
    parts
}

//! A new price before payment, by staff. Nobody pays a price that is no more: with an attempt open the new
//! price waits until the channel has proved that the attempt can't be paid, and is dropped if it was.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::moves::{advance, record, stage};
use super::{ORDER_CHANGED, ORDER_NOT_REPRICEABLE, Order, OrderLine, OrderMove, OrderStatus, sql};
use crate::catalog::PRICE_MAX_MINOR;
use crate::events::Event;
use crate::kernel::{Actor, Failure, Money, OrderLineId, Result, StaffId};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::pricing::{self, PricedLine, Unfit};

/// What the customer reads beside a discount by staff.
const DISCOUNT_NAME: &str = "商家优惠";
/// The alert of a new price that came too late; its object is the order.
const DROPPED: &str = "reprice_dropped";

/// A new unit price of a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinePrice {
    pub line_id: OrderLineId,
    pub unit_price: Money,
}

/// What an order is to cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewPrices {
    /// Lines that are not named keep their price.
    pub lines: Vec<LinePrice>,
    /// Off all lines together, in place of an earlier one; `None`: none.
    pub discount: Option<Money>,
    pub reason: String,
}

/// What became of new prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repriced {
    Applied,
    /// They wait: the open attempt is to be closed at the channel first.
    Waits,
}

/// New prices that wait, as they are stored.
#[derive(Serialize, Deserialize)]
struct Pending {
    staff: StaffId,
    prices: NewPrices,
    payable_minor: i64,
}

/// The lines and sums of an order at its new prices.
struct Worked {
    lines: Vec<PricedLine>,
    order: Order,
}

/// Gives a held order new prices, or has them wait for its open attempt.
///
/// # Errors
/// `order_not_repriceable`; `invalid_request` where a price can't be.
pub async fn reprice(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    staff: &StaffId,
    prices: &NewPrices,
) -> Result<Repriced> {
    if order.status != OrderStatus::PendingPayment {
        return Err(Failure::new(&ORDER_NOT_REPRICEABLE));
    }
    let lines = sql::find_lines(tx, &order.id).await?;
    let worked = work_out(order, &lines, prices)?;
    let actor = Actor::Staff(staff.clone());
    if order.open_attempt.is_none() {
        apply(tx, ctx, order, &actor, &lines, worked, &prices.reason).await?;
        return Ok(Repriced::Applied);
    }
    let payable_minor = worked.order.payable_minor;
    let pending = Pending { staff: staff.clone(), prices: prices.clone(), payable_minor };
    let pending = serde_json::to_string(&pending).map_err(|e| Failure::internal("writing new prices", e))?;
    sql::set_pending_reprice(tx, &order.id, Some(&pending)).await?;
    order.pending_reprice = Some(pending);
    let detail =
        json!({ "from_minor": order.payable_minor, "to_minor": payable_minor, "reason": prices.reason });
    advance(tx, ctx, order, OrderMove::RepriceRequested, &actor, detail).await?;
    Ok(Repriced::Waits)
}

/// What the order would cost. Pure.
fn work_out(order: &Order, lines: &[OrderLine], prices: &NewPrices) -> Result<Worked> {
    let same_currency = |money: &Money, field: String| match money.currency == order.currency {
        true => Ok(()),
        false => {
            Err(Failure::invalid(format!("{field}/currency"), format!("the order is in {}", order.currency)))
        }
    };
    if prices.lines.is_empty() && prices.discount.is_none() {
        return Err(Failure::invalid("/lines", "give new prices, a discount, or both"));
    }
    let mut unit_prices: Vec<i64> = lines.iter().map(|line| line.unit_price_minor).collect();
    for (index, price) in prices.lines.iter().enumerate() {
        let at = lines.iter().position(|line| line.id == price.line_id);
        let again = prices.lines[..index].iter().any(|before| before.line_id == price.line_id);
        let Some(at) = at.filter(|_| !again) else {
            return Err(Failure::invalid(
                format!("/lines/{index}/line_id"),
                "is no line of this order, or is named twice",
            ));
        };
        same_currency(&price.unit_price, format!("/lines/{index}/unit_price"))?;
        if !(0..=PRICE_MAX_MINOR).contains(&price.unit_price.amount) {
            let why = format!("must be from 0 to {PRICE_MAX_MINOR}");
            return Err(Failure::invalid(format!("/lines/{index}/unit_price/amount"), why));
        }
        unit_prices[at] = price.unit_price.amount;
    }
    let discount_minor = match &prices.discount {
        Some(discount) => {
            same_currency(discount, "/discount".to_owned())?;
            discount.amount
        }
        None => 0,
    };
    let before: Vec<PricedLine> = lines.iter().map(priced).collect();
    let place = |at: usize| prices.lines.iter().position(|price| price.line_id == lines[at].id);
    let lines =
        pricing::reprice(&before, &unit_prices, discount_minor, DISCOUNT_NAME).map_err(
            |unfit| match unfit {
                Unfit::BelowShares { index, least_minor } => Failure::invalid(
                    format!("/lines/{}/unit_price/amount", place(index).unwrap_or_default()),
                    format!("must be at least {least_minor}: coupons took the rest off already"),
                ),
                Unfit::DiscountTooLarge { most_minor } => {
                    Failure::invalid("/discount/amount", format!("must be from 0 to {most_minor}"))
                }
                Unfit::OutOfRange => Failure::invalid("/lines", "a price is out of range"),
            },
        )?;
    let goods_minor = lines.iter().map(|line| line.net_minor).sum::<i64>();
    let gross_minor = lines.iter().map(|line| line.gross_minor).sum::<i64>();
    let total_minor = goods_minor + order.freight_minor + order.tax_minor;
    let payable_minor = total_minor - order.wallet_minor;
    if payable_minor < 1 {
        let field = if discount_minor > 0 { "/discount/amount" } else { "/lines" };
        return Err(Failure::invalid(field, "something must be left to pay: cancel the order instead"));
    }
    let discount_minor = gross_minor - goods_minor;
    let order = Order { goods_minor, discount_minor, total_minor, payable_minor, ..order.clone() };
    Ok(Worked { lines, order })
}

fn priced(line: &OrderLine) -> PricedLine {
    PricedLine {
        sku_id: line.sku_id.clone(),
        unit_price_minor: line.unit_price_minor,
        quantity: line.quantity,
        gross_minor: line.gross_minor,
        shares: line.shares(),
        net_minor: line.net_minor,
    }
}

async fn apply(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    lines: &[OrderLine],
    worked: Worked,
    reason: &str,
) -> Result<()> {
    for (line, priced) in lines.iter().zip(&worked.lines) {
        let shares = serde_json::to_string(&priced.shares);
        let price = sql::NewPrice {
            line: &line.id,
            unit_price_minor: priced.unit_price_minor,
            gross_minor: priced.gross_minor,
            net_minor: priced.net_minor,
            shares: shares.map_err(|e| Failure::internal("writing a line", e))?,
        };
        sql::set_line_price(tx, &order.id, &price).await?;
    }
    if !sql::set_prices(tx, &worked.order).await? {
        return Err(Failure::new(&ORDER_CHANGED));
    }
    let from_minor = order.payable_minor;
    *order = Order { pending_reprice: None, ..worked.order };
    let detail = json!({ "from_minor": from_minor, "to_minor": order.payable_minor, "reason": reason });
    advance(tx, ctx, order, OrderMove::Repriced, actor, detail).await?;
    let event = Event::OrderRepriced { order_id: order.id.clone(), user_id: order.user_id.clone() };
    stage(tx, ctx, order, event).await
}

/// The attempt for which new prices of a held order waited can't be paid any more: they are true now.
pub(super) async fn apply_pending(tx: &mut Tx<'_>, ctx: &Ctx, order: &mut Order) -> Result<()> {
    let Some(pending) = pending(order) else { return Ok(()) };
    let lines = sql::find_lines(tx, &order.id).await?;
    match work_out(order, &lines, &pending.prices) {
        Ok(worked) => {
            let actor = Actor::Staff(pending.staff);
            apply(tx, ctx, order, &actor, &lines, worked, &pending.prices.reason).await
        }
        // Nothing else changes the lines of an order that waits, so this is a fault of ours; the order goes on.
        Err(failure) => {
            tracing::error!(order.id = %order.id, "new prices of order {} do not fit: {failure}", order.id);
            drop_pending(tx, ctx, order, &Actor::System("reprice"), "does_not_fit").await
        }
    }
}

/// New prices of a held order that wait will never be true: it was paid, cancelled, or is under review. Money
/// that came at the old price is shown to staff.
///
/// # Errors
/// The database.
pub async fn drop_pending(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    order: &mut Order,
    actor: &Actor,
    why: &str,
) -> Result<()> {
    let Some(pending) = pending(order) else { return Ok(()) };
    sql::set_pending_reprice(tx, &order.id, None).await?;
    order.pending_reprice = None;
    let (from_minor, to_minor) = (order.payable_minor, pending.payable_minor);
    let detail = json!({
        "why": why, "from_minor": from_minor, "to_minor": to_minor, "reason": pending.prices.reason,
    });
    record(tx, ctx, order, OrderMove::RepriceDropped, actor, detail).await?;
    if why == "cancelled" {
        return Ok(());
    }
    let what = format!("asked for {from_minor} {}, was to become {to_minor}: {why}", order.currency);
    alerts::open(tx, ctx, DROPPED, order.id.as_str(), &what).await
}

fn pending(order: &Order) -> Option<Pending> {
    serde_json::from_str(order.pending_reprice.as_deref()?).ok()
}

/// What an order will cost once its open attempt is closed, if staff has asked for that.
pub fn pending_payable_minor(order: &Order) -> Option<i64> {
    pending(order).map(|pending| pending.payable_minor)
}

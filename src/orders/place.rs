//! Placing an order: one transaction takes the quote, the stock and the coupon, and stages what follows.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::quote_json;
use super::moves::{stage, write_row};
use super::quote::{self, QuoteRequest, Worked};
use super::quote_token::{self, QuotePayload};
use super::{
    Fulfilment, Order, OrderLine, OrderMove, OrderStatus, PayStatus, QUOTE_CHANGED, QUOTE_TOKEN_INVALID,
    RefundStatus, paid, sql,
};
use crate::addresses::Address;
use crate::catalog::stock::{self, LockLine};
use crate::coupons;
use crate::events::Event;
use crate::identity;
use crate::kernel::{Actor, Failure, OrderId, OrderLineId, Result, UserId, minute_ms};
use crate::platform::bus::{self, Staged};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};

/// Which order it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlaceOutcome {
    pub order_id: OrderId,
    /// The quote had been ordered before, by a request with another key.
    pub again: bool,
}

/// Purpose under which an order's address is encrypted.
const ADDRESS_PURPOSE: &str = "order.address";

/// Where an order goes, as it was when it was placed.
///
/// # Errors
/// The address can't be decrypted: the master key has changed.
pub fn delivery_address(ctx: &Ctx, order: &Order) -> Result<Option<Address>> {
    let Some(sealed) = &order.address_sealed else { return Ok(None) };
    let json = ctx.secrets.open(ADDRESS_PURPOSE, sealed)?;
    let address = serde_json::from_str(&json).map_err(|e| Failure::internal("reading an address", e))?;
    Ok(Some(address))
}

/// Places what `token` quotes.
///
/// # Errors
/// `quote_token_invalid`; `quote_changed` with the new quote; whatever can't be ordered any more;
/// `unauthenticated` when the account is deleted at this moment.
pub async fn place(
    ctx: &Ctx,
    user: &UserId,
    key: &Key,
    token: &str,
    note: Option<&str>,
) -> Result<Done<PlaceOutcome>> {
    let payload = quote_token::open(&ctx.secrets, user, token)?;
    let payload = &payload;
    let placed = key.run(ctx, |tx| Box::pin(place_in(tx, ctx, user, payload, note))).await;
    match placed {
        Err(failure) if failure.is(&QUOTE_CHANGED) => Err(with_new_quote(ctx, user, payload, failure).await),
        placed => placed.map(|done| Done { replayed: done.replayed || done.value.again, value: done.value }),
    }
}

/// The stale quote's answer carries a fresh one, unless what was wanted can't be had at all any more: then
/// that is the answer.
async fn with_new_quote(ctx: &Ctx, user: &UserId, payload: &QuotePayload, stale: Failure) -> Failure {
    match quote::quote(ctx, user, &request_of(payload)).await {
        Ok(fresh) => stale.with("quote", quote_json(&fresh)),
        Err(failure) => failure,
    }
}

fn request_of(payload: &QuotePayload) -> QuoteRequest {
    QuoteRequest {
        store_id: payload.store_id.clone(),
        fulfilment: payload.fulfilment,
        lines: Some(payload.lines.clone()),
        address_id: payload.address_id.clone(),
        coupon_ids: payload.coupon_ids.clone(),
    }
}

async fn place_in(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    user: &UserId,
    payload: &QuotePayload,
    note: Option<&str>,
) -> Result<PlaceOutcome> {
    identity::hold(tx, user).await?;
    if let Some((order_id, owner)) = sql::find_by_quote(tx, &payload.nonce).await? {
        return used_before(user, order_id, &owner);
    }
    let worked = match as_quoted(tx, ctx, user, payload).await {
        Ok(worked) => worked,
        // It may differ because the same quote was ordered in this very moment, and has what it asked for.
        Err(failure) if failure.is_final() => {
            return match sql::find_by_quote(tx, &payload.nonce).await? {
                Some((order_id, owner)) => used_before(user, order_id, &owner),
                None => Err(failure),
            };
        }
        Err(failure) => return Err(failure),
    };
    let mut order = draft(ctx, user, payload, &worked, note)?;
    let phone_hash =
        worked.address.as_ref().map(|address| ctx.secrets.index("phone", address.phone.as_str()));
    let phone_hash = match phone_hash {
        Some(hash) => Some(hash),
        None => identity::phone_hash(tx, user).await?,
    };
    if !sql::insert_order(tx, &order, &payload.nonce, phone_hash.as_deref()).await? {
        // Somebody with the same quote was faster: what they placed is the answer.
        return match sql::find_by_quote(tx, &payload.nonce).await? {
            Some((order_id, owner)) => used_before(user, order_id, &owner),
            None => Err(Failure::internal("placing an order", "an order id was given twice")),
        };
    }
    let locks = insert_lines(tx, ctx, &order, &worked).await?;
    match order.fulfilment {
        Fulfilment::InStore => {
            let actor = Actor::User(user.clone());
            stock::lock_in_hand(tx, ctx, &actor, &order.id, &order.store_id, &locks).await?;
        }
        Fulfilment::Delivery | Fulfilment::Pickup => {
            stock::lock(tx, &order.id, &order.store_id, &locks).await?;
        }
    }
    if let Some(coupon) = &order.coupon_id {
        coupons::lock(tx, ctx, user, coupon, &order.id).await?;
    }
    announce(tx, ctx, user, &mut order).await?;
    Ok(PlaceOutcome { order_id: order.id, again: false })
}

/// What is to be ordered, if it is still what was quoted.
async fn as_quoted(tx: &mut Tx<'_>, ctx: &Ctx, user: &UserId, payload: &QuotePayload) -> Result<Worked> {
    if payload.expires_ms <= ctx.clock.now_ms() {
        return Err(Failure::new(&QUOTE_CHANGED).detail("The quote has expired; `quote` is a new one."));
    }
    let worked = quote::work_out(tx, ctx, user, &request_of(payload)).await?;
    let address_hash = worked.address.as_ref().map(quote::address_hash).transpose()?;
    if worked.priced != payload.priced || address_hash != payload.address_hash {
        return Err(Failure::new(&QUOTE_CHANGED));
    }
    Ok(worked)
}

fn used_before(user: &UserId, order_id: OrderId, owner: &UserId) -> Result<PlaceOutcome> {
    if owner == user {
        Ok(PlaceOutcome { order_id, again: true })
    } else {
        Err(Failure::new(&QUOTE_TOKEN_INVALID).field("/quote_token"))
    }
}

fn draft(
    ctx: &Ctx,
    user: &UserId,
    payload: &QuotePayload,
    worked: &Worked,
    note: Option<&str>,
) -> Result<Order> {
    let now_ms = ctx.clock.now_ms();
    let priced = &worked.priced;
    let free = priced.total_minor == 0;
    let address_sealed = worked
        .address
        .as_ref()
        .map(|address| {
            let json =
                serde_json::to_string(address).map_err(|e| Failure::internal("writing an address", e))?;
            Ok::<_, Failure>(ctx.secrets.seal(ADDRESS_PURPOSE, &json)?)
        })
        .transpose()?;
    Ok(Order {
        id: ctx.new_id(),
        user_id: user.clone(),
        store_id: payload.store_id.clone(),
        fulfilment: payload.fulfilment,
        status: if free { OrderStatus::Paid } else { OrderStatus::PendingPayment },
        close_reason: None,
        pay_status: PayStatus::Unpaid,
        refund_status: RefundStatus::None,
        currency: worked.currency,
        goods_minor: priced.goods_minor,
        discount_minor: priced.discount_minor,
        freight_minor: priced.freight_minor,
        tax_minor: 0,
        total_minor: priced.total_minor,
        wallet_minor: 0,
        payable_minor: priced.total_minor,
        paid_minor: 0,
        refunded_minor: 0,
        refunding_minor: 0,
        freight_refunded_minor: 0,
        freight_refunding_minor: 0,
        coupon_id: payload.coupon_ids.first().cloned(),
        note: note.unwrap_or_default().trim().to_owned(),
        address_sealed,
        open_attempt: None,
        open_refunds: 0,
        compensation_refund: None,
        ship_hold_ms: None,
        placed_ms: now_ms,
        pay_before_ms: now_ms + minute_ms(ctx.config.orders.pay_minutes),
        paid_ms: None,
        closed_ms: None,
        shipped_ms: None,
        completed_ms: None,
        finished_ms: None,
        complete_at_ms: None,
        complete_due_ms: None,
        finish_at_ms: None,
        finish_due_ms: None,
        pickup_code: None,
        pickup_code_open: None,
        ready_ms: None,
        pickup_next_ms: None,
        close_note: None,
        pending_reprice: None,
        version: 1,
        event_seq: 0,
    })
}

async fn insert_lines(tx: &mut Tx<'_>, ctx: &Ctx, order: &Order, worked: &Worked) -> Result<Vec<LockLine>> {
    let mut locks = Vec::with_capacity(worked.priced.lines.len());
    for (position, (priced, offer)) in (1_i64..).zip(worked.priced.lines.iter().zip(&worked.offers)) {
        let line = OrderLine {
            id: ctx.new_id::<OrderLineId>(),
            position,
            product_id: offer.product_id.clone(),
            sku_id: offer.sku_id.clone(),
            product_name: offer.product_name.clone(),
            sku_name: offer.sku_name.clone(),
            image: offer.image.clone(),
            unit_price_minor: priced.unit_price_minor,
            quantity: priced.quantity,
            gross_minor: priced.gross_minor,
            net_minor: priced.net_minor,
            tax_minor: 0,
            shares: serde_json::to_string(&priced.shares)
                .map_err(|e| Failure::internal("writing a line", e))?,
            shipped: 0,
            cancelled: 0,
            cancel_locked: 0,
            returned: 0,
            return_locked: 0,
            refunded_minor: 0,
            refunding_minor: 0,
        };
        sql::insert_line(tx, &order.id, &line).await?;
        locks.push(LockLine { line_id: line.id, sku_id: line.sku_id, quantity: line.quantity });
    }
    Ok(locks)
}

/// The first timeline row, and what others learn of the new order.
async fn announce(tx: &mut Tx<'_>, ctx: &Ctx, user: &UserId, order: &mut Order) -> Result<()> {
    let actor = Actor::User(user.clone());
    let free = order.status == OrderStatus::Paid;
    let event = if free { OrderMove::PlacedFree } else { OrderMove::Placed };
    write_row(tx, ctx, order, None, event, &actor, json!({ "total_minor": order.total_minor })).await?;
    let placed = Event::OrderPlaced { order_id: order.id.clone(), user_id: user.clone() };
    stage(tx, ctx, order, placed).await?;
    if free {
        return paid::take_effect(tx, ctx, order).await;
    }
    let deadline = Event::PaymentDeadline { order_id: order.id.clone() };
    bus::stage(tx, ctx, &deadline, Staged::At(order.pay_before_ms)).await?;
    Ok(())
}

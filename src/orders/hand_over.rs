//! Handing goods over in the store: a code is looked up and shows what it opens, then staff hands over what it
//! saw. Who fetches shows the code; who bought beside the shelf shows it at the exit, or is found in the list.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::moves::hold;
use super::ready::NOT_FETCHED;
use super::{
    ALREADY_HANDED_OVER, Fulfilment, HAND_OVER_NOT_POSSIBLE, ORDER_CHANGED, Order, OrderMove, OrderStatus,
    PICKUP_CODE_UNKNOWN, PICKUP_TRIES_EXCEEDED, REFUND_OPEN, complete, pickup_code, sql,
};
use crate::kernel::{
    Actor, Code, Failure, Id, Limit, Millis, OrderId, Result, StaffId, StoreId, minute_ms, rfc3339,
};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};
use crate::platform::idempotency::{Done, Key};
use crate::platform::{alerts, audit};
use crate::staff::StoreScope;
use crate::stores::{self, STORE_NOT_FOUND, StoreKind};

/// Codes that open nothing which a member may enter at a store, and within which time.
const TRIES_MAX: i64 = 10;
const WINDOW_MS: Millis = minute_ms(15);

/// A code that somebody shows at a store.
#[derive(Debug, Clone)]
pub struct Shown {
    /// `None`: the one store that the member is there for.
    pub store: Option<StoreId>,
    /// As it was typed or scanned.
    pub code: String,
}

/// What a hand-over came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandedOver {
    pub order_id: OrderId,
}

/// Why an order can't be handed over now.
pub fn hand_over_refusal(order: &Order) -> Option<&'static Code> {
    match order.status {
        OrderStatus::Completed | OrderStatus::Finished if order.fulfilment != Fulfilment::Delivery => {
            Some(&ALREADY_HANDED_OVER)
        }
        OrderStatus::Paid | OrderStatus::ReadyForPickup
            if order.fulfilment != Fulfilment::Delivery && order.ship_hold_ms.is_none() =>
        {
            (order.open_refunds > 0).then_some(&REFUND_OPEN)
        }
        _ => Some(&HAND_OVER_NOT_POSSIBLE),
    }
}

fn refused(code: &'static Code, order: &Order) -> Failure {
    let failure = Failure::new(code).with("order_id", order.id.as_str().into());
    match order.completed_ms.filter(|_| code == &ALREADY_HANDED_OVER) {
        Some(at_ms) => failure.with("handed_over_at", rfc3339(at_ms).into()),
        None => failure,
    }
}

/// Looks a code up: what it opens, whether or not it can be handed over at this moment.
///
/// # Errors
/// `pickup_code_unknown`, after ten of them `pickup_tries_exceeded`; `already_handed_over` with when;
/// `hand_over_not_possible` when the order was refunded; `store_not_found`; `invalid_request` when the store
/// has to be named, or the code has not eight digits.
pub async fn verify(ctx: &Ctx, member: &StaffId, scope: &StoreScope, shown: &Shown) -> Result<Order> {
    let code = pickup_code::parse(&shown.code)?;
    let (code, asked) = (&code, shown.store.as_ref());
    let found = ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                let store = store_of(tx, scope, asked).await?;
                take_try(tx, member, &store, ctx.clock.now_ms()).await?;
                let found = sql::by_code(tx, &store, code).await?;
                if found.is_some() {
                    sql::forget_try(tx, member, &store).await?;
                }
                // Committed in any case: a wrong code is counted.
                Ok(found)
            })
        })
        .await?;
    let order = found.ok_or_else(|| Failure::new(&PICKUP_CODE_UNKNOWN).field("/code"))?;
    match hand_over_refusal(&order).filter(|_| order.pickup_code_open.is_none()) {
        Some(code) => Err(refused(code, &order)),
        None => Ok(order),
    }
}

/// The store at which the member stands.
async fn store_of(conn: &mut Conn, scope: &StoreScope, asked: Option<&StoreId>) -> Result<StoreId> {
    if let Some(store) = asked {
        return match stores::find(conn, store).await?.filter(|store| scope.has(&store.id)) {
            Some(store) => Ok(store.id),
            None => Err(Failure::new(&STORE_NOT_FOUND).field("/store_id")),
        };
    }
    let all = stores::list(conn, scope, None, Limit::parse(Some(Limit::MAX))?).await?.items;
    let mut places = all.into_iter().filter(|store| store.kind == StoreKind::Physical);
    match (places.next(), places.next()) {
        (Some(only), None) => Ok(only.id),
        _ => Err(Failure::invalid("/store_id", "is required: there is more than one store")),
    }
}

/// Somebody looks among all orders for a code: that is a try like one at the counter, and counted before.
///
/// # Errors
/// `pickup_tries_exceeded` after ten that found nothing.
pub async fn begin_code_search(ctx: &Ctx, member: &StaffId) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    ctx.db.write(|tx| Box::pin(async move { take_try(tx, member, &everywhere(), now_ms).await })).await
}

/// The search found something, so it was no try.
///
/// # Errors
/// The database.
pub async fn code_search_found(ctx: &Ctx, member: &StaffId) -> Result<()> {
    ctx.db.write(|tx| Box::pin(async move { sql::forget_try(tx, member, &everywhere()).await })).await
}

/// In the place of a store, for tries at no counter: the id of none.
fn everywhere() -> StoreId {
    StoreId::from_tail(&"0".repeat(26))
}

/// Counts a try before the code is looked up, so that parallel tries count, too.
async fn take_try(tx: &mut Tx<'_>, member: &StaffId, store: &StoreId, now_ms: Millis) -> Result<()> {
    let over_ms = now_ms - WINDOW_MS;
    let admitted = sql::count_try(tx, member, store, over_ms, TRIES_MAX).await?
        || sql::restart_tries(tx, member, store, over_ms, now_ms).await?
        || sql::first_try(tx, member, store, now_ms).await?
        // Somebody else made the row meanwhile.
        || sql::count_try(tx, member, store, over_ms, TRIES_MAX).await?;
    if admitted {
        return Ok(());
    }
    let since_ms = sql::tries_since(tx, member, store).await?.unwrap_or(now_ms);
    let wait_s = (since_ms + WINDOW_MS - now_ms).div_euclid(1_000) + 1;
    Err(Failure::new(&PICKUP_TRIES_EXCEEDED).retry_after_s(u32::try_from(wait_s).unwrap_or(1)))
}

/// Hands over what the code opens, if the order is still at the version that was seen.
///
/// # Errors
/// As [`verify`]; `order_changed`, `refund_open`, `hand_over_not_possible`, `already_handed_over`.
pub async fn hand_over(
    ctx: &Ctx,
    member: &StaffId,
    scope: &StoreScope,
    key: &Key,
    shown: &Shown,
    version: i64,
) -> Result<Done<HandedOver>> {
    // A repeat is answered before the code is looked up: it opens nothing any more.
    if let Some(done) = key.remembered(ctx).await? {
        return Ok(done);
    }
    let order = verify(ctx, member, scope, shown).await?;
    let (id, actor) = (&order.id, &Actor::Staff(member.clone()));
    key.run(ctx, |tx| Box::pin(hand_over_in(tx, ctx, actor, id, version, "handOverPickup"))).await
}

/// Staff has seen what a customer carries out of the store: the goods are theirs.
///
/// # Errors
/// `order_not_found`, `order_changed`, `refund_open`, `hand_over_not_possible`, `already_handed_over`.
pub async fn exit_check(
    ctx: &Ctx,
    actor: &Actor,
    key: &Key,
    id: &OrderId,
    version: i64,
) -> Result<Done<HandedOver>> {
    key.run(ctx, |tx| Box::pin(hand_over_in(tx, ctx, actor, id, version, "exitCheckOrder"))).await
}

async fn hand_over_in(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: &OrderId,
    version: i64,
    operation: &'static str,
) -> Result<HandedOver> {
    let mut order = hold(tx, id).await?;
    if let Some(code) = hand_over_refusal(&order) {
        return Err(refused(code, &order));
    }
    let event = match order.fulfilment {
        Fulfilment::InStore => OrderMove::ExitChecked,
        // Goods that wait behind the counter are handed over by their code, and by nothing else.
        _ if operation == "exitCheckOrder" => return Err(refused(&HAND_OVER_NOT_POSSIBLE, &order)),
        _ => OrderMove::PickedUp,
    };
    if order.version != version {
        return Err(Failure::new(&ORDER_CHANGED).with("version", order.version.into()));
    }
    let mut units = 0;
    for line in sql::find_lines(tx, id).await? {
        if !sql::hand_over_line(tx, id, &line.id).await? {
            return Err(Failure::new(&ORDER_CHANGED));
        }
        units += line.quantity - line.cancelled;
    }
    let before = order.status;
    sql::set_handed_over(tx, id, ctx.clock.now_ms()).await?;
    complete::completed(tx, ctx, &mut order, event, actor, json!({ "units": units })).await?;
    alerts::close(tx, ctx, NOT_FETCHED, id.as_str()).await?;
    let entry = audit::Entry {
        actor,
        operation,
        object: id.as_str(),
        before: Some(json!({ "status": before })),
        after: Some(json!({ "status": order.status, "units": units })),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(HandedOver { order_id: id.clone() })
}

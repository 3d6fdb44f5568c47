//! One order with everything that belongs to it, for its customer and for staff.

use poem_openapi::Object;

use super::pickup::{self, PickupView};
use super::timeline::{self, StaffTimelineEntry, TimelineEntry};
use crate::identity;
use crate::kernel::{Cursor, Failure, Limit, Money, OrderId, Page, Result, UserId};
use crate::orders::{
    self, Filter, Fulfilment, ORDER_NOT_FOUND, Order, OrderLine, OrderStatus, OrderView, order_view,
};
use crate::payments::{self, AttemptView, attempt_views};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::refunds::{RefundView, refund_views};
use crate::shipping::{ParcelView, UploadView, parcel_views, upload_view};
use crate::staff::StoreScope;

/// An order with everything that its page shows.
#[derive(Debug, Object)]
pub struct OrderDetail {
    #[oai(flatten)]
    pub order: OrderView,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// Attempts to pay, oldest first.
    pub attempts: Vec<AttemptView>,
    pub refunds: Vec<RefundView>,
    pub parcels: Vec<ParcelView>,
    /// Where it is handed over; absent: it is sent.
    #[oai(skip_serializing_if_is_none)]
    pub pickup: Option<PickupView>,
}

/// What staff can do with an order now.
#[derive(Debug, Object)]
pub struct StaffActions {
    pub can_ship: bool,
    pub can_cancel: bool,
    pub can_release_hold: bool,
    pub can_reprice: bool,
    /// To be fetched: the goods can be put together.
    pub can_mark_ready: bool,
    /// By its code.
    pub can_hand_over: bool,
    /// Without a code: it was bought beside the shelf.
    pub can_exit_check: bool,
}

/// An order as staff's list shows it.
#[derive(Debug, Object)]
pub struct StaffOrder {
    #[oai(flatten)]
    pub order: OrderView,
    pub user_id: UserId,
    /// Name it where something depends on what you see.
    pub version: i64,
    pub staff_actions: StaffActions,
}

/// An order with everything that staff sees.
#[derive(Debug, Object)]
pub struct StaffOrderDetail {
    #[oai(flatten)]
    pub order: OrderView,
    pub user_id: UserId,
    pub user_nickname: String,
    #[oai(skip_serializing_if_is_none)]
    pub user_phone_masked: Option<String>,
    /// Name it where something depends on what you see.
    pub version: i64,
    /// What it will cost once its open payment is closed at the channel.
    #[oai(skip_serializing_if_is_none)]
    pub reprice_pending_to: Option<Money>,
    pub staff_actions: StaffActions,
    /// Every move, oldest first.
    pub timeline: Vec<StaffTimelineEntry>,
    pub attempts: Vec<AttemptView>,
    pub refunds: Vec<RefundView>,
    pub parcels: Vec<ParcelView>,
    /// What WeChat was told about the parcels.
    #[oai(skip_serializing_if_is_none)]
    pub upload: Option<UploadView>,
}

fn not_found() -> Failure {
    Failure::new(&ORDER_NOT_FOUND)
}

/// A customer's own order.
///
/// # Errors
/// `order_not_found`.
pub async fn detail(ctx: &Ctx, user: &UserId, id: &OrderId) -> Result<OrderDetail> {
    let conn = &mut *ctx.db.reader().await?;
    let order = orders::find_owned(conn, id, user).await?.ok_or_else(not_found)?;
    let lines = orders::find_lines(conn, id).await?;
    let attempts = payments::of_order(conn, id).await?;
    let mut view = order_view(ctx, &order, &lines)?;
    view.actions.can_pay = payments::can_pay(&order, &attempts, ctx.clock.now_ms());
    Ok(OrderDetail {
        order: view,
        pickup: pickup::pickup_view(conn, &order).await?,
        timeline: timeline::for_customer(order.fulfilment, orders::timeline(conn, id).await?),
        attempts: attempt_views(attempts),
        refunds: refund_views(conn, id).await?,
        parcels: parcel_views(conn, id).await?,
    })
}

/// A customer's own order, by the number that WeChat knows its payment by.
///
/// # Errors
/// `order_not_found`.
pub async fn detail_by_payment(ctx: &Ctx, user: &UserId, out_trade_no: &str) -> Result<OrderDetail> {
    let mchid = &ctx.config.wechat_pay.mchid;
    let attempt = payments::by_number(&mut *ctx.db.reader().await?, mchid, out_trade_no).await?;
    detail(ctx, user, &attempt.ok_or_else(not_found)?.order_id).await
}

/// Any order, for staff.
///
/// # Errors
/// `order_not_found`.
pub async fn staff_detail(ctx: &Ctx, id: &OrderId) -> Result<StaffOrderDetail> {
    let conn = &mut *ctx.db.reader().await?;
    let order = orders::find(conn, id).await?.ok_or_else(not_found)?;
    let lines = orders::find_lines(conn, id).await?;
    let user = identity::summary(conn, &order.user_id).await?;
    let (user_nickname, user_phone_masked) =
        user.map(|user| (user.nickname, user.phone_masked)).unwrap_or_default();
    Ok(StaffOrderDetail {
        order: order_view(ctx, &order, &lines)?,
        staff_actions: staff_actions(&order, &lines),
        version: order.version,
        reprice_pending_to: orders::pending_payable_minor(&order)
            .map(|payable_minor| Money::new(payable_minor, order.currency)),
        user_id: order.user_id,
        user_nickname,
        user_phone_masked,
        timeline: timeline::for_staff(order.fulfilment, orders::timeline(conn, id).await?),
        attempts: attempt_views(payments::of_order(conn, id).await?),
        refunds: refund_views(conn, id).await?,
        parcels: parcel_views(conn, id).await?,
        upload: upload_view(conn, id).await?,
    })
}

/// Everybody's orders, newest first.
///
/// # Errors
/// The database.
pub async fn staff_list(
    ctx: &Ctx,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<StaffOrder>> {
    let page = orders::list_all(ctx, filter, after, limit).await?;
    let items = page.items.into_iter().map(|(order, lines)| staff_order(ctx, order, &lines));
    Ok(Page { items: items.collect::<Result<_>>()?, next: page.next })
}

/// The order of these stores that a number names: its own id, an out_trade_no, or a transaction id of the
/// channel.
///
/// # Errors
/// The database.
pub async fn search(ctx: &Ctx, scope: &StoreScope, number: &str) -> Result<Option<StaffOrder>> {
    let conn = &mut *ctx.db.reader().await?;
    let Some(id) = named(ctx, conn, number).await? else { return Ok(None) };
    let order = orders::find(conn, &id).await?;
    let Some(order) = order.filter(|order| scope.has(&order.store_id)) else { return Ok(None) };
    let lines = orders::find_lines(conn, &id).await?;
    staff_order(ctx, order, &lines).map(Some)
}

async fn named(ctx: &Ctx, conn: &mut Conn, number: &str) -> Result<Option<OrderId>> {
    if let Ok(id) = number.parse() {
        return Ok(Some(id));
    }
    let mchid = &ctx.config.wechat_pay.mchid;
    let attempt = match payments::by_number(conn, mchid, number).await? {
        Some(attempt) => Some(attempt),
        None => payments::by_transaction(conn, number).await?,
    };
    Ok(attempt.map(|attempt| attempt.order_id))
}

/// An order as lists of staff show it.
///
/// # Errors
/// The address can't be decrypted: the master key has changed.
pub fn staff_order(ctx: &Ctx, order: Order, lines: &[OrderLine]) -> Result<StaffOrder> {
    Ok(StaffOrder {
        order: order_view(ctx, &order, lines)?,
        version: order.version,
        staff_actions: staff_actions(&order, lines),
        user_id: order.user_id,
    })
}

fn staff_actions(order: &Order, lines: &[OrderLine]) -> StaffActions {
    let is_paid = matches!(order.status, OrderStatus::Paid | OrderStatus::PartiallyShipped);
    let on_hold = order.ship_hold_ms.is_some();
    let is_left = is_paid && !on_hold && lines.iter().any(|line| line.shippable() > 0);
    let can_hand_over = orders::hand_over_refusal(order).is_none();
    StaffActions {
        can_ship: is_left && order.fulfilment == Fulfilment::Delivery,
        can_reprice: order.status == OrderStatus::PendingPayment,
        can_mark_ready: is_left && order.fulfilment == Fulfilment::Pickup,
        can_hand_over,
        can_exit_check: can_hand_over && order.fulfilment == Fulfilment::InStore,
        can_cancel: order.status == OrderStatus::PendingPayment,
        can_release_hold: on_hold && order.open_refunds == 0,
    }
}

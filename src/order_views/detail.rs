//! One order with everything that belongs to it, for its customer and for staff.

use poem_openapi::Object;

use super::pickup::{self, PickupView};
use super::timeline::{self, Names, StaffTimelineEntry, TimelineEntry};
use crate::identity;
use crate::kernel::{Failure, Money, OrderId, Result, UserId};
use crate::orders::{
    self, Fulfilment, ORDER_NOT_FOUND, Order, OrderLine, OrderStatus, OrderView, TimelineRow, order_view,
};
use crate::payments::{self, AttemptView, attempt_views};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::refunds::{RefundView, refund_views};
use crate::shipping::{ParcelView, UploadView, parcel_views, upload_view};
use crate::staff;

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
    let rows = orders::timeline(conn, id).await?;
    let staff = staff::names(conn, &timeline::staff_in(&rows)).await?;
    let names = Names { customer: user_nickname.clone(), staff };
    Ok(StaffOrderDetail {
        order: masked(order_view(ctx, &order, &lines)?),
        staff_actions: staff_actions(&order, &lines),
        version: order.version,
        reprice_pending_to: orders::pending_payable_minor(&order)
            .map(|payable_minor| Money::new(payable_minor, order.currency)),
        user_id: order.user_id,
        user_nickname,
        user_phone_masked,
        timeline: timeline::for_staff(order.fulfilment, rows, &names, order.currency),
        attempts: attempt_views(payments::of_order(conn, id).await?),
        refunds: refund_views(conn, id).await?,
        parcels: parcel_views(conn, id).await?,
        upload: upload_view(conn, id).await?,
    })
}

/// One move of an order, as staff reads it.
///
/// # Errors
/// `order_not_found`.
pub async fn staff_move(conn: &mut Conn, id: &OrderId, row: TimelineRow) -> Result<Vec<StaffTimelineEntry>> {
    let order = orders::find(conn, id).await?.ok_or_else(not_found)?;
    let user = identity::summary(conn, &order.user_id).await?;
    let customer = user.map(|user| user.nickname).unwrap_or_default();
    let rows = vec![row];
    let names = Names { customer, staff: staff::names(conn, &timeline::staff_in(&rows)).await? };
    Ok(timeline::for_staff(order.fulfilment, rows, &names, order.currency))
}

/// Whom it goes to is shown in full only to who asks for it, see [`orders::reveal_recipients`].
fn masked(mut order: OrderView) -> OrderView {
    if let Some(address) = &mut order.address {
        address.recipient = mask(&address.recipient);
        address.detail = "***".to_owned();
    }
    order
}

/// The first character of a name: `林**`.
fn mask(name: &str) -> String {
    let first: String = name.chars().take(1).collect();
    format!("{first}**")
}

/// An order as lists of staff show it.
///
/// # Errors
/// The address can't be decrypted: the master key has changed.
pub fn staff_order(ctx: &Ctx, order: Order, lines: &[OrderLine]) -> Result<StaffOrder> {
    Ok(StaffOrder {
        order: masked(order_view(ctx, &order, lines)?),
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

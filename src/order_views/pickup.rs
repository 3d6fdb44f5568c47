//! Handing over in the store: what the customer shows, and what staff sees before it gives anything away.

use poem_openapi::Object;

use crate::identity;
use crate::kernel::{Failure, Money, OrderId, OrderLineId, Result, SkuId, StoreId, UserId, qr, rfc3339};
use crate::orders::{
    self, Action, Fulfilment, ORDER_NOT_FOUND, Order, OrderLine, OrderStatus, hand_over_refusal,
};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::stores;

/// Pixels of a pickup code's picture.
const QR_WIDTH: usize = 430;

/// Where an order is handed over, and by which code.
#[derive(Debug, Object)]
pub struct PickupView {
    pub store_name: String,
    pub store_address: String,
    pub store_phone: String,
    /// Show it in the store, or the picture of GET /orders/{order_id}/pickup-qr; absent until it is paid.
    #[oai(skip_serializing_if_is_none)]
    pub code: Option<String>,
    /// Does the code still open something? Not once the order has ended.
    pub code_is_open: bool,
    /// Since when it can be fetched.
    #[oai(skip_serializing_if_is_none)]
    pub ready_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub handed_over_at: Option<String>,
}

/// A line that is to be handed over.
#[derive(Debug, Object)]
pub struct HandOverLine {
    pub line_id: OrderLineId,
    pub sku_id: SkuId,
    pub product_name: String,
    pub sku_name: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    /// What was ordered, less what was refunded.
    pub quantity: i64,
}

/// What a code opens. Nothing is handed over yet.
#[derive(Debug, Object)]
pub struct PickupPreview {
    pub order_id: OrderId,
    /// Name it when you hand over: an order that changed meanwhile is not.
    pub version: i64,
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub status: OrderStatus,
    pub lines: Vec<HandOverLine>,
    pub paid: Money,
    /// What the customer wrote for the store.
    pub note: String,
    pub customer_nickname: String,
    #[oai(skip_serializing_if_is_none)]
    pub customer_phone_masked: Option<String>,
    pub placed_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub ready_at: Option<String>,
    /// Whether it can be handed over now, and if not, the `code` that trying it would answer.
    pub hand_over: Action,
}

/// Where an order of a customer is handed over; `None`: it is sent in parcels.
pub(super) async fn pickup_view(conn: &mut Conn, order: &Order) -> Result<Option<PickupView>> {
    if order.fulfilment == Fulfilment::Delivery {
        return Ok(None);
    }
    let store = stores::find(conn, &order.store_id).await?;
    let store = store.ok_or_else(|| Failure::internal("showing an order", "its store is gone"))?;
    let handed_over_ms = order.completed_ms;
    Ok(Some(PickupView {
        store_address: store.whole_address(),
        store_name: store.details.name,
        store_phone: store.details.phone,
        code: order.pickup_code.clone(),
        code_is_open: order.pickup_code_open.is_some(),
        ready_at: order.ready_ms.map(rfc3339),
        handed_over_at: handed_over_ms.map(rfc3339),
    }))
}

/// The pickup code of a customer's own order, as a picture.
///
/// # Errors
/// `order_not_found`, also while there is no code that opens something.
pub async fn pickup_qr(ctx: &Ctx, user: &UserId, id: &OrderId) -> Result<Vec<u8>> {
    let order = orders::find_owned(&mut *ctx.db.reader().await?, id, user).await?;
    let code =
        order.and_then(|order| order.pickup_code_open).ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
    qr::jpeg(&code, QR_WIDTH).ok_or_else(|| Failure::internal("drawing a pickup code", "it does not fit"))
}

/// What a code opens, for staff.
///
/// # Errors
/// The database.
pub async fn pickup_preview(ctx: &Ctx, order: Order) -> Result<PickupPreview> {
    let conn = &mut *ctx.db.reader().await?;
    let lines = orders::find_lines(conn, &order.id).await?;
    let user = identity::summary(conn, &order.user_id).await?;
    let (customer_nickname, customer_phone_masked) =
        user.map(|user| (user.nickname, user.phone_masked)).unwrap_or_default();
    let refusal = hand_over_refusal(&order);
    let line = |line: OrderLine| HandOverLine {
        quantity: line.quantity - line.cancelled,
        line_id: line.id,
        sku_id: line.sku_id,
        product_name: line.product_name,
        sku_name: line.sku_name,
        image: line.image,
    };
    Ok(PickupPreview {
        version: order.version,
        fulfilment: order.fulfilment,
        status: order.status,
        lines: lines.into_iter().filter(|line| line.quantity > line.cancelled).map(line).collect(),
        paid: Money::new(order.paid_minor, order.currency),
        note: order.note,
        customer_nickname,
        customer_phone_masked,
        placed_at: rfc3339(order.placed_ms),
        ready_at: order.ready_ms.map(rfc3339),
        hand_over: Action { allowed: refusal.is_none(), reason: refusal.map(|code| code.code.to_owned()) },
        order_id: order.id,
        store_id: order.store_id,
    })
}

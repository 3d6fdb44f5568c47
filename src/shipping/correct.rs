//! Correcting whom a parcel was given to, and its number there: the customer is told, and WeChat, which takes
//! the parcels of a shipped order anew exactly once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    PARCEL_EXISTS, PARCEL_NOT_FOUND, Parcel, TRACKING_CORRECTED_BEFORE, TRACKING_NOT_CORRECTABLE, Tracking,
    carriers, sql, upload,
};
use crate::events::Event;
use crate::kernel::{Actor, Failure, OrderId, ParcelId, Result};
use crate::orders::{self, Order, OrderMove, OrderStatus, RefundStatus};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::wechat::mini::Mini;

/// Which parcel was corrected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Corrected {
    pub parcel_id: ParcelId,
}

/// What a parcel is corrected to.
#[derive(Debug)]
pub struct Correction<'a> {
    pub order: &'a OrderId,
    pub parcel: &'a ParcelId,
    pub tracking: Tracking,
    /// The order's version that was seen.
    pub version: i64,
    /// For the timeline and the audit log.
    pub reason: &'a str,
}

/// Corrects a parcel of an order that is on its way.
///
/// # Errors
/// `carrier_unknown`, `order_not_found`, `order_changed`, `parcel_not_found`, `tracking_not_correctable`,
/// `parcel_exists`, `tracking_corrected_before`.
pub async fn correct_tracking(
    ctx: &Ctx,
    mini: &Mini,
    actor: &Actor,
    key: &Key,
    correction: &Correction<'_>,
) -> Result<Done<Corrected>> {
    let carrier = carriers(ctx, mini).await.find(&correction.tracking.carrier)?;
    let tracking = &Tracking { carrier: carrier.id, tracking_no: correction.tracking.tracking_no.clone() };
    let name = carrier.name.as_str();
    let &Correction { order, parcel, version, reason, .. } = correction;
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = orders::hold(tx, order).await?;
            if !is_on_its_way(&order) {
                return Err(Failure::new(&TRACKING_NOT_CORRECTABLE));
            }
            if order.version != version {
                return Err(Failure::new(&orders::ORDER_CHANGED).with("version", order.version.into()));
            }
            let there = sql::of_order(tx, &order.id).await?;
            let was = there.iter().find(|there| there.id == *parcel);
            let was = was.ok_or_else(|| Failure::new(&PARCEL_NOT_FOUND))?;
            let same = |p: &Parcel| p.carrier == tracking.carrier && p.tracking_no == tracking.tracking_no;
            if there.iter().any(same) {
                return Err(Failure::new(&PARCEL_EXISTS).field("/tracking_no"));
            }
            spend_correction(tx, ctx, &order).await?;
            if !sql::correct(tx, was, name, tracking).await? {
                return Err(Failure::new(&orders::ORDER_CHANGED));
            }
            let (from, to) = (seen(was), json!({ "carrier": name, "tracking_no": tracking.tracking_no }));
            let detail = json!({ "parcel": parcel, "from": from, "to": to, "reason": reason });
            orders::record(tx, ctx, &mut order, OrderMove::TrackingCorrected, actor, detail).await?;
            let event = Event::TrackingCorrected {
                order_id: order.id.clone(),
                user_id: order.user_id.clone(),
                parcel_id: parcel.clone(),
            };
            orders::stage(tx, ctx, &mut order, event).await?;
            upload::stage(tx, ctx, &order).await?;
            let entry = audit::Entry {
                actor,
                operation: "correctTracking",
                object: order.id.as_str(),
                before: Some(json!({ "parcel": parcel, "was": from })),
                after: Some(json!({ "parcel": parcel, "is": to, "reason": reason })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(Corrected { parcel_id: parcel.clone() })
        })
    })
    .await
}

fn is_on_its_way(order: &Order) -> bool {
    matches!(order.status, OrderStatus::PartiallyShipped | OrderStatus::Shipped)
        && order.refund_status != RefundStatus::Full
}

fn seen(parcel: &Parcel) -> Value {
    json!({ "carrier": parcel.carrier_name, "tracking_no": parcel.tracking_no })
}

/// What WeChat has not accepted as complete can be told in any way; afterwards it listens once more.
async fn spend_correction(tx: &mut Tx<'_>, ctx: &Ctx, order: &Order) -> Result<()> {
    match sql::upload_of(tx, &order.id).await? {
        Some(upload) if upload.all_delivered > 0 => {
            if sql::use_correction(tx, &order.id, ctx.clock.now_ms()).await? {
                Ok(())
            } else {
                Err(Failure::new(&TRACKING_CORRECTED_BEFORE))
            }
        }
        _ => Ok(()),
    }
}

//! Shipping: parcels, and telling WeChat about them, without which it keeps the money of an order frozen.
//!
//! Owns `parcels`, `parcel_lines`, `shipping_uploads`, `shipping_batches` and `shipping_batch_rows`. Stages
//! `TrackingCorrected`. Consumes `OrderRestRefunded` (what was shipped is everything now), `OrderCompleted` (what
//! was handed over in a store) and the pushes of WeChat's order management: its settlement completes an order, its
//! reminders become alerts. Invariants: what is in parcels is what its lines say is shipped; an order that was
//! paid through WeChat and is shipped has an accepted upload, one on its way, or an open alert; a row of a file is
//! one parcel, once.

mod batch;
mod carriers;
mod correct;
mod failed;
mod invariants;
mod push;
mod settlement;
mod ship;
mod sql;
mod upload;
mod view;

pub use batch::{
    Batch, BatchRow, BatchState, RowCode, RowCounts, RowState, apply_batch, batch, batch_rows, batches,
    create_batch,
};
pub use carriers::{Carrier, CarriersCache, carriers};
pub use correct::{Corrected, Correction, correct_tracking};
pub use failed::{FailedUpload, failed_uploads, retry_failed_uploads, retry_upload};
pub use invariants::invariants;
pub use push::{PUSH_NEWS, receive_push, settle_notice, verify_push};
pub use ship::{NewParcel, Shipped, Tracking, ship};
pub use sql::{count_failed, orders_of_tracking, unsent};
pub use upload::subscriptions;
pub use view::{ParcelView, UploadView, parcel_views, upload_view};

use sqlx::FromRow;

use crate::kernel::{Actor, Millis, OrderId, OrderLineId, ParcelId, Result, codes, text_enum};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::wechat::mini::Mini;

codes! {
    CARRIER_UNKNOWN: 400 "carrier_unknown" "WeChat knows no carrier with this id. GET /admin/v1/carriers lists them.";
    PARCEL_EXISTS: 409 "parcel_exists" "This order has a parcel with this carrier and tracking number.";
    PARCEL_NOT_FOUND: 404 "parcel_not_found" "This order has no such parcel.";
    TRACKING_NOT_CORRECTABLE: 409 "tracking_not_correctable" "A parcel can be corrected while its order is on its way: shipped, not completed, not refunded as a whole.";
    TRACKING_CORRECTED_BEFORE: 409 "tracking_corrected_before" "WeChat takes a correction of a shipped order once, and that was used.";
    UPLOAD_NOT_FAILED: 404 "upload_not_failed" "No upload of this order has failed.";
    CSV_ENCODING: 400 "csv_encoding" "The file is neither UTF-8 nor GBK. Save it as CSV again.";
    CSV_HEADER: 400 "csv_header" "The first row must name the columns: order, carrier and tracking_no, and if needed item and quantity.";
    CSV_ROWS: 400 "csv_rows" "The file must have 1 to 500 rows below the one that names the columns.";
    BATCH_NOT_FOUND: 404 "shipping_batch_not_found" "There is no such file of parcels.";
    BATCH_HAS_ERRORS: 409 "shipping_batch_has_errors" "Rows of this file can't be shipped; `rows` names them. Nothing was shipped.";
    BATCH_APPLIED: 409 "shipping_batch_applied" "This file was applied before.";
    PUSH_REFUSED: 401 "push_refused" "The push is not signed by WeChat for this mini-program.";
}

/// Name of the store's own courier, as the customer reads it.
const OWN_COURIER: &str = "商家自送";

/// Who acts on orders here, where nobody does.
const ACTOR: Actor = Actor::System("wechat_shipping");

/// The alert of an upload that WeChat does not accept; its object is the order.
pub const NOT_UPLOADED_ALERT: &str = "shipping_not_uploaded";
/// The alert of WeChat's reminder that an order waits for shipping; its object is the order.
const REMINDED: &str = "shipping_reminder";
/// The alert of a file of which parcels could not be shipped; its object is the file.
const BATCH_FAILED: &str = "shipping_batch_failed";
/// The alert of money that WeChat does not settle although it should have; its object is the order.
const MONEY_HELD: &str = "wechat_money_held";

text_enum! {
    /// How far an upload of shipping information is.
    pub enum UploadState {
        /// To be uploaded, or waiting until there is something to say.
        Pending = "PENDING",
        Accepted = "ACCEPTED",
        /// WeChat had it before, from its own console.
        ShippedBefore = "SHIPPED_BEFORE",
        /// All money is refunded: there is nothing to unfreeze.
        NotNeeded = "NOT_NEEDED",
        /// Refused for weeks; an alert is open.
        GivenUp = "GIVEN_UP",
        /// WeChat has the parcels as they were, and does not take their correction; an alert is open.
        Refused = "REFUSED",
    }
}

impl UploadState {
    /// A person has to look at it.
    const fn is_failure(self) -> bool {
        matches!(self, Self::GivenUp | Self::Refused)
    }
}

/// A parcel.
#[derive(Debug, Clone, FromRow)]
pub struct Parcel {
    pub id: ParcelId,
    pub order_id: OrderId,
    /// WeChat's id of the carrier; empty: the store's own courier.
    pub carrier: String,
    pub carrier_name: String,
    /// Empty: the store's own courier.
    pub tracking_no: String,
    pub shipped_ms: Millis,
}

impl Parcel {
    /// Does a carrier bring it, and not the store itself?
    pub fn is_express(&self) -> bool {
        !self.carrier.is_empty()
    }
}

/// Units of a line in a parcel.
#[derive(Debug, Clone, FromRow)]
pub struct ParcelLine {
    pub parcel_id: ParcelId,
    pub line_id: OrderLineId,
    pub quantity: i64,
}

/// One parcel.
///
/// # Errors
/// The database.
pub async fn parcel(conn: &mut Conn, id: &ParcelId) -> Result<Option<Parcel>> {
    sql::find(conn, id).await
}

/// The parcels of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn parcels(conn: &mut Conn, order: &OrderId) -> Result<Vec<Parcel>> {
    sql::of_order(conn, order).await
}

/// Applies files of parcels, uploads what is due, and asks about money that should be settled: none of the three
/// waits for another. Answers how much it did.
///
/// # Errors
/// The database.
pub async fn tick(ctx: &Ctx, mini: &Mini) -> Result<usize> {
    let (applied, uploaded, asked) =
        tokio::join!(batch::tick(ctx), upload::tick(ctx, mini), settlement::tick(ctx, mini));
    Ok(applied? + uploaded? + asked?)
}

/// When the next of it is due.
///
/// # Errors
/// The database.
pub async fn next_due(ctx: &Ctx) -> Result<Option<Millis>> {
    let conn = &mut *ctx.db.reader().await?;
    let due = [sql::next_due(conn).await?, batch::next_due(conn).await?];
    Ok(due.into_iter().flatten().min())
}

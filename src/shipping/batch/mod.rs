//! Files of parcels: a file is looked at as a whole and kept with what each row means; applied, every parcel of it
//! is shipped, or, if one row can't be, none. Applying survives a crash: a row and its parcel are one
//! transaction, so what is done stays done once, and the worker goes on with the rest.

mod apply;
mod check;
mod file;
mod sql;

pub use apply::apply_batch;
pub(super) use apply::{next_due, tick};

use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::{BATCH_NOT_FOUND, carriers};
use crate::kernel::{
    Actor, Cursor, Failure, Limit, Millis, OrderId, OrderLineId, Page, ParcelId, Result, ShippingBatchId,
    StaffId, text_enum,
};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::idempotency::{Done, Key};
use crate::staff::StoreScope;
use crate::wechat::mini::Mini;
use check::Check;

/// Rows of one file.
const BATCH_ROWS_MAX: usize = 500;

text_enum! {
    /// Where a file of parcels stands.
    pub enum BatchState {
        /// Looked at; nothing is shipped.
        Checked = "CHECKED",
        /// Its parcels are being shipped, one after another.
        Applying = "APPLYING",
        /// Every row has ended.
        Applied = "APPLIED",
    }
}

text_enum! {
    /// Where a row of a file stands.
    pub enum RowState {
        /// It can be shipped, or will be.
        Ready = "READY",
        /// It can't be shipped, and so nothing of the file can.
        Wrong = "WRONG",
        Shipped = "SHIPPED",
        /// It could be shipped when the file was applied, and no more when its turn came.
        Failed = "FAILED",
    }
}

text_enum! {
    /// Why a row can't be shipped.
    pub enum RowCode {
        /// It does not fit the first row, or has a cell that can't be read.
        RowMalformed = "row_malformed",
        OrderRequired = "order_required",
        OrderNotFound = "order_not_found",
        /// Not paid, on hold, closed, shipped before, or not to be sent at all.
        OrderNotShippable = "order_not_shippable",
        /// The rows before it, or parcels before, have everything.
        NothingLeft = "nothing_left",
        CarrierRequired = "carrier_required",
        CarrierUnknown = "carrier_unknown",
        TrackingNoRequired = "tracking_no_required",
        TrackingNoInvalid = "tracking_no_invalid",
        /// The order has a parcel with this carrier and number.
        ParcelExists = "parcel_exists",
        /// An earlier row says the same.
        RowRepeated = "row_repeated",
        /// A quantity without the item that it is of.
        ItemRequired = "item_required",
        ItemNotFound = "item_not_found",
        QuantityInvalid = "quantity_invalid",
        /// More than is left to ship of the line.
        QuantityNotShippable = "quantity_not_shippable",
        /// Something went wrong on our side, again and again.
        Internal = "internal",
    }
}

/// A file of parcels.
#[derive(Debug, Clone, FromRow)]
pub struct Batch {
    pub id: ShippingBatchId,
    pub staff_id: StaffId,
    pub state: BatchState,
    pub row_count: i64,
    pub created_ms: Millis,
    pub applied_ms: Option<Millis>,
    pub applied_by: Option<StaffId>,
    pub request_id: String,
    pub ended_ms: Option<Millis>,
    /// How often applying met trouble that passes.
    tries: i64,
    next_ms: Option<Millis>,
}

/// A row of a file.
#[derive(Debug, Clone, FromRow)]
pub struct BatchRow {
    /// Where it is in the file, counted from 1.
    pub file_line: i64,
    pub parcel_line: i64,
    pub state: RowState,
    pub order_text: String,
    pub carrier_text: String,
    pub tracking_no: String,
    pub item_text: String,
    pub quantity_text: String,
    pub order_id: Option<OrderId>,
    pub carrier: String,
    pub carrier_name: String,
    pub line_id: Option<OrderLineId>,
    pub quantity: Option<i64>,
    pub parcel_id: Option<ParcelId>,
    pub code: Option<RowCode>,
    pub detail: Option<String>,
}

/// How many rows of a file stand where.
#[derive(Debug, Default, Object)]
pub struct RowCounts {
    pub ready: i64,
    pub wrong: i64,
    pub shipped: i64,
    pub failed: i64,
}

/// Which file it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchOutcome {
    pub batch_id: ShippingBatchId,
}

/// Looks at a file and keeps it. Nothing is shipped.
///
/// # Errors
/// `csv_encoding`, `csv_header`, `csv_rows`.
pub async fn create_batch(
    ctx: &Ctx,
    mini: &Mini,
    staff: &StaffId,
    key: &Key,
    file: &[u8],
    scope: &StoreScope,
) -> Result<Done<BatchOutcome>> {
    if let Some(done) = key.remembered(ctx).await? {
        return Ok(done);
    }
    let rows = file::parse(file)?;
    let carriers = carriers(ctx, mini).await;
    let check = Check { ctx, carriers: &carriers, scope };
    let checked = check.rows(&mut *ctx.db.reader().await?, rows).await?;
    let id: ShippingBatchId = ctx.new_id();
    let (id, checked) = (&id, &checked);
    key.run(ctx, |tx| {
        Box::pin(async move {
            sql::insert(tx, id, staff, checked.len() as i64, ctx.clock.now_ms()).await?;
            for row in checked {
                sql::insert_row(tx, id, row).await?;
            }
            let wrong = checked.iter().filter(|row| row.state == RowState::Wrong).count();
            let entry = audit::Entry {
                actor: &Actor::Staff(staff.clone()),
                operation: "createShippingBatch",
                object: id.as_str(),
                before: None::<Value>,
                after: Some(json!({ "state": "CHECKED", "rows": checked.len(), "wrong": wrong })),
            };
            audit::record(tx, ctx, entry).await?;
            Ok(BatchOutcome { batch_id: id.clone() })
        })
    })
    .await
}

/// Files of parcels, newest first: everybody's, or those of one staff member.
///
/// # Errors
/// The database.
pub async fn batches(
    ctx: &Ctx,
    staff: Option<&StaffId>,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<(Batch, RowCounts)>> {
    let conn = &mut *ctx.db.reader().await?;
    let found = sql::list(conn, staff, after.map(Cursor::key), limit.and_one()).await?;
    let page = Page::cut(found, limit, |batch| batch.id.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for batch in page.items {
        let counts = sql::counts(conn, &batch.id).await?;
        items.push((batch, counts));
    }
    Ok(Page { items, next: page.next })
}

/// A file of parcels: anybody's, or that of one staff member.
///
/// # Errors
/// `shipping_batch_not_found`.
pub async fn batch(
    conn: &mut Conn,
    id: &ShippingBatchId,
    staff: Option<&StaffId>,
) -> Result<(Batch, RowCounts)> {
    let batch = sql::find(conn, id).await?.filter(|batch| staff.is_none_or(|staff| batch.staff_id == *staff));
    let batch = batch.ok_or_else(|| Failure::new(&BATCH_NOT_FOUND))?;
    let counts = sql::counts(conn, id).await?;
    Ok((batch, counts))
}

/// The rows of a file, in its order.
///
/// # Errors
/// The database.
pub async fn batch_rows(conn: &mut Conn, id: &ShippingBatchId) -> Result<Vec<BatchRow>> {
    sql::rows(conn, id).await
}

/// Who applies a file: nobody but staff does.
fn applied_by(batch: &Batch) -> Result<Actor> {
    let staff = batch.applied_by.clone();
    staff.map(Actor::Staff).ok_or_else(|| Failure::internal("applying a file", "nobody applied it"))
}

//! The shipping desk: files of parcels, corrected parcels, uploads that WeChat refuses.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{
    Cursor, Failure, Limit, OrderId, OrderLineId, ParcelId, Result, ShippingBatchId, StaffId, rfc3339,
};
use crate::order_views::{self, StaffOrderDetail};
use crate::platform::crypto;
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, Csv, CsvExample, List, NoContent, Reply, Tag};
use crate::shipping::{
    self, Batch, BatchRow, BatchState, Correction, FailedUpload, RowCode, RowCounts, RowState, Tracking,
    UploadView,
};
use crate::staff::StaffAuth;
use crate::wechat::mini::Mini;

/// What a parcel is corrected to.
#[derive(Debug, Object)]
#[oai(example)]
pub struct TrackingCorrection {
    /// An id of GET /admin/v1/carriers.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub carrier: String,
    #[oai(validator(min_length = 1, max_length = 128))]
    pub tracking_no: String,
    /// The order's `version` that you saw.
    pub version: i64,
    /// For the timeline and the audit log.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for TrackingCorrection {
    fn example() -> Self {
        Self {
            carrier: "ZTO".to_owned(),
            tracking_no: "78812345678901".to_owned(),
            version: 4,
            reason: "单号抄错了一位".to_owned(),
        }
    }
}

/// A file of parcels.
pub struct Parcels;

impl CsvExample for Parcels {
    const EXAMPLE: &'static str = "order,carrier,tracking_no,item,quantity\n\
        ord_00000000000000000000000000,中通快递,78812345678902,,\n";
}

/// A row of a file of parcels.
#[derive(Debug, Object)]
pub struct ShippingBatchRow {
    /// Where it is in the file, counted from 1.
    pub line: i64,
    pub state: RowState,
    /// As the file has it, like carrier, tracking_no, item and quantity.
    pub order: String,
    pub carrier: String,
    pub tracking_no: String,
    pub item: String,
    pub quantity: String,
    /// The order that it means.
    #[oai(skip_serializing_if_is_none)]
    pub order_id: Option<OrderId>,
    /// The line that it means; absent: all that is left of the order.
    #[oai(skip_serializing_if_is_none)]
    pub line_id: Option<OrderLineId>,
    /// The parcel that it became.
    #[oai(skip_serializing_if_is_none)]
    pub parcel_id: Option<ParcelId>,
    /// Why it is WRONG or FAILED, stable.
    #[oai(skip_serializing_if_is_none)]
    pub code: Option<RowCode>,
    /// The same for people.
    #[oai(skip_serializing_if_is_none)]
    pub detail: Option<String>,
}

impl From<BatchRow> for ShippingBatchRow {
    fn from(row: BatchRow) -> Self {
        Self {
            line: row.file_line,
            state: row.state,
            order: row.order_text,
            carrier: row.carrier_text,
            tracking_no: row.tracking_no,
            item: row.item_text,
            quantity: row.quantity_text,
            order_id: row.order_id,
            line_id: row.line_id,
            parcel_id: row.parcel_id,
            code: row.code,
            detail: row.detail,
        }
    }
}

/// A file of parcels and where it stands.
#[derive(Debug, Object)]
pub struct ShippingBatch {
    pub id: ShippingBatchId,
    pub state: BatchState,
    /// Whether it can be applied: it was not, and no row was wrong when it was looked at.
    pub applicable: bool,
    pub row_counts: RowCounts,
    pub created_by: StaffId,
    pub created_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub applied_by: Option<StaffId>,
    #[oai(skip_serializing_if_is_none)]
    pub applied_at: Option<String>,
    /// When its last row ended.
    #[oai(skip_serializing_if_is_none)]
    pub ended_at: Option<String>,
}

impl From<(Batch, RowCounts)> for ShippingBatch {
    fn from((batch, row_counts): (Batch, RowCounts)) -> Self {
        Self {
            id: batch.id,
            state: batch.state,
            applicable: batch.state == BatchState::Checked && row_counts.wrong == 0,
            row_counts,
            created_by: batch.staff_id,
            created_at: rfc3339(batch.created_ms),
            applied_by: batch.applied_by,
            applied_at: batch.applied_ms.map(rfc3339),
            ended_at: batch.ended_ms.map(rfc3339),
        }
    }
}

/// A file of parcels with its rows.
#[derive(Debug, Object)]
pub struct ShippingBatchDetail {
    #[oai(flatten)]
    pub batch: ShippingBatch,
    /// In the order of the file.
    pub rows: Vec<ShippingBatchRow>,
}

/// An upload of shipping information that failed.
#[derive(Debug, Object)]
pub struct FailedUploadView {
    pub order_id: OrderId,
    /// With the reason, and when it is tried again.
    #[oai(flatten)]
    pub upload: UploadView,
    pub paid_at: String,
    /// Since when.
    pub failed_at: String,
}

impl From<FailedUpload> for FailedUploadView {
    fn from(failed: FailedUpload) -> Self {
        Self {
            order_id: failed.order_id,
            upload: failed.upload,
            paid_at: rfc3339(failed.paid_ms),
            failed_at: rfc3339(failed.failed_ms),
        }
    }
}

/// How many uploads are tried again now.
#[derive(Debug, Object)]
pub struct RetriedUploads {
    pub retried: i64,
}

pub struct AdminShippingApi {
    pub ctx: Ctx,
    pub mini: Mini,
}

impl AdminShippingApi {
    async fn detail(&self, auth: &StaffAuth, id: &ShippingBatchId) -> Result<ShippingBatchDetail> {
        let conn = &mut *self.ctx.db.reader().await?;
        let batch = shipping::batch(conn, id, only_own(auth)).await?.into();
        let rows = shipping::batch_rows(conn, id).await?;
        Ok(ShippingBatchDetail { batch, rows: rows.into_iter().map(ShippingBatchRow::from).collect() })
    }
}

/// A file may name orders of any store: who is there for some stores only sees their own files.
fn only_own(auth: &StaffAuth) -> Option<&StaffId> {
    (!auth.scope().is_all()).then_some(&auth.0.id)
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Shipping")]
impl AdminShippingApi {
    /// Bring a file of parcels
    ///
    /// Looks at every row and keeps the file; nothing is shipped before it is applied. The file is CSV in UTF-8 or
    /// GBK (`text/csv`; browsers on Windows call it `application/vnd.ms-excel`) with 1 to 500 rows below the one that names the columns, in English or Chinese: `order` (订单号: the id
    /// or the `out_trade_no`), `carrier` (快递公司: id or name; 商家自送 without a number is the store's own
    /// courier), `tracking_no` (快递单号), and where only a part goes `item` (商品: a line or a SKU of the order)
    /// and `quantity` (数量). Rows of one order with one number are one parcel. The answer says of every row what
    /// it means, or why it can't be shipped.
    ///
    /// Errors: `unauthenticated`, `csv_encoding`, `csv_header`, `csv_rows`.
    #[oai(path = "/shipping-batches", method = "post", operation_id = "createShippingBatch")]
    async fn create_batch(
        &self,
        auth: StaffAuth,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        file: Csv<Parcels>,
    ) -> Reply<Created<ShippingBatchDetail>> {
        let hash = crypto::hex(&crypto::sha256(file.bytes()));
        let key = Key::new(&auth.actor(), "createShippingBatch", &key, &hash)?;
        let (ctx, mini, staff) = (&self.ctx, &self.mini, &auth.0.id);
        let done = shipping::create_batch(ctx, mini, staff, &key, file.bytes(), auth.scope()).await?;
        Ok(Created::of(self.detail(&auth, &done.value.batch_id).await?, &done))
    }

    /// List files of parcels
    ///
    /// Newest first; members whose stores are limited see their own. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/shipping-batches", method = "get", operation_id = "listShippingBatches")]
    async fn list_batches(
        &self,
        auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<ShippingBatch>>> {
        let limit = Limit::parse(limit.0)?;
        let page = shipping::batches(&self.ctx, only_own(&auth), cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, ShippingBatch::from))
    }

    /// A file of parcels
    ///
    /// With every row: what it means, whether it is shipped, and why not. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `shipping_batch_not_found`.
    #[oai(path = "/shipping-batches/:batch_id", method = "get", operation_id = "getShippingBatch")]
    async fn get_batch(
        &self,
        auth: StaffAuth,
        batch_id: Path<ShippingBatchId>,
    ) -> Reply<Json<ShippingBatchDetail>> {
        Ok(Json(self.detail(&auth, &batch_id).await?))
    }

    /// Ship a file of parcels
    ///
    /// Looks at every row once more. If one can't be shipped any more, nothing is, and `rows` names those that
    /// can't. Otherwise the parcels are shipped one after another in the background, each as if it were shipped
    /// alone; read the file again to see how far it is. A row whose order is changed meanwhile (a refund) is
    /// FAILED; the file is APPLIED_IN_PART in the end then, and an alert is opened. It goes on after a crash, and no
    /// parcel is shipped twice.
    ///
    /// Errors: `unauthenticated`, `shipping_batch_not_found`, `shipping_batch_has_errors`,
    /// `shipping_batch_applied`.
    #[oai(path = "/shipping-batches/:batch_id/apply", method = "post", operation_id = "applyShippingBatch")]
    async fn apply_batch(
        &self,
        auth: StaffAuth,
        batch_id: Path<ShippingBatchId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<ShippingBatchDetail>> {
        let key = Key::new(&auth.actor(), "applyShippingBatch", &key, &batch_id.0)?;
        let (ctx, mini, staff) = (&self.ctx, &self.mini, &auth.0.id);
        let done = shipping::apply_batch(ctx, mini, staff, &key, &batch_id, auth.scope()).await?;
        Ok(Answer::of(self.detail(&auth, &batch_id).await?, &done))
    }

    /// Correct the carrier and number of a parcel
    ///
    /// While the order is on its way. The customer is told, and so is WeChat, which takes the parcels of an order
    /// that is shipped completely anew once: a second correction is refused then. So is one for a `version` of the
    /// order that is not its current one, since somebody else may have corrected it.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `parcel_not_found`, `carrier_unknown`, `parcel_exists`,
    /// `tracking_not_correctable`, `tracking_corrected_before`, `order_changed`.
    #[oai(
        path = "/orders/:order_id/parcels/:parcel_id/correct-tracking",
        method = "post",
        operation_id = "correctTracking"
    )]
    async fn correct_tracking(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        parcel_id: Path<ParcelId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<TrackingCorrection>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "correctTracking", &key, &json!([order_id.0, parcel_id.0, body.raw()]))?;
        let tracking = Tracking::parse(Some(&body.carrier), Some(&body.tracking_no))?;
        let tracking = tracking.ok_or_else(|| Failure::invalid("/tracking_no", "is required"))?;
        let correction = Correction {
            order: &order_id,
            parcel: &parcel_id,
            tracking,
            version: body.version,
            reason: &body.reason,
        };
        let done = shipping::correct_tracking(&self.ctx, &self.mini, &actor, &key, &correction).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// List uploads that failed
    ///
    /// Shipping information that WeChat did not take, or that can't be read here, with the reason and when it is
    /// tried again, newest orders first. Without it WeChat keeps the money of the order. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/shipping-uploads/failed", method = "get", operation_id = "listFailedUploads")]
    async fn failed_uploads(
        &self,
        auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<FailedUploadView>>> {
        let limit = Limit::parse(limit.0)?;
        let page = shipping::failed_uploads(&self.ctx, auth.scope(), cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, FailedUploadView::from))
    }

    /// Try a failed upload again
    ///
    /// At once instead of at its time, also one that was given up. Leaves an audit row and an entry in the order's
    /// timeline.
    ///
    /// Errors: `unauthenticated`, `upload_not_failed`.
    #[oai(path = "/shipping-uploads/:order_id/retry", method = "post", operation_id = "retryUpload")]
    async fn retry_upload(&self, auth: StaffAuth, order_id: Path<OrderId>) -> Reply<NoContent> {
        shipping::retry_upload(&self.ctx, &auth.actor(), &order_id).await?;
        Ok(NoContent::Done)
    }

    /// Try all failed uploads again
    ///
    /// At once, the newest 500 of the member's stores. Leaves an audit row.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/shipping-uploads/retry-failed", method = "post", operation_id = "retryFailedUploads")]
    async fn retry_failed(&self, auth: StaffAuth) -> Reply<Json<RetriedUploads>> {
        let retried = shipping::retry_failed_uploads(&self.ctx, &auth.actor(), auth.scope()).await?;
        Ok(Json(RetriedUploads { retried }))
    }
}

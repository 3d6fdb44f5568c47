//! Uploads that failed, since WeChat refuses them or the order can't be read: the list of them, and trying again at
//! once.

use serde_json::json;

use super::sql::{self, Upload};
use super::{UPLOAD_NOT_FAILED, UploadView, view};
use crate::kernel::{Actor, Cursor, Failure, Limit, Millis, OrderId, Page, Result};
use crate::orders::{self, ORDER_NOT_FOUND, OrderMove};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::{Tx, Work};
use crate::staff::StoreScope;

/// Uploads that one request tries again.
const RETRIED_MAX: i64 = 500;

/// An upload that failed.
#[derive(Debug)]
pub struct FailedUpload {
    pub order_id: OrderId,
    pub upload: UploadView,
    pub paid_ms: Millis,
    /// Since when.
    pub failed_ms: Millis,
}

impl From<Upload> for FailedUpload {
    fn from(upload: Upload) -> Self {
        Self {
            order_id: upload.order_id.clone(),
            paid_ms: upload.paid_ms,
            failed_ms: upload.failed_ms.unwrap_or(upload.paid_ms),
            upload: view::of_upload(upload),
        }
    }
}

/// Failed uploads of these stores, newest orders first.
///
/// # Errors
/// The database.
pub async fn failed_uploads(
    ctx: &Ctx,
    scope: &StoreScope,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<FailedUpload>> {
    let conn = &mut *ctx.db.reader().await?;
    let uploads = sql::failed(conn, scope, after.map(Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(uploads, limit, |upload| upload.order_id.to_string()).map(FailedUpload::from))
}

/// Tries the upload of an order again at once.
///
/// # Errors
/// `upload_not_failed`.
pub async fn retry_upload(ctx: &Ctx, actor: &Actor, order: &OrderId) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !hurry(tx, ctx, actor, order).await? {
                    return Err(Failure::new(&UPLOAD_NOT_FAILED));
                }
                tx.wake(Work::Shipping);
                let entry = audit::Entry {
                    actor,
                    operation: "retryUpload",
                    object: order.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "due": "now" })),
                };
                audit::record(tx, ctx, entry).await
            })
        })
        .await
}

/// An upload that failed is due now, and the order's timeline says by whom; false: it is none.
async fn hurry(tx: &mut Tx<'_>, ctx: &Ctx, actor: &Actor, order: &OrderId) -> Result<bool> {
    let mut order = match orders::hold(tx, order).await {
        Err(failure) if failure.is(&ORDER_NOT_FOUND) => return Ok(false),
        order => order?,
    };
    if !sql::hurry(tx, &order.id, ctx.clock.now_ms()).await? {
        return Ok(false);
    }
    orders::record(tx, ctx, &mut order, OrderMove::UploadRetried, actor, json!({})).await?;
    Ok(true)
}

/// Tries all of them again at once, the newest 500. Answers how many.
///
/// # Errors
/// The database.
pub async fn retry_failed_uploads(ctx: &Ctx, actor: &Actor, scope: &StoreScope) -> Result<i64> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut retried = 0;
                for upload in sql::failed(tx, scope, None, RETRIED_MAX).await? {
                    retried += i64::from(hurry(tx, ctx, actor, &upload.order_id).await?);
                }
                tx.wake(Work::Shipping);
                let entry = audit::Entry {
                    actor,
                    operation: "retryFailedUploads",
                    object: "shipping_uploads",
                    before: None::<()>,
                    after: Some(json!({ "uploads": retried })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(retried)
            })
        })
        .await
}

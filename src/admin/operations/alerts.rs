//! What needs a person's eyes.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{AlertId, Cursor, Failure, Limit, rfc3339};
use crate::platform::alerts::{self, ALERT_CLOSES_ITSELF, ALERT_NOT_FOUND, Alert};
use crate::platform::audit::{self, Entry};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, List, NoContent, Reply, Tag};
use crate::refunds;
use crate::shipping;
use crate::staff::StaffAuth;

/// Alerts that say how something stands: they end with it.
const STANDING: [&str; 2] = [refunds::PAUSED_ALERT, shipping::NOT_UPLOADED_ALERT];

/// Something that needs a person's eyes.
#[derive(Debug, Object)]
pub struct AlertView {
    pub id: AlertId,
    /// What kind of trouble: `payment_mismatch`, `refund_manual`, `shipping_not_uploaded`, …
    pub kind: String,
    /// The id of what it is about.
    pub object: String,
    pub detail: String,
    pub opened_at: String,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            kind: alert.kind,
            object: alert.object,
            detail: alert.detail,
            opened_at: rfc3339(alert.opened_ms),
        }
    }
}

/// Why an alert is closed.
#[derive(Debug, Object)]
#[oai(example)]
pub struct AlertClosing {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for AlertClosing {
    fn example() -> Self {
        Self { reason: "已在微信后台处理".to_owned() }
    }
}

pub struct AlertsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl AlertsApi {
    /// List open alerts
    ///
    /// Newest first. Many close by themselves once their cause is gone. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/alerts", method = "get", operation_id = "listAlerts")]
    async fn alerts(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<AlertView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = alerts::list(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, AlertView::from))
    }

    /// Close an alert
    ///
    /// Somebody has looked at it. It opens again when its cause is met again. Writes an audit row. Alerts that say
    /// how something stands, like a pause of the refunds, end with it and can't be closed.
    ///
    /// Errors: `unauthenticated`, `alert_not_found`, `alert_closes_itself`.
    #[oai(path = "/alerts/:alert_id/close", method = "post", operation_id = "closeAlert")]
    async fn close_alert(
        &self,
        auth: StaffAuth,
        alert_id: Path<AlertId>,
        body: Body<AlertClosing>,
    ) -> Reply<NoContent> {
        let (ctx, actor, id, reason) = (&self.ctx, &auth.actor(), &alert_id.0, &body.reason);
        let closed = ctx.db.write(|tx| {
            Box::pin(async move {
                let alert = alerts::close_by_id(tx, ctx, id).await?;
                let alert = alert.ok_or_else(|| Failure::new(&ALERT_NOT_FOUND))?;
                if STANDING.contains(&alert.kind.as_str()) {
                    return Err(Failure::new(&ALERT_CLOSES_ITSELF));
                }
                let entry = Entry {
                    actor,
                    operation: "closeAlert",
                    object: &alert.object,
                    before: Some(json!({ "alert": id, "kind": alert.kind, "detail": alert.detail })),
                    after: Some(json!({ "reason": reason })),
                };
                audit::record(tx, ctx, entry).await
            })
        });
        closed.await?;
        Ok(NoContent::Done)
    }
}

//! Refunds as staff decides them.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{Cursor, Failure, Limit, RefundId, Result};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, List, Reply, Tag};
use crate::refunds::{self, Fault, REFUND_NOT_FOUND, RefundState, RefundView, refund_view};
use crate::staff::StaffAuth;

/// An approval.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundApproval {
    /// Needed when goods come back: true puts them on the shelf again.
    pub sellable: Option<bool>,
    /// MERCHANT: it was the shop's fault, so a used coupon comes back after shipping, too. NONE unless told.
    pub fault: Option<Fault>,
    /// The customer reads it.
    #[oai(validator(max_length = 200))]
    pub note: Option<String>,
}

impl Example for RefundApproval {
    fn example() -> Self {
        Self {
            sellable: Some(true), fault: Some(Fault::None), note: Some("已收到退货，完好".to_owned())
        }
    }
}

/// A rejection.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundRejection {
    /// The customer reads it.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for RefundRejection {
    fn example() -> Self {
        Self { reason: "商品已使用，不符合退货条件".to_owned() }
    }
}

pub struct AdminRefundsApi {
    pub ctx: Ctx,
}

impl AdminRefundsApi {
    async fn view(&self, id: &RefundId) -> Result<RefundView> {
        let conn = &mut *self.ctx.db.reader().await?;
        let refund = refunds::by_id(conn, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
        let lines = refunds::find_lines(conn, id).await?;
        Ok(refund_view(refund, &lines))
    }
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Refunds")]
impl AdminRefundsApi {
    /// List all refunds
    ///
    /// Newest first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/refunds", method = "get", operation_id = "listAllRefunds")]
    async fn list_refunds(
        &self,
        auth: StaffAuth,
        /// REQUESTED and AWAITING_RETURN wait for a decision; MANUAL and ABNORMAL for a person.
        status: Query<Option<RefundState>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<RefundView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = refunds::list(conn, auth.scope(), status.0, cursor.0.as_ref(), limit).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for refund in page.items {
            let lines = refunds::find_lines(conn, &refund.id).await?;
            items.push(refund_view(refund, &lines));
        }
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// One refund
    ///
    /// Changes nothing.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`.
    #[oai(path = "/refunds/:refund_id", method = "get", operation_id = "getRefund")]
    async fn get_refund(&self, _auth: StaffAuth, refund_id: Path<RefundId>) -> Reply<Json<RefundView>> {
        Ok(Json(self.view(&refund_id).await?))
    }

    /// Approve a refund
    ///
    /// The money goes back through the channel it came from, freight with the last unit. Goods that come
    /// back go on the shelf again if they are `sellable`. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_decidable`, `goods_condition_required`,
    /// `refund_exceeds_paid`, `order_changed`.
    #[oai(path = "/refunds/:refund_id/approve", method = "post", operation_id = "approveRefund")]
    async fn approve_refund(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RefundApproval>,
    ) -> Reply<Answer<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "approveRefund", &key, &json!([refund_id.0, body.raw()]))?;
        let note = body.note.as_deref().unwrap_or_default();
        let done = refunds::approve(
            &self.ctx,
            &actor,
            &key,
            &refund_id,
            body.sellable,
            body.fault.unwrap_or(Fault::None),
            note,
        )
        .await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }

    /// Reject a refund
    ///
    /// What it had reserved is free again; the customer reads the reason. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_decidable`, `order_changed`.
    #[oai(path = "/refunds/:refund_id/reject", method = "post", operation_id = "rejectRefund")]
    async fn reject_refund(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RefundRejection>,
    ) -> Reply<Answer<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "rejectRefund", &key, &json!([refund_id.0, body.raw()]))?;
        let done = refunds::reject(&self.ctx, &actor, &key, &refund_id, &body.reason).await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }

    /// Ask the channel about a refund now
    ///
    /// A refund that waits for its next try is tried at once, under the number that it has. Writes an audit
    /// row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_retryable`.
    #[oai(path = "/refunds/:refund_id/retry", method = "post", operation_id = "retryRefund")]
    async fn retry_refund(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "retryRefund", &key, &refund_id.0)?;
        let done = refunds::retry(&self.ctx, &actor, &key, &refund_id).await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }
}

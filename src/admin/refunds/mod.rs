//! Refunds as staff sees and decides them.

mod dto;
mod manual;
mod start;

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use serde_json::json;

pub use self::dto::{Because, ProposalView};
use self::dto::{RefundApproval, RefundRejection, StaffRefundView, submission_view};
pub use self::manual::RefundsByPeopleApi;
pub use self::start::StartedRefundsApi;
use crate::kernel::{Cursor, Failure, Limit, OrderId, RefundId, Result, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::proposals;
use crate::platform::web::{Answer, Body, List, Reply, Tag};
use crate::refunds::{self, ListFilter, REFUND_NOT_FOUND, RefundState, RefundView, refund_view};
use crate::staff::StaffAuth;

/// A refund as the answer to a write.
async fn view(ctx: &Ctx, id: &RefundId) -> Result<RefundView> {
    let conn = &mut *ctx.db.reader().await?;
    let refund = refunds::by_id(conn, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
    let lines = refunds::find_lines(conn, id).await?;
    Ok(refund_view(refund, &lines))
}

pub struct AdminRefundsApi {
    pub ctx: Ctx,
}

impl AdminRefundsApi {
    async fn detail(&self, id: &RefundId) -> Result<StaffRefundView> {
        let conn = &mut *self.ctx.db.reader().await?;
        let refund = refunds::by_id(conn, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
        let lines = refunds::find_lines(conn, id).await?;
        let submissions = refunds::submissions(conn, id).await?.into_iter();
        let proposals = proposals::of_object(conn, id.as_str()).await?;
        Ok(StaffRefundView {
            user_id: refund.user_id.clone(),
            attempt_id: refund.attempt_id.clone(),
            external_no: refund.external_no.clone(),
            submissions: submissions.map(|one| submission_view(one, refund.currency)).collect(),
            proposals: proposals.into_iter().map(ProposalView::from).collect(),
            refund: refund_view(refund, &lines),
        })
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
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list_refunds(
        &self,
        auth: StaffAuth,
        /// REQUESTED and AWAITING_RETURN wait for a decision; MANUAL and ABNORMAL for a person.
        status: Query<Option<RefundState>>,
        store_id: Query<Option<StoreId>>,
        order_id: Query<Option<OrderId>>,
        /// With AWAITING_RETURN: true, the goods are on their way or there and wait to be looked at.
        return_sent: Query<Option<bool>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<RefundView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let filter = ListFilter { order: order_id.0.as_ref(), status: status.0, return_sent: return_sent.0 };
        let scope = &auth.scope().within(store_id.0.as_ref());
        let page = refunds::list(conn, scope, filter, cursor.0.as_ref(), limit).await?;
        let items = refunds::with_lines(conn, page.items).await?;
        let items = items.into_iter().map(|(refund, lines)| refund_view(refund, &lines)).collect();
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// One refund
    ///
    /// With the numbers under which it was submitted, and what was proposed about it. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`.
    #[oai(path = "/refunds/:refund_id", method = "get", operation_id = "getRefund")]
    async fn get_refund(&self, _auth: StaffAuth, refund_id: Path<RefundId>) -> Reply<Json<StaffRefundView>> {
        Ok(Json(self.detail(&refund_id).await?))
    }

    /// Approve a refund
    ///
    /// The money goes back through the channel it came from, freight with the last unit. Goods that come
    /// back go on the shelf again as far as they are `sellable`. Writes an audit row.
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
        let approval = body.parse()?;
        let done = refunds::approve(&self.ctx, &actor, &key, &refund_id, &approval).await?;
        Ok(Answer::of(view(&self.ctx, &refund_id).await?, &done))
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
        Ok(Answer::of(view(&self.ctx, &refund_id).await?, &done))
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
        Ok(Answer::of(view(&self.ctx, &refund_id).await?, &done))
    }
}

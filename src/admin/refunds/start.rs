//! Refunds that staff starts, and goods that come back.

use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};
use serde_json::json;

use super::dto::{ReceivedGoods, ReturnRequest, StaffRefundInput, condition};
use super::view;
use crate::kernel::{Failure, OrderId, RefundId};
use crate::orders::{self, ORDER_NOT_FOUND};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, Reply, Tag};
use crate::refunds::{self, Fault, RefundView, StaffRefund};
use crate::staff::StaffAuth;

pub struct StartedRefundsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Refunds")]
impl StartedRefundsApi {
    /// Start a refund
    ///
    /// Of a paid order as a whole, of units, of money alone, or of the freight where the merchant is at fault;
    /// of FINISHED orders, too. It is approved in the same step if the member may approve refunds and either
    /// no goods come back or it is said whether they can be sold again; otherwise it waits for approval.
    /// Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `order_not_paid`, `quantity_not_refundable`,
    /// `refund_exceeds_paid`, `freight_not_refundable`, `goods_condition_required`, `order_changed`.
    #[oai(path = "/orders/:order_id/refunds", method = "post", operation_id = "startRefund")]
    async fn start_refund(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<StaffRefundInput>,
    ) -> Reply<Created<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "startRefund", &key, &json!([order_id.0, body.raw()]))?;
        let order = orders::find(&mut *self.ctx.db.reader().await?, &order_id).await?;
        let order = order.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
        let wish = StaffRefund {
            take: body.take(order.currency)?,
            freight: body.freight.unwrap_or(false),
            fault: body.fault.unwrap_or(Fault::None),
            reason: body.reason.clone(),
            condition: condition(body.sellable, body.goods.as_ref())?,
            may_approve: auth.may("approveRefund"),
        };
        let done = refunds::start(&self.ctx, &actor, &key, &order_id, &wish).await?;
        Ok(Created::of(view(&self.ctx, &done.value.refund_id).await?, &done))
    }

    /// Ask for the goods back first
    ///
    /// The customer is told where to send them and until when (`refunds.return_days`), and enters carrier and
    /// tracking number. Without a tracking number the request is withdrawn by then. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `refund_not_decidable`, `nothing_to_return`.
    #[oai(path = "/refunds/:refund_id/require-return", method = "post", operation_id = "requireReturn")]
    async fn require_return(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<ReturnRequest>,
    ) -> Reply<Answer<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "requireReturn", &key, &json!([refund_id.0, body.raw()]))?;
        let done = refunds::require_return(&self.ctx, &actor, &key, &refund_id, &body.note).await?;
        Ok(Answer::of(view(&self.ctx, &refund_id).await?, &done))
    }

    /// Goods received
    ///
    /// Of a refund whose goods had to come back first: what can be sold again goes on the shelf when the refund
    /// is settled, and the money goes back. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `refund_not_found`, `nothing_to_return`, `goods_condition_required`,
    /// `refund_not_decidable`, `refund_exceeds_paid`, `order_changed`.
    #[oai(path = "/refunds/:refund_id/received", method = "post", operation_id = "receiveReturn")]
    async fn receive_return(
        &self,
        auth: StaffAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<ReceivedGoods>,
    ) -> Reply<Answer<RefundView>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "receiveReturn", &key, &json!([refund_id.0, body.raw()]))?;
        let done = refunds::receive(&self.ctx, &actor, &key, &refund_id, &body.parse()?).await?;
        Ok(Answer::of(view(&self.ctx, &refund_id).await?, &done))
    }
}

//! The customer's operations on refunds.

use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use super::request::{self, WantedUnits, Wish};
use super::sql::{self, Refund, RefundLine};
use super::{Fault, REFUND_NOT_FOUND, RefundKind, RefundState, decide};
use crate::identity::UserAuth;
use crate::kernel::{Failure, Money, OrderId, OrderLineId, RefundId, Result, rfc3339};
use crate::orders::{self, ORDER_NOT_FOUND};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, Created, List, Reply, Tag};

/// Units of one line.
#[derive(Debug, Clone, Object)]
pub struct RefundLineInput {
    pub line_id: OrderLineId,
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: i64,
}

/// What is to be refunded, and why.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundInput {
    /// Absent: everything that is left.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<RefundLineInput>>,
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
    /// Up to 6 URLs.
    #[oai(validator(max_items = 6))]
    pub photos: Option<Vec<String>>,
}

impl Example for RefundInput {
    fn example() -> Self {
        Self { lines: None, reason: "不想要了".to_owned(), photos: None }
    }
}

/// What a refund takes from one line.
#[derive(Debug, Object)]
pub struct RefundLineView {
    pub line_id: OrderLineId,
    pub quantity: i64,
    /// Of these: units that come back.
    pub returned: i64,
    pub amount: Money,
}

/// A refund.
#[derive(Debug, Object)]
pub struct RefundView {
    pub id: RefundId,
    pub order_id: OrderId,
    pub kind: RefundKind,
    pub status: RefundState,
    pub lines: Vec<RefundLineView>,
    /// Freight included.
    pub amount: Money,
    pub freight: Money,
    pub reason: String,
    pub photos: Vec<String>,
    /// What the store wrote when it decided.
    pub note: String,
    /// Whose fault it was.
    pub fault: Fault,
    /// It brought a compensation coupon.
    pub compensated: bool,
    pub requested_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub approved_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub ended_at: Option<String>,
}

/// A refund as an answer shows it.
pub fn refund_view(refund: Refund, lines: &[RefundLine]) -> RefundView {
    let currency = refund.currency;
    let money = |amount: i64| Money::new(amount, currency);
    let line = |line: &RefundLine| RefundLineView {
        line_id: line.line_id.clone(),
        quantity: line.cancel_quantity + line.return_quantity,
        returned: line.return_quantity,
        amount: money(line.amount_minor),
    };
    RefundView {
        lines: lines.iter().map(line).collect(),
        amount: money(refund.amount_minor),
        freight: money(refund.freight_minor),
        photos: serde_json::from_str(&refund.photos).unwrap_or_default(),
        fault: refund.fault,
        compensated: refund.compensation_template.is_some(),
        requested_at: rfc3339(refund.requested_ms),
        approved_at: refund.approved_ms.map(rfc3339),
        ended_at: refund.ended_ms.map(rfc3339),
        id: refund.id,
        order_id: refund.order_id,
        kind: refund.kind,
        status: refund.status,
        reason: refund.reason,
        note: refund.note,
    }
}

/// The refunds of an order, as its page shows them.
///
/// # Errors
/// The database.
pub async fn refund_views(conn: &mut Conn, order: &OrderId) -> Result<Vec<RefundView>> {
    let mut views = Vec::new();
    for refund in sql::of_order(conn, order).await? {
        let lines = sql::find_lines(conn, &refund.id).await?;
        views.push(refund_view(refund, &lines));
    }
    Ok(views)
}

pub struct RefundsApi {
    pub ctx: Ctx,
}

impl RefundsApi {
    async fn view(&self, id: &RefundId) -> Result<RefundView> {
        let conn = &mut *self.ctx.db.reader().await?;
        let refund = sql::by_id(conn, id).await?.ok_or_else(|| Failure::new(&REFUND_NOT_FOUND))?;
        let lines = sql::find_lines(conn, id).await?;
        Ok(refund_view(refund, &lines))
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Refunds")]
impl RefundsApi {
    /// Ask for a refund
    ///
    /// Reserves the units and their money. Where nothing is shipped yet it is approved at once, unless the
    /// shop is configured otherwise; freight goes back with the last unit.
    ///
    /// Errors: `order_not_found`, `order_not_paid`, `order_not_refundable`, `quantity_not_refundable`,
    /// `refund_exceeds_paid`.
    #[oai(path = "/orders/:order_id/refunds", method = "post", operation_id = "requestRefund")]
    async fn request_refund(
        &self,
        auth: UserAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<RefundInput>,
    ) -> Reply<Created<RefundView>> {
        let key = Key::new(&auth.actor(), "requestRefund", &key, &json!([order_id.0, body.raw()]))?;
        let units = |line: RefundLineInput| WantedUnits { line_id: line.line_id, quantity: line.quantity };
        let input = body.into_inner();
        let photos = input.photos.unwrap_or_default();
        if let Some(index) = photos.iter().position(|url| url.len() > 512 || !url.starts_with("https://")) {
            return Err(Failure::invalid(
                format!("/photos/{index}"),
                "must be an https URL of at most 512 characters",
            )
            .into());
        }
        let wish = Wish {
            lines: input.lines.map(|lines| lines.into_iter().map(units).collect()),
            reason: input.reason,
            photos,
        };
        let done = request::request(&self.ctx, &auth.0.user_id, &key, &order_id, &wish).await?;
        Ok(Created::of(self.view(&done.value.refund_id).await?, &done))
    }

    /// List the refunds of an order
    ///
    /// Oldest first.
    ///
    /// Errors: `order_not_found`.
    #[oai(path = "/orders/:order_id/refunds", method = "get", operation_id = "listRefunds")]
    async fn list_refunds(&self, auth: UserAuth, order_id: Path<OrderId>) -> Reply<Json<List<RefundView>>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let order = orders::find_owned(conn, &order_id, &auth.0.user_id).await?;
        let order = order.ok_or_else(|| Failure::new(&ORDER_NOT_FOUND))?;
        Ok(List::whole(refund_views(conn, &order.id).await?))
    }

    /// Withdraw a refund
    ///
    /// Takes back a request that was not decided yet; what it had reserved is free again.
    ///
    /// Errors: `refund_not_found`, `refund_not_withdrawable`.
    #[oai(path = "/refunds/:refund_id/withdraw", method = "post", operation_id = "withdrawRefund")]
    async fn withdraw_refund(
        &self,
        auth: UserAuth,
        refund_id: Path<RefundId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<RefundView>> {
        let key = Key::new(&auth.actor(), "withdrawRefund", &key, &refund_id.0)?;
        let done = decide::withdraw(&self.ctx, &auth.0.user_id, &key, &refund_id).await?;
        Ok(Answer::of(self.view(&refund_id).await?, &done))
    }
}

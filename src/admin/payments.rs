//! Payments that arrived, as staff sees them: what paid an order, what no order could take, what differs.

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::kernel::{AttemptId, Cursor, Limit, Money, OrderId, RefundId, StoreId, UserId, rfc3339};
use crate::payments::{self, Arrived, ArrivedFilter, AttemptStatus};
use crate::platform::ctx::Ctx;
use crate::platform::web::{List, Reply, Tag};
use crate::refunds::{self, Refund, RefundState};
use crate::staff::StaffAuth;

/// The refund by which the money of an orphan payment goes back.
#[derive(Debug, Object)]
pub struct OrphanRefundView {
    pub id: RefundId,
    pub status: RefundState,
}

/// What arrived: the amount in the channel's own words.
#[derive(Debug, Object)]
pub struct ArrivedMoney {
    /// Minor units.
    pub amount: i64,
    pub currency: String,
}

/// A payment that arrived.
#[derive(Debug, Object)]
pub struct PaymentView {
    pub attempt_id: AttemptId,
    pub order_id: OrderId,
    pub user_id: UserId,
    /// SUCCEEDED paid its order; ORPHAN goes back; MISMATCH waits for a person, or is not ours.
    pub status: AttemptStatus,
    pub out_trade_no: String,
    pub transaction_id: String,
    /// What was asked for.
    pub asked: Money,
    pub paid: ArrivedMoney,
    /// The merchant that got it.
    pub mchid: String,
    /// Is that merchant this shop's?
    pub is_ours: bool,
    pub paid_at: String,
    /// When a person decided what a mismatched payment is.
    #[oai(skip_serializing_if_is_none)]
    pub reviewed_at: Option<String>,
    /// Of an orphan payment.
    #[oai(skip_serializing_if_is_none)]
    pub refund: Option<OrphanRefundView>,
}

impl PaymentView {
    fn of(row: Arrived, refunds: &[Refund]) -> Self {
        let refund = refunds.iter().find(|refund| refund.attempt_id.as_ref() == Some(&row.attempt_id));
        Self {
            refund: refund.map(|refund| OrphanRefundView { id: refund.id.clone(), status: refund.status }),
            is_ours: row.mchid == row.asked_mchid,
            asked: Money::new(row.asked_minor, row.asked_currency),
            paid: ArrivedMoney { amount: row.amount_minor, currency: row.currency },
            paid_at: rfc3339(row.paid_ms),
            reviewed_at: row.reviewed_ms.map(rfc3339),
            attempt_id: row.attempt_id,
            order_id: row.order_id,
            user_id: row.user_id,
            status: row.kind,
            out_trade_no: row.out_trade_no,
            transaction_id: row.transaction_id,
            mchid: row.mchid,
        }
    }
}

pub struct AdminPaymentsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Payments")]
impl AdminPaymentsApi {
    /// List payments that arrived
    ///
    /// Newest first: those that paid an order, orphans with their refund, and those that are not what was
    /// asked for. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/payments", method = "get", operation_id = "listPayments")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list_payments(
        &self,
        auth: StaffAuth,
        /// SUCCEEDED, ORPHAN or MISMATCH.
        status: Query<Option<AttemptStatus>>,
        store_id: Query<Option<StoreId>>,
        order_id: Query<Option<OrderId>>,
        /// True: only mismatched ones that nobody has decided.
        waiting: Query<Option<bool>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<PaymentView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let filter =
            ArrivedFilter { order: order_id.0.as_ref(), kind: status.0, waiting: waiting.0.unwrap_or(false) };
        let scope = &auth.scope().within(store_id.0.as_ref());
        let page = payments::list_arrived(conn, scope, filter, cursor.0.as_ref(), limit).await?;
        let orphans = page.items.iter().filter(|row| row.kind == AttemptStatus::Orphan);
        let orphans: Vec<AttemptId> = orphans.map(|row| row.attempt_id.clone()).collect();
        let refunds = refunds::of_orphans(conn, &orphans).await?;
        Ok(List::from_page(page, |row| PaymentView::of(row, &refunds)))
    }
}

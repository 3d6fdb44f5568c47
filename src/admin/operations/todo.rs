//! What waits for a person.

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::kernel::Result;
use crate::orders::{self, PickupStage};
use crate::payments;
use crate::platform::alerts;
use crate::platform::bus;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::inbox;
use crate::platform::proposals;
use crate::platform::web::{Reply, Tag};
use crate::refunds;
use crate::shipping;
use crate::staff::{StaffAuth, StoreScope};

/// How much waits for a person.
#[derive(Debug, Object)]
pub struct Todo {
    /// Paid orders that wait for a parcel; those on hold don't count.
    pub orders_to_ship: i64,
    /// Uploads of shipping information that WeChat refuses, or that can't be read here.
    pub failed_uploads: i64,
    /// Paid orders that are to be fetched and wait for their goods to be put together.
    pub pickups_to_prepare: i64,
    /// Orders that have been ready to be fetched for too long.
    pub pickups_overdue: i64,
    /// Refunds that wait for a decision.
    pub refunds_to_decide: i64,
    /// Returned goods that are on their way or there, and wait to be looked at.
    pub returns_to_check: i64,
    /// Refunds that only people can end: MANUAL and ABNORMAL.
    pub refunds_manual: i64,
    /// Money that the channel refunded, and that fits no refund here.
    pub refund_discrepancies: i64,
    /// What one person has proposed, and another has to confirm.
    pub proposals: i64,
    /// Orders that are CLOSING a day after their time to pay: the channel does not answer.
    pub orders_unanswered: i64,
    /// Payments that are not what was asked for.
    pub mismatched_payments: i64,
    /// Of the whole shop, so absent for members whose stores are limited, like the next two.
    #[oai(skip_serializing_if_is_none)]
    pub alerts: Option<i64>,
    #[oai(skip_serializing_if_is_none)]
    pub dead_letters: Option<i64>,
    /// Notices of the outside that nobody here could settle.
    #[oai(skip_serializing_if_is_none)]
    pub parked_notices: Option<i64>,
}

pub struct TodoApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl TodoApi {
    /// What waits for a person
    ///
    /// Counts, of the member's stores. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/todo", method = "get", operation_id = "getTodo")]
    async fn todo(&self, auth: StaffAuth) -> Reply<Json<Todo>> {
        let (conn, scope) = (&mut *self.ctx.db.reader().await?, auth.scope());
        let refunds = refunds::waiting(conn, scope).await?;
        let unanswered_ms = self.ctx.clock.now_ms() - payments::UNANSWERED_AFTER_MS;
        let whole_shop = if scope.is_all() { Some(WholeShop::count(conn).await?) } else { None };
        Ok(Json(Todo {
            orders_to_ship: orders::count_to_ship(conn, scope).await?,
            failed_uploads: shipping::count_failed(conn, scope).await?,
            pickups_to_prepare: self.pickups(conn, scope, PickupStage::ToPrepare).await?,
            pickups_overdue: self.pickups(conn, scope, PickupStage::Overdue).await?,
            refunds_to_decide: refunds.to_decide,
            returns_to_check: refunds.returns_to_check,
            refunds_manual: refunds.manual,
            refund_discrepancies: refunds.discrepancies,
            proposals: proposals::count_open(conn, scope.stores()).await?,
            orders_unanswered: orders::count_unanswered(conn, scope, unanswered_ms).await?,
            mismatched_payments: payments::count_mismatched(conn, scope).await?,
            alerts: whole_shop.as_ref().map(|counts| counts.alerts),
            dead_letters: whole_shop.as_ref().map(|counts| counts.dead_letters),
            parked_notices: whole_shop.as_ref().map(|counts| counts.parked_notices),
        }))
    }
}

impl TodoApi {
    async fn pickups(&self, conn: &mut Conn, scope: &StoreScope, stage: PickupStage) -> Result<i64> {
        orders::count_pickups(conn, &self.ctx, scope, stage).await
    }
}

/// Counts of what belongs to no store.
struct WholeShop {
    alerts: i64,
    dead_letters: i64,
    parked_notices: i64,
}

impl WholeShop {
    async fn count(conn: &mut Conn) -> Result<Self> {
        Ok(Self {
            alerts: alerts::count(conn).await?,
            dead_letters: bus::count_parked(conn).await?,
            parked_notices: inbox::count_parked(conn).await?,
        })
    }
}

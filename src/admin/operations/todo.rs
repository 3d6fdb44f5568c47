//! What waits for a person.

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::orders;
use crate::payments;
use crate::platform::alerts;
use crate::platform::bus;
use crate::platform::ctx::Ctx;
use crate::platform::inbox;
use crate::platform::web::{Reply, Tag};
use crate::refunds::{self, RefundState};
use crate::staff::StaffAuth;

/// How much waits for a person.
#[derive(Debug, Object)]
pub struct Todo {
    /// Paid orders that wait for a parcel; those on hold don't count.
    pub orders_to_ship: i64,
    /// Refunds that wait for a decision.
    pub refunds_to_decide: i64,
    /// Refunds that only people can end: MANUAL and ABNORMAL.
    pub refunds_manual: i64,
    pub alerts: i64,
    pub dead_letters: i64,
    /// Notices of the outside that nobody here could settle.
    pub parked_notices: i64,
    /// Payments that are not what was asked for.
    pub mismatched_payments: i64,
}

pub struct TodoApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl TodoApi {
    /// What waits for a person
    ///
    /// Counts. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/todo", method = "get", operation_id = "getTodo")]
    async fn todo(&self, _auth: StaffAuth) -> Reply<Json<Todo>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let undecided = [RefundState::Requested, RefundState::AwaitingReturn];
        Ok(Json(Todo {
            orders_to_ship: orders::count_to_ship(conn).await?,
            refunds_to_decide: refunds::count(conn, &undecided).await?,
            refunds_manual: refunds::count(conn, &[RefundState::Manual, RefundState::Abnormal]).await?,
            alerts: alerts::count(conn).await?,
            dead_letters: bus::count_parked(conn).await?,
            parked_notices: inbox::count_parked(conn).await?,
            mismatched_payments: payments::count_mismatched(conn).await?,
        }))
    }
}

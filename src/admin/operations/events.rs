//! How the bus is doing.

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::platform::bus;
use crate::platform::ctx::Ctx;
use crate::platform::web::{Reply, Tag};
use crate::staff::StaffAuth;

/// How the bus is doing.
#[derive(Debug, Object)]
pub struct OutboxView {
    /// How late the oldest due event or delivery is; 0: nothing is late.
    pub lag_ms: i64,
    /// Dead letters.
    pub parked: i64,
    /// Does the bus take messages?
    pub available: bool,
}

pub struct EventsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl EventsApi {
    /// How the bus is doing
    ///
    /// Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/outbox", method = "get", operation_id = "getOutbox")]
    async fn outbox(&self, _auth: StaffAuth) -> Reply<Json<OutboxView>> {
        let conn = &mut *self.ctx.db.reader().await?;
        Ok(Json(OutboxView {
            lag_ms: bus::lag_ms(conn, self.ctx.clock.now_ms()).await?,
            parked: bus::count_parked(conn).await?,
            available: self.ctx.bus.is_available(),
        }))
    }
}

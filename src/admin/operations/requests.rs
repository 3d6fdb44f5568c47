//! Everything that happened under one request id, on one page.

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::audit::AuditView;
use super::events::{EventDetail, detail};
use crate::kernel::{InboxId, Limit, OrderId, rfc3339};
use crate::order_views::{StaffTimelineEntry, staff_move};
use crate::orders;
use crate::platform::audit;
use crate::platform::bus;
use crate::platform::ctx::Ctx;
use crate::platform::inbox::{self, Kept};
use crate::platform::web::{Reply, Tag};
use crate::staff::StaffAuth;

/// Rows of each kind that are shown.
const SHOWN: u32 = Limit::MAX;

/// Something that happened to an order.
#[derive(Debug, Object)]
pub struct RequestMove {
    pub order_id: OrderId,
    #[oai(flatten)]
    pub entry: StaffTimelineEntry,
}

/// A notice of the outside.
#[derive(Debug, Object)]
pub struct RequestNotice {
    pub id: InboxId,
    /// Who told us.
    pub source: String,
    /// Their number of it.
    pub external_id: String,
    pub kind: String,
    /// NEW, DONE or PARKED.
    pub state: String,
    /// Tries that failed.
    pub attempts: i64,
    pub received_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub done_at: Option<String>,
    /// Why the last try failed.
    #[oai(skip_serializing_if_is_none)]
    pub error: Option<String>,
}

impl From<Kept> for RequestNotice {
    fn from(notice: Kept) -> Self {
        Self {
            id: notice.id,
            source: notice.source,
            external_id: notice.external_id,
            kind: notice.kind,
            state: notice.state,
            attempts: notice.attempts,
            received_at: rfc3339(notice.received_ms),
            done_at: notice.done_ms.map(rfc3339),
            error: notice.error,
        }
    }
}

/// What one request did, and what followed from it. At most 100 of each kind.
#[derive(Debug, Object)]
pub struct RequestTrace {
    pub request_id: String,
    /// What it did to orders, oldest first.
    pub timeline: Vec<RequestMove>,
    /// Its audit rows, newest first.
    pub audit: Vec<AuditView>,
    /// The events that it caused, with their deliveries, oldest first.
    pub events: Vec<EventDetail>,
    /// The notices that it brought, oldest first.
    pub notices: Vec<RequestNotice>,
}

pub struct RequestsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl RequestsApi {
    /// Everything of one request
    ///
    /// What happened under an `X-Request-Id`: moves of orders, audit rows, events with their deliveries, and
    /// notices of WeChat with what they settled. An event's handlers and a notice's settling go on under the id
    /// of the request that caused them. Empty when nothing did. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/trace", method = "get", operation_id = "traceRequest")]
    async fn trace(
        &self,
        _auth: StaffAuth,
        /// The `X-Request-Id` of the answer.
        #[oai(validator(min_length = 1, max_length = 64), example = "example_request")]
        request_id: Query<String>,
    ) -> Reply<Json<RequestTrace>> {
        let (id, shown) = (request_id.0.as_str(), i64::from(SHOWN));
        let conn = &mut *self.ctx.db.reader().await?;
        let mut timeline = Vec::new();
        for found in orders::timeline_of_request(conn, id, shown).await? {
            let entries = staff_move(conn, &found.order_id, found.row).await?;
            timeline.extend(
                entries.into_iter().map(|entry| RequestMove { order_id: found.order_id.clone(), entry }),
            );
        }
        let filter = audit::Filter { request_id: Some(id), ..audit::Filter::default() };
        let audit = audit::list(conn, &filter, None, Limit::parse(Some(SHOWN))?).await?.items;
        let mut events = Vec::new();
        for event in bus::events_of_request(conn, id, shown).await? {
            events.push(detail(conn, event).await?);
        }
        let notices = inbox::of_request(conn, id, shown).await?;
        Ok(Json(RequestTrace {
            request_id: id.to_owned(),
            timeline,
            audit: audit.into_iter().map(AuditView::from).collect(),
            events,
            notices: notices.into_iter().map(RequestNotice::from).collect(),
        }))
    }
}

fn example_request() -> String {
    "req_00000000000000000000000000".to_owned()
}

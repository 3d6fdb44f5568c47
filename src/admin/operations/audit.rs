//! The audit log.

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use crate::kernel::{AuditId, Cursor, Limit, Moment, rfc3339};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::web::{List, Reply, Tag};
use crate::staff::StaffAuth;

/// A row of the audit log.
#[derive(Debug, Object)]
pub struct AuditView {
    pub id: AuditId,
    pub at: String,
    /// `user`, `staff` or `system`.
    pub actor_kind: String,
    pub actor_id: String,
    /// The id of the operation in these documents.
    pub operation: String,
    /// The id of what was changed.
    pub object: String,
    #[oai(skip_serializing_if_is_none)]
    pub before: Option<Value>,
    #[oai(skip_serializing_if_is_none)]
    pub after: Option<Value>,
    pub request_id: String,
}

impl From<audit::Row> for AuditView {
    fn from(row: audit::Row) -> Self {
        let value = |json: Option<String>| json.and_then(|json| serde_json::from_str(&json).ok());
        Self {
            id: row.id,
            at: rfc3339(row.at_ms),
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            operation: row.operation,
            object: row.object,
            before: value(row.before_json),
            after: value(row.after_json),
            request_id: row.request_id,
        }
    }
}

pub struct AuditApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl AuditApi {
    /// Read the audit log
    ///
    /// Newest first: of somebody, of one operation, object or request, of a time, or all of it. `before` and
    /// `after` are what the act changed. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn audit(
        &self,
        _auth: StaffAuth,
        /// The id of a person, or the name of a part of the system.
        #[oai(validator(min_length = 1, max_length = 64))]
        actor: Query<Option<String>>,
        /// The id of an operation in these documents.
        #[oai(validator(min_length = 1, max_length = 64))]
        operation: Query<Option<String>>,
        /// The id of what was changed.
        #[oai(validator(min_length = 1, max_length = 64))]
        object: Query<Option<String>>,
        /// The `X-Request-Id` of a request.
        #[oai(validator(min_length = 1, max_length = 64))]
        request_id: Query<Option<String>>,
        /// At or after this time (RFC 3339).
        from: Query<Option<Moment>>,
        /// Before this time (RFC 3339).
        until: Query<Option<Moment>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<AuditView>>> {
        let limit = Limit::parse(limit.0)?;
        let filter = audit::Filter {
            actor: actor.0.as_deref(),
            operation: operation.0.as_deref(),
            object: object.0.as_deref(),
            request_id: request_id.0.as_deref(),
            from_ms: from.0.map(|at| at.0),
            until_ms: until.0.map(|at| at.0),
        };
        let conn = &mut *self.ctx.db.reader().await?;
        let page = audit::list(conn, &filter, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, AuditView::from))
    }
}

//! Notices of the outside that nobody here could settle.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{Cursor, InboxId, Limit, rfc3339};
use crate::platform::audit::{self, Entry};
use crate::platform::ctx::Ctx;
use crate::platform::inbox::{self, Parked};
use crate::platform::web::{Body, List, NoContent, Reply, Tag};
use crate::staff::StaffAuth;

/// A notice of the outside that nobody here could settle.
#[derive(Debug, Object)]
pub struct ParkedNoticeView {
    pub id: InboxId,
    /// Who told us.
    pub source: String,
    /// Their number of it.
    pub external_id: String,
    pub kind: String,
    pub attempts: i64,
    pub received_at: String,
    /// Why it could not be settled.
    pub error: String,
}

impl From<Parked> for ParkedNoticeView {
    fn from(notice: Parked) -> Self {
        Self {
            id: notice.id,
            source: notice.source,
            external_id: notice.external_id,
            kind: notice.kind,
            attempts: notice.attempts,
            received_at: rfc3339(notice.received_ms),
            error: notice.error.unwrap_or_default(),
        }
    }
}

/// Why something is done.
#[derive(Debug, Object)]
#[oai(example)]
pub struct NoticeReplay {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for NoticeReplay {
    fn example() -> Self {
        Self { reason: "原因已排除".to_owned() }
    }
}

pub struct NoticesApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl NoticesApi {
    /// List parked notices
    ///
    /// What WeChat told and nobody here could settle, newest first. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/parked-notices", method = "get", operation_id = "listParkedNotices")]
    async fn parked_notices(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<ParkedNoticeView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = inbox::parked(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, ParkedNoticeView::from))
    }

    /// Replay a parked notice
    ///
    /// Has the notice settled once more; it is idempotent like any other. Leaves an audit row.
    ///
    /// Errors: `unauthenticated`, `notice_not_parked`.
    #[oai(path = "/parked-notices/:notice_id/replay", method = "post", operation_id = "replayParkedNotice")]
    async fn replay_notice(
        &self,
        auth: StaffAuth,
        notice_id: Path<InboxId>,
        body: Body<NoticeReplay>,
    ) -> Reply<NoContent> {
        let (ctx, actor, id, reason) = (&self.ctx, &auth.actor(), &notice_id.0, body.reason.as_str());
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    inbox::replay(tx, ctx, id).await?;
                    let entry = Entry {
                        actor,
                        operation: "replayParkedNotice",
                        object: id.as_str(),
                        before: Some(json!({ "state": "PARKED" })),
                        after: Some(json!({ "state": "NEW", "reason": reason })),
                    };
                    audit::record(tx, ctx, entry).await
                })
            })
            .await?;
        Ok(NoContent::Done)
    }
}

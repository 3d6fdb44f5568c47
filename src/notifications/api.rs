//! The customer's notices, and the permissions to send messages through WeChat.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{Moment, Notice, NoticeKind};
use crate::identity::UserAuth;
use crate::kernel::{Cursor, Limit, NoticeId, OrderId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, List, NoContent, Reply, Tag};

/// A template of subscribe messages that the person can allow.
#[derive(Debug, Object)]
pub struct SubscribeTemplate {
    /// What its message is about.
    pub kind: NoticeKind,
    /// For `tmplIds` of `wx.requestSubscribeMessage`.
    pub template_id: String,
}

/// What the person allowed.
#[derive(Debug, Object)]
#[oai(example)]
pub struct SubscribeGrants {
    /// The templates for which `wx.requestSubscribeMessage` answered `accept`.
    #[oai(validator(min_items = 1, max_items = 3, unique_items))]
    pub template_ids: Vec<String>,
}

impl Example for SubscribeGrants {
    fn example() -> Self {
        // The sandbox's template for "paid".
        Self { template_ids: vec!["SbxPaid0000000000000000000000000000000004__".to_owned()] }
    }
}

/// A notice in the app.
#[derive(Debug, Object)]
pub struct NoticeView {
    pub id: NoticeId,
    pub kind: NoticeKind,
    pub title: String,
    pub body: String,
    pub order_id: OrderId,
    pub created_at: String,
    /// Absent: not read yet.
    #[oai(skip_serializing_if_is_none)]
    pub read_at: Option<String>,
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        Self {
            id: notice.id,
            kind: notice.kind,
            title: notice.title,
            body: notice.body,
            order_id: notice.order_id,
            created_at: rfc3339(notice.created_ms),
            read_at: notice.read_ms.map(rfc3339),
        }
    }
}

pub struct NotificationsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Messages")]
impl NotificationsApi {
    /// Which messages to ask permission for
    ///
    /// At most three, which is what `wx.requestSubscribeMessage` takes: call it where the person taps, and
    /// report what was accepted. Changes nothing.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/subscribe-templates", method = "get", operation_id = "listSubscribeTemplates")]
    async fn list_templates(
        &self,
        _auth: UserAuth,
        /// What the person is about to do.
        moment: Query<Moment>,
    ) -> Reply<Json<List<SubscribeTemplate>>> {
        let templates = &self.ctx.config.wechat.templates;
        let view = |kind: &NoticeKind| {
            let template_id = kind.template(templates)?.to_owned();
            Some(SubscribeTemplate { kind: *kind, template_id })
        };
        Ok(List::whole(moment.0.kinds().iter().filter_map(view).collect()))
    }

    /// Report which messages were accepted
    ///
    /// Each accepted template is the permission for one message.
    ///
    /// Errors: `invalid_request` when one is not a template of this mini-program.
    #[oai(path = "/subscribe-grants", method = "post", operation_id = "reportSubscribeGrants")]
    async fn report_grants(&self, auth: UserAuth, body: Body<SubscribeGrants>) -> Reply<NoContent> {
        super::grant(&self.ctx, &auth.0.user_id, &body.template_ids).await?;
        Ok(NoContent::Done)
    }

    /// My notices
    ///
    /// Newest first, whatever WeChat let through. Changes nothing.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/notices", method = "get", operation_id = "listNotices")]
    async fn list_notices(
        &self,
        auth: UserAuth,
        /// True: only those that were not read yet.
        unread: Query<Option<bool>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<NoticeView>>> {
        let limit = Limit::parse(limit.0)?;
        let unread = unread.0.unwrap_or_default();
        let page = super::list(&self.ctx, &auth.0.user_id, unread, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, NoticeView::from))
    }

    /// Mark a notice as read
    ///
    /// Notes when it was read first; again changes nothing.
    ///
    /// Errors: `notice_not_found`.
    #[oai(path = "/notices/:notice_id/read", method = "post", operation_id = "readNotice")]
    async fn read_notice(&self, auth: UserAuth, notice_id: Path<NoticeId>) -> Reply<NoContent> {
        super::read(&self.ctx, &auth.0.user_id, &notice_id).await?;
        Ok(NoContent::Done)
    }
}

//! What the people who run the shop look at: what waits for them, dead letters, alerts, the outbox, the
//! audit log.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use crate::kernel::{
    Actor, AlertId, AttemptId, AuditId, Cursor, EventId, Failure, Id, InboxId, Limit, Result, rfc3339,
};
use crate::orders;
use crate::payments::{self, Decision};
use crate::platform::alerts::{self, ALERT_NOT_FOUND, Alert};
use crate::platform::audit::{self, Entry};
use crate::platform::bus::{self, DeadLetter};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::inbox::{self, Parked};
use crate::platform::proposals;
use crate::platform::web::{Body, List, NoContent, Reply, Tag};
use crate::refunds;
use crate::staff::StaffAuth;

/// A delivery that was given up.
#[derive(Debug, Object)]
pub struct DeadLetterView {
    pub event_id: EventId,
    /// Who did not take it.
    pub subscription: String,
    /// The name of the event.
    pub event: String,
    /// The event itself.
    pub body: Value,
    pub error: String,
    pub attempts: i64,
    pub created_at: String,
    /// The request that caused the event.
    pub request_id: String,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            event_id: letter.event_id,
            subscription: letter.subscription,
            event: letter.event,
            body: serde_json::from_str(&letter.body).unwrap_or(Value::String(letter.body)),
            error: letter.error,
            attempts: letter.attempts,
            created_at: rfc3339(letter.created_ms),
            request_id: letter.request_id,
        }
    }
}

/// Which dead letter, and why.
#[derive(Debug, Object)]
#[oai(example)]
pub struct DeadLetterDecision {
    pub event_id: EventId,
    #[oai(validator(min_length = 1, max_length = 64))]
    pub subscription: String,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for DeadLetterDecision {
    fn example() -> Self {
        Self {
            event_id: EventId::from_tail(&"0".repeat(26)),
            subscription: "notifications.notice".to_owned(),
            reason: "原因已排除".to_owned(),
        }
    }
}

/// Something that needs a person's eyes.
#[derive(Debug, Object)]
pub struct AlertView {
    pub id: AlertId,
    /// What kind of trouble: `payment_mismatch`, `refund_manual`, `shipping_not_uploaded`, …
    pub kind: String,
    /// The id of what it is about.
    pub object: String,
    pub detail: String,
    pub opened_at: String,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            kind: alert.kind,
            object: alert.object,
            detail: alert.detail,
            opened_at: rfc3339(alert.opened_ms),
        }
    }
}

/// Why an alert is closed.
#[derive(Debug, Object)]
#[oai(example)]
pub struct AlertClosing {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for AlertClosing {
    fn example() -> Self {
        Self { reason: "已在微信后台处理".to_owned() }
    }
}

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

/// How much waits for a person.
#[derive(Debug, Object)]
pub struct Todo {
    /// Paid orders that wait for a parcel; those on hold don't count.
    pub orders_to_ship: i64,
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
    pub alerts: i64,
    pub dead_letters: i64,
    /// Notices of the outside that nobody here could settle.
    pub parked_notices: i64,
    /// Payments that are not what was asked for.
    pub mismatched_payments: i64,
}

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

/// What a mismatched payment is.
#[derive(Debug, Object)]
#[oai(example)]
pub struct PaymentDecisionInput {
    /// ORPHAN: the money goes back in full. SUCCEEDED: it pays the order after all. NOT_OURS: another merchant
    /// got it, and it stays recorded.
    pub decision: Decision,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for PaymentDecisionInput {
    fn example() -> Self {
        Self { decision: Decision::Orphan, reason: "金额不符，退回".to_owned() }
    }
}

pub struct OperationsApi {
    pub ctx: Ctx,
}

impl OperationsApi {
    /// Replays or discards a dead letter, with its audit row.
    async fn decide(&self, actor: &Actor, input: &DeadLetterDecision, replay: bool) -> Result<()> {
        let ctx = &self.ctx;
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    let (event, subscription) = (&input.event_id, input.subscription.as_str());
                    let operation = if replay {
                        bus::replay(tx, ctx, event, subscription).await?;
                        "replayDeadLetter"
                    } else {
                        bus::discard(tx, ctx, event, subscription).await?;
                        "discardDeadLetter"
                    };
                    let entry = Entry {
                        actor,
                        operation,
                        object: event.as_str(),
                        before: Some(json!({ "subscription": subscription, "state": "PARKED" })),
                        after: Some(json!({ "reason": input.reason })),
                    };
                    audit::record(tx, ctx, entry).await
                })
            })
            .await
    }
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl OperationsApi {
    /// What waits for a person
    ///
    /// Counts. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/todo", method = "get", operation_id = "getTodo")]
    async fn todo(&self, _auth: StaffAuth) -> Reply<Json<Todo>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let refunds = refunds::waiting(conn).await?;
        let unanswered_ms = self.ctx.clock.now_ms() - payments::UNANSWERED_AFTER_MS;
        Ok(Json(Todo {
            orders_to_ship: orders::count_to_ship(conn).await?,
            refunds_to_decide: refunds.to_decide,
            returns_to_check: refunds.returns_to_check,
            refunds_manual: refunds.manual,
            refund_discrepancies: refunds.discrepancies,
            proposals: proposals::count_open(conn).await?,
            orders_unanswered: orders::count_unanswered(conn, unanswered_ms).await?,
            alerts: alerts::count(conn).await?,
            dead_letters: bus::count_parked(conn).await?,
            parked_notices: inbox::count_parked(conn).await?,
            mismatched_payments: payments::count_mismatched(conn).await?,
        }))
    }

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

    /// Decide a mismatched payment
    ///
    /// A payment whose amount, currency, app or merchant is not what was asked for waits for a person. ORPHAN
    /// sends the money back in full; SUCCEEDED pays the order, only if amount and currency are what it asks
    /// for. Closes the alert and leaves an audit row.
    ///
    /// Errors: `unauthenticated`, `payment_not_found`, `payment_not_decidable`.
    #[oai(path = "/payments/:attempt_id/decide", method = "post", operation_id = "decidePayment")]
    async fn decide_payment(
        &self,
        auth: StaffAuth,
        attempt_id: Path<AttemptId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<PaymentDecisionInput>,
    ) -> Reply<NoContent> {
        let actor = auth.actor();
        let key = Key::new(&actor, "decidePayment", &key, &json!([attempt_id.0, body.raw()]))?;
        payments::decide(&self.ctx, &actor, &key, &attempt_id, body.decision, &body.reason).await?;
        Ok(NoContent::Done)
    }

    /// List dead letters
    ///
    /// Deliveries that were given up, newest first, with the last error. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/dead-letters", method = "get", operation_id = "listDeadLetters")]
    async fn dead_letters(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<DeadLetterView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = bus::dead_letters(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, DeadLetterView::from))
    }

    /// Replay a dead letter
    ///
    /// Gives the event to its handler once more, whatever came behind it. Handlers are safe to run twice.
    /// Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `dead_letter_not_found`.
    #[oai(path = "/dead-letters/replay", method = "post", operation_id = "replayDeadLetter")]
    async fn replay(&self, auth: StaffAuth, body: Body<DeadLetterDecision>) -> Reply<NoContent> {
        self.decide(&auth.actor(), &body, true).await?;
        Ok(NoContent::Done)
    }

    /// Discard a dead letter
    ///
    /// It is not delivered any more. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `dead_letter_not_found`.
    #[oai(path = "/dead-letters/discard", method = "post", operation_id = "discardDeadLetter")]
    async fn discard(&self, auth: StaffAuth, body: Body<DeadLetterDecision>) -> Reply<NoContent> {
        self.decide(&auth.actor(), &body, false).await?;
        Ok(NoContent::Done)
    }

    /// List open alerts
    ///
    /// Newest first. Many close by themselves once their cause is gone. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/alerts", method = "get", operation_id = "listAlerts")]
    async fn alerts(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<AlertView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let page = alerts::list(conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, AlertView::from))
    }

    /// Close an alert
    ///
    /// Somebody has looked at it. It opens again when its cause is met again. Writes an audit row.
    ///
    /// Errors: `unauthenticated`, `alert_not_found`.
    #[oai(path = "/alerts/:alert_id/close", method = "post", operation_id = "closeAlert")]
    async fn close_alert(
        &self,
        auth: StaffAuth,
        alert_id: Path<AlertId>,
        body: Body<AlertClosing>,
    ) -> Reply<NoContent> {
        let (ctx, actor, id, reason) = (&self.ctx, &auth.actor(), &alert_id.0, &body.reason);
        let closed = ctx.db.write(|tx| {
            Box::pin(async move {
                let alert = alerts::close_by_id(tx, ctx, id).await?;
                let alert = alert.ok_or_else(|| Failure::new(&ALERT_NOT_FOUND))?;
                let entry = Entry {
                    actor,
                    operation: "closeAlert",
                    object: &alert.object,
                    before: Some(json!({ "alert": id, "kind": alert.kind, "detail": alert.detail })),
                    after: Some(json!({ "reason": reason })),
                };
                audit::record(tx, ctx, entry).await
            })
        });
        closed.await?;
        Ok(NoContent::Done)
    }

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

    /// Read the audit log
    ///
    /// Newest first: of one object, of one request, or all of it. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    async fn audit(
        &self,
        _auth: StaffAuth,
        /// The id of what was changed.
        #[oai(validator(min_length = 1, max_length = 64))]
        object: Query<Option<String>>,
        /// The `X-Request-Id` of a request.
        #[oai(validator(min_length = 1, max_length = 64))]
        request_id: Query<Option<String>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<AuditView>>> {
        let limit = Limit::parse(limit.0)?;
        let conn = &mut *self.ctx.db.reader().await?;
        let (object, request_id) = (object.0.as_deref(), request_id.0.as_deref());
        let page = audit::list(conn, object, request_id, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, AuditView::from))
    }
}

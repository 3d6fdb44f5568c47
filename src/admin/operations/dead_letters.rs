//! Deliveries that were given up.

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use crate::kernel::{Actor, Cursor, EventId, Id, Limit, Result, rfc3339};
use crate::platform::audit::{self, Entry};
use crate::platform::bus::{self, DeadLetter};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, List, NoContent, Reply, Tag};
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

pub struct DeadLettersApi {
    pub ctx: Ctx,
}

impl DeadLettersApi {
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
impl DeadLettersApi {
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
}

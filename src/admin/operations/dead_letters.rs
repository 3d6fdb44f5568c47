//! Deliveries that were given up.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};

use super::events::{TryView, value};
use crate::kernel::{Actor, Cursor, EventId, Id, Limit, Result, rfc3339};
use crate::platform::audit::{self, Entry};
use crate::platform::bus::{self, DeadLetter, Wanted};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::web::{Body, List, NoContent, Reply, Tag};
use crate::staff::StaffAuth;

/// Dead letters that one request replays at most.
const REPLAY_MAX: u32 = 100;

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
            body: value(letter.body),
            error: letter.error,
            attempts: letter.attempts,
            created_at: rfc3339(letter.created_ms),
            request_id: letter.request_id,
        }
    }
}

/// A delivery that was given up, with what was tried.
#[derive(Debug, Object)]
pub struct DeadLetterDetail {
    #[oai(flatten)]
    pub letter: DeadLetterView,
    /// The last 20 failed tries, oldest first, also those of before a replay.
    pub tries: Vec<TryView>,
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

/// Which dead letters, and why.
#[derive(Debug, Object)]
#[oai(example)]
pub struct DeadLettersReplay {
    /// Of this subscription only.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub subscription: Option<String>,
    /// Of events with this name only.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub event: Option<String>,
    /// So many, the oldest first; 100 unless told.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub limit: Option<u32>,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for DeadLettersReplay {
    fn example() -> Self {
        Self {
            subscription: Some("notifications.notice".to_owned()),
            event: None,
            limit: None,
            reason: "原因已排除".to_owned(),
        }
    }
}

/// What became of many dead letters.
#[derive(Debug, Object)]
pub struct DeadLettersReplayed {
    /// Given to their handlers once more.
    pub replayed: u64,
    /// Dead letters of any kind that are left.
    pub left: i64,
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
                    record(tx, ctx, actor, operation, (event, subscription), &input.reason).await
                })
            })
            .await
    }
}

async fn record(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    operation: &str,
    (event, subscription): (&EventId, &str),
    reason: &str,
) -> Result<()> {
    let entry = Entry {
        actor,
        operation,
        object: event.as_str(),
        before: Some(json!({ "subscription": subscription, "state": "PARKED" })),
        after: Some(json!({ "reason": reason })),
    };
    audit::record(tx, ctx, entry).await
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Operations")]
impl DeadLettersApi {
    /// List dead letters
    ///
    /// Deliveries that were given up, newest first, with the last error. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/dead-letters", method = "get", operation_id = "listDeadLetters")]
    async fn list(
        &self,
        _auth: StaffAuth,
        /// Of this subscription only.
        #[oai(validator(min_length = 1, max_length = 64))]
        subscription: Query<Option<String>>,
        /// Of events with this name only.
        #[oai(validator(min_length = 1, max_length = 64))]
        event: Query<Option<String>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<DeadLetterView>>> {
        let limit = Limit::parse(limit.0)?;
        let wanted = Wanted { subscription: subscription.0.as_deref(), event: event.0.as_deref() };
        let conn = &mut *self.ctx.db.reader().await?;
        let page = bus::dead_letters(conn, &wanted, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, DeadLetterView::from))
    }

    /// One dead letter
    ///
    /// The event, the last error, and each of the last tries: when, on which node, and why it failed. Changes
    /// nothing.
    ///
    /// Errors: `unauthenticated`, `dead_letter_not_found`.
    #[oai(path = "/dead-letters/:event_id/:subscription", method = "get", operation_id = "getDeadLetter")]
    async fn get(
        &self,
        _auth: StaffAuth,
        event_id: Path<EventId>,
        #[oai(validator(min_length = 1, max_length = 64))] subscription: Path<String>,
    ) -> Reply<Json<DeadLetterDetail>> {
        let conn = &mut *self.ctx.db.reader().await?;
        let letter = bus::dead_letter(conn, &event_id, &subscription).await?.into();
        let tries = bus::tries(conn, &event_id, &subscription).await?;
        Ok(Json(DeadLetterDetail { letter, tries: tries.into_iter().map(TryView::from).collect() }))
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

    /// Replay many dead letters
    ///
    /// Gives the oldest of those that are asked for to their handlers once more, at most 100 a call: call it
    /// again while some are left. Writes an audit row for each.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/dead-letters/replay-many", method = "post", operation_id = "replayDeadLetters")]
    async fn replay_many(
        &self,
        auth: StaffAuth,
        body: Body<DeadLettersReplay>,
    ) -> Reply<Json<DeadLettersReplayed>> {
        let (ctx, actor, input) = (&self.ctx, &auth.actor(), &*body);
        let wanted = &Wanted { subscription: input.subscription.as_deref(), event: input.event.as_deref() };
        let limit = i64::from(input.limit.unwrap_or(REPLAY_MAX).min(REPLAY_MAX));
        let work = ctx.db.write(|tx| {
            Box::pin(async move {
                let replayed = bus::replay_many(tx, ctx, wanted, limit).await?;
                for (event, subscription) in &replayed {
                    let letter = (event, subscription.as_str());
                    record(tx, ctx, actor, "replayDeadLetters", letter, &input.reason).await?;
                }
                let left = bus::count_parked(tx).await?;
                Ok(DeadLettersReplayed { replayed: replayed.len() as u64, left })
            })
        });
        Ok(Json(work.await?))
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

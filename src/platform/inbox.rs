//! What the outside tells us, stored before it is answered: one row for each proof, unique by its source
//! and number, worked off with retries. A notice that no handler can use is parked and alerted.

use std::sync::Arc;

use sqlx::FromRow;

use super::alerts;
use super::ctx::Ctx;
use super::db::{BoxFuture, Conn, Tx, Work, changed, inserted};
use super::worker::side_by_side;
use crate::kernel::{Cursor, Failure, InboxId, Limit, Millis, Page, Result, codes, minute_ms};
use crate::telemetry;

codes! {
    NOTICE_NOT_PARKED: 404 "notice_not_parked" "There is no such notice that waits for a person.";
}

/// Rows that one round works on.
const BATCH: i64 = 64;
const FIRST_PAUSE_MS: Millis = 1_000;
const LONGEST_PAUSE_MS: Millis = 60_000;
/// How long a node may take for a try, until another node tries, too. The handler's transaction decides which
/// of them changes anything; what this saves is the second half message.
const LEASE_MS: Millis = 15_000;
/// Tries with pauses of up to a minute: about a day and a half.
const ATTEMPTS_MAX: i64 = 2_000;

/// A stored notice.
#[derive(Debug, Clone, FromRow)]
pub struct Notice {
    pub id: InboxId,
    pub source: String,
    pub external_id: String,
    pub kind: String,
    pub attempts: i64,
    next_ms: Millis,
    pub received_ms: Millis,
    /// The request that brought it, as far as it was one.
    pub request_id: Option<String>,
    /// Encrypted by our data key.
    body: String,
}

const PURPOSE: &str = "inbox.body";

impl Notice {
    /// What was stored.
    ///
    /// # Errors
    /// The data key has changed.
    pub fn body(&self, ctx: &Ctx) -> Result<String> {
        Ok(ctx.secrets.open(PURPOSE, &self.body)?)
    }

    /// Marks the notice as settled, in the handler's transaction. False: somebody was here first.
    ///
    /// # Errors
    /// The database.
    pub async fn settle(&self, tx: &mut Tx<'_>, now_ms: Millis) -> Result<bool> {
        changed(
            sqlx::query(
                "UPDATE inbox SET state = 'DONE', done_ms = ?, error = NULL WHERE id = ? AND state = 'NEW'",
            )
            .bind(now_ms)
            .bind(&self.id)
            .execute(&mut **tx)
            .await,
        )
    }
}

/// What a handler makes of a notice when it did not fail.
pub enum Settled {
    /// The handler has called [`Notice::settle`], or found it settled.
    Done,
    /// Not ours, or not readable: kept for a person, with the reason.
    Park(String),
}

type HandlerFn = Arc<dyn for<'x> Fn(&'x Ctx, &'x Notice) -> BoxFuture<'x, Result<Settled>> + Send + Sync>;

/// Who settles which kind of notice; the list is in `app`.
#[derive(Clone)]
pub struct Handler {
    pub kind: &'static str,
    pub settle: HandlerFn,
}

impl Handler {
    pub fn new<F>(kind: &'static str, settle: F) -> Self
    where
        F: for<'x> Fn(&'x Ctx, &'x Notice) -> BoxFuture<'x, Result<Settled>> + Send + Sync + 'static,
    {
        Self { kind, settle: Arc::new(settle) }
    }
}

/// Stores a notice; false when it is there already.
///
/// # Errors
/// The database.
pub async fn store(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    source: &str,
    external_id: &str,
    kind: &'static str,
    body: &str,
) -> Result<bool> {
    let now_ms = ctx.clock.now_ms();
    let stored = inserted(
        sqlx::query(
            "INSERT INTO inbox (id, source, external_id, kind, state, attempts, next_ms, received_ms, request_id, body) \
             VALUES (?, ?, ?, ?, 'NEW', 0, ?, ?, ?, ?)",
        )
        .bind(ctx.new_id::<InboxId>())
        .bind(source)
        .bind(external_id)
        .bind(kind)
        .bind(now_ms)
        .bind(now_ms)
        .bind(telemetry::request_id())
        .bind(ctx.secrets.seal(PURPOSE, body)?)
        .execute(&mut **tx)
        .await,
    )?;
    tx.wake(Work::Inbox);
    Ok(stored)
}

/// The worker of the inbox.
pub struct Inbox {
    handlers: Vec<Handler>,
}

impl Inbox {
    pub fn new(handlers: Vec<Handler>) -> Self {
        Self { handlers }
    }

    /// Settles what is due. Answers how many notices were tried.
    ///
    /// # Errors
    /// The database.
    pub async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let due: Vec<Notice> = sqlx::query_as(
            "SELECT id, source, external_id, kind, attempts, next_ms, received_ms, request_id, body FROM inbox \
             WHERE state = 'NEW' AND next_ms <= ? ORDER BY next_ms, id LIMIT ?",
        )
        .bind(ctx.clock.now_ms())
        .bind(BATCH)
        .fetch_all(&mut *ctx.db.reader().await?)
        .await?;
        let settling = async |notice: &Notice| {
            if ctx.bus.is_shared() && !claim(ctx, notice).await? {
                return Ok(false);
            }
            self.settle(ctx, notice).await.map(|()| true)
        };
        let work = due.iter().map(|notice| (notice.id.as_str(), settling(notice))).collect();
        Ok(side_by_side("the notice", work).await)
    }

    /// When the next notice is due.
    ///
    /// # Errors
    /// The database.
    pub async fn next_due(&self, ctx: &Ctx) -> Result<Option<Millis>> {
        let (next,): (Option<i64>,) = sqlx::query_as("SELECT MIN(next_ms) FROM inbox WHERE state = 'NEW'")
            .fetch_one(&mut *ctx.db.reader().await?)
            .await?;
        Ok(next)
    }

    /// One try, under the request that brought the notice: what follows from it is found by that id.
    async fn settle(&self, ctx: &Ctx, notice: &Notice) -> Result<()> {
        let request_id = notice.request_id.clone().unwrap_or_default();
        telemetry::with_request_id(request_id, self.try_to_settle(ctx, notice)).await
    }

    async fn try_to_settle(&self, ctx: &Ctx, notice: &Notice) -> Result<()> {
        let outcome = match self.handlers.iter().find(|handler| handler.kind == notice.kind) {
            Some(handler) => (handler.settle)(ctx, notice).await,
            None => Ok(Settled::Park("nobody settles this kind of notice".to_owned())),
        };
        let (state, next_ms, error) = match outcome {
            Ok(Settled::Done) => return Ok(()),
            Ok(Settled::Park(reason)) => ("PARKED", ctx.clock.now_ms(), reason),
            Err(failure) if notice.attempts + 1 >= ATTEMPTS_MAX => {
                ("PARKED", ctx.clock.now_ms(), failure.to_string())
            }
            Err(failure) => {
                let pause_ms = (FIRST_PAUSE_MS << notice.attempts.min(6)).min(LONGEST_PAUSE_MS);
                ("NEW", ctx.clock.now_ms() + pause_ms, failure.to_string())
            }
        };
        tracing::warn!(inbox.id = %notice.id, "notice {} of {}: {error}", notice.id, notice.source);
        let error = &error;
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE inbox SET state = ?, attempts = attempts + 1, next_ms = ?, error = ? \
                         WHERE id = ? AND state = 'NEW'",
                    )
                    .bind(state)
                    .bind(next_ms)
                    .bind(error)
                    .bind(&notice.id)
                    .execute(&mut **tx)
                    .await?;
                    if state == "PARKED" {
                        alerts::open(tx, ctx, "notice_parked", notice.id.as_str(), error).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// Takes a due notice; false: another node was faster.
async fn claim(ctx: &Ctx, notice: &Notice) -> Result<bool> {
    let until_ms = ctx.clock.now_ms() + LEASE_MS;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                changed(
                    sqlx::query(
                        "UPDATE inbox SET next_ms = ? WHERE id = ? AND state = 'NEW' AND next_ms = ?",
                    )
                    .bind(until_ms)
                    .bind(&notice.id)
                    .bind(notice.next_ms)
                    .execute(&mut **tx)
                    .await,
                )
            })
        })
        .await
}

/// Notices that wait longer than they should.
///
/// # Errors
/// The database.
pub async fn overdue(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, kind FROM inbox WHERE state = 'NEW' AND received_ms <= ? LIMIT ?")
            .bind(before_ms)
            .bind(limit)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(id, kind)| format!("{id} {kind}")).collect())
}

/// How long the oldest notice waits to be settled; 0: none does.
///
/// # Errors
/// The database.
pub async fn lag_ms(conn: &mut Conn, now_ms: Millis) -> Result<Millis> {
    let (oldest,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(received_ms) FROM inbox WHERE state = 'NEW'").fetch_one(conn).await?;
    Ok(oldest.map_or(0, |received_ms| (now_ms - received_ms).max(0)))
}

/// How many notices wait for a person.
///
/// # Errors
/// The database.
pub async fn count_parked(conn: &mut Conn) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM inbox WHERE state = 'PARKED'").fetch_one(conn).await?;
    Ok(count)
}

/// A notice that nobody could settle.
#[derive(Debug, Clone, FromRow)]
pub struct Parked {
    pub id: InboxId,
    pub source: String,
    pub external_id: String,
    pub kind: String,
    pub attempts: i64,
    pub received_ms: Millis,
    pub error: Option<String>,
}

/// Parked notices, newest first.
///
/// # Errors
/// The database.
pub async fn parked(conn: &mut Conn, after: Option<&Cursor>, limit: Limit) -> Result<Page<Parked>> {
    let rows: Vec<Parked> = sqlx::query_as(
        "SELECT id, source, external_id, kind, attempts, received_ms, error FROM inbox \
         WHERE state = 'PARKED' AND id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(after.map_or("~", Cursor::key))
    .bind(limit.and_one())
    .fetch_all(conn)
    .await?;
    Ok(Page::cut(rows, limit, |row| row.id.to_string()))
}

/// A notice as it is kept, without what it says.
#[derive(Debug, Clone, FromRow)]
pub struct Kept {
    pub id: InboxId,
    pub source: String,
    pub external_id: String,
    pub kind: String,
    /// NEW, DONE or PARKED.
    pub state: String,
    pub attempts: i64,
    pub received_ms: Millis,
    pub done_ms: Option<Millis>,
    pub error: Option<String>,
}

/// The notices that a request brought, oldest first.
///
/// # Errors
/// The database.
pub async fn of_request(conn: &mut Conn, request_id: &str, limit: i64) -> Result<Vec<Kept>> {
    Ok(sqlx::query_as(
        "SELECT id, source, external_id, kind, state, attempts, received_ms, done_ms, error FROM inbox \
         WHERE request_id = ? ORDER BY id LIMIT ?",
    )
    .bind(request_id)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

/// Has a parked notice settled once more.
///
/// # Errors
/// `notice_not_parked`.
pub async fn replay(tx: &mut Tx<'_>, ctx: &Ctx, id: &InboxId) -> Result<()> {
    let moved = changed(
        sqlx::query(
            "UPDATE inbox SET state = 'NEW', attempts = 0, next_ms = ? WHERE id = ? AND state = 'PARKED'",
        )
        .bind(ctx.clock.now_ms())
        .bind(id)
        .execute(&mut **tx)
        .await,
    )?;
    if !moved {
        return Err(Failure::new(&NOTICE_NOT_PARKED));
    }
    tx.wake(Work::Inbox);
    Ok(())
}

/// How long a notice may wait before `check` calls it late.
pub const BOUND_MS: Millis = minute_ms(10);

#[cfg(all(test, feature = "rocketmq"))]
mod tests;

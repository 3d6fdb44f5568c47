//! Idempotency keys: the same request twice has one effect and one answer.
//!
//! The row is written in the work's own transaction, so there is no moment at which the work is done and
//! the key is not known. What is kept is the verb's outcome (ids and small facts); the answer is made from
//! it, so that a replay shows the order as it is now and never an old signature.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::FromRow;

use super::crypto;
use super::ctx::Ctx;
use super::db::{BoxFuture, Conn, Tx, changed, inserted};
use crate::kernel::{Actor, Failure, Millis, Result, common};

/// What a key is made of, as the documents say it: visible ASCII.
pub const KEY_PATTERN: &str = "^[!-~]+$";

/// How long an operation that calls out may hold its key before a repeat takes over.
const LEASE_MS: Millis = 30_000;

/// Keys that one clean-up forgets: the writer is not kept from others for long.
const CLEAN_UP_BATCH: i64 = 500;

/// The key of one request: who asks for which operation, under which `Idempotency-Key`, with which body.
#[derive(Debug, Clone)]
pub struct Key {
    principal: String,
    operation: &'static str,
    key: String,
    request_hash: String,
}

/// An outcome, and whether it was remembered from an earlier request.
#[derive(Debug)]
pub struct Done<T> {
    pub value: T,
    pub replayed: bool,
}

#[derive(FromRow)]
struct Row {
    request_hash: String,
    state: String,
    lease_until_ms: Millis,
    outcome: String,
}

impl Key {
    /// `request` is what must be the same when the key is: path parameters and body.
    ///
    /// # Errors
    /// A key that is empty, longer than 128 characters or not printable ASCII.
    pub fn new(actor: &Actor, operation: &'static str, key: &str, request: &impl Serialize) -> Result<Self> {
        if key.is_empty() || key.len() > 128 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::new(&common::IDEMPOTENCY_KEY_REQUIRED)
                .field("Idempotency-Key")
                .detail("Idempotency-Key must have 1 to 128 printable characters."));
        }
        let request = serde_json::to_vec(request).map_err(|e| Failure::internal("hashing a request", e))?;
        Ok(Self {
            principal: actor.to_string(),
            operation,
            key: key.to_owned(),
            request_hash: crypto::hex(&crypto::sha256(&request)),
        })
    }

    /// Runs `work` once for this key: in one transaction with the row that remembers its outcome. A final
    /// refusal is remembered too, in a transaction of its own after the rollback.
    ///
    /// # Errors
    /// What `work` answers, or what it answered the first time; 409 when the key was used for something else.
    pub async fn run<'a, T, F>(&'a self, ctx: &'a Ctx, work: F) -> Result<Done<T>>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
        T: Serialize + DeserializeOwned + Send,
    {
        if let Some(done) = self.remembered(ctx).await? {
            return Ok(done);
        }
        let outcome = ctx
            .db
            .retrying(|| async {
                let mut tx = ctx.db.begin().await?;
                let worked = async {
                    // First the key, then the work: two requests at once meet here, not half-way.
                    if !insert(&mut tx, self, "DONE", 0, ctx.clock.now_ms(), "").await? {
                        return Ok(None);
                    }
                    let value = work(&mut tx).await?;
                    set_outcome(&mut tx, self, &outcome_json(&value)?).await?;
                    Ok(Some(value))
                };
                let worked = worked.await;
                ctx.db.end(tx, worked).await
            })
            .await;
        match outcome {
            Ok(Some(value)) => Ok(Done { value, replayed: false }),
            Ok(None) => match find(&mut *ctx.db.reader().await?, self).await? {
                Some(row) => self.replay(ctx, row),
                None => Err(Failure::new(&common::IDEMPOTENCY_IN_PROGRESS).retry_after_s(1)),
            },
            Err(failure) => {
                self.remember_refusal(ctx, &failure).await;
                Err(failure)
            }
        }
    }

    /// The outcome of an earlier request with this key, if there was one.
    ///
    /// # Errors
    /// What it answered, if it was refused; 409 when the key was used for something else or is in use.
    pub async fn remembered<T: DeserializeOwned>(&self, ctx: &Ctx) -> Result<Option<Done<T>>> {
        let row = find(&mut *ctx.db.reader().await?, self).await?;
        row.map(|row| self.replay(ctx, row)).transpose()
    }

    /// Takes the key for an operation that calls out between two transactions. `Some`: the outcome of an
    /// earlier request. `None`: go on, and finish with [`Key::finish`] in the last transaction.
    ///
    /// # Errors
    /// 409 while another request with this key is at work, or when the key was used for something else.
    pub async fn begin<T: DeserializeOwned>(&self, ctx: &Ctx) -> Result<Option<Done<T>>> {
        let now_ms = ctx.clock.now_ms();
        let taken = ctx
            .db
            .write(|tx| {
                Box::pin(async move {
                    Ok(insert(tx, self, "IN_PROGRESS", now_ms + LEASE_MS, now_ms, "").await?
                        || take_over(tx, self, now_ms).await?)
                })
            })
            .await?;
        if taken {
            return Ok(None);
        }
        match find(&mut *ctx.db.reader().await?, self).await? {
            Some(row) => self.replay(ctx, row).map(Some),
            None => Err(Failure::new(&common::IDEMPOTENCY_IN_PROGRESS).retry_after_s(1)),
        }
    }

    /// Ends what [`Key::begin`] began, in the transaction of the work.
    ///
    /// # Errors
    /// The database.
    pub async fn finish<T: Serialize>(&self, tx: &mut Tx<'_>, value: &T) -> Result<()> {
        set_outcome(tx, self, &outcome_json(value)?).await
    }

    /// Ends what [`Key::begin`] began, when it failed: a final refusal is remembered, anything else frees
    /// the key for a repeat.
    pub async fn abandon(&self, ctx: &Ctx, failure: &Failure) {
        let refusal = is_remembered(failure).then(|| refusal_json(failure));
        let refusal = &refusal;
        let freed = ctx
            .db
            .write(|tx| {
                Box::pin(async move {
                    match refusal {
                        Some(refusal) => set_outcome(tx, self, refusal).await,
                        None => release(tx, self).await,
                    }
                })
            })
            .await;
        if let Err(failure) = freed {
            // The lease ends by itself.
            tracing::warn!("an idempotency key was not freed: {failure}");
        }
    }

    fn replay<T: DeserializeOwned>(&self, ctx: &Ctx, row: Row) -> Result<Done<T>> {
        if row.request_hash != self.request_hash {
            return Err(Failure::new(&common::IDEMPOTENCY_KEY_REUSED).field("Idempotency-Key"));
        }
        if row.state == "IN_PROGRESS" {
            let left_ms = (row.lease_until_ms - ctx.clock.now_ms()).clamp(1_000, LEASE_MS);
            return Err(
                Failure::new(&common::IDEMPOTENCY_IN_PROGRESS).retry_after_s((left_ms / 1_000) as u32)
            );
        }
        let outcome: Value =
            serde_json::from_str(&row.outcome).map_err(|e| Failure::internal("reading an outcome", e))?;
        if let Some(refusal) = outcome.get("refused") {
            return Err(refusal_again(ctx, refusal));
        }
        let value = serde_json::from_value(outcome["done"].clone())
            .map_err(|e| Failure::internal("reading an outcome", e))?;
        Ok(Done { value, replayed: true })
    }

    async fn remember_refusal(&self, ctx: &Ctx, failure: &Failure) {
        if !is_remembered(failure) {
            return;
        }
        let refusal = refusal_json(failure);
        let refusal = &refusal;
        let stored = ctx
            .db
            .write(|tx| {
                Box::pin(async move {
                    insert(tx, self, "DONE", 0, ctx.clock.now_ms(), refusal).await?;
                    Ok(())
                })
            })
            .await;
        if let Err(failure) = stored {
            tracing::warn!("a refusal was not remembered: {failure}");
        }
    }
}

/// A refusal that says "try again" is not remembered, nor a stale quote: it is refused with a new one each time.
fn is_remembered(failure: &Failure) -> bool {
    let passing = ["quote_changed", "order_changed"];
    failure.is_final() && failure.retry_after().is_none() && !passing.contains(&failure.code().code)
}

fn outcome_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(&json!({ "done": value })).map_err(|e| Failure::internal("writing an outcome", e))
}

fn refusal_json(failure: &Failure) -> String {
    json!({ "refused": failure.problem("") }).to_string()
}

/// A remembered refusal as a failure: the same status, code, detail and field.
fn refusal_again(ctx: &Ctx, problem: &Value) -> Failure {
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let Some(code) = ctx.codes.iter().find(|code| code.code == text("code")) else {
        // Remembered by another version of the program.
        return Failure::internal("replaying a refusal", format!("unknown code {}", text("code")));
    };
    let own = ["type", "title", "status", "code", "detail", "field", "request_id"];
    let mut failure = Failure::new(code).detail(text("detail")).again();
    if !text("field").is_empty() {
        failure = failure.field(text("field"));
    }
    for (name, value) in problem.as_object().into_iter().flatten() {
        if !own.contains(&name.as_str()) {
            failure = failure.with(name, value.clone());
        }
    }
    failure
}

async fn find(conn: &mut Conn, key: &Key) -> Result<Option<Row>> {
    Ok(sqlx::query_as(
        "SELECT request_hash, state, lease_until_ms, outcome FROM idempotency \
         WHERE principal = ? AND operation = ? AND idem_key = ?",
    )
    .bind(&key.principal)
    .bind(key.operation)
    .bind(&key.key)
    .fetch_optional(conn)
    .await?)
}

async fn insert(
    tx: &mut Tx<'_>,
    key: &Key,
    state: &str,
    lease_until_ms: Millis,
    now_ms: Millis,
    outcome: &str,
) -> Result<bool> {
    inserted(
        sqlx::query(
            "INSERT INTO idempotency (principal, operation, idem_key, request_hash, state, lease_until_ms, \
             created_ms, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.principal)
        .bind(key.operation)
        .bind(&key.key)
        .bind(&key.request_hash)
        .bind(state)
        .bind(lease_until_ms)
        .bind(now_ms)
        .bind(outcome)
        .execute(&mut **tx)
        .await,
    )
}

async fn take_over(tx: &mut Tx<'_>, key: &Key, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE idempotency SET lease_until_ms = ? WHERE principal = ? AND operation = ? AND idem_key = ? \
             AND request_hash = ? AND state = 'IN_PROGRESS' AND lease_until_ms <= ?",
        )
        .bind(now_ms + LEASE_MS)
        .bind(&key.principal)
        .bind(key.operation)
        .bind(&key.key)
        .bind(&key.request_hash)
        .bind(now_ms)
        .execute(&mut **tx)
        .await,
    )
}

async fn set_outcome(tx: &mut Tx<'_>, key: &Key, outcome: &str) -> Result<()> {
    sqlx::query(
        "UPDATE idempotency SET state = 'DONE', outcome = ? WHERE principal = ? AND operation = ? AND idem_key = ?",
    )
    .bind(outcome)
    .bind(&key.principal)
    .bind(key.operation)
    .bind(&key.key)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn release(tx: &mut Tx<'_>, key: &Key) -> Result<()> {
    sqlx::query(
        "DELETE FROM idempotency WHERE principal = ? AND operation = ? AND idem_key = ? AND state = 'IN_PROGRESS'",
    )
    .bind(&key.principal)
    .bind(key.operation)
    .bind(&key.key)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets some keys of before `before_ms`; the next sweep goes on.
///
/// # Errors
/// The database.
pub async fn delete_old(tx: &mut Tx<'_>, before_ms: Millis) -> Result<()> {
    let old: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT principal, operation, idem_key FROM idempotency WHERE created_ms < ? ORDER BY created_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(CLEAN_UP_BATCH)
    .fetch_all(&mut **tx)
    .await?;
    for (principal, operation, key) in &old {
        sqlx::query("DELETE FROM idempotency WHERE principal = ? AND operation = ? AND idem_key = ?")
            .bind(principal)
            .bind(operation)
            .bind(key)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

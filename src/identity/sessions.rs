//! Which session a token opens: this process, then kv, then the database. Whatever does not answer is
//! skipped, and without the database the answer is an error: nothing fails open.
//!
//! A session that ended is forgotten at once where the broadcast arrives, and in any case after
//! [`LOCAL_MS`]: its verb leaves a tombstone in kv that a slower reader can't write over. Should kv have been
//! unreachable in that very moment, an entry that it kept is still believed for [`KV_MS`] at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use moka::future::Cache;
use serde::{Deserialize, Serialize};

use super::{Session, sql, tokens};
use crate::kernel::{Millis, Result, SessionId, UserId, minute_ms};
use crate::platform::caches::{CacheState, Watched};
use crate::platform::ctx::Ctx;
use crate::platform::db::BoxFuture;
use crate::platform::secrets::token_hash;

/// How long this process answers from its memory.
const LOCAL_MS: Millis = 5_000;
/// How long an entry of the kv tier is believed after it was read from the database.
const KV_MS: Millis = minute_ms(1);
/// Versions of a kv entry: what ended never comes back.
const LIVE: i64 = 1;
const ENDED: i64 = 2;
/// Sessions that this process remembers, and ended ones that it knows of.
const SESSIONS_MAX: u64 = 50_000;

/// What is known of a token. Times are of our clock.
#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    session_id: SessionId,
    user_id: UserId,
    expires_at: Millis,
    /// When the database said so.
    read_ms: Millis,
    ended: bool,
}

#[derive(Clone)]
struct Held {
    entry: Entry,
    since_ms: Millis,
}

/// The sessions that this process knows. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    live: Cache<String, Held>,
    ended: Cache<SessionId, ()>,
    /// What was read until then is not believed any more: a person dropped it.
    dropped_ms: Arc<AtomicI64>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            live: Cache::new(SESSIONS_MAX),
            ended: Cache::new(SESSIONS_MAX),
            dropped_ms: Arc::new(AtomicI64::new(Millis::MIN)),
        }
    }
}

fn kv_key(token_hash: &str) -> String {
    format!("session:{token_hash}")
}

/// Less than `bound_ms` ago, and not in the future of a clock that was set back.
fn is_recent(then_ms: Millis, now_ms: Millis, bound_ms: Millis) -> bool {
    (0..bound_ms).contains(&(now_ms - then_ms))
}

impl Sessions {
    /// The session that a bearer token opens now.
    ///
    /// # Errors
    /// The database, when neither this process nor kv knows the token.
    pub async fn find(&self, ctx: &Ctx, token: &str) -> Result<Option<Session>> {
        if token.len() > tokens::LENGTH_MAX {
            return Ok(None);
        }
        let hash = token_hash(token);
        // Before the database is asked: what ends after this moment is newer than what will be read.
        let now_ms = ctx.clock.now_ms();
        let entry = match self.known(ctx, &hash, now_ms).await {
            Some(entry) => entry,
            None => match self.load(ctx, &hash, now_ms).await? {
                Some(entry) => entry,
                None => return Ok(None),
            },
        };
        let is_live =
            !entry.ended && entry.expires_at > now_ms && !self.ended.contains_key(&entry.session_id);
        Ok(is_live.then_some(Session { id: entry.session_id, user_id: entry.user_id }))
    }

    async fn known(&self, ctx: &Ctx, hash: &str, now_ms: Millis) -> Option<Entry> {
        if let Some(held) = self.live.get(hash).await
            && is_recent(held.since_ms, now_ms, LOCAL_MS)
            && !self.is_dropped(&held.entry)
        {
            ctx.metrics.cache_read("sessions", "local", now_ms - held.entry.read_ms);
            return Some(held.entry);
        }
        let bytes = ctx.kv.get(&kv_key(hash)).await.ok().flatten()?;
        let entry: Entry = serde_json::from_slice(&bytes).ok()?;
        if entry.ended {
            return Some(entry);
        }
        if !is_recent(entry.read_ms, now_ms, KV_MS) || self.is_dropped(&entry) {
            return None;
        }
        ctx.metrics.cache_read("sessions", "kv", now_ms - entry.read_ms);
        self.hold(hash, &entry, now_ms).await;
        Some(entry)
    }

    fn is_dropped(&self, entry: &Entry) -> bool {
        entry.read_ms <= self.dropped_ms.load(Ordering::SeqCst)
    }

    async fn load(&self, ctx: &Ctx, hash: &str, now_ms: Millis) -> Result<Option<Entry>> {
        let row = sql::live_by_token(&mut *ctx.db.reader().await?, hash).await?;
        ctx.metrics.cache_read("sessions", "database", 0);
        let Some(row) = row.filter(|row| row.expires_ms > now_ms) else { return Ok(None) };
        let entry = Entry {
            session_id: row.id,
            user_id: row.user_id,
            expires_at: row.expires_ms,
            read_ms: now_ms,
            ended: false,
        };
        put(ctx, hash, LIVE, &entry).await;
        self.hold(hash, &entry, now_ms).await;
        Ok(Some(entry))
    }

    async fn hold(&self, hash: &str, entry: &Entry, now_ms: Millis) {
        self.live.insert(hash.to_owned(), Held { entry: entry.clone(), since_ms: now_ms }).await;
    }

    /// This process believes nothing about the session any more. An id never comes back to life.
    pub(super) async fn forget(&self, session: &SessionId) {
        self.ended.insert(session.clone(), ()).await;
    }

    /// A token that a refresh replaced: gone here and in kv at once, elsewhere within [`LOCAL_MS`].
    pub(super) async fn forget_token(&self, ctx: &Ctx, replaced: &sql::Ended) {
        self.live.invalidate(&replaced.token_hash).await;
        bury(ctx, replaced).await;
    }
}

/// The session that this token opened until its account was deleted, while the token would still work.
pub(super) async fn ended_with_account(ctx: &Ctx, token: &str) -> Result<Option<Session>> {
    if token.len() > tokens::LENGTH_MAX {
        return Ok(None);
    }
    let conn = &mut *ctx.db.reader().await?;
    let ended = sql::ended_with_account(conn, &token_hash(token), ctx.clock.now_ms()).await?;
    Ok(ended.map(|row| Session { id: row.id, user_id: row.user_id }))
}

impl Watched for Sessions {
    fn state(&self) -> CacheState {
        CacheState::of("sessions", self.live.iter().map(|(_, held)| held.entry.read_ms))
    }

    fn has_keys(&self) -> bool {
        false
    }

    /// As a whole: in kv nothing lives long, and the tombstones of what ended must stay.
    fn forget<'x>(&'x self, _: &'x Ctx, _: Option<&'x str>, at_ms: Millis) -> BoxFuture<'x, ()> {
        Box::pin(async move {
            self.dropped_ms.fetch_max(at_ms, Ordering::SeqCst);
            self.live.invalidate_all();
        })
    }
}

/// Leaves a tombstone in kv for a token that opens nothing any more.
pub(super) async fn bury(ctx: &Ctx, ended: &sql::Ended) {
    let tombstone = Entry {
        session_id: ended.id.clone(),
        user_id: ended.user_id.clone(),
        expires_at: ended.expires_ms,
        read_ms: ctx.clock.now_ms(),
        ended: true,
    };
    put(ctx, &ended.token_hash, ENDED, &tombstone).await;
}

async fn put(ctx: &Ctx, hash: &str, version: i64, entry: &Entry) {
    let ttl_ms = entry.expires_at - ctx.clock.now_ms();
    let Ok(bytes) = serde_json::to_vec(entry) else { return };
    if ttl_ms > 0 && ctx.kv.put_if_newer(&kv_key(hash), version, &bytes, ttl_ms).await.is_err() {
        tracing::debug!("the kv tier is gone, a session is not noted there");
    }
}

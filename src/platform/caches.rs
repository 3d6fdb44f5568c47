//! The caches of this process, for people: what is in them, how often they helped, and dropping them.
//!
//! A drop is a broadcast, so that it reaches every node; and since it is staged in the outbox, too, it
//! reaches them also when the process dies right after it. Nothing that was read before a drop is served
//! after it, neither from a process nor from the kv tier.

use std::sync::Arc;

use serde_json::json;

use super::audit;
use super::bus::{self, Delivery, Handled, Staged};
use super::ctx::Ctx;
use super::db::BoxFuture;
use crate::events::Event;
use crate::kernel::{Actor, Failure, Millis, Result, codes};

codes! {
    CACHE_NOT_FOUND: 404 "cache_not_found" "There is no cache of this name.";
}

/// What a cache holds in this process.
#[derive(Debug, Clone, Copy)]
pub struct CacheState {
    pub name: &'static str,
    pub entries: u64,
    /// When the oldest and the newest entry were read from the database.
    pub read_ms: Option<(Millis, Millis)>,
}

impl CacheState {
    /// Of these times at which entries were read.
    pub fn of(name: &'static str, read_ms: impl Iterator<Item = Millis>) -> Self {
        let (mut entries, mut range) = (0, None);
        for ms in read_ms {
            entries += 1;
            range = Some(
                range.map_or((ms, ms), |(oldest, newest): (Millis, Millis)| (oldest.min(ms), newest.max(ms))),
            );
        }
        Self { name, entries, read_ms: range }
    }
}

/// A cache that people can look at and drop.
pub trait Watched: Send + Sync {
    fn state(&self) -> CacheState;

    /// Whether one key can be dropped alone; if not, it is dropped as a whole.
    fn has_keys(&self) -> bool;

    /// Nothing that was read until `at_ms` is served from here again: all of it, or what is under one key.
    fn forget<'x>(&'x self, ctx: &'x Ctx, key: Option<&'x str>, at_ms: Millis) -> BoxFuture<'x, ()>;
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct Caches(Arc<[Arc<dyn Watched>]>);

impl Caches {
    pub fn new(caches: Vec<Arc<dyn Watched>>) -> Self {
        Self(caches.into())
    }

    pub fn states(&self) -> impl Iterator<Item = CacheState> {
        self.0.iter().map(|cache| cache.state())
    }

    fn find(&self, name: &str) -> Option<&Arc<dyn Watched>> {
        self.0.iter().find(|cache| cache.state().name == name)
    }

    /// Drops a cache, or one key of it, on every node, with an audit row.
    ///
    /// # Errors
    /// `cache_not_found`; `invalid_request` for a key of a cache that is dropped as a whole.
    pub async fn drop_on_every_node(
        &self,
        ctx: &Ctx,
        actor: &Actor,
        name: &str,
        key: Option<&str>,
        reason: &str,
    ) -> Result<()> {
        let cache = self.find(name).ok_or_else(|| Failure::new(&CACHE_NOT_FOUND))?;
        if key.is_some() && !cache.has_keys() {
            return Err(Failure::invalid("/key", "this cache is dropped as a whole: leave the key out"));
        }
        let event = Event::CacheDropped {
            cache: name.to_owned(),
            key: key.map(str::to_owned),
            at_ms: ctx.clock.now_ms(),
        };
        let staged = &event;
        ctx.db
            .write(|tx| {
                Box::pin(async move {
                    bus::stage(tx, ctx, staged, Staged::Now).await?;
                    let entry = audit::Entry {
                        actor,
                        operation: "dropCache",
                        object: name,
                        before: None::<()>,
                        after: Some(json!({ "key": key, "reason": reason })),
                    };
                    audit::record(tx, ctx, entry).await
                })
            })
            .await?;
        ctx.bus.broadcast(ctx, event).await;
        Ok(())
    }
}

/// Somewhere a person dropped a cache: this node drops it, too. Safe to run twice, in any order.
///
/// # Errors
/// None.
pub async fn on_cache_dropped(caches: &Caches, ctx: &Ctx, delivery: &Delivery) -> Result<Handled> {
    if let Event::CacheDropped { cache: name, key, at_ms } = &delivery.event
        && let Some(cache) = caches.find(name)
    {
        cache.forget(ctx, key.as_deref(), *at_ms).await;
    }
    Ok(Handled::Done)
}

//! `Cached`: this process (moka) → kv → loader, with versions. An entry never goes back to an older
//! version: an invalidation leaves a tombstone, and a load that was running loses against it.

use std::sync::Arc;

use moka::future::Cache;
use moka::ops::compute::Op;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kv::Kv;
use crate::config;
use crate::kernel::{Clock, Millis, Result};
use crate::telemetry::Metrics;

/// A row as a cache keeps it: its version, and nothing when the row does not exist.
#[derive(Clone, Serialize, Deserialize)]
pub struct Versioned<V> {
    pub version: i64,
    pub value: Option<V>,
}

#[derive(Clone)]
struct Slot<V> {
    /// Nothing older than this may ever be served again.
    version: i64,
    loaded_ms: Millis,
    content: Content<V>,
}

#[derive(Clone)]
enum Content<V> {
    Value(Arc<V>),
    /// There is no such row.
    Absent,
    /// Read while a newer version was being written: answered once, loaded again by the next read.
    Stale(Arc<V>),
    /// Invalidated: the next read loads, and takes nothing older than the slot's version.
    Tombstone,
}

/// A two-tier cache of rows by id.
pub struct Cached<V> {
    name: &'static str,
    local: Cache<String, Slot<V>>,
    kv: Kv,
    clock: Clock,
    metrics: Arc<Metrics>,
    local_ttl_ms: Millis,
    kv_ttl_ms: Millis,
}

impl<V> Cached<V>
where
    V: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub fn new(
        name: &'static str,
        config: &config::Cache,
        kv: Kv,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            name,
            local: Cache::builder().max_capacity(config.max_entries).build(),
            kv,
            clock,
            metrics,
            local_ttl_ms: config.local_ttl_ms,
            kv_ttl_ms: config.kv_ttl_ms,
        }
    }

    fn kv_key(&self, key: &str) -> String {
        format!("cache:{}:{key}", self.name)
    }

    /// The row under `key`: from this process, the kv tier, or `load`, which runs once however many ask.
    ///
    /// # Errors
    /// What `load` answers. A kv tier that is gone is no error.
    pub async fn get<F, Fut>(&self, key: &str, load: F) -> Result<Option<Arc<V>>>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Versioned<V>>> + Send,
    {
        if let Some(slot) = self.local.get(key).await
            && let Some(found) = self.fresh(&slot)
        {
            return Ok(found);
        }
        // moka runs one of these at a time for a key: that is the single flight, and the order of versions.
        let computed = self
            .local
            .entry_by_ref(key)
            .and_try_compute_with(|there| async {
                let there = there.map(moka::Entry::into_value);
                if there.as_ref().is_some_and(|slot| self.fresh(slot).is_some()) {
                    return Ok::<_, crate::kernel::Failure>(Op::Nop);
                }
                let least = there.as_ref().map_or(0, |slot| slot.version);
                let row = match self.from_kv(key, least).await {
                    Some(row) => row,
                    None => {
                        let row = load().await?;
                        self.metrics.cache_read(self.name, "database", 0);
                        self.to_kv(key, &row).await;
                        row
                    }
                };
                Ok(Op::Put(self.slot(row, least)))
            })
            .await?;
        Ok(computed.into_entry().and_then(|entry| match entry.into_value().content {
            Content::Value(value) | Content::Stale(value) => Some(value),
            Content::Absent | Content::Tombstone => None,
        }))
    }

    /// What a slot may still answer; `Some(None)` is a row that is known not to exist.
    fn fresh(&self, slot: &Slot<V>) -> Option<Option<Arc<V>>> {
        let age_ms = self.clock.now_ms() - slot.loaded_ms;
        if age_ms >= self.local_ttl_ms {
            return None;
        }
        let found = match &slot.content {
            Content::Value(value) => Some(value.clone()),
            Content::Absent => None,
            Content::Stale(_) | Content::Tombstone => return None,
        };
        self.metrics.cache_read(self.name, "local", age_ms);
        Some(found)
    }

    fn slot(&self, row: Versioned<V>, least: i64) -> Slot<V> {
        let content = match row.value {
            Some(value) if row.version < least => Content::Stale(Arc::new(value)),
            Some(value) => Content::Value(Arc::new(value)),
            None => Content::Absent,
        };
        Slot { version: row.version.max(least), loaded_ms: self.clock.now_ms(), content }
    }

    async fn from_kv(&self, key: &str, least: i64) -> Option<Versioned<V>> {
        let bytes = self.kv.get(&self.kv_key(key)).await.ok().flatten()?;
        let row: Versioned<V> = serde_json::from_slice(&bytes).ok()?;
        if row.version < least {
            return None;
        }
        self.metrics.cache_read(self.name, "kv", 0);
        Some(row)
    }

    async fn to_kv(&self, key: &str, row: &Versioned<V>) {
        if let Ok(bytes) = serde_json::to_vec(row)
            && self.kv.put_if_newer(&self.kv_key(key), row.version, &bytes, self.kv_ttl_ms).await.is_err()
        {
            tracing::debug!(cache = self.name, "the kv tier is gone, {} stays uncached there", self.name);
        }
    }

    /// After a commit: the new row goes to the kv tier and to this process, never over a newer one.
    pub async fn put(&self, key: &str, row: Versioned<V>) {
        self.to_kv(key, &row).await;
        let slot = self.slot(row, 0);
        self.raise(key, slot).await;
    }

    /// Another node wrote `version`: nothing older is served from here again.
    pub async fn invalidate(&self, key: &str, version: i64) {
        let tombstone = Slot { version, loaded_ms: self.clock.now_ms(), content: Content::Tombstone };
        self.raise(key, tombstone).await;
    }

    async fn raise(&self, key: &str, slot: Slot<V>) {
        self.local
            .entry_by_ref(key)
            .and_compute_with(|there| async {
                match there.map(moka::Entry::into_value) {
                    Some(there)
                        if there.version >= slot.version && !matches!(there.content, Content::Tombstone) =>
                    {
                        Op::Nop
                    }
                    Some(there) if there.version > slot.version => Op::Nop,
                    _ => Op::Put(slot),
                }
            })
            .await;
    }
}

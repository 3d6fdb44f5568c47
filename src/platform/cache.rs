//! `Cached`: this process (moka) → kv → loader, with versions. An entry never goes back to an older
//! version: an invalidation leaves a tombstone, and a load that was running loses against it.
//!
//! In the kv tier an entry is one line, `version read_ms +` (or `-`: no such row), and the value behind it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use moka::future::Cache;
use moka::ops::compute::Op;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caches::{CacheState, Watched};
use super::ctx::Ctx;
use super::db::BoxFuture;
use super::kv::Kv;
use crate::config;
use crate::kernel::{Clock, Failure, Millis, Result};
use crate::telemetry::Metrics;

/// How long the kv tier may say that a row does not exist, at most.
const ABSENT_TTL_MS: Millis = 30_000;
/// The longest first line of an entry in the kv tier: two numbers and a sign.
const HEAD_BYTES_MAX: usize = 48;

/// A row as a cache keeps it: its version, and nothing when the row does not exist.
#[derive(Clone)]
pub struct Versioned<V> {
    pub version: i64,
    pub value: Option<V>,
}

/// How a value is written in the kv tier.
pub trait Codec<V> {
    fn encode(value: &V) -> Option<Bytes>;
    fn decode(bytes: Bytes) -> Option<V>;
}

/// Values as JSON.
pub struct AsJson;

impl<V: Serialize + DeserializeOwned> Codec<V> for AsJson {
    fn encode(value: &V) -> Option<Bytes> {
        serde_json::to_vec(value).ok().map(Bytes::from)
    }

    fn decode(bytes: Bytes) -> Option<V> {
        serde_json::from_slice(&bytes).ok()
    }
}

/// Values that are bytes already: they are neither copied nor read.
pub struct AsBytes;

impl Codec<Bytes> for AsBytes {
    fn encode(value: &Bytes) -> Option<Bytes> {
        Some(value.clone())
    }

    fn decode(bytes: Bytes) -> Option<Bytes> {
        Some(bytes)
    }
}

struct Slot<V> {
    /// Nothing older than this may ever be served again.
    version: i64,
    /// When it was read from the database, by whichever node.
    read_ms: Millis,
    /// When this process took it from the tier below.
    checked_ms: Millis,
    content: Content<V>,
}

enum Content<V> {
    Value(Arc<V>),
    /// There is no such row.
    Absent,
    /// Read while a newer version was being written: answered once, loaded again by the next read.
    Stale(Arc<V>),
    /// Invalidated: the next read loads, and takes nothing older than the slot's version.
    Tombstone,
}

// By hand, since a derive would ask for `V: Clone`.
impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            read_ms: self.read_ms,
            checked_ms: self.checked_ms,
            content: self.content.clone(),
        }
    }
}

impl<V> Clone for Content<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone()),
            Self::Absent => Self::Absent,
            Self::Stale(value) => Self::Stale(value.clone()),
            Self::Tombstone => Self::Tombstone,
        }
    }
}

impl<V> Content<V> {
    fn into_value(self) -> Option<Arc<V>> {
        match self {
            Self::Value(value) | Self::Stale(value) => Some(value),
            Self::Absent | Self::Tombstone => None,
        }
    }

    /// May it be answered again?
    fn lasts(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Absent)
    }
}

/// A two-tier cache of rows by id. With `cache.local_ttl_ms = 0` this process keeps only versions, and
/// every read asks the kv tier.
pub struct Cached<V, C = AsJson> {
    name: &'static str,
    local: Cache<String, Slot<V>>,
    /// Nothing older than this is served, whatever its key.
    floor: AtomicI64,
    /// Nothing that was read until then is taken from the kv tier: a person dropped it.
    dropped_ms: AtomicI64,
    kv: Kv,
    clock: Clock,
    metrics: Arc<Metrics>,
    local_ttl_ms: Millis,
    kv_ttl_ms: Millis,
    codec: PhantomData<fn() -> C>,
}

impl<V, C> Cached<V, C>
where
    V: Send + Sync + 'static,
    C: Codec<V>,
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
            floor: AtomicI64::new(0),
            dropped_ms: AtomicI64::new(Millis::MIN),
            kv,
            clock,
            metrics,
            local_ttl_ms: config.local_ttl_ms,
            kv_ttl_ms: config.kv_ttl_ms,
            codec: PhantomData,
        }
    }

    fn kv_key(&self, key: &str) -> String {
        format!("cache:{}:{key}", self.name)
    }

    fn drop_key(&self) -> String {
        format!("cache-dropped:{}", self.name)
    }

    /// At the start of a process: what was dropped before is not believed. Without the kv tier there is nothing
    /// to believe.
    pub async fn start(&self) {
        let marker = self.kv.get(&self.drop_key()).await.ok().flatten();
        let at_ms = marker.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
        if let Some(at_ms) = at_ms {
            self.dropped_ms.fetch_max(at_ms, Ordering::SeqCst);
        }
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
        let there = self.local.get(key).await;
        if let Some(slot) = &there
            && let Some(found) = self.fresh(slot)
        {
            return Ok(found);
        }
        // Without a local tier, reads of one key need not wait for each other.
        if self.local_ttl_ms <= 0
            && let Some(slot) = self.read_kv(key, there.as_ref()).await
        {
            return Ok(slot.content.into_value());
        }
        // moka runs one of these at a time for a key: that is the single flight, and the order of versions.
        let computed = self
            .local
            .entry_by_ref(key)
            .and_try_compute_with(|there| async {
                let there = there.map(moka::Entry::into_value);
                if there.as_ref().is_some_and(|slot| self.fresh(slot).is_some()) {
                    return Ok::<_, Failure>(Op::Nop);
                }
                if let Some(slot) = self.read_kv(key, there.as_ref()).await {
                    return Ok(Op::Put(slot));
                }
                let read_ms = self.clock.now_ms();
                let row = load().await?;
                self.metrics.cache_read(self.name, "database", 0);
                self.write_kv(key, &row, read_ms).await;
                Ok(Op::Put(slot(row, read_ms, there.map_or(0, |slot| slot.version))))
            })
            .await?;
        Ok(computed.into_entry().and_then(|entry| entry.into_value().content.into_value()))
    }

    /// What a slot may still answer; `Some(None)` is a row that is known not to exist.
    fn fresh(&self, slot: &Slot<V>) -> Option<Option<Arc<V>>> {
        let now_ms = self.clock.now_ms();
        let old = now_ms - slot.checked_ms >= self.local_ttl_ms || slot.version < self.floor();
        if old || !slot.content.lasts() {
            return None;
        }
        self.metrics.cache_read(self.name, "local", now_ms - slot.read_ms);
        Some(slot.content.clone().into_value())
    }

    fn floor(&self) -> i64 {
        self.floor.load(Ordering::SeqCst)
    }

    async fn read_kv(&self, key: &str, there: Option<&Slot<V>>) -> Option<Slot<V>> {
        let kv_key = self.kv_key(key);
        let known = there.filter(|slot| slot.content.lasts());
        if let Some(slot) = known {
            // Nearly always it is the row that is known already: what was made of it stays, and it need not travel.
            let head = self.kv.get_start(&kv_key, HEAD_BYTES_MAX).await.ok().flatten()?;
            let head = KvEntry::parse(head).filter(|head| self.may_serve(head, there))?;
            if head.version == slot.version {
                return Some(self.taken(&head, slot.content.clone()));
            }
        }
        let entry = KvEntry::parse(self.kv.get(&kv_key).await.ok().flatten()?)?;
        let entry = Some(entry).filter(|entry| self.may_serve(entry, there))?;
        let content = match entry.present {
            true => Content::Value(Arc::new(C::decode(entry.value.clone())?)),
            false => Content::Absent,
        };
        Some(self.taken(&entry, content))
    }

    fn may_serve(&self, entry: &KvEntry, there: Option<&Slot<V>>) -> bool {
        entry.read_ms > self.dropped_ms.load(Ordering::SeqCst)
            && entry.version >= self.floor().max(there.map_or(0, |slot| slot.version))
    }

    /// A slot from the kv tier.
    fn taken(&self, entry: &KvEntry, content: Content<V>) -> Slot<V> {
        let now_ms = self.clock.now_ms();
        self.metrics.cache_read(self.name, "kv", now_ms - entry.read_ms);
        Slot { version: entry.version, read_ms: entry.read_ms, checked_ms: now_ms, content }
    }

    async fn write_kv(&self, key: &str, row: &Versioned<V>, read_ms: Millis) {
        let (value, ttl_ms) = match &row.value {
            Some(value) => (C::encode(value), self.kv_ttl_ms),
            None => (Some(Bytes::new()), self.kv_ttl_ms.min(ABSENT_TTL_MS)),
        };
        let Some(value) = value else { return };
        let entry = KvEntry { version: row.version, read_ms, present: row.value.is_some(), value };
        let stored = self.kv.put_if_newer(&self.kv_key(key), row.version, &entry.bytes(), ttl_ms).await;
        if stored.is_err() {
            tracing::debug!(cache = self.name, "the kv tier is gone, {} stays uncached there", self.name);
        }
    }

    /// After a commit: the new row goes to the kv tier and to this process, never over a newer one.
    pub async fn put(&self, key: &str, row: Versioned<V>) {
        let now_ms = self.clock.now_ms();
        self.write_kv(key, &row, now_ms).await;
        self.raise(key, slot(row, now_ms, 0)).await;
    }

    /// Another node wrote `version`: nothing older is served from here again.
    pub async fn invalidate(&self, key: &str, version: i64) {
        let now_ms = self.clock.now_ms();
        let content = Content::Tombstone;
        self.raise(key, Slot { version, read_ms: now_ms, checked_ms: now_ms, content }).await;
    }

    /// For a cache whose versions come from one sequence: nothing older than `version` is served again,
    /// under any key. Unlike a tombstone this is never evicted.
    pub fn at_least(&self, version: i64) {
        self.floor.fetch_max(version, Ordering::SeqCst);
    }

    /// Nothing that was read until `at_ms` is served again, also by nodes that start later.
    async fn drop_all(&self, at_ms: Millis) {
        self.dropped_ms.fetch_max(at_ms, Ordering::SeqCst);
        let _ = self.kv.put(&self.drop_key(), at_ms.to_string().as_bytes(), self.kv_ttl_ms).await;
        let keys: Vec<Arc<String>> = self.local.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.drop_one(&key).await;
        }
    }

    /// What is under the key is read again, and never older than it was.
    async fn drop_one(&self, key: &str) {
        let _ = self.kv.delete(&self.kv_key(key)).await;
        self.local
            .entry_by_ref(key)
            .and_compute_with(|there| async {
                match there.map(moka::Entry::into_value) {
                    Some(slot) => Op::Put(Slot { content: Content::Tombstone, ..slot }),
                    None => Op::Nop,
                }
            })
            .await;
    }

    async fn raise(&self, key: &str, slot: Slot<V>) {
        self.local
            .entry_by_ref(key)
            .and_compute_with(|there| async {
                match there.map(moka::Entry::into_value) {
                    Some(there) if there.version > slot.version => Op::Nop,
                    Some(there) if there.version == slot.version && there.content.lasts() => Op::Nop,
                    _ => Op::Put(slot),
                }
            })
            .await;
    }
}

impl<V, C> Watched for Cached<V, C>
where
    V: Send + Sync + 'static,
    C: Codec<V> + 'static,
{
    fn state(&self) -> CacheState {
        let kept = self.local.iter().filter(|(_, slot)| slot.content.lasts());
        CacheState::of(self.name, kept.map(|(_, slot)| slot.read_ms))
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn forget<'x>(&'x self, _: &'x Ctx, key: Option<&'x str>, at_ms: Millis) -> BoxFuture<'x, ()> {
        Box::pin(async move {
            match key {
                Some(key) => self.drop_one(key).await,
                None => self.drop_all(at_ms).await,
            }
        })
    }
}

/// A row that was just read; `least` is the oldest version that may still be answered.
fn slot<V>(row: Versioned<V>, read_ms: Millis, least: i64) -> Slot<V> {
    let content = match row.value {
        Some(value) if row.version < least => Content::Stale(Arc::new(value)),
        Some(value) => Content::Value(Arc::new(value)),
        None if row.version < least => Content::Tombstone,
        None => Content::Absent,
    };
    Slot { version: row.version.max(least), read_ms, checked_ms: read_ms, content }
}

struct KvEntry {
    version: i64,
    read_ms: Millis,
    present: bool,
    value: Bytes,
}

impl KvEntry {
    /// None: not written by this version of the program, so it is read again.
    fn parse(bytes: Bytes) -> Option<Self> {
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let mut head = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
        Some(Self {
            version: head.next()?.parse().ok()?,
            read_ms: head.next()?.parse().ok()?,
            present: match head.next()? {
                "+" => true,
                "-" => false,
                _ => return None,
            },
            value: bytes.slice(end + 1..),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let sign = if self.present { '+' } else { '-' };
        let mut bytes = format!("{} {} {sign}\n", self.version, self.read_ms).into_bytes();
        bytes.extend_from_slice(&self.value);
        bytes
    }
}

#[cfg(test)]
mod tests;

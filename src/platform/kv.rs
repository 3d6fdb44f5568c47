//! The kv port: sessions, gates, and the second tier of caches. Nothing in it is the truth: with it gone,
//! reads fall to the database and gates to unique keys. Embedded it is a bounded map in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::future::Cache;
use moka::ops::compute::Op;

use crate::kernel::{Clock, Millis};

/// The kv tier does not answer. Callers go on without it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the kv tier does not answer")]
pub struct KvDown;

#[derive(Clone)]
pub enum Kv {
    Embedded(Embedded),
}

#[derive(Clone)]
pub struct Embedded {
    entries: Cache<String, Entry>,
    clock: Clock,
    up: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Entry {
    version: i64,
    expires_ms: Millis,
    bytes: Arc<[u8]>,
}

impl Kv {
    /// In this process, with at most `max_entries`.
    pub fn embedded(max_entries: u64, clock: Clock) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_entries)
            // Expiry is judged by our clock; this only cleans up.
            .time_to_live(Duration::from_secs(7 * 24 * 3_600))
            .build();
        Self::Embedded(Embedded { entries, clock, up: Arc::new(AtomicBool::new(true)) })
    }

    fn entries(&self) -> Result<(&Embedded, &Cache<String, Entry>), KvDown> {
        let Self::Embedded(embedded) = self;
        if embedded.up.load(Ordering::Relaxed) { Ok((embedded, &embedded.entries)) } else { Err(KvDown) }
    }

    /// Makes every call fail as if the service were gone, until it is set back.
    pub fn set_available(&self, up: bool) {
        let Self::Embedded(embedded) = self;
        embedded.up.store(up, Ordering::Relaxed);
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Arc<[u8]>>, KvDown> {
        let (embedded, entries) = self.entries()?;
        let entry = entries.get(key).await.filter(|entry| entry.expires_ms > embedded.clock.now_ms());
        Ok(entry.map(|entry| entry.bytes))
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn put(&self, key: &str, bytes: &[u8], ttl_ms: Millis) -> Result<(), KvDown> {
        let (embedded, entries) = self.entries()?;
        let expires_ms = embedded.clock.now_ms() + ttl_ms;
        entries.insert(key.to_owned(), Entry { version: 0, expires_ms, bytes: bytes.into() }).await;
        Ok(())
    }

    /// Sets an entry unless a newer version is there already.
    ///
    /// # Errors
    /// The tier does not answer.
    pub async fn put_if_newer(
        &self,
        key: &str,
        version: i64,
        bytes: &[u8],
        ttl_ms: Millis,
    ) -> Result<(), KvDown> {
        let (embedded, entries) = self.entries()?;
        let now_ms = embedded.clock.now_ms();
        let fresh = Entry { version, expires_ms: now_ms + ttl_ms, bytes: bytes.into() };
        entries
            .entry_by_ref(key)
            .and_compute_with(|there| async move {
                match there.map(moka::Entry::into_value) {
                    Some(there) if there.expires_ms > now_ms && there.version > version => Op::Nop,
                    _ => Op::Put(fresh),
                }
            })
            .await;
        Ok(())
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), KvDown> {
        self.entries()?.1.invalidate(key).await;
        Ok(())
    }
}

//! The kv tier in this process: a bounded map.

use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::ops::compute::Op;

use crate::kernel::{Clock, Millis};

/// Expiry is judged by our clock; this only cleans up.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

#[derive(Clone)]
pub(super) struct Embedded {
    entries: Cache<String, Entry>,
    clock: Clock,
}

#[derive(Clone)]
struct Entry {
    version: i64,
    expires_ms: Millis,
    bytes: Bytes,
}

impl Embedded {
    pub fn new(max_entries: u64, clock: Clock) -> Self {
        Self { entries: Cache::builder().max_capacity(max_entries).time_to_live(KEPT).build(), clock }
    }

    pub async fn get(&self, key: &str) -> Option<Bytes> {
        let entry = self.entries.get(key).await.filter(|entry| entry.expires_ms > self.clock.now_ms());
        entry.map(|entry| entry.bytes)
    }

    pub async fn put(&self, key: &str, bytes: &[u8], ttl_ms: Millis) {
        let entry = self.entry(0, bytes, ttl_ms);
        self.entries.insert(key.to_owned(), entry).await;
    }

    pub async fn put_if_newer(&self, key: &str, version: i64, bytes: &[u8], ttl_ms: Millis) {
        let now_ms = self.clock.now_ms();
        let fresh = self.entry(version, bytes, ttl_ms);
        self.entries
            .entry_by_ref(key)
            .and_compute_with(|there| async move {
                match there.map(moka::Entry::into_value) {
                    Some(there) if there.expires_ms > now_ms && there.version > version => Op::Nop,
                    _ => Op::Put(fresh),
                }
            })
            .await;
    }

    pub async fn delete(&self, key: &str) {
        self.entries.invalidate(key).await;
    }

    fn entry(&self, version: i64, bytes: &[u8], ttl_ms: Millis) -> Entry {
        let expires_ms = self.clock.now_ms() + ttl_ms;
        Entry { version, expires_ms, bytes: Bytes::copy_from_slice(bytes) }
    }
}

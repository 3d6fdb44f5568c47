//! The kv port: sessions, gates, and the second tier of caches. Nothing in it is the truth: with it gone or
//! hanging, reads fall to the database and gates to unique keys. Embedded it is a bounded map in this
//! process; several nodes share a Redis.
//!
//! Whether an entry has expired is judged by our clock; a backend's own time to live only cleans up.

mod embedded;
mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

pub use self::redis::Look;
use crate::config::{self, KvBackend};
use crate::kernel::{Clock, Millis, Result};
use crate::telemetry::{Metrics, Stopwatch};
use embedded::Embedded;
use redis::Redis;

/// The kv tier does not answer. Callers go on without it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the kv tier does not answer")]
pub struct KvDown;

/// Why a backend did not do what it was asked. Callers are told [`KvDown`], metrics the difference.
#[derive(Debug, Clone, Copy)]
enum Failed {
    Down,
    /// It answers, and does not want to: it is full, for instance.
    Refused,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Kv {
    backend: Backend,
    value_bytes_max: usize,
    /// A test may take it away, whatever the backend.
    available: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
enum Backend {
    Embedded(Embedded),
    Redis(Redis),
}

impl Kv {
    /// Opens what the configuration asks for. A Redis that does not answer yet is no error: it is tried again
    /// until it does.
    ///
    /// # Errors
    /// A URL or a certificate that can't be read.
    pub async fn open(config: &config::Kv, clock: Clock, metrics: Arc<Metrics>) -> Result<Self> {
        let backend = match config.backend {
            KvBackend::Embedded => Backend::Embedded(Embedded::new(config.max_entries, clock)),
            KvBackend::Redis | KvBackend::RedisSentinel | KvBackend::RedisCluster => {
                Backend::Redis(Redis::open(config, clock, metrics.clone()).await?)
            }
        };
        Ok(Self::new(backend, config.value_max_kib * 1_024, metrics))
    }

    /// In this process, with at most `max_entries`.
    pub fn embedded(max_entries: u64, clock: Clock) -> Self {
        Self::new(Backend::Embedded(Embedded::new(max_entries, clock)), usize::MAX, Arc::default())
    }

    fn new(backend: Backend, value_bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        if let Backend::Embedded(_) = backend {
            metrics.set("kv_up", 1);
        }
        Self { backend, value_bytes_max, available: Arc::new(AtomicBool::new(true)), metrics }
    }

    /// Makes every call fail as if the service were gone, until it is set back.
    pub fn set_available(&self, up: bool) {
        self.available.store(up, Ordering::Relaxed);
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, KvDown> {
        self.measured("get", async {
            match &self.backend {
                Backend::Embedded(embedded) => Ok(embedded.get(key).await),
                Backend::Redis(redis) => redis.get(key).await,
            }
        })
        .await
    }

    /// The first bytes of a value, at most so many: enough to see whether it is the one that is known already.
    ///
    /// # Errors
    /// The tier does not answer.
    pub async fn get_start(&self, key: &str, bytes_max: usize) -> Result<Option<Bytes>, KvDown> {
        self.measured("get_start", async {
            match &self.backend {
                Backend::Embedded(embedded) => {
                    let value = embedded.get(key).await;
                    Ok(value.map(|value| value.slice(..bytes_max.min(value.len()))))
                }
                Backend::Redis(redis) => redis.get_start(key, bytes_max).await,
            }
        })
        .await
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn put(&self, key: &str, bytes: &[u8], ttl_ms: Millis) -> Result<(), KvDown> {
        if self.is_too_large("put", bytes) {
            // What stood there is older than what could not be stored.
            return self.delete(key).await;
        }
        self.measured("put", async {
            match &self.backend {
                Backend::Embedded(embedded) => {
                    embedded.put(key, bytes, ttl_ms).await;
                    Ok(())
                }
                Backend::Redis(redis) => redis.put(key, bytes, ttl_ms).await,
            }
        })
        .await
    }

    /// Sets an entry unless a newer version is there already. Versions are counts, below 2^53.
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
        // A value that is too large leaves an entry that has expired: the older one is gone all the same.
        let (bytes, ttl_ms): (&[u8], _) =
            if self.is_too_large("put_if_newer", bytes) { (&[], 0) } else { (bytes, ttl_ms) };
        self.measured("put_if_newer", async {
            match &self.backend {
                Backend::Embedded(embedded) => {
                    embedded.put_if_newer(key, version, bytes, ttl_ms).await;
                    Ok(())
                }
                Backend::Redis(redis) => redis.put_if_newer(key, version, bytes, ttl_ms).await,
            }
        })
        .await
    }

    /// # Errors
    /// The tier does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), KvDown> {
        self.measured("delete", async {
            match &self.backend {
                Backend::Embedded(embedded) => {
                    embedded.delete(key).await;
                    Ok(())
                }
                Backend::Redis(redis) => redis.delete(key).await,
            }
        })
        .await
    }

    /// What `minimall doctor` says of it; `None`: embedded.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn look(&self) -> Result<Option<Look>> {
        match &self.backend {
            Backend::Embedded(_) => Ok(None),
            Backend::Redis(redis) => redis.look().await.map(Some),
        }
    }

    fn is_too_large(&self, call: &'static str, bytes: &[u8]) -> bool {
        let too_large = bytes.len() > self.value_bytes_max;
        if too_large {
            self.metrics.kv_too_large(call);
        }
        too_large
    }

    async fn measured<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, KvDown> {
        let watch = Stopwatch::start();
        let done = if self.available.load(Ordering::Relaxed) { work.await } else { Err(Failed::Down) };
        let outcome = match done {
            Ok(_) => "ok",
            Err(Failed::Down) => "down",
            Err(Failed::Refused) => "refused",
        };
        self.metrics.kv_call(call, outcome, watch.elapsed());
        done.map_err(|_| KvDown)
    }
}

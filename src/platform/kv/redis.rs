//! The kv tier in Redis: alone, behind sentinels, or a cluster. The three differ in how a connection is
//! made (`server`), and in nothing else.
//!
//! An entry is one line, `version expires_ms`, and the value behind it, so a read is one GET and what has
//! expired is judged by our clock. Redis' own time to live is a little longer and only cleans up.

mod link;
mod server;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, Script, ServerErrorKind, cmd};
use bytes::Bytes;

use super::Failed;
use crate::config;
use crate::kernel::{Clock, Failure, Millis, Result};
use crate::telemetry::{Metrics, Stopwatch};
use link::Link;

/// The longest first line of an entry: two numbers and a space.
const HEAD_BYTES_MAX: usize = 48;
/// How much longer Redis keeps an entry than we believe it.
const CLEAN_UP_MS: Millis = 60_000;

/// One key, so one hash slot. Numbers of Lua are exact below 2^53, and versions are counts.
const PUT_IF_NEWER: &str = r"
local head = redis.call('GETRANGE', KEYS[1], 0, 47)
local version, expires_ms = string.match(head, '^(%-?%d+) (%-?%d+)\n')
if version and tonumber(expires_ms) > tonumber(ARGV[2]) and tonumber(version) > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
";

#[derive(Clone)]
pub(super) struct Redis(Arc<Inner>);

struct Inner {
    link: Link,
    clock: Clock,
    put_if_newer: Script,
}

/// What can be said of a Redis that answers.
pub struct Look {
    /// The version that it says it is.
    pub version: String,
    /// How long a write and a read took.
    pub round_trip: Duration,
    /// Its clock minus ours.
    pub clock_ahead_ms: Millis,
    /// What happens when its memory is full, for instance `noeviction`; empty: not told.
    pub maxmemory_policy: String,
}

impl Redis {
    pub async fn open(config: &config::Kv, clock: Clock, metrics: Arc<Metrics>) -> Result<Self> {
        let link = Link::open(config, metrics).await?;
        Ok(Self(Arc::new(Inner { link, clock, put_if_newer: Script::new(PUT_IF_NEWER) })))
    }

    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Failed> {
        let get = |key: String, mut connection| async move {
            cmd("GET").arg(key).query_async::<Option<Vec<u8>>>(&mut connection).await
        };
        let entry = self.0.link.call(key, get).await?;
        Ok(entry.and_then(|entry| value(entry, self.0.clock.now_ms())))
    }

    pub async fn get_start(&self, key: &str, bytes_max: usize) -> Result<Option<Bytes>, Failed> {
        let last = HEAD_BYTES_MAX + bytes_max - 1;
        let get = |key: String, mut connection| async move {
            cmd("GETRANGE").arg(key).arg(0).arg(last).query_async::<Vec<u8>>(&mut connection).await
        };
        // Of a key that is not there it is empty, which is no entry.
        let entry = self.0.link.call(key, get).await?;
        let value = value(entry, self.0.clock.now_ms());
        Ok(value.map(|value| value.slice(..bytes_max.min(value.len()))))
    }

    pub async fn put(&self, key: &str, bytes: &[u8], ttl_ms: Millis) -> Result<(), Failed> {
        let entry = self.entry(0, bytes, ttl_ms);
        let put = |key: String, mut connection| async move {
            let mut command = cmd("SET");
            command.arg(key).arg(entry).arg("PX").arg(kept_ms(ttl_ms));
            command.exec_async(&mut connection).await
        };
        self.0.link.call(key, put).await
    }

    pub async fn put_if_newer(
        &self,
        key: &str,
        version: i64,
        bytes: &[u8],
        ttl_ms: Millis,
    ) -> Result<(), Failed> {
        let entry = self.entry(version, bytes, ttl_ms);
        let now_ms = self.0.clock.now_ms();
        let script = self.0.put_if_newer.clone();
        let put = |key: String, mut connection| async move {
            let eval = |how: &str, code: &str| {
                let mut command = cmd(how);
                command.arg(code).arg(1).arg(&key).arg(version).arg(now_ms).arg(&entry).arg(kept_ms(ttl_ms));
                command
            };
            match eval("EVALSHA", script.get_hash()).exec_async(&mut connection).await {
                // A node that was started or joined since: it keeps the script from now on.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    eval("EVAL", PUT_IF_NEWER).exec_async(&mut connection).await
                }
                done => done,
            }
        };
        self.0.link.call(key, put).await
    }

    pub async fn delete(&self, key: &str) -> Result<(), Failed> {
        let delete = |key: String, mut connection| async move {
            cmd("UNLINK").arg(key).exec_async(&mut connection).await
        };
        self.0.link.call(key, delete).await
    }

    /// A write and a read on a connection of their own, and what the server says of itself.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn look(&self) -> Result<Look> {
        let failed = |error| Failure::internal("asking Redis", error);
        let mut connection = self.0.link.connect().await.map_err(failed)?;
        let watch = Stopwatch::start();
        self.0.link.try_out(&mut connection, "doctor").await.map_err(failed)?;
        let round_trip = watch.elapsed();
        let told = server::told(&mut connection).await.map_err(failed)?;
        Ok(Look {
            round_trip,
            clock_ahead_ms: told.now_ms - self.0.clock.now_ms(),
            version: told.version,
            maxmemory_policy: told.maxmemory_policy,
        })
    }

    fn entry(&self, version: i64, bytes: &[u8], ttl_ms: Millis) -> Vec<u8> {
        let head = format!("{version} {}\n", self.0.clock.now_ms() + ttl_ms);
        let mut entry = Vec::with_capacity(head.len() + bytes.len());
        entry.extend_from_slice(head.as_bytes());
        entry.extend_from_slice(bytes);
        entry
    }
}

fn kept_ms(ttl_ms: Millis) -> Millis {
    ttl_ms.max(0).saturating_add(CLEAN_UP_MS)
}

/// What is in an entry that has not expired. None, too: not written by this program.
fn value(entry: Vec<u8>, now_ms: Millis) -> Option<Bytes> {
    let end = entry.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&entry[..end]).ok()?;
    let expires_ms: Millis = head.split_once(' ')?.1.parse().ok()?;
    (expires_ms > now_ms).then(|| Bytes::from(entry).slice(end + 1..))
}

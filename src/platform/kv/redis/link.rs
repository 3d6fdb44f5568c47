//! The one connection to Redis, and what stands in its place while Redis is gone or hangs.
//!
//! A call that fails or does not end in time drops the connection. From then on calls fail at once, whoever
//! makes them: a Redis that hangs costs the calls in flight their timeout, and none behind them. Meanwhile one
//! task makes new connections until one of them does the work that failed. (The crate's `ConnectionManager`
//! lets callers wait while it connects, which is what must not happen here.)

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd};

use super::Failed;
use super::server::{Connection, Server};
use crate::config;
use crate::kernel::Result;
use crate::telemetry::Metrics;

/// Total time to connect: nobody waits for it but the task that does it. Sentinels that hang take part of it.
const CONNECT: Duration = Duration::from_secs(3);
/// Pause between two tries to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long the key stays that shows that Redis takes writes, ms.
const PROBE_KEPT_MS: u64 = 60_000;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    server: Server,
    key_prefix: String,
    timeout: Duration,
    held: RwLock<Held>,
    metrics: Arc<Metrics>,
}

struct Held {
    /// None: calls fail at once.
    connection: Option<Connection>,
    /// Counts the connections, so that the first of many failed calls is the one that drops it.
    number: u64,
}

/// Why a call did not work.
enum Broken {
    Late,
    Failed(RedisError),
}

impl Link {
    /// Opens the link. A Redis that does not answer is tried again until it does.
    ///
    /// # Errors
    /// A URL or a certificate that can't be read.
    pub async fn open(config: &config::Kv, metrics: Arc<Metrics>) -> Result<Self> {
        let link = Self(Arc::new(Inner {
            server: Server::new(config)?,
            key_prefix: config.key_prefix.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            held: RwLock::new(Held { connection: None, number: 0 }),
            metrics,
        }));
        let key = link.0.full("probe");
        match link.0.connect_and_try(&key).await {
            Ok(connection) => link.0.hold(connection),
            Err(error) => {
                tracing::warn!("redis does not answer: {error}. The shop works without it, only slower");
                link.0.metrics.set("kv_up", 0);
                tokio::spawn(restore(Arc::downgrade(&link.0), key));
            }
        }
        Ok(link)
    }

    /// Does `work` with the full key on the connection, in at most the timeout of one call.
    ///
    /// # Errors
    /// There is no connection, it broke, it was too slow, or Redis refused.
    pub async fn call<T, F, Fut>(&self, key: &str, work: F) -> Result<T, Failed>
    where
        F: FnOnce(String, Connection) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        let (connection, number) = self.0.connection().ok_or(Failed::Down)?;
        let key = self.0.full(key);
        let why = match tokio::time::timeout(self.0.timeout, work(key.clone(), connection)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if is_refusal(&error) => {
                tracing::debug!("redis refused a command: {error}");
                return Err(Failed::Refused);
            }
            Ok(Err(error)) => Broken::Failed(error),
            Err(_) => Broken::Late,
        };
        self.drop_connection(number, key, &why);
        Err(Failed::Down)
    }

    /// Fails until it is restored; the first of the calls that failed on this connection sees to that.
    fn drop_connection(&self, number: u64, key: String, why: &Broken) {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.number != number || held.connection.is_none() {
            return;
        }
        held.connection = None;
        drop(held);
        self.0.metrics.set("kv_up", 0);
        match why {
            Broken::Late => tracing::warn!(
                "redis did not answer within {} ms; the shop goes on without it until it does",
                self.0.timeout.as_millis()
            ),
            Broken::Failed(error) => {
                tracing::warn!("redis is gone: {error}; the shop goes on without it until it is back");
            }
        }
        tokio::spawn(restore(Arc::downgrade(&self.0), key));
    }

    /// A connection of its own.
    pub async fn connect(&self) -> RedisResult<Connection> {
        self.0.connect().await
    }

    /// Reads `key`, and writes another.
    pub async fn try_out(&self, connection: &mut Connection, key: &str) -> RedisResult<()> {
        self.0.try_out(connection, &self.0.full(key)).await
    }
}

impl Inner {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.key_prefix)
    }

    fn connection(&self) -> Option<(Connection, u64)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.connection.clone().map(|connection| (connection, held.number))
    }

    fn hold(&self, connection: Connection) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.connection = Some(connection);
        held.number += 1;
        drop(held);
        self.metrics.set("kv_up", 1);
    }

    async fn connect(&self) -> RedisResult<Connection> {
        tokio::time::timeout(CONNECT, self.server.connect(self.timeout)).await.map_err(late)?
    }

    async fn connect_and_try(&self, key: &str) -> RedisResult<Connection> {
        let mut connection = self.connect().await?;
        self.try_out(&mut connection, key).await?;
        Ok(connection)
    }

    /// Redis serves again when the key that failed can be read (in a cluster: its shard is there), and a
    /// write is taken (it is no replica). A refusal is an answer, too.
    async fn try_out(&self, connection: &mut Connection, key: &str) -> RedisResult<()> {
        let mut set = cmd("SET");
        set.arg(self.full("probe")).arg("1").arg("PX").arg(PROBE_KEPT_MS);
        let tried = async {
            let read = cmd("STRLEN").arg(key).exec_async(connection).await;
            let written = if served(&read) { set.exec_async(connection).await } else { read };
            if served(&written) { Ok(()) } else { written }
        };
        tokio::time::timeout(self.timeout, tried).await.map_err(late)?
    }
}

fn late(_: tokio::time::error::Elapsed) -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

fn served(answer: &RedisResult<()>) -> bool {
    answer.as_ref().err().is_none_or(is_refusal)
}

/// A server that is well did not like this one command: another connection would not change that. It is out
/// of memory, for instance, or the key is somebody else's.
fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Extension
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm)
    )
}

/// Connects until Redis serves `key` again, or nobody holds the link any more.
async fn restore(link: Weak<Inner>, key: String) {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(inner) = link.upgrade() else { return };
        match inner.connect_and_try(&key).await {
            Ok(connection) => {
                inner.hold(connection);
                tracing::info!("redis answers again");
                return;
            }
            Err(error) => tracing::debug!("redis does not answer yet: {error}"),
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

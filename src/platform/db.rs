//! The database port. A write is a closure that can run again; a read takes a connection of its own.

mod look;

use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyQueryResult};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor};
use tokio::sync::Notify;

use crate::config::Database;
use crate::kernel::{Failure, Result, common};

/// What a query of a feature's `sql.rs` takes: a transaction or a reading connection.
pub type Conn = AnyConnection;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How often a write is tried when the database says that somebody else was in the way.
const WRITE_TRIES: u32 = 5;

pub use look::{Look, Server};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Background work that a transaction leaves behind: it is woken after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Events to send and deliveries to make.
    Bus,
    /// Notices to settle.
    Inbox,
    /// Attempts to query or close at the channel.
    Payments,
    /// Refunds to submit or query.
    Refunds,
    /// Shipping information to upload.
    Shipping,
    /// Messages to send.
    Messages,
}

impl Work {
    const COUNT: usize = 6;
}

tokio::task_local! {
    static IN_WRITE: ();
}

/// A write transaction. `'a` is the life of what its closure borrows.
pub struct Tx<'a> {
    inner: sqlx::Transaction<'static, Any>,
    wakes: [bool; Work::COUNT],
    borrows: PhantomData<&'a ()>,
}

impl Tx<'_> {
    /// Wakes this work once the transaction is committed.
    pub fn wake(&mut self, work: Work) {
        self.wakes[work as usize] = true;
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.inner
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.inner
    }
}

/// The database: SQLite with one writer and several readers.
#[derive(Clone)]
pub struct Db {
    writer: AnyPool,
    readers: AnyPool,
    woken: Arc<[Notify; Work::COUNT]>,
}

impl Db {
    /// Opens the database and makes its folder; [`Db::migrate`] makes the tables.
    ///
    /// # Errors
    /// The file can't be opened, or the URL is of no known kind.
    pub async fn open(config: &Database) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let Some(path) = config.url.strip_prefix("sqlite:") else {
            return Err(Failure::internal("opening the database", "database.url must begin with sqlite:"));
        };
        let path = path.trim_start_matches("//");
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| Failure::internal(format!("making the folder of {path}"), e))?;
        }
        let url = format!("sqlite:{path}?mode=rwc");
        let busy_ms = config.busy_timeout_ms;
        let pool = |connections: u32, setup: String| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_millis(busy_ms))
                .test_before_acquire(false)
                .after_connect(move |conn, _| {
                    let setup = setup.clone();
                    Box::pin(async move {
                        conn.execute(sqlx::AssertSqlSafe(setup)).await?;
                        Ok(())
                    })
                })
        };
        // WAL with FULL: a commit that was answered survives the loss of power.
        let writer_setup = format!(
            "PRAGMA busy_timeout = {busy_ms}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
        );
        let reader_setup = format!("PRAGMA busy_timeout = {busy_ms}; PRAGMA query_only = ON;");
        let opened = async {
            let writer = pool(1, writer_setup).connect(&url).await?;
            let readers = pool(config.read_connections, reader_setup).connect(&url).await?;
            Ok::<_, sqlx::Error>((writer, readers))
        };
        let (writer, readers) = opened.await.map_err(|e| Failure::internal(format!("opening {path}"), e))?;
        Ok(Self { writer, readers, woken: Arc::default() })
    }

    /// Brings the tables to this version of the program. Safe to run at every start.
    ///
    /// # Errors
    /// A migration fails, or the database was written by a newer version.
    pub async fn migrate(&self) -> Result<()> {
        MIGRATIONS.run(&self.writer).await.map_err(|e| Failure::internal("migrating the database", e))
    }

    /// Has the database the tables of this version of the program?
    pub async fn is_migrated(&self) -> bool {
        let applied: Result<(i64,), _> =
            sqlx::query_as("SELECT COUNT(*) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.readers)
                .await;
        applied.is_ok_and(|(count,)| count == MIGRATIONS.iter().count() as i64)
    }

    /// Runs `work` in one transaction and commits it if it answers Ok. `work` may run several times
    /// (a conflict with another writer), so all that it changes outside must be safe to repeat.
    ///
    /// # Errors
    /// What `work` answers, after the rollback; `unavailable` when no connection came free in time.
    pub async fn write<'a, T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
        T: Send,
    {
        self.retrying(|| async {
            let mut tx = self.begin().await?;
            // An early return drops the transaction, which rolls it back.
            let value = work(&mut tx).await?;
            self.commit(tx).await?;
            Ok(value)
        })
        .await
    }

    /// Runs one attempt at a transaction, from [`Db::begin`] to [`Db::commit`], again when it met a conflict.
    pub(super) async fn retrying<T, Fut>(&self, attempt: impl Fn() -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        debug_assert!(IN_WRITE.try_with(|()| ()).is_err(), "a write inside of a write deadlocks on SQLite");
        let mut tries = 0;
        loop {
            tries += 1;
            match IN_WRITE.scope((), attempt()).await {
                Err(failure) if tries < WRITE_TRIES && is_conflict(&failure) => {
                    tracing::debug!("a transaction met a conflict, try {tries}: {failure}");
                    tokio::time::sleep(Duration::from_millis(5 << tries)).await;
                }
                other => return other,
            }
        }
    }

    pub(super) async fn begin<'a>(&self) -> Result<Tx<'a>> {
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { inner, wakes: [false; Work::COUNT], borrows: PhantomData })
    }

    pub(super) async fn commit(&self, tx: Tx<'_>) -> Result<()> {
        tx.inner.commit().await?;
        for (woken, notify) in tx.wakes.iter().zip(self.woken.iter()) {
            if *woken {
                notify.notify_one();
            }
        }
        Ok(())
    }

    /// A connection that reads.
    ///
    /// # Errors
    /// `unavailable` when none came free in time.
    pub async fn reader(&self) -> Result<PoolConnection<Any>> {
        debug_assert!(
            IN_WRITE.try_with(|()| ()).is_err(),
            "a transaction reads through itself, not the pool"
        );
        Ok(self.readers.acquire().await?)
    }

    /// One snapshot over several reads.
    ///
    /// # Errors
    /// `unavailable` when no connection came free in time.
    pub async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Any>> {
        Ok(self.readers.begin().await?)
    }

    /// Resolves when a transaction has left work of this kind behind.
    pub async fn woken(&self, work: Work) {
        self.woken[work as usize].notified().await;
    }

    /// Wakes background work by hand.
    pub fn wake(&self, work: Work) {
        self.woken[work as usize].notify_one();
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Did another writer get in the way, so that the same closure may succeed when it runs again?
fn is_conflict(failure: &Failure) -> bool {
    let Some(sqlx::Error::Database(error)) = failure.source_as::<sqlx::Error>() else {
        return false;
    };
    // SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT; the deadlocks of other databases join here.
    error.code().is_some_and(|code| code == "5" || code == "517")
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Failure::new(&common::UNAVAILABLE).retry_after_s(1).cause(error)
            }
            error => Failure::internal("talking to the database", error),
        }
    }
}

/// An INSERT whose unique violation means "already there": false.
///
/// # Errors
/// Everything else that a database says.
pub fn inserted(result: Result<AnyQueryResult, sqlx::Error>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Did a conditional UPDATE find its row?
///
/// # Errors
/// Everything that a database says.
pub fn changed(result: Result<AnyQueryResult, sqlx::Error>) -> Result<bool> {
    Ok(result?.rows_affected() > 0)
}

/// Rows of a violated rule that are shown.
pub const VIOLATIONS_SHOWN: i64 = 20;

/// Runs rules, each a query for the ids that violate it, and answers what they found.
///
/// # Errors
/// The database.
pub async fn violations<Q: AsRef<str> + Sync>(
    conn: &mut Conn,
    rules: &[(&'static str, Q)],
) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut found = Vec::with_capacity(rules.len());
    for (rule, query) in rules {
        let bounded = format!("{} LIMIT {VIOLATIONS_SHOWN}", query.as_ref());
        let rows: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(bounded)).fetch_all(&mut *conn).await?;
        found.push((*rule, rows.into_iter().map(|(id,)| id).collect()));
    }
    Ok(found)
}

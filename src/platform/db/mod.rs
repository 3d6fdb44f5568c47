//! The database port: SQLite, or MySQL and what speaks its protocol. A write is a closure that can run again;
//! a read takes a connection of its own.

mod look;
mod migrate;
mod mysql;
mod queries;
mod sqlite;
mod turns;

use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::patience::within;
use crate::config::Database;
use crate::kernel::{Failure, Result, common};

pub use look::{Look, Server};
use turns::{Turn, Turns};

pub use queries::{VIOLATIONS_SHOWN, changed, execute_for, ids_for, inserted, violations};

/// What a query of a feature's `sql.rs` takes: a transaction or a reading connection.
pub type Conn = AnyConnection;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How often a write is tried when somebody else was in the way, or its connection broke.
const WRITE_TRIES: u32 = 6;

/// How long a connection may take to roll back before it is closed, which does the same.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Migrations only add, and a newer version's stay unknown to this one: it starts and runs beside them, as it must when
/// versions change places one node after the other, or the older one comes back.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
});

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

/// The background work that transactions leave behind.
#[derive(Debug, Default, Clone, Copy)]
struct Wakes([bool; Work::COUNT]);

impl Wakes {
    fn add(&mut self, more: &Self) {
        for (mine, more) in self.0.iter_mut().zip(more.0) {
            *mine |= more;
        }
    }
}

/// Where background work waits to be woken.
#[derive(Clone, Default)]
struct Woken(Arc<[Notify; Work::COUNT]>);

impl Woken {
    fn notify(&self, wakes: &Wakes) {
        for (wake, notify) in wakes.0.iter().zip(self.0.iter()) {
            if *wake {
                notify.notify_one();
            }
        }
    }
}

tokio::task_local! {
    static IN_WRITE: ();
}

/// A write transaction; dropped without a commit, it is rolled back. `'a` is the life of what its closure borrows.
pub struct Tx<'a> {
    conn: Writing,
    wakes: Wakes,
    borrows: PhantomData<&'a ()>,
}

impl Tx<'_> {
    /// Wakes this work once the transaction is committed.
    pub fn wake(&mut self, work: Work) {
        self.wakes.0[work as usize] = true;
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        match &self.conn {
            Writing::InTurn(turn) => turn,
            Writing::BesideOthers(open) => open,
        }
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.conn {
            Writing::InTurn(turn) => turn,
            Writing::BesideOthers(open) => open,
        }
    }
}

/// Where a write happens.
enum Writing {
    /// SQLite: one after the other.
    InTurn(Turn),
    /// A server: each in a transaction of its own.
    BesideOthers(Open),
}

/// Several reads that see one moment of the database.
pub struct Snapshot(Open);

impl Snapshot {
    /// Lets the moment go.
    ///
    /// # Errors
    /// The database.
    pub async fn end(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Snapshot {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

/// A connection with an open transaction. Whoever drops it in the middle (a refusal, a panic, a request that is
/// given up while it waits for the database) leaves the roll-back to a task; a connection that can't do it in
/// time is closed and never used again.
struct Open(Option<PoolConnection<Any>>);

impl Open {
    async fn begin(pool: &AnyPool, statement: &'static str) -> Result<Self, sqlx::Error> {
        let mut open = Self(Some(pool.acquire().await?));
        open.execute(statement).await?;
        Ok(open)
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT").await?;
        drop(self.0.take());
        Ok(())
    }
}

impl Deref for Open {
    type Target = PoolConnection<Any>;
    fn deref(&self) -> &PoolConnection<Any> {
        self.0.as_ref().expect("there until it is committed or dropped")
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut PoolConnection<Any> {
        self.0.as_mut().expect("there until it is committed or dropped")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut conn) = self.0.take() else { return };
        tokio::spawn(async move {
            let rolled_back = timeout(ROLLBACK_TIMEOUT, conn.execute("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(_))) {
                conn.close_on_drop();
            }
        });
    }
}

#[derive(Clone)]
enum Backend {
    /// A file with one writer and several readers.
    Sqlite(Turns),
    /// A server; writers and readers come from one pool.
    MySql,
}

/// The database.
#[derive(Clone)]
pub struct Db {
    backend: Backend,
    writers: AnyPool,
    readers: AnyPool,
    write_timeout: Duration,
    woken: Woken,
}

impl Db {
    /// Opens the database; [`Db::migrate`] makes the tables.
    ///
    /// # Errors
    /// It can't be opened, the URL is of no known kind, or the database compares text in a way that would mix
    /// up identifiers. No error says the URL's password.
    pub async fn open(config: &Database) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let woken = Woken::default();
        let (backend, writers, readers) = if let Some(path) = config.url.strip_prefix("sqlite:") {
            let (writer, readers) = sqlite::open(config, path.trim_start_matches("//")).await?;
            let patience = Duration::from_millis(config.busy_timeout_ms);
            (Backend::Sqlite(Turns::new(writer.clone(), patience, woken.clone())), writer, readers)
        } else if mysql::is_for(&config.url) {
            let pool = mysql::open(config).await?;
            (Backend::MySql, pool.clone(), pool)
        } else {
            let rule = "database.url must begin with sqlite:, mysql:// or mariadb://";
            return Err(Failure::internal("opening the database", rule));
        };
        let write_timeout = Duration::from_millis(config.write_timeout_ms);
        Ok(Self { backend, writers, readers, write_timeout, woken })
    }

    /// Brings the tables to this version of the program. Safe to run at every start, also of several nodes.
    ///
    /// # Errors
    /// A migration fails, or one that was applied is not the one that this program knows by its number.
    pub async fn migrate(&self) -> Result<()> {
        match &self.backend {
            Backend::Sqlite(_) => MIGRATIONS
                .run(&self.writers)
                .await
                .map_err(|e| Failure::internal("migrating the database", e)),
            Backend::MySql => migrate::run(&self.writers, &MIGRATIONS).await,
        }
    }

    /// Has the database all that this version of the program needs? It may have more: of a newer version.
    pub async fn is_migrated(&self) -> bool {
        let applied: Result<Vec<(i64,)>, _> =
            sqlx::query_as("SELECT version FROM _sqlx_migrations WHERE success")
                .fetch_all(&self.readers)
                .await;
        let Ok(applied) = applied else { return false };
        MIGRATIONS.iter().all(|migration| applied.contains(&(migration.version,)))
    }

    /// Runs `work` in one transaction and commits it if it answers Ok. `work` may run several times (a conflict
    /// with another writer, a connection that broke), so all that it changes outside must be safe to repeat.
    ///
    /// # Errors
    /// What `work` answers, after the rollback; `unavailable` when no connection came free, the database did not
    /// answer in time, or the connection broke while it committed: then it may have happened.
    pub async fn write<'a, T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
        T: Send,
    {
        self.retrying(|| async {
            let mut tx = self.begin().await?;
            let worked = work(&mut tx).await;
            self.end(tx, worked).await
        })
        .await
    }

    /// Runs one attempt at a transaction, from [`Db::begin`] to [`Db::end`], again when it did not happen for
    /// a reason that passes.
    pub(super) async fn retrying<T, Fut>(&self, attempt: impl Fn() -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        debug_assert!(IN_WRITE.try_with(|()| ()).is_err(), "a write inside of a write deadlocks on SQLite");
        let trying = async {
            let mut tries = 0;
            loop {
                tries += 1;
                let failure = match IN_WRITE.scope((), Box::pin(attempt())).await {
                    Ok(value) => return Ok(value),
                    Err(failure) => failure,
                };
                let Some(why) = passing(&failure) else { return Err(failure) };
                if tries == WRITE_TRIES {
                    return Err(Failure::new(&common::UNAVAILABLE).retry_after_s(1).cause(failure));
                }
                tracing::debug!("a transaction met {why}, try {tries}: {failure}");
                sleep(Duration::from_millis(5 << tries)).await;
            }
        };
        within(self.write_timeout, "a write", Box::pin(trying)).await
    }

    pub(super) async fn begin<'a>(&self) -> Result<Tx<'a>> {
        let conn = match &self.backend {
            Backend::Sqlite(turns) => Writing::InTurn(turns.take().await?),
            Backend::MySql => Writing::BesideOthers(Open::begin(&self.writers, mysql::BEGIN).await?),
        };
        Ok(Tx { conn, wakes: Wakes::default(), borrows: PhantomData })
    }

    /// Commits what went well, and undoes what did not. Either way the answer comes when all is decided that it is
    /// founded on: what one write refuses may be so because of another that is not committed yet.
    pub(super) async fn end<T>(&self, tx: Tx<'_>, worked: Result<T>) -> Result<T> {
        match worked {
            Ok(value) => self.commit(tx).await.map(|()| value),
            Err(failure) => {
                if let Writing::InTurn(turn) = tx.conn
                    && let Err(lost) = turn.undo().await
                {
                    tracing::error!("a write failed, and those beside it were not committed: {failure}");
                    return Err(lost);
                }
                Err(failure)
            }
        }
    }

    async fn commit(&self, tx: Tx<'_>) -> Result<()> {
        let Tx { conn, wakes, .. } = tx;
        match conn {
            Writing::InTurn(turn) => turn.commit(&wakes).await,
            Writing::BesideOthers(open) => {
                let (woken, limit) = (self.woken.clone(), self.write_timeout);
                // A task: who asked for it may go away, and the work is woken all the same.
                let committed = tokio::spawn(async move {
                    let silent = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
                    timeout(limit, open.commit()).await.map_err(silent)??;
                    woken.notify(&wakes);
                    Ok::<(), sqlx::Error>(())
                });
                let committed =
                    committed.await.map_err(|error| Failure::internal("waiting for a commit", error))?;
                committed.map_err(|error| match mysql::is_lost(&error) {
                    // Nobody knows whether it happened, so it is not run again here; the client's repeat is safe.
                    true => Failure::new(&common::UNAVAILABLE)
                        .retry_after_s(1)
                        .cause(format!("the connection broke during a commit: {error}")),
                    false => error.into(),
                })
            }
        }
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
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let statement = match &self.backend {
            Backend::Sqlite(_) => sqlite::SNAPSHOT,
            Backend::MySql => mysql::SNAPSHOT,
        };
        Ok(Snapshot(Open::begin(&self.readers, statement).await?))
    }

    /// Resolves when a transaction has left work of this kind behind.
    pub async fn woken(&self, work: Work) {
        self.woken.0[work as usize].notified().await;
    }

    /// Wakes background work by hand.
    pub fn wake(&self, work: Work) {
        self.woken.0[work as usize].notify_one();
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// Why a transaction surely did not happen and may succeed when it runs again; `None`: it would fail again.
fn passing(failure: &Failure) -> Option<&'static str> {
    let error = failure.source_as::<sqlx::Error>()?;
    if sqlite::is_conflict(error) || mysql::is_conflict(error) {
        Some("a conflict")
    } else if mysql::is_lost(error) {
        Some("a broken connection")
    } else {
        None
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed);
        if unavailable || mysql::is_lost(&error) {
            return Failure::new(&common::UNAVAILABLE).retry_after_s(1).cause(error);
        }
        match &error {
            // MySQL's text says the value, which may be somebody's phone number; only the key's name is kept.
            sqlx::Error::Database(said) if said.is_unique_violation() => {
                let key = said.message().rsplit_once(" for key ").map_or(said.message(), |(_, key)| key);
                Failure::internal("talking to the database", format!("the key {key} is taken"))
            }
            _ => Failure::internal("talking to the database", error),
        }
    }
}

//! MySQL, MariaDB, and what else speaks their protocol: one pool, each session set up alike.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor};
use tokio::time::timeout;

use crate::config::{Database, DatabaseTls};
use crate::kernel::{Failure, Result};

pub const BEGIN: &str = "START TRANSACTION";

/// Verbs read what is committed; a check wants one moment.
pub const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                            START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A connection that rested for so long is asked whether it still lives before it is used: the server may have
/// been restarted meanwhile. One that breaks in the middle of work is another matter, see `Db::retrying`.
const RESTED: Duration = Duration::from_secs(1);

/// How long the rest of an answer that nobody wants any more is waited for.
const REST_WITHIN: Duration = Duration::from_secs(2);

/// The only collation under which text is equal when its bytes are, on MySQL and MariaDB alike.
const COLLATION: &str = "utf8mb4_bin";

/// Is this the URL of such a server?
pub fn is_for(url: &str) -> bool {
    ["mysql://", "mariadb://"].iter().any(|scheme| url.starts_with(scheme))
}

/// Connects, and looks at the database before anything is written to it.
pub async fn open(config: &Database) -> Result<AnyPool> {
    let opening = || format!("opening {}", config.shown_url());
    let options = options(config)?;
    let patience = Duration::from_millis(config.busy_timeout_ms);
    let first = async {
        let mut conn = AnyConnection::connect_with(&options).await.map_err(advise)?;
        check_collation(&mut conn).await?;
        Ok(conn.close().await?)
    };
    match timeout(patience, first).await {
        Ok(looked) => looked.map_err(|failure: Failure| Failure::internal(opening(), failure))?,
        Err(_) => return Err(Failure::internal(opening(), "the server does not answer")),
    }
    let setup = setup(config.lock_wait_s);
    Ok(AnyPoolOptions::new()
        .max_connections(config.connections)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .before_acquire(|conn, about| {
            Box::pin(async move { Ok(about.idle_for < RESTED || conn.ping().await.is_ok()) })
        })
        // Whoever gave up in the middle of an answer leaves its rest on the connection. The pool would wait for that, with
        // no limit, and have one less meanwhile: of a host that went silent it never comes.
        .after_release(|conn, _| {
            Box::pin(async move {
                match timeout(REST_WITHIN, conn.flush()).await {
                    Ok(rest) => rest.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .after_connect(move |conn, _| {
            let setup = setup.clone();
            Box::pin(async move {
                conn.execute(AssertSqlSafe(setup)).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options))
}

/// The URL with what we decide: encryption, and how text is sent and compared.
fn options(config: &Database) -> Result<AnyConnectOptions> {
    let mut options =
        AnyConnectOptions::from_str(&config.url).map_err(|e| Failure::internal("reading database.url", e))?;
    let mode = match config.tls {
        DatabaseTls::Off => "DISABLED",
        DatabaseTls::Preferred => "PREFERRED",
        DatabaseTls::Required => "REQUIRED",
        DatabaseTls::Verify => "VERIFY_IDENTITY",
    };
    let mut query = options.database_url.query_pairs_mut();
    query.append_pair("ssl-mode", mode);
    if !config.tls_ca.is_empty() {
        query.append_pair("ssl-ca", &config.tls_ca);
    }
    query.append_pair("charset", "utf8mb4").append_pair("collation", COLLATION);
    // What falls out of the cache is closed by a command without an answer, and sqlx 0.9.0 leaves Nagle's algorithm on
    // (transact-rs/sqlx#4335): the command behind it waits for the acknowledgement, which the server puts off by 40 ms.
    query.append_pair("statement-cache-capacity", &config.statements.to_string());
    drop(query);
    Ok(options)
}

/// What every session begins with. READ COMMITTED takes no gap locks, and a conditional UPDATE sees what others
/// have committed; text that does not fit is an error and never cut off.
fn setup(lock_wait_s: u32) -> String {
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
         ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT', \
         time_zone = '+00:00', innodb_lock_wait_timeout = {lock_wait_s}"
    )
}

/// Other collations take "Abc", "abc" and "ábc" for the same openid, coupon code or key.
async fn check_collation(conn: &mut AnyConnection) -> Result<()> {
    let (database, collation): (Option<String>, Option<String>) =
        sqlx::query_as("SELECT DATABASE(), @@collation_database").fetch_one(conn).await?;
    let Some(database) = database else {
        return Err(refuse("database.url names no database: mysql://USER:PASSWORD@HOST/DATABASE".to_owned()));
    };
    let collation = collation.unwrap_or_default();
    if collation == COLLATION {
        return Ok(());
    }
    Err(refuse(format!(
        "the database's collation is {collation}, which takes different identifiers for the same one; run: \
         ALTER DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE {COLLATION}"
    )))
}

fn refuse(why: String) -> Failure {
    Failure::internal("looking at the database", why)
}

/// What to do about a connection that can't be made.
fn advise(error: sqlx::Error) -> Failure {
    const UNKNOWN_DATABASE: u16 = 1049;
    if number(&error) == Some(UNKNOWN_DATABASE) {
        let how = format!("run: CREATE DATABASE … CHARACTER SET utf8mb4 COLLATE {COLLATION}");
        return Failure::internal(format!("it does not exist ({how})"), error);
    }
    Failure::internal("connecting", error)
}

/// The server's number of an error: the text's SQLSTATE is the same for many.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Did another transaction get in the way? A COMMIT can answer this, too: in a cluster the conflict is found then.
pub fn is_conflict(error: &sqlx::Error) -> bool {
    // A deadlock; a row that was not free in time; TiDB: a transaction that must be retried, a write conflict.
    matches!(number(error), Some(1213 | 1205 | 8022 | 9007))
}

/// Has the connection broken, or has the server ended it?
pub fn is_lost(error: &sqlx::Error) -> bool {
    // The server shuts down; the connection was killed (MariaDB); it was idle for too long.
    matches!(error, sqlx::Error::Io(_)) || matches!(number(error), Some(1053 | 1927 | 4031))
}

/// Is what a statement should make there already, or what it should remove already gone? Tables, columns, indexes.
pub fn is_done_already(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1050 | 1051 | 1060 | 1061 | 1091))
}

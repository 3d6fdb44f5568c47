//! SQLite: one file, one connection that writes and several that read.

use std::path::Path;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe, Executor};

use crate::config::Database;
use crate::kernel::{Failure, Result};

/// Takes the writer's place at once: a transaction that first reads and then writes could meet a conflict. The mark is
/// there as long as the transaction is.
pub const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT batch";

/// In WAL mode the first read fixes what all further ones see.
pub const SNAPSHOT: &str = "BEGIN";

/// Opens the file, and makes its folder. Answers the writer and the readers.
pub async fn open(config: &Database, path: &str) -> Result<(AnyPool, AnyPool)> {
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
                    conn.execute(AssertSqlSafe(setup)).await?;
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
    opened.await.map_err(|e| Failure::internal(format!("opening {path}"), e))
}

/// Did another writer get in the way? SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT.
pub fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "5" || code == "517")
}

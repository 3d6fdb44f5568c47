//! Migrations on MySQL, where a statement that changes a table can't be taken back and several nodes may start
//! at once. One of them migrates, under a lease that stands in a row; it notes each statement that it has
//! finished, so another one can go on where it was killed.
//!
//! The server's own named locks do not serve: they are local to one node of a cluster, and MariaDB does not wait
//! for one that is asked for without an end.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor};
use tokio::time::sleep;

use super::queries::{changed, inserted};
use super::{Conn, mysql};
use crate::kernel::{Failure, Result};
use crate::platform::crypto;

/// What has been applied, as sqlx keeps it.
const APPLIED: &str = "_sqlx_migrations";

/// A holder counts its beats; a lease whose count stands still for this long is free. Nobody compares clocks.
const BEAT: Duration = Duration::from_secs(2);
const STANDS_STILL: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);
/// How long a node waits for another one that is at work.
const PATIENCE: Duration = Duration::from_secs(600);

/// Applies what is missing, and holds what is there against what the program knows.
pub async fn run(pool: &AnyPool, migrator: &Migrator) -> Result<()> {
    let mut conn = pool.acquire().await?;
    // It is given up in the middle of a statement when the lease is lost.
    conn.close_on_drop();
    conn.ensure_migrations_table(APPLIED).await.map_err(migrating)?;
    if !missing(&mut conn, migrator).await?.is_empty() {
        create_lease(&mut conn).await?;
        let holder = crypto::hex(&crypto::random::<16>());
        if take(&mut conn, migrator, &holder).await? {
            let applied = tokio::select! {
                applied = apply_missing(&mut conn, migrator, &holder) => applied,
                lost = beat(pool, &holder) => lost,
            };
            release(pool, &holder).await?;
            applied?;
        }
    }
    migrator.run_direct(None, &mut *conn, false).await.map_err(migrating)
}

fn migrating(error: MigrateError) -> Failure {
    Failure::internal("migrating the database", error)
}

async fn missing<'m>(conn: &mut AnyConnection, migrator: &'m Migrator) -> Result<Vec<&'m Migration>> {
    let applied = conn.list_applied_migrations(APPLIED).await.map_err(migrating)?;
    let is_missing = |migration: &&Migration| applied.iter().all(|done| done.version != migration.version);
    Ok(migrator.iter().filter(is_missing).collect())
}

async fn apply_missing(conn: &mut AnyConnection, migrator: &Migrator, holder: &str) -> Result<()> {
    for migration in missing(conn, migrator).await? {
        let version = migration.version;
        let begun = progress(conn).await?.filter(|(begun, _)| *begun == version);
        let first = match begun {
            Some((_, step)) => step,
            None if note(conn, holder, version, 0).await? => 0,
            None => return Err(lost()),
        };
        let statements = statements(migration.sql.as_str());
        for (step, statement) in (0..).zip(&statements).skip(first as usize) {
            // The one at which a holder was killed may have been executed and not been noted.
            let is_repeat = begun.is_some() && step == first;
            apply(conn, statement, is_repeat)
                .await
                .map_err(|e| Failure::internal(format!("migration {version}: {statement}"), e))?;
            if !note(conn, holder, version, step + 1).await? {
                return Err(lost());
            }
            conn.execute("COMMIT").await?;
        }
        // All of its statements are executed; this writes it down.
        conn.skip(APPLIED, migration).await.map_err(migrating)?;
        tracing::info!("migration {version} is applied: {}", migration.description);
    }
    Ok(())
}

/// Executes a statement in a transaction that its note will commit: rows change together with the note. What
/// changes a table commits by itself.
async fn apply(conn: &mut AnyConnection, statement: &str, is_repeat: bool) -> Result<(), sqlx::Error> {
    conn.execute(mysql::BEGIN).await?;
    match conn.execute(AssertSqlSafe(statement)).await {
        Err(error) if is_repeat && mysql::is_done_already(&error) => Ok(()),
        done => done.map(drop),
    }
}

/// The statements of a file, without comments. No text in a migration has a semicolon or two dashes in it.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let sql = lines.collect::<Vec<_>>().join("\n");
    sql.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn lost() -> Failure {
    Failure::internal("migrating the database", "another node has taken over; start again")
}

/// Keeps the lease for as long as this is polled; ends only when the lease is lost.
async fn beat(pool: &AnyPool, holder: &str) -> Result<()> {
    loop {
        sleep(BEAT).await;
        let kept = "UPDATE migration_lease SET beat = beat + 1 WHERE id = 1 AND holder = ?";
        if !changed(sqlx::query(kept).bind(holder).execute(pool).await)? {
            return Err(lost());
        }
    }
}

/// Takes the lease, or waits until another node has done the work: then there is none left, and this is false.
async fn take(conn: &mut AnyConnection, migrator: &Migrator, holder: &str) -> Result<bool> {
    let (mut waited, mut still) = (Duration::ZERO, Duration::ZERO);
    let mut seen = None;
    while waited < PATIENCE {
        let Some((held_by, beat)) = lease(conn).await? else {
            if insert_lease(conn, holder).await? {
                return Ok(true);
            }
            continue;
        };
        still = if seen.as_ref() == Some(&(held_by.clone(), beat)) { still + LOOK } else { Duration::ZERO };
        let is_free = held_by.is_empty() || still >= STANDS_STILL;
        if is_free && take_over(conn, holder, &held_by, beat).await? {
            return Ok(true);
        }
        if missing(conn, migrator).await?.is_empty() {
            return Ok(false);
        }
        seen = Some((held_by, beat));
        sleep(LOOK).await;
        waited += LOOK;
    }
    Err(Failure::internal(
        "migrating the database",
        "another node has been at it for long; start again later",
    ))
}

async fn create_lease(conn: &mut Conn) -> Result<()> {
    let table = "CREATE TABLE IF NOT EXISTS migration_lease (id BIGINT NOT NULL PRIMARY KEY, \
                 holder VARCHAR(32) NOT NULL, beat BIGINT NOT NULL, version BIGINT NOT NULL, step BIGINT NOT NULL)";
    conn.execute(table).await?;
    Ok(())
}

async fn lease(conn: &mut Conn) -> Result<Option<(String, i64)>> {
    Ok(sqlx::query_as("SELECT holder, beat FROM migration_lease WHERE id = 1").fetch_optional(conn).await?)
}

async fn insert_lease(conn: &mut Conn, holder: &str) -> Result<bool> {
    let insert = "INSERT INTO migration_lease (id, holder, beat, version, step) VALUES (1, ?, 0, 0, 0)";
    inserted(sqlx::query(insert).bind(holder).execute(conn).await)
}

async fn take_over(conn: &mut Conn, holder: &str, from: &str, beat: i64) -> Result<bool> {
    let update =
        "UPDATE migration_lease SET holder = ?, beat = beat + 1 WHERE id = 1 AND holder = ? AND beat = ?";
    changed(sqlx::query(update).bind(holder).bind(from).bind(beat).execute(conn).await)
}

async fn release(pool: &AnyPool, holder: &str) -> Result<()> {
    let update = "UPDATE migration_lease SET holder = '' WHERE id = 1 AND holder = ?";
    sqlx::query(update).bind(holder).execute(pool).await?;
    Ok(())
}

/// The migration that was begun last, and how many of its statements are executed.
async fn progress(conn: &mut Conn) -> Result<Option<(i64, i64)>> {
    Ok(sqlx::query_as("SELECT version, step FROM migration_lease WHERE id = 1").fetch_optional(conn).await?)
}

async fn note(conn: &mut Conn, holder: &str, version: i64, step: i64) -> Result<bool> {
    let update = "UPDATE migration_lease SET version = ?, step = ? WHERE id = 1 AND holder = ?";
    changed(sqlx::query(update).bind(version).bind(step).bind(holder).execute(conn).await)
}

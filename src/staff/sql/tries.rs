//! SQL of the tries to sign in.

use crate::kernel::{Millis, Result};
use crate::platform::db::{Conn, changed, inserted};

/// Tries that one clean-up forgets: the writer is not kept from others for long.
const CLEAN_UP_BATCH: i64 = 500;

/// How often was it tried, and since when?
pub async fn find(conn: &mut Conn, counted: &str) -> Result<Option<(i64, Millis)>> {
    Ok(sqlx::query_as("SELECT tries, since_ms FROM sign_in_tries WHERE counted = ?")
        .bind(counted)
        .fetch_optional(conn)
        .await?)
}

/// Counts one more within the window; false: there is no count in it, or it is full.
pub async fn count(conn: &mut Conn, counted: &str, after_ms: Millis, max: i64) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE sign_in_tries SET tries = tries + 1 WHERE counted = ? AND since_ms > ? AND tries < ?",
        )
        .bind(counted)
        .bind(after_ms)
        .bind(max)
        .execute(conn)
        .await,
    )
}

/// Begins a count, where there is none or its window is over.
pub async fn begin(conn: &mut Conn, counted: &str, after_ms: Millis, now_ms: Millis) -> Result<bool> {
    let again =
        sqlx::query("UPDATE sign_in_tries SET tries = 1, since_ms = ? WHERE counted = ? AND since_ms <= ?")
            .bind(now_ms)
            .bind(counted)
            .bind(after_ms)
            .execute(&mut *conn)
            .await;
    if changed(again)? {
        return Ok(true);
    }
    inserted(
        sqlx::query("INSERT INTO sign_in_tries (counted, tries, since_ms) VALUES (?, 1, ?)")
            .bind(counted)
            .bind(now_ms)
            .execute(conn)
            .await,
    )
}

pub async fn forget(conn: &mut Conn, counted: &str) -> Result<()> {
    sqlx::query("DELETE FROM sign_in_tries WHERE counted = ?").bind(counted).execute(conn).await?;
    Ok(())
}

/// Forgets some counts whose window is over; the next sweep goes on.
pub async fn forget_old(conn: &mut Conn, before_ms: Millis) -> Result<usize> {
    let old: Vec<(String,)> =
        sqlx::query_as("SELECT counted FROM sign_in_tries WHERE since_ms <= ? ORDER BY since_ms LIMIT ?")
            .bind(before_ms)
            .bind(CLEAN_UP_BATCH)
            .fetch_all(&mut *conn)
            .await?;
    for (counted,) in &old {
        // It may have begun again meanwhile.
        sqlx::query("DELETE FROM sign_in_tries WHERE counted = ? AND since_ms <= ?")
            .bind(counted)
            .bind(before_ms)
            .execute(&mut *conn)
            .await?;
    }
    Ok(old.len())
}

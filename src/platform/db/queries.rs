//! What the idioms of `sql.rs` files stand on: the conditional UPDATE, the INSERT that may meet its own row,
//! and rules as queries.

use std::fmt::Display;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyQueryResult;

use super::Conn;
use crate::kernel::Result;

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

/// Ids that one statement names: databases bound how many values they take.
const IDS_AT_ONCE: usize = 200;

/// Runs a statement for many ids. They stand where it has `{}`: `… WHERE order_id IN ({})`.
///
/// # Errors
/// The database.
pub async fn execute_for<I: Display + Sync>(conn: &mut Conn, statement: &str, ids: &[I]) -> Result<()> {
    for some in ids.chunks(IDS_AT_ONCE) {
        let text = statement.replace("{}", &vec!["?"; some.len()].join(", "));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in some {
            query = query.bind(id.to_string());
        }
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// The ids that a query finds for many ids, at most `limit`. They stand where it has `{}`, and its own `LIMIT`
/// comes last.
///
/// # Errors
/// The database.
pub async fn ids_for<I: Display + Sync>(
    conn: &mut Conn,
    query: &str,
    ids: &[I],
    limit: usize,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for some in ids.chunks(IDS_AT_ONCE) {
        if found.len() >= limit {
            break;
        }
        let text = query.replace("{}", &vec!["?"; some.len()].join(", "));
        let mut query = sqlx::query_as::<_, (String,)>(AssertSqlSafe(text));
        for id in some {
            query = query.bind(id.to_string());
        }
        let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
        let rows = query.bind(left).fetch_all(&mut *conn).await?;
        found.extend(rows.into_iter().map(|(id,)| id));
    }
    Ok(found)
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
        let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(bounded)).fetch_all(&mut *conn).await?;
        found.push((*rule, rows.into_iter().map(|(id,)| id).collect()));
    }
    Ok(found)
}

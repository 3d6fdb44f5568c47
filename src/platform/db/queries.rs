//! What the idioms of `sql.rs` files stand on: the conditional UPDATE, the INSERT that may meet its own row,
//! and rules as queries.

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

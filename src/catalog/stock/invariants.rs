//! What must be true of the stock at any moment.

use super::sql;
use crate::kernel::Result;
use crate::platform::db::Conn;

/// Violations that are shown of one rule.
const SHOWN: i64 = 20;

/// The rules of stock, each with what breaks it: `store sku`, or `row sku`.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    let rules = [
        ("stock is never negative", sql::NEGATIVE),
        ("available + locked + sold = supplied", sql::UNBALANCED),
        ("locked = the lock rows in LOCK", sql::LOCKED_DIFFERS),
        ("sold = the lock rows in FINISH, less what was restocked", sql::SOLD_DIFFERS),
        ("supplied = the supply moves", sql::SUPPLIED_DIFFERS),
        ("every lock row has its stock row", sql::WITHOUT_STOCK),
        ("every supply move has its stock row", sql::MOVED_WITHOUT_STOCK),
        ("a line is restocked at most once a unit, after it was sold", sql::RESTOCKED_TOO_MUCH),
    ];
    let mut found = Vec::with_capacity(rules.len());
    for (rule, query) in rules {
        found.push((rule, sql::violations(conn, query, SHOWN).await?));
    }
    Ok(found)
}

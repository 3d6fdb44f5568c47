//! What orders forget when their customer deletes the account. Amounts, goods, times and the moves of the timeline
//! stay: they are the ledger.

use serde_json::Value;

use super::{OrderMove, sql};
use crate::kernel::{Failure, OrderId, Result, UserId};
use crate::platform::audit;
use crate::platform::db::Tx;

/// Members of a timeline row in which people write, or that lead to where somebody lives.
const WRITTEN: [&str; 5] = ["reason", "text", "note", "carrier", "tracking_no"];

/// Takes the rows of all orders of a person whose own row is held, and answers which they are: nobody moves one of
/// them, or places another, until the transaction ends.
///
/// # Errors
/// The database.
pub async fn hold_all(tx: &mut Tx<'_>, user: &UserId) -> Result<Vec<OrderId>> {
    sql::bump_guards(tx, user).await?;
    sql::ids_of(tx, user).await
}

/// Forgets whose held orders these are, as far as a value or a text tells: address, phone number, notes, pickup
/// code; what the customer wrote in the timeline, and what staff noted there.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<()> {
    sql::forget(tx, orders).await?;
    let mut noted = Vec::new();
    for order in orders {
        for row in sql::written(tx, order).await? {
            if row.event == OrderMove::NoteAdded.as_str() && noted.last() != Some(order) {
                noted.push(order.clone());
            }
            if let Some(detail) = without_words(&row.detail)? {
                sql::rewrite(tx, order, row.seq, &detail).await?;
            }
        }
    }
    // The audit log has the notes of staff, too.
    audit::blank(tx, "addOrderNote", &noted).await
}

/// The detail without what somebody wrote; `None`: nobody wrote anything.
fn without_words(detail: &str) -> Result<Option<String>> {
    let mut detail: Value =
        serde_json::from_str(detail).map_err(|e| Failure::internal("reading a timeline", e))?;
    let Some(members) = detail.as_object_mut() else { return Ok(None) };
    let before = members.len();
    members.retain(|name, _| !WRITTEN.contains(&name.as_str()));
    Ok((members.len() < before).then(|| detail.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_and_facts_stay() {
        let stays = r#"{"refund":"rfd_1","amount_minor":100}"#;
        assert_eq!(without_words(stays).unwrap(), None);
        let words = r#"{"refund":"rfd_1","amount_minor":100,"reason":"不想要了"}"#;
        let left: Value = serde_json::from_str(&without_words(words).unwrap().unwrap()).unwrap();
        assert_eq!(left, serde_json::from_str::<Value>(stays).unwrap());
        assert_eq!(without_words("null").unwrap(), None);
    }
}

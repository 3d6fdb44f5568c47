//! Customers as staff looks for them, and their phone number in full, which leaves an audit row each time.

use serde_json::json;

use super::{PHONE, PHONE_NOT_KNOWN, Phone, USER_NOT_FOUND, UserSummary, sql};
use crate::kernel::{Actor, Cursor, Failure, Limit, Page, Result, UserId};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;

/// Divides the two parts of a cursor; no nickname has it.
const DIVIDER: char = '\u{1}';

/// Whom staff looks for.
#[derive(Debug)]
pub enum Sought {
    /// Everybody, the newest first.
    Everybody,
    /// The one with this id.
    User(UserId),
    /// Whoever has this number.
    Phone(Phone),
    /// Whose nickname begins like this, in its order.
    Nickname(String),
}

impl Sought {
    /// What a text in one field means.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Everybody;
        }
        match (text.parse(), Phone::parse(text)) {
            (Ok(id), _) => Self::User(id),
            (_, Ok(phone)) => Self::Phone(phone),
            _ => Self::Nickname(text.to_owned()),
        }
    }
}

/// Looks for customers.
///
/// # Errors
/// The database.
pub async fn find_people(
    ctx: &Ctx,
    sought: &Sought,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<UserSummary>> {
    let conn = &mut *ctx.db.reader().await?;
    let after = after.map(Cursor::key);
    let found = match sought {
        Sought::Everybody => sql::newest(conn, after, limit.and_one()).await?,
        Sought::User(id) => sql::summary(conn, id).await?.into_iter().collect(),
        Sought::Phone(phone) => {
            let hashes = ctx.secrets.indexes(PHONE, phone.as_str());
            sql::of_phone(conn, &hashes, after, limit.and_one()).await?
        }
        Sought::Nickname(start) => {
            let (nickname, id) = after.and_then(|key| key.split_once(DIVIDER)).unwrap_or((start, ""));
            let found = sql::by_nickname(conn, start, nickname, id, limit.and_one()).await?;
            return Ok(Page::cut(found, limit, |user| format!("{}{DIVIDER}{}", user.nickname, user.id)));
        }
    };
    Ok(Page::cut(found, limit, |user| user.id.to_string()))
}

/// The customers who have the phone number of these keyed hashes.
///
/// # Errors
/// The database.
pub async fn users_of_phone(conn: &mut Conn, hashes: &[String], limit: i64) -> Result<Vec<UserId>> {
    let found = sql::of_phone(conn, hashes, None, limit).await?;
    Ok(found.into_iter().map(|user| user.id).collect())
}

/// The phone number of a customer, in full.
///
/// # Errors
/// `user_not_found`, `phone_not_known`.
pub async fn reveal_phone(ctx: &Ctx, actor: &Actor, user: &UserId, reason: &str) -> Result<Phone> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let found = sql::phone_sealed(tx, user).await?;
                let sealed = found.ok_or_else(|| Failure::new(&USER_NOT_FOUND))?;
                let sealed = sealed.ok_or_else(|| Failure::new(&PHONE_NOT_KNOWN))?;
                let phone = Phone::parse(&ctx.secrets.open(PHONE, &sealed)?)
                    .map_err(|e| Failure::internal("opening a phone number", e))?;
                let entry = audit::Entry {
                    actor,
                    operation: "revealPhone",
                    object: user.as_str(),
                    before: None::<()>,
                    after: Some(json!({ "reason": reason })),
                };
                audit::record(tx, ctx, entry).await?;
                Ok(phone)
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_takes_an_id_a_phone_number_or_the_beginning_of_a_name() {
        assert!(matches!(Sought::parse(" "), Sought::Everybody));
        assert!(matches!(Sought::parse("usr_00000000000000000000000001"), Sought::User(_)));
        assert!(matches!(Sought::parse("138 0013 8000"), Sought::Phone(_)));
        assert!(matches!(Sought::parse("小林"), Sought::Nickname(name) if name == "小林"));
    }
}

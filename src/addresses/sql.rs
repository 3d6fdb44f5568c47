//! All SQL of addresses.

use sqlx::FromRow;

use super::{ADDRESSES_MAX, Draft};
use crate::kernel::{AddressId, Millis, Result, UserId};
use crate::platform::db::{Conn, changed, inserted};

#[derive(FromRow)]
pub struct Row {
    pub id: AddressId,
    pub default_of: Option<UserId>,
    pub recipient: String,
    pub phone_sealed: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub detail: String,
    pub postal_code: Option<String>,
}

pub struct NewAddress<'a> {
    pub id: &'a AddressId,
    pub user_id: &'a UserId,
    pub phone_sealed: &'a str,
    pub draft: &'a Draft,
    pub now_ms: Millis,
}

pub struct Change<'a> {
    pub id: &'a AddressId,
    pub user_id: &'a UserId,
    /// None: the number stays.
    pub phone_sealed: Option<&'a str>,
    pub draft: &'a Draft,
    pub now_ms: Millis,
}

pub async fn bump(conn: &mut Conn, user: &UserId) -> Result<bool> {
    changed(
        sqlx::query("UPDATE address_books SET guard = guard + 1 WHERE user_id = ?")
            .bind(user)
            .execute(conn)
            .await,
    )
}

/// False: it is open already.
pub async fn open_book(conn: &mut Conn, user: &UserId) -> Result<bool> {
    inserted(
        sqlx::query("INSERT INTO address_books (user_id, guard) VALUES (?, 1)")
            .bind(user)
            .execute(conn)
            .await,
    )
}

pub async fn count(conn: &mut Conn, user: &UserId) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM addresses WHERE user_id = ?").bind(user).fetch_one(conn).await?;
    Ok(count)
}

pub async fn find(conn: &mut Conn, user: &UserId, id: &AddressId) -> Result<Option<Row>> {
    Ok(sqlx::query_as(
        "SELECT id, default_of, recipient, phone_sealed, province, city, district, detail, postal_code \
         FROM addresses WHERE id = ? AND user_id = ?",
    )
    .bind(id)
    .bind(user)
    .fetch_optional(conn)
    .await?)
}

pub async fn default_of(conn: &mut Conn, user: &UserId) -> Result<Option<Row>> {
    Ok(sqlx::query_as(
        "SELECT id, default_of, recipient, phone_sealed, province, city, district, detail, postal_code \
         FROM addresses WHERE default_of = ?",
    )
    .bind(user)
    .fetch_optional(conn)
    .await?)
}

/// The default first, then the newest.
pub async fn list(conn: &mut Conn, user: &UserId) -> Result<Vec<Row>> {
    Ok(sqlx::query_as(
        "SELECT id, default_of, recipient, phone_sealed, province, city, district, detail, postal_code \
         FROM addresses WHERE user_id = ? \
         ORDER BY CASE WHEN default_of IS NULL THEN 1 ELSE 0 END, id DESC LIMIT ?",
    )
    .bind(user)
    .bind(ADDRESSES_MAX as i64)
    .fetch_all(conn)
    .await?)
}

pub async fn newest(conn: &mut Conn, user: &UserId) -> Result<Option<AddressId>> {
    let row: Option<(AddressId,)> =
        sqlx::query_as("SELECT id FROM addresses WHERE user_id = ? ORDER BY id DESC LIMIT 1")
            .bind(user)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(id,)| id))
}

pub async fn insert(conn: &mut Conn, row: &NewAddress<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO addresses (id, user_id, recipient, phone_sealed, province, city, district, detail, \
         postal_code, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.id)
    .bind(row.user_id)
    .bind(&row.draft.recipient)
    .bind(row.phone_sealed)
    .bind(&row.draft.province)
    .bind(&row.draft.city)
    .bind(&row.draft.district)
    .bind(&row.draft.detail)
    .bind(row.draft.postal_code.as_deref())
    .bind(row.now_ms)
    .bind(row.now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn update(conn: &mut Conn, change: &Change<'_>) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE addresses SET recipient = ?, phone_sealed = COALESCE(?, phone_sealed), province = ?, \
             city = ?, district = ?, detail = ?, postal_code = ?, updated_ms = ? WHERE id = ? AND user_id = ?",
        )
        .bind(&change.draft.recipient)
        .bind(change.phone_sealed)
        .bind(&change.draft.province)
        .bind(&change.draft.city)
        .bind(&change.draft.district)
        .bind(&change.draft.detail)
        .bind(change.draft.postal_code.as_deref())
        .bind(change.now_ms)
        .bind(change.id)
        .bind(change.user_id)
        .execute(conn)
        .await,
    )
}

pub async fn clear_default(conn: &mut Conn, user: &UserId) -> Result<()> {
    sqlx::query("UPDATE addresses SET default_of = NULL WHERE default_of = ?")
        .bind(user)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn make_default(conn: &mut Conn, user: &UserId, id: &AddressId) -> Result<()> {
    sqlx::query("UPDATE addresses SET default_of = ? WHERE id = ? AND user_id = ?")
        .bind(user)
        .bind(id)
        .bind(user)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn delete(conn: &mut Conn, user: &UserId, id: &AddressId) -> Result<bool> {
    changed(
        sqlx::query("DELETE FROM addresses WHERE id = ? AND user_id = ?")
            .bind(id)
            .bind(user)
            .execute(conn)
            .await,
    )
}

/// The book with all that is in it.
pub async fn delete_all(conn: &mut Conn, user: &UserId) -> Result<()> {
    for statement in
        ["DELETE FROM addresses WHERE user_id = ?", "DELETE FROM address_books WHERE user_id = ?"]
    {
        sqlx::query(statement).bind(user).execute(&mut *conn).await?;
    }
    Ok(())
}

pub async fn users_without_one_default(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT user_id FROM addresses GROUP BY user_id HAVING COUNT(default_of) <> 1 LIMIT 20",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn defaults_of_others(conn: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM addresses WHERE default_of <> user_id LIMIT 20")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
